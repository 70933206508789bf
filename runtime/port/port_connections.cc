// What connections.h and files.h ask of the port beyond what all operations do.
#include <cerrno>

#include "runtime/operation/fields.h"
#include "runtime/port/port.h"
#include "runtime/port/port_templates.h"

namespace cport {

int Port::check_non_blocking(const SubmitRequest& request) {
    platform::Kernel& kernel = platform_.kernel;
    const int non_blocking = kernel.is_non_blocking(request.descriptor);
    if (non_blocking < 0) return non_blocking;
    if (non_blocking == 0) {
        const int kind = kernel.descriptor_kind(request.descriptor);
        if (kind < 0) return kind;
        return kind == static_cast<int>(platform::DescriptorKind::kSocket) ? -EINVAL : -ENOTSOCK;
    }
    if (request.record_kind != COMPLETION_PORT_KIND_SENDFILE) return 0;
    const int file = kernel.descriptor_kind(file_of(request));
    if (file < 0) return file;
    return file == static_cast<int>(platform::DescriptorKind::kFileOrDirectory) ? 0 : -EINVAL;
}

int Port::close(const SubmitRequest& request, uint64_t* id) {
    int error = refusal();
    if (error != 0) return error;
    // What the port knows of the number may be of before it was closed.
    uint64_t word = 0;
    error = learn_kind(request.descriptor, word);
    if (error != 0) return error;
    Worker* owner = nullptr;
    Socket* socket = find_or_create(request.descriptor, owner, error);
    if (socket == nullptr) return error;
    Worker& worker = *owner;
    Operation* closing = take_slot(worker, is_current(worker), error);
    if (closing == nullptr) return error;
    request.write(*closing, *socket, 0);
    closing->kind = TaskKind::kClosing;
    closing->enter(Stage::kIdle);  // nothing can end it before its time
    if (id != nullptr) *id = closing->id();
    return begin_removal(worker, *socket, *closing);
}

}  // namespace cport
