// The sockets of one worker: their queues, which of them may advance, and how they end. Only that
// worker's thread comes here. Operations go in; completed ones come out in `completed`.
#pragma once

#include <cstdint>

#include "platform/platform.h"
#include "runtime/engine/epoll_engine.h"
#include "runtime/engine/uring_engine.h"
#include "runtime/operation/fields.h"
#include "runtime/operation/operation.h"
#include "runtime/operation/slab.h"
#include "runtime/operation/socket.h"
#include "runtime/operation/task.h"
#include "runtime/operation/transfer.h"
#include "runtime/port/descriptor_table.h"
#include "runtime/port/log.h"
#include "runtime/port/ready_lanes.h"
#include "runtime/prefetch.h"
#include "runtime/timer/timer_wheel.h"

namespace cport {

class FilePool;
class Placement;

class Owner {
 public:
    // One sweep looks at this many sockets, and asks the kernel about this many.
    static constexpr int kSweepSocketsMax = 4096;
    static constexpr int kSweepQuestionsMax = 256;
    // A listener accepts at most this many connections a round.
    static constexpr int kRoundAcceptsMax = 64;
    // A socket whose turn moves this much is bulk.
    static constexpr uint64_t kSparseBytesMax = 4096;
    // After so many bytes of all sockets the round takes no further socket.
    static constexpr uint64_t kRoundMovedMax = kRoundBytesMax;
    // What is read of files at once in a round is at most so many bytes.
    static constexpr uint32_t kRoundFileBytesMax = 1u << 20;
    // A socket takes at most this many buffers of a pool a round.
    static constexpr int kRoundBuffersMax = 64;

    // `number` is what the sockets of this owner bear.
    Owner(uint8_t number, platform::Kernel& kernel, EpollEngine& engine, DescriptorTable& table,
          Slab& slab, TaskList& completed, int64_t now_ns, WorkerLog* log = nullptr)
        : number_(number),
          kernel_(kernel),
          engine_(engine),
          transfer_(kernel),
          table_(table),
          slab_(slab),
          completed_(completed),
          wheel_(now_ns),
          log_(log) {}

    // From here on the kernel gets operations by way of `ring`; nullptr: by system calls.
    void use(UringEngine* ring) { ring_ = ring; }

    // An operation of this thread's own.
    void accept(Operation& operation) {
        Socket& socket = *operation.socket;
        if (ended_ || operation.socket_generation != socket.generation) [[unlikely]] {
            accept_late(operation);
            return;
        }
        const Direction direction = operation.direction;
        OperationQueue& queue = socket.queue(direction);
        if (queue.empty() && socket.has(try_flag_of(direction))) {
            // Not asked of the queue: what it would say was written a moment ago.
            const Operation* read =
                direction == Direction::kRead ? &operation : socket.queue(Direction::kRead).front();
            if (!socket.is_ready()) push_ready(socket, read, Turn::kFirst);
            operation.enter(Stage::kWaiting);
            queue.push_first(&operation);
        } else {
            enqueue(socket, operation);
        }
    }
    // One that came through the mailbox.
    void arrive(Operation& operation);

    // Before the first accept that distributes.
    void use_placement(Placement& placement) { placement_ = &placement; }

    // Before the first operation on a file.
    void use_files(FilePool& files) { files_ = &files; }
    // Takes an operation on a file, and hears that one is back.
    void arrive_file(Operation& operation);
    void file_done(Operation& operation);
    // As arrive_file. True: it succeeded and holds its completion, which nobody else will tell.
    bool accept_file_inline(Operation& operation);
    // Whether operations are with the threads for files.
    bool has_files_away() const { return files_away_ != 0; }
    void begin_round() {
        file_bytes_left_ = kRoundFileBytesMax;
        round_began_at_ = transfer_.bytes_moved();
    }
    bool has_moved_enough() const {
        return transfer_.bytes_moved() - round_began_at_ >= kRoundMovedMax;
    }

