// What the results of system calls mean for an operation; for transfer*.cc alone.
#pragma once

#include <cerrno>
#include <cstdint>

#include "runtime/operation/operation.h"
#include "runtime/operation/socket.h"

namespace cport {

template <typename Call>
auto uninterrupted(Call&& call) {
    for (;;) {
        const auto result = call();
        if (result != -EINTR) return result;
    }
}

// Whether the kernel says this once, of the connection itself. The rest concerns the one call.
inline bool ends_connection(int error) {
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

// What was kept first stays.
inline void keep_error(Socket& socket, int error) {
    if (socket.read_error == 0) socket.read_error = static_cast<uint8_t>(error);
    if (socket.write_error() == 0) socket.set_write_error(error);
}

// The older form says -1 where nothing was transferred.
inline int64_t bytes_before_failure(const Operation& operation) {
    if (operation.transferred > 0) return operation.transferred;
    return operation.kind == TaskKind::kAdd ? -1 : 0;
}

inline void fail(Operation& operation, int error) {
    const bool gone = error == ECONNRESET || error == EPIPE;
    operation.complete(operation.own_action(),
                       gone ? COMPLETION_PORT_RESULT_ABANDONED : COMPLETION_PORT_RESULT_ERROR,
                       bytes_before_failure(operation), error);
}

inline void succeed(Operation& operation, int64_t amount) {
    operation.complete(operation.own_action(), COMPLETION_PORT_RESULT_OK, amount);
}

inline void succeed_with_bytes(Operation& operation) {
    succeed(operation, static_cast<int32_t>(operation.transferred));
}

}  // namespace cport
