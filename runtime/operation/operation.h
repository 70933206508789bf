// One accepted operation: its request, its progress, and in the end its completion.
#pragma once

#include <atomic>
#include <cstdint>

#include "completionport/completion_port.h"
#include "runtime/operation/task.h"

namespace cport {

struct Socket;

enum class Direction : uint8_t { kRead, kWrite, kHangup };

// Two cache lines. It belongs to the thread that adds until it is published, then to the owner of
// its socket, and returns to its slab before the callback runs.
struct alignas(64) Operation : Task {
    explicit Operation(uint32_t slot_index) : Task(TaskKind::kOperation), slot(slot_index) {}

    Direction direction = Direction::kRead;
    bool wants_hangup = false;  // EPOLLRDHUP stood beside EPOLLIN
    int32_t error = 0;          // 0 or a positive errno
    uint32_t slot;
    uint32_t socket_generation = 0;  // the socket's, when the operation was accepted
    Socket* socket = nullptr;
    void* context = nullptr;
    union {
        ON_COMPLETION_PORT_EVENT_COMPLETE on_complete = nullptr;
        ON_COMPLETION_PORT_REMOVED on_removed;  // of kRemoval
    };
    char* buffer = nullptr;  // nullptr: readiness only
    uint32_t length = 0;
    uint32_t transferred = 0;

    COMPLETION_PORT_EPOLL_ACTION action = COMPLETION_PORT_EPOLL_ACTION_INVALID;
    COMPLETION_PORT_RESULT result = COMPLETION_PORT_RESULT_INVALID;
    int32_t amount = 0;

    std::atomic<uint32_t> next_free = 0;  // index + 1; other threads may read it after it was taken

    bool readiness_only() const { return buffer == nullptr; }
    uint32_t remaining() const { return length - transferred; }

    void complete(COMPLETION_PORT_EPOLL_ACTION with_action, COMPLETION_PORT_RESULT with_result,
                  int32_t with_amount, int32_t with_error = 0) {
        action = with_action;
        result = with_result;
        amount = with_amount;
        error = with_error;
    }

    // The action of the add itself.
    COMPLETION_PORT_EPOLL_ACTION own_action() const {
        switch (direction) {
            case Direction::kRead:
                return COMPLETION_PORT_EPOLL_EPOLLIN;
            case Direction::kWrite:
                return COMPLETION_PORT_EPOLL_EPOLLOUT;
            case Direction::kHangup:
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
    Operation* front() const {
        return tail_ == nullptr ? nullptr : static_cast<Operation*>(tail_->next);
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

    Operation* pop() {
        Operation* head = front();
        if (head == tail_) {
            tail_ = nullptr;
        } else {
            tail_->next = head->next;
        }
        return head;
    }

 private:
    Operation* tail_ = nullptr;
};

}  // namespace cport
