// The part of transfer that receives into buffers of a pool, drawn when there is something to
// receive.
#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>

#include "runtime/buffer/buffer_pool.h"
#include "runtime/buffer/receive_size.h"
#include "runtime/operation/fields.h"
#include "runtime/operation/outcome.h"
#include "runtime/operation/transfer.h"

namespace cport {
namespace {

// Whether a receive takes one message, of which nothing is left behind.
bool takes_messages(const Socket& socket) { return socket.has(kTypeKnown) && !socket.has(kStream); }

}  // namespace

char* Transfer::draw_buffer(const Socket& socket, const Operation& operation,
                            uint32_t& size_class) {
    BufferPool& pool = *pool_of(operation);
    if (!takes_messages(socket)) {
        return pool.draw(ReceiveSize::class_of(operation.watch_events), 0, size_class);
    }
    // A message is cut to its buffer. Its length is asked for only when the largest are in use.
    const uint32_t largest = pool.largest_class();
    char* buffer = pool.draw(largest, largest, size_class);
    if (buffer != nullptr) return buffer;
    const int unread = kernel_.unread_bytes(socket.descriptor);
    if (unread < 0) return nullptr;
    const uint32_t fitting = pool.class_for(static_cast<uint32_t>(unread));
    return pool.draw(fitting, fitting, size_class);
}

Step Transfer::receive_pooled(Socket& socket, Operation& operation) {
    uint32_t size_class = 0;
    char* buffer = draw_buffer(socket, operation, size_class);
    if (buffer == nullptr) return found_no_buffer(socket, operation);
    BufferPool& pool = *pool_of(operation);
    const int64_t count = receive_into(socket, buffer, pool.bytes_of(size_class));
    if (count <= 0) pool.release(buffer);
    if (count < 0) return read_failed(socket, operation, static_cast<int>(-count));
    socket.set(kReadSinceEdge);
    socket.clear(kUnexplained);
    if (count > 0) {
        operation.buffer = buffer;
        return have_received(socket, operation, count, size_class);
    }
    if (!socket.has(kDatagram)) return read_ended(socket, operation);
    succeed(operation, 0);
    return Step::kCompleted;
}

Step Transfer::found_no_buffer(Socket& socket, Operation& operation) {
    int error = 0;
    // A pool that is used up concerns nobody who has nothing to receive.
    if (look(socket, EPOLLIN, error) == 0 && error == 0) {
        socket.clear(kTryRead);
        return Step::kBlocked;
    }
    fail(operation, error != 0 ? error : ENOBUFS);
    return Step::kCompleted;
}

int64_t Transfer::receive_into(const Socket& socket, char* buffer, uint32_t room) {
    // Not what the word says, which a removal may have changed already.
    if (socket.has(kTypeKnown)) {
        const int flags = socket.has(kStream) ? 0 : MSG_TRUNC;
        return uninterrupted(
            [&] { return kernel_.receive(socket.descriptor, buffer, room, flags); });
    }
    const struct iovec whole = {buffer, room};
    return uninterrupted([&] { return kernel_.read_now(socket.descriptor, &whole, 1); });
}

Step Transfer::have_received(Socket& socket, Operation& operation, int64_t count,
                             uint32_t size_class) {
    count_moved(count);
    BufferPool& pool = *pool_of(operation);
    const uint32_t room = pool.bytes_of(size_class);
    if (count > room) {
        operation.transferred = room;
        fail(operation, EMSGSIZE);
        return Step::kCompleted;
    }
    const auto bytes = static_cast<uint32_t>(count);
    pool.trim(operation.buffer, bytes);
    if (!takes_messages(socket)) {
        ReceiveSize::learn(operation.watch_events, pool, size_class, bytes);
        const bool came_short = bytes < room;
        // As after a read into a buffer of the caller's.
        if (came_short && socket.has(kTcp) && socket.has(kWatched) && !socket.has(kNeverDrained)) {
            socket.clear(kTryRead);
        }
    }
    succeed(operation, count);
    return Step::kCompleted;
}

}  // namespace cport