    // As accept, but tries at once. True: it succeeded and holds its completion, which nobody else
    // will tell.
    bool accept_inline(Operation& operation);
    // Gives an operation that was accepted a deadline.
    void set_deadline(Operation& operation, int64_t deadline_ns);
    // A timer, whose `amount` is when it expires.
    void accept_timer(Operation& timer);
    // 0, or -ENOENT: it is not waiting any more.
    int cancel(uint64_t id);
    // 0, -ENOENT, or -EINVAL: it is no timer.
    int move_timer(uint64_t id, int64_t expires_ns);
    // Ends what has run out of time, at most so many. True: there may be more.
    bool expire(int64_t now_ns, size_t entries_max);
    bool has_deadlines() const { return !wheel_.empty(); }
    int64_t next_deadline_ns() const { return wheel_.next_deadline_ns(); }
    size_t deadlines() const { return wheel_.size(); }
    // Descriptors found closed without remove so far.
    uint64_t renewals() const { return renewals_; }

    // Ends what the socket's earlier incarnations left.
    void catch_up(Socket& socket) {
        const uint32_t generation =
            SocketWord::generation(socket.word.load(std::memory_order_acquire));
        if (generation != socket.generation) begin_generation(socket, generation);
    }
    // As catch_up; then `last` joins the completed tasks behind the socket's callbacks.
    void end_socket(Socket& socket, Task& last);

    void on_edge(const Edge& edge);
    // They are told some edges ahead, and then again nearer: the memory of its socket is fetched,
    // and of what the socket waits for.
    void announce(const Edge& edge) const { __builtin_prefetch(table_.find(edge.descriptor), 1); }
    void announce_again(const Edge& edge) const {
        const Socket* socket = table_.find(edge.descriptor);
        // Another worker's queues are not to be looked at.
        if (socket == nullptr || !owns(*socket)) return;
        prefetch_two_lines(socket->queues[static_cast<size_t>(Direction::kRead)].back());
    }
    // What the ring has to say of the operation that it was given under this name.
    void on_result(uint64_t name, int32_t result);

    bool has_ready() const { return !ready_.empty(); }
    // One turn of the socket that is next (ready_lanes.h).
    void advance_next();

    // Asks, for operations that have waited since the last sweep, whether their descriptors still
    // name what they were added for.
    void sweep();

    // Ends every operation, also those that arrive later.
    void end_all();
    // Whether a removal still waits for an add that is on its way.
    bool removal_waits() const { return !waiting_.empty(); }

 private:
    void begin_generation(Socket& socket, uint32_t generation);
    void accept_late(Operation& operation);
    void enqueue(Socket& socket, Operation& operation);
    // The number was closed and reused: the next incarnation begins here.
    // False: a removal came first; what was accepted before it is over.
    bool renew(Socket& socket);
    // Carries an operation over to the next incarnation, or ends it if a removal came first.
    bool join_renewed(Socket& socket, Operation& operation);
    void abandon_all(Socket& socket);
    void abandon_queue(OperationQueue& queue);
    void release_waiting(Socket& socket);

