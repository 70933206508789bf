// Operations that wait for a thread: first in, first out, and any of them may be taken out.
#pragma once

#include <cstdint>

#include "runtime/operation/operation.h"

namespace cport {

// Linked forward through `next`; back, through `amount`, to whatever points at the operation.
// An operation that was never in a queue has an amount of 0.
class FileQueue {
 public:
    FileQueue() = default;
    FileQueue(const FileQueue&) = delete;
    FileQueue& operator=(const FileQueue&) = delete;

    bool empty() const { return head_ == nullptr; }
    Operation* front() const { return static_cast<Operation*>(head_); }
    static Operation* behind(const Operation& operation) {
        return static_cast<Operation*>(operation.next);
    }
    static bool holds(const Operation& operation) { return operation.amount != 0; }

    void push(Operation& operation) {
        operation.next = nullptr;
        set_link(operation, tail_);
        *tail_ = &operation;
        tail_ = &operation.next;
    }

    void remove(Operation& operation) {
        Task** const link = link_of(operation);
        *link = operation.next;
        if (operation.next == nullptr) {
            tail_ = link;
        } else {
            set_link(*behind(operation), link);
        }
        operation.amount = 0;
    }

 private:
    static Task** link_of(const Operation& operation) {
        return reinterpret_cast<Task**>(static_cast<uintptr_t>(operation.amount));
    }
    static void set_link(Operation& operation, Task** link) {
        operation.amount = static_cast<int64_t>(reinterpret_cast<uintptr_t>(link));
    }

    Task* head_ = nullptr;
    Task** tail_ = &head_;
};

}  // namespace cport
