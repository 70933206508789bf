#include "runtime/services/echo/connection.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <new>
#include <utility>

#include "runtime/services/echo/shard.h"

namespace cport::echo {
namespace {

// Between one and two seconds without an operation, by a clock of whole seconds.
constexpr uint32_t kBufferKeptTicks = 2;
// So many receives in a row that a small buffer would have held give a large one back.
constexpr uint32_t kSmallReceivesMax = 64;

}  // namespace

Connection::Connection(Shard& shard, Descriptor socket)
    : shard_(shard), socket_(std::move(socket)), active_tick_s_(shard.tick_s()) {
    shard_.link(*this);
}

Connection::~Connection() {
    shard_.buffers().give(buffer_);
    // Closed before the shard is told, which may want the descriptor's number for its spare one.
    socket_.reset();
    shard_.unlink(*this);
}

void Connection::open(Shard& shard, Descriptor socket) {
    // The allocator's own failure is looked at here: a server out of memory refuses, and goes on.
    auto* connection = new (std::nothrow) Connection(shard, std::move(socket));
    if (connection == nullptr) {
        shard.count().accept_failures.add(1);
        shard.unreserve_connection();
        return;
    }
    connection->wait();
}

void Connection::on_event(void* context, COMPLETION_PORT_EPOLL_ACTION action,
                          COMPLETION_PORT_RESULT result, int32_t amount) {
    auto* self = static_cast<Connection*>(context);
    Shard& shard = self->shard_;
    shard.enter();
    self->advance(action, result, amount);
    shard.leave();
}

void Connection::advance(COMPLETION_PORT_EPOLL_ACTION action, COMPLETION_PORT_RESULT result,
                         int32_t amount) {
    const bool recalled = std::exchange(buffer_recalled_, false);
    if (ending_.has_value()) {
        close(*ending_);
        return;
    }
    if (result != COMPLETION_PORT_RESULT_OK) {
        if (action != COMPLETION_PORT_CLOSING) {
            close(CloseReason::kError);
        } else if (recalled) {
            shard_.buffers().give(std::exchange(buffer_, {}));
            wait();
        } else {
            close(CloseReason::kStopped);
        }
        return;
    }
    active_tick_s_ = shard_.tick_s();
    switch (step_) {
        case Step::kWaiting:
            receive();
            break;
        case Step::kReceiving:
            received(amount);
            break;
        case Step::kSending:
            sent();
            break;
    }
}

void Connection::wait() { submit(Step::kWaiting, EPOLLIN, nullptr, 0); }

void Connection::receive() {
    if (buffer_.empty()) {
        buffer_ = shard_.buffers().take_small();
        small_receives_ = 0;
        if (buffer_.empty()) {
            close(CloseReason::kError);
            return;
        }
    }
    submit(Step::kReceiving, EPOLLIN, buffer_.data, buffer_.size_bytes);
}

void Connection::received(int32_t amount) {
    if (amount < 0) {
        receive();
    } else if (amount == 0) {
        shutdown(socket_.get(), SHUT_WR);
        close(CloseReason::kPeerEnded);
    } else {
        shard_.count().bytes_received.add(static_cast<uint64_t>(amount));
        send(static_cast<uint32_t>(amount));
    }
}

void Connection::send(uint32_t bytes) {
    bytes_held_ = bytes;
    submit(Step::kSending, EPOLLOUT, buffer_.data, bytes);
}

void Connection::sent() {
    shard_.count().bytes_sent.add(bytes_held_);
    fit_buffer();
    receive();
}

void Connection::fit_buffer() {
    if (bytes_held_ == buffer_.size_bytes) {
        small_receives_ = 0;
        if (!buffer_.large()) {
            const Buffer large = shard_.buffers().take_large();
            if (!large.empty()) shard_.buffers().give(std::exchange(buffer_, large));
        }
    } else if (buffer_.large()) {
        small_receives_ = bytes_held_ <= kSmallBufferBytes ? small_receives_ + 1 : 0;
        if (small_receives_ == kSmallReceivesMax) shard_.buffers().give(std::exchange(buffer_, {}));
    }
}

void Connection::submit(Step step, int operation, void* buffer, uint32_t length) {
    step_ = step;
    if (shard_.add(socket_.get(), operation, on_event, this, buffer, length) != 0) {
        close(shard_.phase() == Phase::kRunning ? CloseReason::kError : CloseReason::kStopped);
    }
}

void Connection::end(CloseReason reason) {
    if (!ending_.has_value()) {
        ending_ = reason;
        shard_.remove(socket_.get());
    }
}

void Connection::sweep(uint32_t idle_timeout_s) {
    const uint32_t idle_s = shard_.tick_s() - active_tick_s_;
    if (idle_timeout_s != 0 && idle_s > idle_timeout_s) {
        end(CloseReason::kIdle);
    } else if (step_ == Step::kReceiving && idle_s >= kBufferKeptTicks && !buffer_recalled_ &&
               !ending_.has_value()) {
        // The receive ends, with the bytes that it holds or without, and its callback goes on.
        buffer_recalled_ = true;
        shard_.remove(socket_.get());
    }
}

void Connection::close(CloseReason reason) {
    Counters& count = shard_.count();
    switch (reason) {
        case CloseReason::kPeerEnded:
            count.closed_by_peer.add(1);
            break;
        case CloseReason::kError:
            count.closed_by_error.add(1);
            break;
        case CloseReason::kIdle:
            count.closed_idle.add(1);
            break;
        case CloseReason::kStopped:
            count.closed_by_stop.add(1);
            break;
    }
    shard_.remove(socket_.get());
    delete this;
}

void Connection::link_before(Connection* first) {
    next_ = first;
    if (first != nullptr) first->previous_ = this;
}

void Connection::unlink() {
    if (previous_ != nullptr) previous_->next_ = next_;
    if (next_ != nullptr) next_->previous_ = previous_;
}

}  // namespace cport::echo
