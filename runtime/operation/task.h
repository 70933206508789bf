// What travels through a worker: from other threads through its mailbox, then over its run list.
#pragma once

#include <cstdint>

namespace cport {

enum class TaskKind : uint8_t {
    kAdd,         // mailbox: completion_port_add; run list: its completion
    kSubmission,  // the same of an operation that ends in a record
    kTimer,
    kFile,      // mailbox: an operation on a file; becomes kSubmission when it is complete
    kFileDone,  // mailbox: the same, back from the threads for files
    kPost,      // has nothing to do but to complete
    kCancel,    // mailbox only, as is the next
    kMove,
    kRemoval,       // remove_async; run list: on_removed
    kClosing,       // as above, of an operation that closes the descriptor
    kRemoveWaiter,  // a thread that waits inside remove
    kSocketNotice,  // the socket's generation moved
    kSource,        // mailbox: it was attached; run list: its on_detached
    kSourceNotice,  // mailbox only: a kick, or a detach that nobody waits for
    kDetachWaiter,  // a thread that waits inside completion_port_source_detach
    kPlaceNotice,   // mailbox only: a place among the running waiters is free (waiter_places.h)
    kPortEnd,
};

// Whether it is an operation that comes for the first time, with its slot.
constexpr bool has_slot(TaskKind kind) {
    switch (kind) {
        case TaskKind::kFileDone:
        case TaskKind::kRemoveWaiter:
        case TaskKind::kSocketNotice:
        case TaskKind::kSource:
        case TaskKind::kSourceNotice:
        case TaskKind::kDetachWaiter:
        case TaskKind::kPlaceNotice:
        case TaskKind::kPortEnd:
            return false;
        default:
            return true;
    }
}

// One link serves all queues: a task is in one of them at a time. No aggregate, so that derived
// types may use its tail.
struct Task {
    explicit Task(TaskKind task_kind) : kind(task_kind) {}
    Task(const Task&) = delete;
    Task& operator=(const Task&) = delete;

    Task* next = nullptr;
    TaskKind kind;
};

// First in, first out, for one thread.
class TaskList {
 public:
    TaskList() = default;
    TaskList(const TaskList&) = delete;
    TaskList& operator=(const TaskList&) = delete;

    bool empty() const { return head_ == nullptr; }

    void push(Task* task) {
        task->next = nullptr;
        *tail_ = task;
        tail_ = &task->next;
        ++pushed_;
    }
    // How many so far.
    uint64_t pushed() const { return pushed_; }

    Task* pop() {
        Task* task = head_;
        head_ = task->next;
        if (head_ == nullptr) tail_ = &head_;
        return task;
    }

 private:
    Task* head_ = nullptr;
    Task** tail_ = &head_;
    uint64_t pushed_ = 0;
};

}  // namespace cport
