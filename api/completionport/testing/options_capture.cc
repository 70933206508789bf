#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <vector>

#include "completionport/options.h"
#include "completionport/testing/capture_state.h"
#include "completionport/testing/completion_capture.h"
#include "completionport/testing/sized_structure.h"

namespace completionport::testing {
namespace {

constexpr uint32_t kFlags =
    COMPLETION_PORT_OPTION_CALLER_DRIVEN | COMPLETION_PORT_OPTION_SINGLE_THREADED;
constexpr uint64_t kSpinMax_ns = 1'000'000'000;
constexpr uint64_t kIdleWaitMin_ns = 1'000'000;
constexpr uint32_t kOperationsMax = 1u << 20;
constexpr size_t kNameMax = 12;

bool is_idle_wait(uint64_t idle_wait_ns) {
    return idle_wait_ns == 0 || idle_wait_ns == COMPLETION_PORT_IDLE_WAIT_FOREVER ||
           (idle_wait_ns >= kIdleWaitMin_ns && idle_wait_ns <= INT64_MAX);
}

bool flags_fit(const COMPLETION_PORT_OPTIONS& options) {
    if ((options.flags & ~kFlags) != 0) return false;
    if ((options.flags & COMPLETION_PORT_OPTION_CALLER_DRIVEN) == 0) return options.flags == 0;
    return options.workers <= 1 && options.worker_cpus == nullptr;
}

bool in_range(const COMPLETION_PORT_OPTIONS& options) {
    return options.sockets_max <= COMPLETION_PORT_SOCKETS_MAX &&
           options.mailbox_max <= COMPLETION_PORT_MAILBOX_MAX &&
           options.waiters_running_max <= COMPLETION_PORT_WAITERS_RUNNING_MAX &&
           options.log_level <= COMPLETION_PORT_LOG_DEBUG &&
           options.engine <= COMPLETION_PORT_ENGINE_IO_URING &&
           options.workers <= COMPLETION_PORT_WORKERS_MAX && options.spin_ns <= kSpinMax_ns &&
           is_idle_wait(options.idle_wait_ns) &&
           options.file_threads <= COMPLETION_PORT_FILE_THREADS_MAX &&
           options.operations_max <= kOperationsMax &&
           (options.name == nullptr || strnlen(options.name, kNameMax + 1) <= kNameMax);
}

// CPUs or nodes of each worker. False: one is none, and not -1.
bool copy_places(const int32_t* places, uint32_t workers, std::vector<int32_t>& copies) {
    if (places == nullptr) return true;
    copies.assign(places, places + workers);
    return std::none_of(copies.begin(), copies.end(), [](int32_t place) { return place < -1; });
}

// 0, or the error for what the arguments alone tell.
int read_options(const COMPLETION_PORT_OPTIONS& callers, CapturedOptions& captured) {
    COMPLETION_PORT_OPTIONS& options = captured.options;
    if (callers.size < sizeof(callers.size) + sizeof(callers.flags)) return -EINVAL;
    const int error = read_sized(&callers, callers.size, &options, sizeof(options));
    if (error != 0) return error;
    if (!flags_fit(options) || !in_range(options)) return -EINVAL;
    const uint32_t workers = options.workers == 0 ? 1 : options.workers;
    if (!copy_places(options.worker_cpus, workers, captured.worker_cpus) ||
        !copy_places(options.worker_nodes, workers, captured.worker_nodes)) {
        return -EINVAL;
    }
    if (options.name != nullptr) captured.name = options.name;
    options.worker_cpus = nullptr;
    options.worker_nodes = nullptr;
    options.name = nullptr;
    return 0;
}

bool is_caller_driven(const CapturedOptions& captured) {
    return (captured.options.flags & COMPLETION_PORT_OPTION_CALLER_DRIVEN) != 0;
}

}  // namespace

COMPLETION_PORT_HANDLE CompletionCapture::completion_port_create_with_options(
    const COMPLETION_PORT_OPTIONS* options) {
    CapturedOptions captured;
    const int error = options == nullptr ? -EINVAL : read_options(*options, captured);
    if (error != 0) {
        errno = -error;
        return nullptr;
    }
    const std::lock_guard lock(state_->mutex_);
    return state_->new_port(captured);
}

int CompletionCapture::completion_port_fd(COMPLETION_PORT_HANDLE completion_port) {
    if (completion_port == nullptr) return -EINVAL;
    const std::lock_guard lock(state_->mutex_);
    const State::Port* const port = state_->find(completion_port, "completion_port_fd");
    if (port == nullptr) return -EINVAL;
    return is_caller_driven(port->options) ? INT32_MAX : -ENOTSUP;
}

int64_t CompletionCapture::completion_port_next_timeout(COMPLETION_PORT_HANDLE completion_port) {
    if (completion_port == nullptr) return -EINVAL;
    const std::lock_guard lock(state_->mutex_);
    const State::Port* const port = state_->find(completion_port, "completion_port_next_timeout");
    if (port == nullptr) return -EINVAL;
    if (!is_caller_driven(port->options)) return -ENOTSUP;
    const bool has_records = !port->records.empty() && port->has_place();
    const bool has_work = has_records || !state_->queue_.empty();
    return has_work ? 0 : INT64_MAX;
}

CapturedOptions CompletionCapture::options(COMPLETION_PORT_HANDLE completion_port) const {
    const std::lock_guard lock(state_->mutex_);
    const State::Port* const port = state_->find_known(completion_port);
    return port == nullptr ? CapturedOptions{} : port->options;
}

}  // namespace completionport::testing
