// The completion port: its references, its worker, and the calls that any thread makes.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "completionport/completion_port.h"
#include "platform/platform.h"
#include "runtime/file/file_pool.h"
#include "runtime/operation/operation.h"
#include "runtime/operation/slab.h"
#include "runtime/operation/socket.h"
#include "runtime/port/completion_queue.h"
#include "runtime/port/descriptor_table.h"
#include "runtime/port/placement.h"
#include "runtime/port/request.h"
#include "runtime/port/worker.h"

namespace cport {

struct BufferPoolOptions;

// Every function returns 0 or a negative errno, and may be called from any thread and any callback.
class Port {
 public:
    // nullptr, and a negative errno in `error`.
    static Port* create(const platform::Platform& platform, const PortOptions& options, int& error);

    Port(const Port&) = delete;
    Port& operator=(const Port&) = delete;

    void inc_ref();
    void dec_ref();
    int shutdown();
    int add(const AddRequest& request);
    void remove(int descriptor);
    int remove_async(int descriptor, ON_COMPLETION_PORT_REMOVED on_removed, void* context);

    // 1 with the record in `completed` where asked for. `id`: may be nullptr.
    int submit(const SubmitRequest& request, uint64_t* id, COMPLETION_PORT_COMPLETION* completed);
    int close(const SubmitRequest& request, uint64_t* id);
    int submit_file(const SubmitRequest& request, uint64_t* id,
                    COMPLETION_PORT_COMPLETION* completed);
    // A receive from a pool.
    int submit_pooled(SubmitRequest request, uint64_t* id, COMPLETION_PORT_COMPLETION* completed);
    // nullptr, and a negative errno in `error`.
    BufferPool* create_pool(const BufferPoolOptions& options, int& error);
    int start_timer(const SubmitRequest& request, uint64_t* id);
    int move_timer(uint64_t id, int64_t expires_ns);
    int cancel(uint64_t id);
    int post(uint64_t key, int64_t value, ON_COMPLETION_PORT_COMPLETION on_complete, void* context);
    int wait(COMPLETION_PORT_COMPLETION* completions, uint32_t completions_max, int64_t timeout_ns);
    // This thread processes no records any more.
    int leave_waiters();
    int attach_source(const SourceRequest& request, uint64_t* id);
    int kick_source(uint64_t id);
    int detach_source(uint64_t id);
    // A descriptor, or -ENOTSUP.
    int descriptor() const;
    // Nanoseconds, or negative: none.
    int64_t next_timeout_ns();
    // Into structures of zeroes.
    int stats(COMPLETION_PORT_STATS& stats);
    int worker_stats(uint32_t worker, COMPLETION_PORT_WORKER_STATS& stats) const;

 private:
    Port(const platform::Platform& platform, const PortOptions& options, Worker* workers);
    ~Port();

    static size_t size_with_workers(uint32_t workers);
    int open(const PortOptions& options);
    int open_workers();
    int start_workers(const PortOptions& options);
    platform::MemoryHome home_of_pool() const;
    // -EPERM in a forked child, -ESHUTDOWN once the end has begun.
    int refusal() const;
    bool forked() const { return *fork_mark_ == 0; }
    void begin_end();
    // Of the workers whose threads were started. Outside callbacks it returns when they have ended.
    void leave_threads();
    // The handle and each worker hold the port's memory; the last one frees it.
    void drop_holder();
    static void worker_main(void* argument);

    // The one thread that drives a port without threads of its own.
    bool try_drive();
    void stop_driving();
    int drive(COMPLETION_PORT_COMPLETION* completions, uint32_t completions_max,
              int64_t deadline_ns);
    void step_worker();
    void drive_until(Waiter& waiter);
    void drive_to_the_end();
    int64_t deadline_of(int64_t timeout_ns);

    void worker_ended();
    void log_created() const;
    void add_stats_of(uint32_t worker, COMPLETION_PORT_WORKER_STATS& stats) const;