    // Whether it has just had a turn.
    enum class Turn : uint8_t { kFirst, kAnother };
    void make_ready(Socket& socket, Turn turn = Turn::kFirst) {
        if (!socket.is_ready()) push_ready(socket, socket.queue(Direction::kRead).front(), turn);
    }
    // One that is not ready. `read` is the first that it is to do, or nullptr.
    void push_ready(Socket& socket, const Operation* read, Turn turn) {
        const bool accepts = read != nullptr && read->record_kind == COMPLETION_PORT_KIND_ACCEPT &&
                             accept_goes_on(*read);
        if (accepts) [[unlikely]] {
            ready_.push_accepting(socket);
        } else {
            const uint64_t moved = transfer_.bytes_moved();
            turn == Turn::kAnother ? ready_.push_bulk(socket, moved) : ready_.push(socket, moved);
        }
    }
    // With many sockets, what belongs to one is in no near cache when its turn comes. The caller's
    // memory is fetched while the kernel works for the socket before it.
    static void fetch_context(Socket& next) {
        const OperationQueue& reads = next.queue(Direction::kRead);
        if (!reads.empty()) prefetch_two_shared_lines(reads.head().context);
    }
    // Inlined by order, as is settle_head: the calls would cost a turn 46 instructions more.
    [[gnu::always_inline]] inline void advance(Socket& socket, Direction direction);
    // What follows a step that completed nothing. Apart, as is the next: it would cost the turn of
    // most sockets registers.
    [[gnu::noinline]] void leave_waiting(Socket& socket, Operation& operation, Step step);
    [[gnu::noinline]] void advance_watches(Socket& socket);
    // owner_ring.cc. Moves the head of a queue on by way of the ring. False: it is to be tried
    // here.
    bool rides(Socket& socket, Operation& operation);
    // Hands the head of a queue to the kernel. False: the kernel cannot have it.
    bool start(Socket& socket, Operation& operation);
    // Applies what the ring gave back.
    Step have_back(Socket& socket, Operation& operation);
    // When it returns the kernel does not have the operation. True: it holds its completion.
    bool recall(Socket& socket, Operation& operation);
    void recall_all(Socket& socket);
    // Takes the head of a queue, which has met a new descriptor, to that one's incarnation.
    void move_to_renewed(Socket& socket, Operation& operation);
    // Drives an accept that goes on, at the head of its queue.
    void accept_connections(Socket& socket, Operation& operation);
    // A connection finds its owner before it is told of, if its accept wants that.
    void distribute(const Operation& accept);
    // The same of a receive from a pool.
    void receive_buffers(Socket& socket, Operation& operation);
    // A receive from a pool is complete: it draws no more.
    static void leave_pool(const Operation& operation);
    // As the engine does; a failure of the engine's own goes to the log.
    int watch(Socket& socket, bool output);
    // Registers for edges after `operation`, the head of its queue, was blocked.
    void wait_for_edge(Socket& socket, Operation& operation);
    // Whether the error of an operation says that its descriptor was closed.
    bool tells_closed(Socket& socket, const Operation& operation);
    // Takes the completed head off its queue, and sees to what its completion tells of the socket.
    [[gnu::always_inline]] Operation* settle_head(Socket& socket, Direction direction) {
        OperationQueue& queue = socket.queue(direction);
        Operation* operation = queue.pop();
        operation->enter(Stage::kIdle);
        if (operation->is_set()) wheel_.remove(*operation);
        // Adds, receives and sends are most of what comes.
        if (operation->record_kind > COMPLETION_PORT_KIND_SEND) end_other(*operation);
        if (!queue.empty() && queue.head().readiness_only()) socket.set(try_flag_of(direction));
        if (operation->error != 0) [[unlikely]]
            heed_failure(socket, *operation);
        return operation;
    }
    // What the completion of other kinds brings with it.
    void end_other(const Operation& operation) {
        if (operation.record_kind == COMPLETION_PORT_KIND_RECEIVE_POOLED) leave_pool(operation);
        if (operation.record_kind == COMPLETION_PORT_KIND_ACCEPT) distribute(operation);
    }
    void heed_failure(Socket& socket, const Operation& operation);
    void complete_head(Socket& socket, Direction direction);
    void fail_head(Socket& socket, Operation& operation, int error);
    void complete(Operation& operation);
    void abandon(Operation& operation);
    // Ends one that waits, with ECANCELED or ETIMEDOUT.
    void cut_off(Operation& operation, int error);
    // True: it has succeeded already.
    bool begin_file(Operation& operation);
    void complete_file(Operation& operation);
    void count_out_file(Socket& socket);
    // Of what no thread has begun: of a socket, or, with nullptr, of all.
    void withdraw_files(const Socket* socket);
    void cut_off_file(Operation& operation, int error);
    Operation* find_waiting(uint64_t id) const;
    void fire(Operation& timer, int64_t now_ns);

    bool owns(const Socket& socket) const {
        return socket.owner.load(std::memory_order_relaxed) == number_;
    }

    const uint8_t number_;
    platform::Kernel& kernel_;
    EpollEngine& engine_;
    Transfer transfer_;
    DescriptorTable& table_;
    Slab& slab_;
    TaskList& completed_;
    TimerWheel wheel_;
    UringEngine* ring_ = nullptr;
    TaskList waiting_;  // kRemoval and kRemoveWaiter of sockets with kRemovalWaiting
    bool ended_ = false;
    ReadyLanes ready_;
    uint64_t round_began_at_ = 0;  // in bytes moved
    int sweep_from_ = 0;
    FilePool* files_ = nullptr;
    Placement* placement_ = nullptr;
    uint32_t files_away_ = 0;
    uint32_t file_bytes_left_ = kRoundFileBytesMax;
    WorkerLog* const log_;  // nullptr: none
    uint64_t renewals_ = 0;
};

}  // namespace cport
