#include "completionport/completion_port.h"

#include <sys/epoll.h>

#include <cerrno>
#include <cstdint>

#include "platform/linux/linux_platform.h"
#include "runtime/abi/handle.h"

namespace cport {
namespace {

constexpr uint32_t kModifiers = static_cast<uint32_t>(EPOLLET) | EPOLLONESHOT;

// Fills in the request from a form that obeys the grammar; -EINVAL or -EBADF otherwise.
int read_form(const COMPLETION_PORT_INGRESS_DATA& data, AddRequest& request) {
    const uint32_t events = static_cast<uint32_t>(data.epoll_op) & ~kModifiers;
    switch (events) {
        case EPOLLIN:
        case EPOLLIN | EPOLLRDHUP:
            request.direction = Direction::kRead;
            break;
        case EPOLLOUT:
        case EPOLLOUT | EPOLLRDHUP:
            request.direction = Direction::kWrite;
            break;
        case EPOLLRDHUP:
            request.direction = Direction::kWatch;
            break;
        default:
            return -EINVAL;
    }
    const EPOLL_BUFFER_DATA& bytes = data.buffer_data;
    const bool has_buffer = bytes.buffer != nullptr;
    if (data.event_callback == nullptr || has_buffer != (bytes.length != 0) ||
        bytes.length > INT32_MAX || (has_buffer && request.direction == Direction::kWatch)) {
        return -EINVAL;
    }
    if (data.socket < 0) return -EBADF;
    request.descriptor = data.socket;
    // The peer's end never ends a send.
    request.wants_hangup = events == (EPOLLIN | EPOLLRDHUP);
    request.buffer = static_cast<char*>(bytes.buffer);
    request.length = bytes.length;
    request.on_complete = data.event_callback;
    request.context = data.event_callback_ctx;
    return 0;
}

}  // namespace

COMPLETION_PORT_HANDLE create_handle(const platform::Platform& platform,
                                     const PortOptions& options) {
    int error = 0;
    Port* port = Port::create(platform, options, error);
    if (port == nullptr) errno = -error;
    return to_handle(port);
}

}  // namespace cport

extern "C" {

COMPLETION_PORT_HANDLE completion_port_create(void) {
    return cport::create_handle(cport::platform::linux_platform());
}

void completion_port_inc_ref(COMPLETION_PORT_HANDLE completion_port) {
    if (completion_port != nullptr) cport::from_handle(completion_port)->inc_ref();
}

void completion_port_dec_ref(COMPLETION_PORT_HANDLE completion_port) {
    if (completion_port != nullptr) cport::from_handle(completion_port)->dec_ref();
}

int completion_port_shutdown(COMPLETION_PORT_HANDLE completion_port) {
    if (completion_port == nullptr) return -EINVAL;
    return cport::from_handle(completion_port)->shutdown();
}

int completion_port_add(COMPLETION_PORT_HANDLE completion_port,
                        const COMPLETION_PORT_INGRESS_DATA* ingress_data) {
    if (completion_port == nullptr || ingress_data == nullptr) return -EINVAL;
    cport::AddRequest request;
    const int error = cport::read_form(*ingress_data, request);
    return error != 0 ? error : cport::from_handle(completion_port)->add(request);
}

void completion_port_remove(COMPLETION_PORT_HANDLE completion_port, SOCKET_HANDLE socket) {
    if (completion_port == nullptr || socket < 0) return;
    cport::from_handle(completion_port)->remove(socket);
}

int completion_port_remove_async(COMPLETION_PORT_HANDLE completion_port, SOCKET_HANDLE socket,
                                 ON_COMPLETION_PORT_REMOVED on_removed, void* context) {
    if (completion_port == nullptr || on_removed == nullptr) return -EINVAL;
    if (socket < 0) return -EBADF;
    return cport::from_handle(completion_port)->remove_async(socket, on_removed, context);
}

}  // extern "C"
