// What travels through a worker: from other threads through its mailbox, then over its run list.
#pragma once

#include <cstdint>

namespace cport {

enum class TaskKind : uint8_t {
    kOperation,     // mailbox: an add arrives; run list: its completion
    kRemoval,       // remove_async; run list: on_removed
    kRemoveWaiter,  // a thread that waits inside remove
    kSocketNotice,  // the socket's generation moved
    kPortEnd,
};

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
    }

    Task* pop() {
        Task* task = head_;
        head_ = task->next;
        if (head_ == nullptr) tail_ = &head_;
        return task;
    }

 private:
    Task* head_ = nullptr;
    Task** tail_ = &head_;
};

}  // namespace cport
