#include "completionport/stats.h"

#include <algorithm>
#include <cerrno>
#include <cstddef>

#include "runtime/abi/handle.h"
#include "runtime/abi/structure.h"

namespace cport {
namespace {

// Has `read` fill in a structure of zeroes, and copies it to the caller's as far as that reaches.
template <typename Stats, typename Read>
int read_stats(COMPLETION_PORT_HANDLE handle, Stats* callers, Read read) {
    if (handle == nullptr || callers == nullptr || callers->size < sizeof(callers->size)) {
        return -EINVAL;
    }
    const uint32_t size = callers->size;
    if (size > kStructureBytesMax) return -E2BIG;
    Stats known{};
    known.size = size;
    const int error = read(*from_handle(handle), known);
    if (error == 0) write_sized(&known, sizeof(known), callers, size);
    return error;
}

}  // namespace
}  // namespace cport

extern "C" {

int completion_port_stats(COMPLETION_PORT_HANDLE completion_port, COMPLETION_PORT_STATS* stats) {
    return cport::read_stats(
        completion_port, stats, [](cport::Port& port, COMPLETION_PORT_STATS& known) {
            constexpr uint32_t kBefore = offsetof(COMPLETION_PORT_STATS, total);
            constexpr uint32_t kTotal = sizeof(known.total);
            known.total.size = known.size <= kBefore ? 0 : std::min(known.size - kBefore, kTotal);
            return port.stats(known);
        });
}

int completion_port_worker_stats(COMPLETION_PORT_HANDLE completion_port, uint32_t worker,
                                 COMPLETION_PORT_WORKER_STATS* stats) {
    return cport::read_stats(completion_port, stats,
                             [worker](cport::Port& port, COMPLETION_PORT_WORKER_STATS& known) {
                                 return port.worker_stats(worker, known);
                             });
}

}  // extern "C"
