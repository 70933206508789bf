#include "completionport/operations.h"

#include <cerrno>

#include "completionport/timers.h"
#include "runtime/abi/handle.h"
#include "runtime/abi/read_operation.h"

namespace cport {
namespace {

int submit(Port& port, const SubmitRequest& request, uint64_t* id,
           COMPLETION_PORT_COMPLETION* completed) {
    switch (request.record_kind) {
        case COMPLETION_PORT_KIND_TIMER:
            return port.start_timer(request, id);
        case COMPLETION_PORT_KIND_CLOSE:
            return port.close(request, id);
        case COMPLETION_PORT_KIND_FILE_READ:
        case COMPLETION_PORT_KIND_FILE_WRITE:
        case COMPLETION_PORT_KIND_FILE_SYNC:
            return port.submit_file(request, id, completed);
        case COMPLETION_PORT_KIND_RECEIVE_POOLED:
            return port.submit_pooled(request, id, completed);
        default:
            return port.submit(request, id, completed);
    }
}

}  // namespace
}  // namespace cport

extern "C" {

int completion_port_submit(COMPLETION_PORT_HANDLE completion_port,
                           const COMPLETION_PORT_OPERATION* operation, uint64_t* id,
                           COMPLETION_PORT_COMPLETION* completed) {
    if (completion_port == nullptr || operation == nullptr) return -EINVAL;
    cport::SubmitRequest request;
    const int error = cport::read_operation(*operation, true, request);
    if (error != 0) return error;
    if (request.inline_success != (completed != nullptr)) return -EINVAL;
    return cport::submit(*cport::from_handle(completion_port), request, id, completed);
}

int completion_port_submit_batch(COMPLETION_PORT_HANDLE completion_port,
                                 const COMPLETION_PORT_OPERATION* const* operations, uint32_t count,
                                 uint64_t* ids) {
    if (completion_port == nullptr || operations == nullptr || count == 0 || count > INT32_MAX) {
        return -EINVAL;
    }
    cport::Port* port = cport::from_handle(completion_port);
    // The callback of the first may give back the caller's reference while the second is submitted.
    port->inc_ref();
    uint32_t accepted = 0;
    int error = 0;
    while (error == 0 && accepted < count) {
        const COMPLETION_PORT_OPERATION* operation = operations[accepted];
        cport::SubmitRequest request;
        error = operation == nullptr ? -EINVAL : cport::read_operation(*operation, false, request);
        if (error == 0) {
            uint64_t* id = ids == nullptr ? nullptr : ids + accepted;
            error = cport::submit(*port, request, id, nullptr);
        }
        if (error == 0) ++accepted;
    }
    port->dec_ref();
    return accepted == 0 ? error : static_cast<int>(accepted);
}

int completion_port_cancel(COMPLETION_PORT_HANDLE completion_port, uint64_t operation) {
    if (completion_port == nullptr || operation == 0) return -EINVAL;
    return cport::from_handle(completion_port)->cancel(operation);
}

int completion_port_timer_move(COMPLETION_PORT_HANDLE completion_port, uint64_t timer,
                               uint64_t expires_ns) {
    if (completion_port == nullptr || timer == 0) return -EINVAL;
    if (!cport::in_range(expires_ns)) return -ERANGE;
    return cport::from_handle(completion_port)->move_timer(timer, static_cast<int64_t>(expires_ns));
}

int completion_port_post(COMPLETION_PORT_HANDLE completion_port, uint64_t key, int64_t value,
                         ON_COMPLETION_PORT_COMPLETION on_complete, void* context) {
    if (completion_port == nullptr) return -EINVAL;
    return cport::from_handle(completion_port)->post(key, value, on_complete, context);
}

int completion_port_fd(COMPLETION_PORT_HANDLE completion_port) {
    return completion_port == nullptr ? -EINVAL : cport::from_handle(completion_port)->descriptor();
}

int64_t completion_port_next_timeout(COMPLETION_PORT_HANDLE completion_port) {
    if (completion_port == nullptr) return -EINVAL;
    return cport::from_handle(completion_port)->next_timeout_ns();
}

int completion_port_wait(COMPLETION_PORT_HANDLE completion_port,
                         COMPLETION_PORT_COMPLETION* completions, uint32_t completions_max,
                         int64_t timeout_ns) {
    if (completion_port == nullptr || completions == nullptr || completions_max == 0) {
        return -EINVAL;
    }
    return cport::from_handle(completion_port)->wait(completions, completions_max, timeout_ns);
}

int completion_port_wait_leave(COMPLETION_PORT_HANDLE completion_port) {
    if (completion_port == nullptr) return -EINVAL;
    return cport::from_handle(completion_port)->leave_waiters();
}

}  // extern "C"
