#include "runtime/services/echo/connection.h"

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
        send(completion.buffer, bytes);
    }
}

void Connection::send(void* buffer, uint32_t bytes) {
    auto send = operation_of<COMPLETION_PORT_SEND_OPERATION, &Connection::on_sent>(
        COMPLETION_PORT_KIND_SEND, socket_.get(), *this);
    send.common.deadline_ns = shard_.idle_deadline_ns();
    send.buffer = buffer;
    send.length = bytes;
    Completion completed;
    const int status = shard_.submit_inline(send.common, &completed);
    if (status == 1) sent(buffer, bytes, 0);
    if (status < 0) sent(buffer, 0, status);
}

void Connection::on_sent(const Completion& completion) {
    sent(completion.buffer, completion.value, completion.error);
}

void Connection::sent(void* buffer, int64_t bytes, int error) {
    completion_port_buffer_release(pool_, buffer);
    if (bytes > 0) shard_.count().bytes_sent.add(static_cast<uint64_t>(bytes));
    if (error == 0) {
        receive(shard_.buffers());
    } else {
        fail(error);
    }
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
