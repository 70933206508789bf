#include "completionport/options.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "platform/linux/linux_platform.h"
#include "runtime/abi/handle.h"
#include "runtime/abi/structure.h"
#include "runtime/engine/engine_table.h"

namespace cport {
namespace {

constexpr uint32_t kFlags =
    COMPLETION_PORT_OPTION_CALLER_DRIVEN | COMPLETION_PORT_OPTION_SINGLE_THREADED;
constexpr int32_t kAny = -1;
constexpr uint64_t kSpinMax_ns = 1'000'000'000;
constexpr uint64_t kIdleWaitMin_ns = 1'000'000;
constexpr size_t kNameMax = 12;

bool fits_a_name(const char* name) {
    return name == nullptr || strnlen(name, kNameMax + 1) <= kNameMax;
}

void choose_engine(uint32_t asked_for, PortOptions& options) {
    if (asked_for == COMPLETION_PORT_ENGINE_AUTO) {
        options.engine = engine_of_table(options.spin_ns);
        options.engine_reason = COMPLETION_PORT_ENGINE_REASON_TABLE;
    } else {
        options.engine = asked_for;
        options.engine_reason = COMPLETION_PORT_ENGINE_REASON_ASKED;
    }
    // A ring belongs to one thread, and while that is outside the kernel nothing makes the ring's
    // descriptor readable.
    if (options.engine == COMPLETION_PORT_ENGINE_IO_URING && options.caller_driven) {
        options.engine = COMPLETION_PORT_ENGINE_EPOLL;
        options.engine_reason = COMPLETION_PORT_ENGINE_REASON_CALLER_DRIVEN;
    }
}

int read_options(const COMPLETION_PORT_OPTIONS& callers, PortOptions& options) {
    constexpr size_t kLeast = sizeof(callers.size) + sizeof(callers.flags);
    if (callers.size < kLeast) return -EINVAL;
    COMPLETION_PORT_OPTIONS known;
    const int error = read_sized(&callers, callers.size, &known, sizeof(known));
    if (error != 0) return error;
    const bool forever = known.idle_wait_ns == COMPLETION_PORT_IDLE_WAIT_FOREVER;
    const bool idle_in_range =
        known.idle_wait_ns == 0 || forever ||
        (known.idle_wait_ns >= kIdleWaitMin_ns && known.idle_wait_ns <= INT64_MAX);
    const bool caller_driven = (known.flags & COMPLETION_PORT_OPTION_CALLER_DRIVEN) != 0;
    const bool single_threaded = (known.flags & COMPLETION_PORT_OPTION_SINGLE_THREADED) != 0;
    if (caller_driven ? known.workers > 1 || known.worker_cpus != nullptr : single_threaded) {
        return -EINVAL;
    }
    if ((known.flags & ~kFlags) != 0 || known.sockets_max > COMPLETION_PORT_SOCKETS_MAX ||
        known.mailbox_max > COMPLETION_PORT_MAILBOX_MAX ||
        known.waiters_running_max > COMPLETION_PORT_WAITERS_RUNNING_MAX ||
        known.engine > COMPLETION_PORT_ENGINE_IO_URING ||
        known.log_level > COMPLETION_PORT_LOG_DEBUG ||
        known.workers > COMPLETION_PORT_WORKERS_MAX || known.spin_ns > kSpinMax_ns ||
        known.file_threads > COMPLETION_PORT_FILE_THREADS_MAX || !idle_in_range ||
        known.operations_max > Slab::kSlotsMax || !fits_a_name(known.name)) {
        return -EINVAL;
    }
    options.workers = known.workers == 0 ? 1 : known.workers;
    for (const int32_t* places : {known.worker_cpus, known.worker_nodes}) {
        if (places == nullptr) continue;
        if (std::any_of(places, places + options.workers, [](int32_t i) { return i < kAny; })) {
            return -EINVAL;
        }
    }
    options.caller_driven = caller_driven;
    options.single_threaded = single_threaded;
    options.cpus = known.worker_cpus;
    options.nodes = known.worker_nodes;
    options.name = known.name;
    options.spin_ns = static_cast<int64_t>(known.spin_ns);
    options.idle_wait_ns = forever ? Worker::kForever_ns : static_cast<int64_t>(known.idle_wait_ns);
    options.operations_max = known.operations_max;
    options.sockets_max = known.sockets_max;
    options.mailbox_max = known.mailbox_max;
    options.waiters_running_max = known.waiters_running_max;
    if (known.file_threads != 0) options.file_threads = known.file_threads;
    options.on_ended = known.on_ended;
    options.on_ended_context = known.on_ended_context;
    choose_engine(known.engine, options);
    options.on_log = known.on_log;
    options.log_context = known.log_context;
    if (known.log_level != 0) options.log_level = known.log_level;
    return 0;
}

}  // namespace
}  // namespace cport

extern "C" COMPLETION_PORT_HANDLE completion_port_create_with_options(
    const COMPLETION_PORT_OPTIONS* options) {
    cport::PortOptions checked;
    const int error = options == nullptr ? -EINVAL : cport::read_options(*options, checked);
    if (error != 0) {
        errno = -error;
        return nullptr;
    }
    return cport::create_handle(cport::platform::linux_platform(), checked);
}
