#include "completionport/source.h"

#include <cerrno>

#include "runtime/abi/handle.h"
#include "runtime/abi/structure.h"

namespace cport {
namespace {

constexpr uint32_t kFlags = COMPLETION_PORT_SOURCE_POLL | COMPLETION_PORT_SOURCE_EMPTIES_DESCRIPTOR;
constexpr uint32_t kDefaultBudget = 64;

int read_source(const COMPLETION_PORT_SOURCE& callers, SourceRequest& request) {
    constexpr size_t kLeast = sizeof(callers.size) + sizeof(callers.flags);
    if (callers.size < kLeast) return -EINVAL;
    COMPLETION_PORT_SOURCE known;
    const int error = read_sized(&callers, callers.size, &known, sizeof(known));
    if (error != 0) return error;
    if ((known.flags & ~kFlags) != 0 || known.reserved != 0 || known.drain == nullptr ||
        known.budget > COMPLETION_PORT_SOURCE_BUDGET_MAX) {
        return -EINVAL;
    }
    if (known.descriptor < COMPLETION_PORT_SOURCE_NO_DESCRIPTOR) return -EBADF;
    request.descriptor = known.descriptor;
    request.flags = known.flags;
    request.budget = known.budget == 0 ? kDefaultBudget : known.budget;
    request.worker = known.worker;
    request.drain = known.drain;
    request.arm = known.arm;
    request.on_detached = known.on_detached;
    request.context = known.context;
    return 0;
}

}  // namespace
}  // namespace cport

extern "C" {

int completion_port_source_attach(COMPLETION_PORT_HANDLE completion_port,
                                  const COMPLETION_PORT_SOURCE* source, uint64_t* id) {
    if (completion_port == nullptr || source == nullptr || id == nullptr) return -EINVAL;
    cport::SourceRequest request;
    const int error = cport::read_source(*source, request);
    return error != 0 ? error : cport::from_handle(completion_port)->attach_source(request, id);
}

int completion_port_source_kick(COMPLETION_PORT_HANDLE completion_port, uint64_t id) {
    if (completion_port == nullptr || id == 0) return -EINVAL;
    return cport::from_handle(completion_port)->kick_source(id);
}

int completion_port_source_detach(COMPLETION_PORT_HANDLE completion_port, uint64_t id) {
    if (completion_port == nullptr || id == 0) return -EINVAL;
    return cport::from_handle(completion_port)->detach_source(id);
}

}  // extern "C"
