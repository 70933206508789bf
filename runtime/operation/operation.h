// One accepted operation: its request, its progress, and in the end its completion.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "completionport/completion_port.h"
#include "completionport/completions.h"
#include "runtime/operation/task.h"
#include "runtime/timer/timer_wheel.h"

namespace cport {

class BufferPool;
struct Socket;

// The queues of a socket. Watches have no order: each completes by itself.
enum class Direction : uint8_t { kRead, kWrite, kWatch };
constexpr size_t kDirections = 3;

// How far an operation has come, as far as a cancel cares.
enum class Stage : uint8_t {
    kIdle,       // complete, or free
    kUnderWay,   // in the mailbox, or nearly
    kCancelled,  // as kUnderWay, and to end on arrival
    kWaiting,    // in a queue of its socket, or in the wheel
};

// What shares the first line's words with the task.
struct OperationHead : Task {
    using Task::Task;

    Direction direction = Direction::kRead;
    bool wants_hangup = false;  // EPOLLRDHUP stood beside EPOLLIN
    // Once it is under way it is the owner's; others may read it by a stale id.
    std::atomic<Stage> stage = Stage::kIdle;
    int32_t error = 0;  // 0 or a positive errno
};
static_assert(sizeof(OperationHead) == sizeof(Task));

// Two cache lines. It belongs to the thread that adds until it is published, then to the owner of
// its socket, and returns to its slab before the callback runs, or when a waiting thread has taken
// its record. As a timer entry it is in its worker's wheel while it has a deadline.
struct alignas(64) Operation : OperationHead, TimerEntry {
    explicit Operation(uint32_t slot_index) : OperationHead(TaskKind::kAdd), slot(slot_index) {}

    using Task::next;

    const uint32_t slot;
    uint32_t socket_generation = 0;  // the socket's, when the operation was accepted
    union {
        Socket* socket = nullptr;  // nullptr: a timer
        BufferPool* pool;          // of a record with MORE of a receive from a pool
    };
    void* context = nullptr;

    union {
        ON_COMPLETION_PORT_EVENT_COMPLETE on_complete = nullptr;
        ON_COMPLETION_PORT_COMPLETION on_record;  // of kSubmission and kPost; nullptr: waiters
        ON_COMPLETION_PORT_REMOVED on_removed;    // of kRemoval
    };
    char* buffer = nullptr;  // nullptr: readiness only
    uint32_t length = 0;
    uint32_t transferred = 0;
    uint64_t key = 0;
    // Until it is complete, a submission's deadline and a timer's expiry.
    int64_t amount = 0;
    // A timer's period in ns; of a record with MORE, and of kCancel and kMove: the id meant; else
    // as fields.h says.
    uint64_t argument = 0;
    // Of kWatch: poll(2) bits that complete it; 0: the peer's end. Else as fields.h says.
    uint32_t watch_events = 0;
    uint8_t action = COMPLETION_PORT_EPOLL_ACTION_INVALID;
    uint8_t result = COMPLETION_PORT_RESULT_INVALID;
    uint8_t record_kind = 0;  // COMPLETION_PORT_KIND_...; 0: an add
    bool more = false;        // its record is not its operation's last

    // Which use of this slot it is. With the slot it makes the operation's id, which is never 0.
    std::atomic<uint32_t> generation = 1;
    std::atomic<uint32_t> next_free = 0;  // index + 1; other threads may read it after it was taken

    uint64_t id() const {
        return (uint64_t{generation.load(std::memory_order_relaxed)} << 32) | (slot + 1);
    }
    // By whoever gives the slot back: ids of before name nothing any more.
    void begin_generation() {
        const uint32_t following = generation.load(std::memory_order_relaxed) + 1;
        generation.store(following == 0 ? 1 : following, std::memory_order_relaxed);
    }
    bool is(Stage what) const { return stage.load(std::memory_order_relaxed) == what; }
    void enter_under_way() { stage.store(Stage::kUnderWay, std::memory_order_release); }
    void enter(Stage next_stage) { stage.store(next_stage, std::memory_order_relaxed); }

    // Becomes a record of `source` that is not its last.
    void write_more(const Operation& source) {
        kind = TaskKind::kPost;
        record_kind = source.record_kind;
        more = true;
        argument = source.id();
        key = source.key;
        context = source.context;
        on_record = source.on_record;
        buffer = source.buffer;
    }

    bool readiness_only() const { return buffer == nullptr; }
    uint32_t remaining() const { return length - transferred; }

    void complete(COMPLETION_PORT_EPOLL_ACTION with_action, COMPLETION_PORT_RESULT with_result,
                  int64_t with_amount, int32_t with_error = 0) {
        action = static_cast<uint8_t>(with_action);
        result = static_cast<uint8_t>(with_result);
        amount = with_amount;
        error = with_error;
    }

    void write_record(COMPLETION_PORT_COMPLETION& record) const {
        record.operation = record_kind == COMPLETION_PORT_KIND_POST ? 0 : (more ? argument : id());
        record.key = key;
        record.context = context;
        record.buffer = buffer;
        record.value = amount;
        record.error = -error;
        record.result = result;
        record.kind = record_kind;
        record.flags = more ? uint32_t{COMPLETION_PORT_COMPLETION_MORE} : 0u;
        record.reserved = 0;
    }

    // The action of the add itself.
    COMPLETION_PORT_EPOLL_ACTION own_action() const {
        switch (direction) {
            case Direction::kRead:
                return COMPLETION_PORT_EPOLL_EPOLLIN;
            case Direction::kWrite:
                return COMPLETION_PORT_EPOLL_EPOLLOUT;
            case Direction::kWatch:
                break;
        }
        return COMPLETION_PORT_EPOLL_EPOLLRDHUP;
    }
};

static_assert(sizeof(Operation) == 128);

// First in, first out, in one pointer: the tail, whose link leads round to the head.
class OperationQueue {
 public:
    bool empty() const { return tail_ == nullptr; }
    Operation* front() const { return empty() ? nullptr : &head(); }
    // There is one.
    Operation& head() const { return static_cast<Operation&>(*tail_->next); }
    Operation* back() const { return tail_; }

    // Takes `operation` out of the middle. It is in the queue.
    void remove(Operation* operation) {
        Operation* before = tail_;
        while (before->next != operation) before = static_cast<Operation*>(before->next);
        if (before == operation) {
            tail_ = nullptr;
            return;
        }
        before->next = operation->next;
        if (tail_ == operation) tail_ = before;
    }

    // Into an empty queue.
    void push_first(Operation* operation) {
        operation->next = operation;
        tail_ = operation;
    }

    void push(Operation* operation) {
        if (tail_ == nullptr) {
            operation->next = operation;
        } else {
            operation->next = tail_->next;
            tail_->next = operation;
        }
        tail_ = operation;
    }

    // There is one.
    Operation* pop() {
        Operation& first = head();
        if (&first == tail_) {
            tail_ = nullptr;
        } else {
            tail_->next = first.next;
        }
        return &first;
    }

 private:
    Operation* tail_ = nullptr;
};

}  // namespace cport
