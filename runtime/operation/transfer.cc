#include "runtime/operation/transfer.h"

#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

namespace cport {
namespace {

// POLLNVAL: no such descriptor.
constexpr uint32_t kPollInvalid = 0x20;

template <typename Call>
auto uninterrupted(Call&& call) {
    for (;;) {
        const auto result = call();
        if (result != -EINTR) return result;
    }
}

// Whether the kernel says this once, of the connection itself. The rest concerns the one call.
bool ends_connection(int error) {
    switch (error) {
        case ENOMEM:
        case ENOBUFS:
        case EFAULT:
        case EINVAL:
        case ENOTCONN:
        case EDESTADDRREQ:
        case EISCONN:
        case EMSGSIZE:
        case EOPNOTSUPP:
        case EACCES:
        case EPERM:
        case EBADF:
        case ENOTSOCK:
        case EPIPE:
            return false;
        default:
            return true;
    }
}

void fail(Operation& operation, int error) {
    const bool gone = error == ECONNRESET || error == EPIPE;
    operation.complete(operation.own_action(),
                       gone ? COMPLETION_PORT_RESULT_ABANDONED : COMPLETION_PORT_RESULT_ERROR,
                       operation.transferred > 0 ? static_cast<int32_t>(operation.transferred) : -1,
                       error);
}

void succeed(Operation& operation, int32_t amount) {
    operation.complete(operation.own_action(), COMPLETION_PORT_RESULT_OK, amount);
}

void succeed_with_bytes(Operation& operation) {
    succeed(operation, static_cast<int32_t>(operation.transferred));
}

}  // namespace

void Transfer::abandon(Operation& operation) {
    if (operation.direction == Direction::kRead && operation.transferred > 0) {
        succeed_with_bytes(operation);  // received bytes are never dropped
        return;
    }
    operation.complete(
        COMPLETION_PORT_CLOSING, COMPLETION_PORT_RESULT_ABANDONED,
        operation.transferred > 0 ? static_cast<int32_t>(operation.transferred) : -1);
}

Step Transfer::advance(Socket& socket, Operation& operation) {
    if (operation.readiness_only()) return check_readiness(socket, operation);
    if (!socket.has(kTypeKnown)) {
        const int error = learn_type(socket);
        if (error != 0) {
            fail(operation, error);
            return Step::kCompleted;
        }
    }
    if (operation.direction == Direction::kWrite) return write(socket, operation);
    return socket.has(kStream) ? read(socket, operation) : read_message(socket, operation);
}

int Transfer::learn_type(Socket& socket) {
    const int type = kernel_.socket_type(socket.descriptor);
    if (type < 0) return -type;
    if (type == SOCK_STREAM) {
        const int protocol = kernel_.socket_protocol(socket.descriptor);
        if (protocol < 0) return -protocol;
        socket.set(kStream | (protocol == IPPROTO_TCP ? kTcp : 0u));
    } else if (type != SOCK_SEQPACKET) {
        socket.set(kDatagram);
    }
    socket.set(kTypeKnown);
    return 0;
}

int64_t Transfer::receive(const Socket& socket, Operation& operation, uint32_t chunk) {
    // MSG_TRUNC gives a message's real length; on TCP it would throw bytes away.
    const int flags = socket.has(kStream) ? 0 : MSG_TRUNC;
    return uninterrupted([&] {
        return kernel_.receive(socket.descriptor, operation.buffer + operation.transferred, chunk,
                               flags);
    });
}

int64_t Transfer::send(const Socket& socket, const Operation& operation, uint32_t chunk) {
    return uninterrupted([&] {
        return kernel_.send(socket.descriptor, operation.buffer + operation.transferred, chunk);
    });
}

int Transfer::poll(const Socket& socket, uint32_t events) {
    return uninterrupted([&] { return kernel_.poll_now(socket.descriptor, events); });
}

Step Transfer::read(Socket& socket, Operation& operation) {
    const uint32_t chunk = std::min(operation.remaining(), kRoundBytesMax);
    const int64_t count = receive(socket, operation, chunk);
    if (count < 0) return read_failed(socket, operation, static_cast<int>(-count));
    socket.set(kReadSinceEdge);
    socket.clear(kUnexplained);
    if (count == 0) return read_ended(socket, operation);

    operation.transferred += static_cast<uint32_t>(count);
    const bool came_short = count < chunk;
    if (!came_short && operation.remaining() > 0) return Step::kPaused;
    // Only a watched TCP socket without urgent data promises an edge for whatever comes after a
    // short read.
    if (came_short && socket.has(kTcp) && socket.has(kWatched) && !socket.has(kNeverDrained)) {
        socket.clear(kTryRead);
    }
    succeed_with_bytes(operation);
    return Step::kCompleted;
}

Step Transfer::read_message(Socket& socket, Operation& operation) {
    const int64_t count = receive(socket, operation, operation.length);
    if (count < 0) return read_failed(socket, operation, static_cast<int>(-count));
    socket.set(kReadSinceEdge);
    socket.clear(kUnexplained);
    if (count == 0 && !socket.has(kDatagram)) return read_ended(socket, operation);
    if (count > operation.length) {
        operation.transferred = operation.length;
        fail(operation, EMSGSIZE);
    } else {
        succeed(operation, static_cast<int32_t>(count));
    }
    return Step::kCompleted;
}

Step Transfer::read_ended(Socket& socket, Operation& operation) {
    if (operation.transferred > 0) {
        succeed_with_bytes(operation);
    } else if (socket.read_error != 0) {
        // The kernel told the error once, to somebody else; to say "clean end" now would be a lie.
        fail(operation, socket.read_error);
    } else if (operation.wants_hangup) {
        operation.complete(COMPLETION_PORT_EPOLL_EPOLLRDHUP, COMPLETION_PORT_RESULT_ABANDONED, -1);
    } else {
        succeed(operation, 0);
    }
    return Step::kCompleted;
}

Step Transfer::read_failed(Socket& socket, Operation& operation, int error) {
    if (error == EAGAIN) {
        if (operation.transferred > 0) {
            // Without a registration no edge will come: the next read has to try.
            if (socket.has(kWatched)) socket.clear(kTryRead);
            succeed_with_bytes(operation);
            return Step::kCompleted;
        }
        socket.clear(kTryRead);
        if (socket.read_error != 0) {
            socket.set(kTryRead);
            fail(operation, socket.read_error);
            return Step::kCompleted;
        }
        if (!socket.has(kUnexplained)) return Step::kBlocked;
        socket.clear(kUnexplained);
        succeed(operation, -1);
        return Step::kCompleted;
    }
    if (socket.has(kStream) && ends_connection(error)) {
        // What was kept first stays.
        if (socket.read_error == 0) socket.read_error = static_cast<uint8_t>(error);
        if (socket.write_error == 0) socket.write_error = static_cast<uint8_t>(error);
    }
    if (operation.transferred > 0) {
        succeed_with_bytes(operation);  // data first; the next read meets the error
    } else {
        fail(operation, error);
    }
    return Step::kCompleted;
}

Step Transfer::write(Socket& socket, Operation& operation) {
    if (socket.write_error != 0) {
        fail(operation, socket.write_error);
        return Step::kCompleted;
    }
    const uint32_t chunk = socket.has(kStream) ? std::min(operation.remaining(), kRoundBytesMax)
                                               : operation.remaining();
    const int64_t count = send(socket, operation, chunk);
    if (count < 0) return write_failed(socket, operation, static_cast<int>(-count));

    operation.transferred += static_cast<uint32_t>(count);
    // A short send is tried again: only EAGAIN makes the kernel promise an edge.
    if (operation.remaining() > 0) return Step::kPaused;
    succeed_with_bytes(operation);
    return Step::kCompleted;
}

Step Transfer::write_failed(Socket& socket, Operation& operation, int error) {
    if (error == EAGAIN) {
        socket.clear(kTryWrite);
        return Step::kBlocked;
    }
    if (socket.has(kStream)) {
        if (ends_connection(error)) {
            if (socket.read_error == 0) socket.read_error = static_cast<uint8_t>(error);
            socket.set(kTryRead);
        }
        // EPIPE ends writing only. After part of a send was lost no later one may follow it.
        if (ends_connection(error) || error == EPIPE || operation.transferred > 0) {
            socket.write_error = static_cast<uint8_t>(error);
        }
    }
    fail(operation, error);
    return Step::kCompleted;
}

Step Transfer::check_readiness(Socket& socket, Operation& operation) {
    const bool reads = operation.direction == Direction::kRead;
    const uint32_t wanted = reads ? EPOLLIN : EPOLLOUT;
    const int found = poll(socket, wanted | (operation.wants_hangup ? EPOLLRDHUP : 0u));
    const auto events = static_cast<uint32_t>(found);
    if (found < 0 || (events & kPollInvalid) != 0) {
        fail(operation, found < 0 ? -found : EBADF);
        return Step::kCompleted;
    }
    if ((events & (wanted | EPOLLERR | EPOLLHUP)) == 0) {
        socket.clear(reads ? kTryRead : kTryWrite);
        return Step::kBlocked;
    }
    const bool ended = operation.wants_hangup && (events & EPOLLRDHUP) != 0 && reads;
    // At the urgent mark the count is 0, though bytes may follow it.
    if (ended && kernel_.unread_bytes(socket.descriptor) == 0 &&
        kernel_.at_urgent_mark(socket.descriptor) <= 0) {
        operation.complete(COMPLETION_PORT_EPOLL_EPOLLRDHUP, COMPLETION_PORT_RESULT_ABANDONED, -1);
    } else {
        succeed(operation, -1);
    }
    // The caller's own input follows, so the next edge may be explained by it.
    if (reads) {
        socket.set(kReadSinceEdge);
        socket.clear(kUnexplained);
    }
    return Step::kCompleted;
}

bool Transfer::peer_ended(Socket& socket, int& error) {
    const int found = poll(socket, EPOLLRDHUP);
    const auto events = static_cast<uint32_t>(found);
    error = found < 0 ? -found : ((events & kPollInvalid) != 0 ? EBADF : 0);
    // A socket that was never connected says HUP; other descriptors have no other word for it.
    const uint32_t end_bits = socket.is_socket() ? EPOLLRDHUP : EPOLLHUP | EPOLLERR;
    return error == 0 && (events & end_bits) != 0;
}

}  // namespace cport