    // nullptr: none yet.
    Worker* owner_or_none(const Socket& socket) const {
        return owners_[socket.owner.load(std::memory_order_relaxed)];
    }
    Worker& owner_of(const Socket& socket) const { return *owner_or_none(socket); }
    // Whether this thread is the worker's, which may touch its sockets.
    bool is_current(const Worker& worker) const {
        return Worker::current() == &worker || single_threaded_;
    }
    // In one of this port's callbacks the port stays, whatever references there are.
    bool is_inside_callback() const {
        const Worker* current = Worker::current();
        return current != nullptr && current->port == this;
    }
    // The worker for what is bound to none: this thread's own, or always the same one for a thread.
    Worker& worker_for_caller();
    // The record of a number that has no owner yet; nullptr with the reason in `error`, and the
    // number counts for nothing. The second takes numbers unseen.
    Socket* first_use(int descriptor, int& error);
    Socket* adopt(int descriptor, int& error);
    // A record that has its owner.
    Socket* find_or_create(int descriptor, Worker*& owner, int& error);
    // For what goes to the owner: of another thread with its room in the mailbox.
    static Operation* take_slot(Worker& worker, bool as_owner, int& error) {
        return as_owner ? worker.slab().take_as_owner(error) : take_mail_slot(worker, error);
    }
    static Operation* take_mail_slot(Worker& worker, int& error);
    static void release_mail_slot(Worker& worker, Operation* operation) {
        worker.slab().release(operation);
        worker.give_back_mail(1);
    }
    static void release_slot(Worker& worker, Operation* operation, bool as_owner) {
        as_owner ? worker.slab().release_as_owner(operation) : release_mail_slot(worker, operation);
    }
    // The owner's operation, accepted; nullptr with the reason in `error`.
    template <typename Request>
    Operation* accept_as_owner(Worker& worker, Socket& socket, const Request& request, int& error);
    // The same of nearly all that callbacks add: the socket is known, and this thread's, and a slot
    // is at hand. nullptr: it asks for a closer look.
    Operation* accept_at_once(const AddRequest& request, Worker*& owner);
    // These two by value, so that what is accepted by their callers need not be kept in memory.
    [[gnu::noinline]] int add_with_care(AddRequest request);
    template <typename Request>
    int add_from_elsewhere(Worker& worker, Socket& socket, Request request, uint64_t* id);
    int accept_add(Socket& socket, bool needs_socket, bool foreign, uint32_t& generation);
    int learn_kind(int descriptor, uint64_t& word);
    // The worker whose slot an id names, or nullptr.
    Worker* worker_of(uint64_t id);
    // A message about an operation to its worker.
    int tell_worker(Worker& worker, TaskKind kind, uint64_t id, int64_t amount);
    int check_time(int64_t time_ns);
    int accept_removal(Socket& socket, Operation& removal);
    // Starts what ends a socket, or gives its slot back.
    int begin_removal(Worker& worker, Socket& socket, Operation& removal);
    Worker& worker_for_source(uint32_t wanted);
    // One that is attached, or whose on_detached has not returned; or nullptr.
    Source* find_source(uint64_t id, Worker*& worker);
    // False: its worker has ended.
    static bool notify_source(Worker& worker, Source& source);
    // Whether an operation on descriptors that do not block may be accepted.
    int check_non_blocking(const SubmitRequest& request);
    int check_file(const SubmitRequest& request);
    int accept_file(Socket& socket, uint32_t& generation);
    // Runs on a thread for files.
    static void file_done(void* port, Operation& operation);

    const platform::Platform platform_;
    std::atomic<uint32_t> references_ = 1;
    std::atomic<bool> ending_ = false;
    std::atomic<uint32_t> holders_ = 1;
    const volatile uint32_t* fork_mark_ = nullptr;
    Worker* const workers_;  // behind the port, in the same memory
    const uint32_t worker_count_;
    const bool caller_driven_;
    const bool single_threaded_;
    bool driven_to_the_end_ = false;
    std::atomic<uint32_t> driver_ = 0;  // 1: a thread drives
    uint32_t threads_started_ = 0;
    std::atomic<uint32_t> workers_running_ = 0;
    std::atomic<uint32_t> next_source_ = 0;
    const ON_COMPLETION_PORT_ENDED on_ended_;
    void* const on_ended_context_;
    uint32_t engine_;  // as is the reason, it is settled when the port is open
    uint32_t engine_reason_;
    const Log log_;
    DescriptorTable table_;
    Placement placement_;
    std::array<Slab*, COMPLETION_PORT_WORKERS_MAX> slabs_{};
    std::array<Worker*, COMPLETION_PORT_WORKERS_MAX + 1> owners_{};  // by a socket's owner
    CompletionQueue results_;
    PlaceNotice place_notice_;
    FilePool files_;
};

}  // namespace cport
