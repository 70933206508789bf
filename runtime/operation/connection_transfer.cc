// The part of transfer that begins and ends connections.
#include <sys/epoll.h>

#include <cerrno>

#include "runtime/operation/fields.h"
#include "runtime/operation/outcome.h"
#include "runtime/operation/transfer.h"

namespace cport {
namespace {

// Whether it is told of a connection that has gone, not of the listener: accept(2) asks to retry.
bool concerns_connection(int error) {
    switch (error) {
        case ECONNABORTED:
        case EPROTO:
        case ENOPROTOOPT:
        case ENETDOWN:
        case ENETUNREACH:
        case EHOSTDOWN:
        case EHOSTUNREACH:
        case ENONET:
            return true;
        default:
            return false;
    }
}

}  // namespace

Step Transfer::accept(Socket& socket, Operation& operation) {
    const int accepted = uninterrupted([&] {
        return kernel_.accept(socket.descriptor, address_of(operation),
                              address_length_of(operation), accept_flags(operation));
    });
    if (accepted >= 0) {
        socket.set(kReadSinceEdge);
        socket.clear(kUnexplained);
        succeed(operation, accepted);
        return Step::kCompleted;
    }
    if (accepted == -EAGAIN) {
        socket.clear(kTryRead);
        return Step::kBlocked;
    }
    if (concerns_connection(-accepted)) return Step::kPaused;
    fail(operation, -accepted);
    return Step::kCompleted;
}

Step Transfer::connect(Socket& socket, Operation& operation) {
    if (operation.watch_events != kConnectBegun) {
        // What an earlier attempt left is over.
        socket.read_error = 0;
        socket.set_write_error(0);
        const int error =
            -kernel_.connect(socket.descriptor, address_of(operation), operation.length);
        // An interrupted connect goes on by itself.
        if (error != EINPROGRESS && error != EINTR) {
            return have_connected(socket, operation, error);
        }
        operation.watch_events = kConnectBegun;
        socket.clear(kTryWrite);
        return Step::kBlocked;
    }
    int error = 0;
    const uint32_t found = look(socket, EPOLLOUT, error);
    if (error == 0 && (found & (EPOLLOUT | EPOLLERR | EPOLLHUP)) == 0) {
        socket.clear(kTryWrite);
        return Step::kBlocked;
    }
    // A read may have been told the reason before, and the kernel tells it once.
    if (error == 0) error = socket.write_error();
    if (error == 0) error = -kernel_.take_socket_error(socket.descriptor);
    if (error != 0 && socket.has(kStream) && ends_connection(error)) keep_error(socket, error);
    // TCP has this attempt end in another connect; the one after it begins afresh.
    if (error != 0 && socket.has(kTcp)) {
        kernel_.connect(socket.descriptor, address_of(operation), operation.length);
    }
    return have_connected(socket, operation, error);
}

Step Transfer::have_connected(Socket& socket, Operation& operation, int error) {
    socket.set(kTryRead);
    if (error == 0) {
        // An unconnected socket hangs up; this one need not be asked twice on account of that.
        socket.clear(kNeverDrained);
        succeed(operation, 0);
    } else {
        fail(operation, error);
    }
    return Step::kCompleted;
}

Step Transfer::shutdown(Socket& socket, Operation& operation) {
    const int error = -kernel_.shutdown(socket.descriptor, shutdown_how(operation));
    // What waits to be read may be over.
    socket.set(kTryRead);
    if (error == 0) {
        succeed(operation, 0);
    } else {
        fail(operation, error);
    }
    return Step::kCompleted;
}

}  // namespace cport
