#include "runtime/operation/transfer.h"

#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "runtime/operation/fields.h"
#include "runtime/operation/outcome.h"

namespace cport {
namespace {

// POLLNVAL: no such descriptor.
constexpr uint32_t kPollInvalid = 0x20;

}  // namespace

void Transfer::abandon(Operation& operation) {
    if (operation.direction == Direction::kRead && operation.transferred > 0) {
        succeed_with_bytes(operation);  // received bytes are never dropped
        return;
    }
    operation.complete(COMPLETION_PORT_CLOSING, COMPLETION_PORT_RESULT_ABANDONED,
                       bytes_before_failure(operation),
                       operation.kind == TaskKind::kAdd ? 0 : ECANCELED);
}

void Transfer::cut_off(Operation& operation, int error) {
    if (operation.direction == Direction::kRead && operation.transferred > 0) {
        succeed_with_bytes(operation);
        return;
    }
    operation.complete(
        operation.own_action(),
        error == ECANCELED ? COMPLETION_PORT_RESULT_ABANDONED : COMPLETION_PORT_RESULT_ERROR,
        bytes_before_failure(operation), error);
}

Step Transfer::advance_any(Socket& socket, Operation& operation) {
    // Adds, receives and sends are most of what comes.
    if (operation.record_kind > COMPLETION_PORT_KIND_SEND) [[unlikely]]
        return advance_other(socket, operation);
    if (operation.readiness_only()) return check_readiness(socket, operation);
    if (!socket.has(kTypeKnown)) {
        if (operation.kind == TaskKind::kSubmission && !socket.is_socket()) {
            return operation.direction == Direction::kWrite ? write_parts(socket, operation)
                                                            : read_parts(socket, operation);
        }
        const int error = learn_type(socket);
        if (error != 0) {
            fail(operation, error);
            return Step::kCompleted;
        }
    }
    if (operation.direction == Direction::kWrite) return write(socket, operation);
    return socket.has(kStream) ? read(socket, operation) : read_message(socket, operation);
}

Step Transfer::advance_other(Socket& socket, Operation& operation) {
    // A removal that the owner has yet to hear of makes the word say that it is no socket: only
    // vectors and receives from pools may be of something else.
    const bool may_be_other = operation.record_kind == COMPLETION_PORT_KIND_RECEIVE_VECTOR ||
                              operation.record_kind == COMPLETION_PORT_KIND_SEND_VECTOR ||
                              operation.record_kind == COMPLETION_PORT_KIND_RECEIVE_POOLED;
    if (!socket.has(kTypeKnown) && (socket.is_socket() || !may_be_other)) {
        const int error = learn_type(socket);
        if (error != 0) {
            fail(operation, error);
            return Step::kCompleted;
        }
    }
    switch (operation.record_kind) {
        case COMPLETION_PORT_KIND_ACCEPT:
            return accept_goes_on(operation) ? Step::kAccepting : accept(socket, operation);
        case COMPLETION_PORT_KIND_CONNECT:
            return connect(socket, operation);
        case COMPLETION_PORT_KIND_SHUTDOWN:
            return shutdown(socket, operation);
        case COMPLETION_PORT_KIND_RECEIVE_VECTOR:
            return read_parts(socket, operation);
        case COMPLETION_PORT_KIND_SEND_VECTOR:
            return write_parts(socket, operation);
        case COMPLETION_PORT_KIND_RECEIVE_MESSAGE:
            return receive_message(socket, operation);
        case COMPLETION_PORT_KIND_SEND_MESSAGE:
            return send_message(socket, operation);
        case COMPLETION_PORT_KIND_RECEIVE_POOLED:
            return receive_goes_on(operation) ? Step::kReceiving
                                              : receive_pooled(socket, operation);
        default:
            return send_file(socket, operation);
    }
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

int64_t Transfer::send(const Socket& socket, const Operation& operation, uint32_t chunk) {
    return uninterrupted([&] {
        return kernel_.send(socket.descriptor, operation.buffer + operation.transferred, chunk);
    });
}

int Transfer::poll(const Socket& socket, uint32_t events) {
    return uninterrupted([&] { return kernel_.poll_now(socket.descriptor, events); });
}

Step Transfer::read_message(Socket& socket, Operation& operation) {
    return have_read_message(socket, operation, receive(socket, operation, operation.length));
}

Step Transfer::have_read_message(Socket& socket, Operation& operation, int64_t count) {
    if (count < 0) return read_failed(socket, operation, static_cast<int>(-count));
    socket.set(kReadSinceEdge);
    socket.clear(kUnexplained);
    if (count == 0 && !socket.has(kDatagram)) return read_ended(socket, operation);
    count_moved(count);
    if (count > operation.length) {
        operation.transferred = operation.length;
        fail(operation, EMSGSIZE);
    } else {
        succeed(operation, static_cast<int32_t>(count));
    }
    return Step::kCompleted;
}

Step Transfer::read_ended(Socket& socket, Operation& operation) {
    // A send that came back from the ring may have been told why, and is not yet heard.
    if (socket.has(kStream) && socket.has(kWriteCameBack) && socket.read_error == 0) {
        const int error = -socket.queue(Direction::kWrite).front()->error;
        const bool told = error > 0 && !begins_again(-error) && ends_connection(error);
        if (told) socket.read_error = static_cast<uint8_t>(error);
    }
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
        if (operation.kind == TaskKind::kSubmission) return Step::kBlocked;
        succeed(operation, -1);
        return Step::kCompleted;
    }
    if (socket.has(kStream) && ends_connection(error)) {
        keep_error(socket, error);
    }
    if (operation.transferred > 0) {
        succeed_with_bytes(operation);  // data first; the next read meets the error
    } else {
        fail(operation, error);
    }
    return Step::kCompleted;
}

Step Transfer::write(Socket& socket, Operation& operation) {
    if (socket.write_error() != 0) {
        fail(operation, socket.write_error());
        return Step::kCompleted;
    }
    const uint32_t chunk = socket.has(kStream) ? std::min(operation.remaining(), kRoundBytesMax)
                                               : operation.remaining();
    return have_written(socket, operation, send(socket, operation, chunk));
}

Step Transfer::have_written(Socket& socket, Operation& operation, int64_t count) {
    if (count < 0) return write_failed(socket, operation, static_cast<int>(-count));

    count_moved(count);
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
            socket.set_write_error(error);
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

uint32_t Transfer::look(Socket& socket, uint32_t events, int& error) {
    const int found = poll(socket, events);
    const auto bits = static_cast<uint32_t>(found);
    error = found < 0 ? -found : ((bits & kPollInvalid) != 0 ? EBADF : 0);
    return error == 0 ? bits : 0;
}

bool Transfer::watched_for(const Socket& socket, Operation& operation, uint32_t found) {
    if (operation.kind == TaskKind::kSubmission) {
        const uint32_t bits = found & (operation.watch_events | EPOLLERR | EPOLLHUP);
        if (bits == 0) return false;
        operation.complete(operation.own_action(), COMPLETION_PORT_RESULT_OK, bits);
        return true;
    }
    // A socket that was never connected says HUP; other descriptors have no other word for it.
    const uint32_t end_bits = socket.is_socket() ? EPOLLRDHUP : EPOLLHUP | EPOLLERR;
    if ((found & end_bits) == 0) return false;
    operation.complete(COMPLETION_PORT_EPOLL_EPOLLRDHUP, COMPLETION_PORT_RESULT_ABANDONED, -1);
    return true;
}

}  // namespace cport
