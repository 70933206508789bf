#include "tests/support/recorder.h"

#include <errno.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <utility>

namespace cport::test {

std::ostream& operator<<(std::ostream& stream, const Outcome& outcome) {
    const char* action = MU_ENUM_TO_STRING(COMPLETION_PORT_EPOLL_ACTION, outcome.action);
    const char* result = MU_ENUM_TO_STRING(COMPLETION_PORT_RESULT, outcome.result);
    return stream << "(" << (action != nullptr ? action : "no action") << ", "
                  << (result != nullptr ? result : "no result") << ", " << outcome.amount << ")";
}

Outcome received(size_t bytes) {
    return {COMPLETION_PORT_EPOLL_EPOLLIN, COMPLETION_PORT_RESULT_OK, static_cast<int32_t>(bytes)};
}

Outcome sent(size_t bytes) {
    return {COMPLETION_PORT_EPOLL_EPOLLOUT, COMPLETION_PORT_RESULT_OK, static_cast<int32_t>(bytes)};
}

Outcome ready_to_read() { return {COMPLETION_PORT_EPOLL_EPOLLIN, COMPLETION_PORT_RESULT_OK, -1}; }

Outcome ready_to_write() { return {COMPLETION_PORT_EPOLL_EPOLLOUT, COMPLETION_PORT_RESULT_OK, -1}; }

Outcome spurious_read() { return ready_to_read(); }

Outcome end_of_stream() { return received(0); }

Outcome hung_up() {
    return {COMPLETION_PORT_EPOLL_EPOLLRDHUP, COMPLETION_PORT_RESULT_ABANDONED, -1};
}

Outcome closing(int64_t bytes) {
    return {COMPLETION_PORT_CLOSING, COMPLETION_PORT_RESULT_ABANDONED, static_cast<int32_t>(bytes)};
}

Outcome read_abandoned() {
    return {COMPLETION_PORT_EPOLL_EPOLLIN, COMPLETION_PORT_RESULT_ABANDONED, -1};
}

Outcome write_abandoned(int64_t bytes) {
    return {COMPLETION_PORT_EPOLL_EPOLLOUT, COMPLETION_PORT_RESULT_ABANDONED,
            static_cast<int32_t>(bytes)};
}

Outcome read_failed(int64_t bytes) {
    return {COMPLETION_PORT_EPOLL_EPOLLIN, COMPLETION_PORT_RESULT_ERROR,
            static_cast<int32_t>(bytes)};
}

Outcome write_failed(int64_t bytes) {
    return {COMPLETION_PORT_EPOLL_EPOLLOUT, COMPLETION_PORT_RESULT_ERROR,
            static_cast<int32_t>(bytes)};
}

void Gate::open() {
    std::lock_guard lock(mutex_);
    open_ = true;
    opened_.notify_all();
}

void Gate::wait() {
    std::unique_lock lock(mutex_);
    opened_.wait(lock, [this] { return open_; });
}

bool Gate::is_open() {
    std::lock_guard lock(mutex_);
    return open_;
}

Operation::Operation(Recorder& recorder, std::string buffer)
    : recorder_(recorder), buffer_(std::move(buffer)) {}

Operation& Operation::then(Hook hook) {
    hook_ = std::move(hook);
    return *this;
}

int Operation::add(COMPLETION_PORT_HANDLE port, uint32_t epoll_op, int socket) {
    COMPLETION_PORT_INGRESS_DATA ingress{};
    ingress.epoll_op = static_cast<int>(epoll_op);
    ingress.socket = socket;
    ingress.event_callback = &Operation::on_complete;
    ingress.event_callback_ctx = this;
    ingress.buffer_data.buffer = buffer_.empty() ? nullptr : buffer_.data();
    ingress.buffer_data.length = static_cast<uint32_t>(buffer_.size());
    const int result = completion_port_add(port, &ingress);
    if (result == 0) {
        accepted_.fetch_add(1);
    }
    return result;
}

Completion Operation::wait_for(size_t callbacks) {
    std::unique_lock lock(mutex_);
    completed_.wait(lock, [&] { return completions_.size() >= callbacks; });
    return completions_[callbacks - 1];
}

size_t Operation::callbacks() {
    std::lock_guard lock(mutex_);
    return completions_.size();
}

int Operation::error() { return wait_for(1).error; }

std::string Operation::bytes() {
    const int32_t amount = wait().amount;
    return amount > 0 ? buffer_.substr(0, static_cast<size_t>(amount)) : std::string();
}

void Operation::on_complete(void* context, COMPLETION_PORT_EPOLL_ACTION action,
                            COMPLETION_PORT_RESULT result, int32_t amount) {
    const int error = errno;
    auto* operation = static_cast<Operation*>(context);
    const Completion completion{
        {action, result, amount}, error, ::gettid(), operation->recorder_.next_sequence()};
    if (operation->hook_) {
        operation->hook_(completion);
    }
    // Notified under the lock, so that a waiter may free the operation as soon as it has seen it.
    std::lock_guard lock(operation->mutex_);
    operation->completions_.push_back(completion);
    operation->completed_.notify_all();
}

Operation& Recorder::operation(std::string buffer) {
    std::lock_guard lock(mutex_);
    return operations_.emplace_back(*this, std::move(buffer));
}

void Recorder::expect_each_add_ended_once() {
    std::lock_guard lock(mutex_);
    for (size_t i = 0; i < operations_.size(); ++i) {
        EXPECT_EQ(operations_[i].accepted(), operations_[i].callbacks())
            << "operation " << i << " of this test";
    }
}

}  // namespace cport::test
