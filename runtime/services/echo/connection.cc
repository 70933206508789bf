#include "runtime/services/echo/connection.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "runtime/services/echo/shard.h"

namespace cport::echo {

Connection::Connection(Shard& shard, Descriptor socket)
    : shard_(shard), socket_(std::move(socket)) {}

Connection::~Connection() { shard_.end_operations(socket_.get()); }

void Connection::start(std::list<Connection>::iterator self) {
    self_ = self;
    receive(shard_.buffers());
}

void Connection::stop() { shard_.end_operations(socket_.get()); }

void Connection::receive(COMPLETION_PORT_BUFFER_POOL_HANDLE pool) {
    pool_ = pool;
    auto receive = operation_of<COMPLETION_PORT_RECEIVE_POOLED_OPERATION, &Connection::on_received>(
        COMPLETION_PORT_KIND_RECEIVE_POOLED, socket_.get(), *this);
    receive.common.deadline_ns = shard_.idle_deadline_ns();
    receive.pool = pool;
    receive.first_bytes = receive_bytes_;
    const int status = shard_.submit(receive.common);
    if (status != 0) fail(status);
}

void Connection::on_received(const Completion& completion) {
    if (completion.error == -ENOBUFS && pool_ != shard_.last_buffers()) {
        // Others hold all; one of the last buffers is there for each connection.
        receive(shard_.last_buffers());
    } else if (completion.result != COMPLETION_PORT_RESULT_OK) {
        fail(completion.error);
    } else if (completion.value == 0) {
        close(shard_.count().closed_by_peer);
    } else {
        const auto bytes = static_cast<uint32_t>(completion.value);
        shard_.count().bytes_received.add(bytes);
        receive_bytes_ = std::clamp(2 * bytes, receive_bytes_ / 2, kBufferBytesMax);
        buffer_ = completion.buffer;
        unsent_ = static_cast<char*>(buffer_);
        unsent_bytes_ = bytes;
        send();
    }
}

void Connection::send() {
    auto send = operation_of<COMPLETION_PORT_SEND_OPERATION, &Connection::on_sent>(
        COMPLETION_PORT_KIND_SEND, socket_.get(), *this);
    send.common.deadline_ns = shard_.idle_deadline_ns();
    send.buffer = unsent_;
    send.length = unsent_bytes_;
    if (send.common.deadline_ns != 0) unread_bytes_ = unread_bytes();
    Completion completed;
    const int status = shard_.submit_inline(send.common, &completed);
    if (status == 1) sent(unsent_bytes_, 0);
    if (status < 0) sent(0, status);
}

void Connection::on_sent(const Completion& completion) { sent(completion.value, completion.error); }

void Connection::sent(int64_t bytes, int error) {
    bytes = std::max<int64_t>(bytes, 0);
    shard_.count().bytes_sent.add(static_cast<uint64_t>(bytes));
    unsent_ += bytes;
    unsent_bytes_ -= static_cast<uint32_t>(bytes);
    // A slow peer is not an idle one. The kernel asks for more only when much of its queue is free.
    if (error == -ETIMEDOUT && unread_bytes() < unread_bytes_ + bytes) {
        send();
        return;
    }
    completion_port_buffer_release(pool_, buffer_);
    if (error == 0) {
        receive(shard_.buffers());
    } else {
        fail(error);
    }
}

int64_t Connection::unread_bytes() const {
    int bytes = 0;
    return ioctl(socket_.get(), SIOCOUTQ, &bytes) == 0 ? bytes : 0;
}

void Connection::fail(int error) {
    Counters& count = shard_.count();
    switch (error) {
        case -ETIMEDOUT:
            close(count.closed_idle);
            break;
        case -ECANCELED:
        case -ESHUTDOWN:
            close(count.closed_by_stop);
            break;
        default:
            close(count.closed_by_error);
            break;
    }
}

void Connection::close(Counter& reason) {
    reason.add(1);
    shard_.disconnect(self_);
}

}  // namespace cport::echo
