#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <mutex>

#include "completionport/options.h"
#include "completionport/stats.h"
#include "completionport/testing/capture_state.h"
#include "completionport/testing/completion_capture.h"
#include "completionport/testing/sized_structure.h"

namespace completionport::testing {
namespace {

constexpr uint32_t kStructureBytesMax = 4096;

// 0, or the error for what the arguments alone tell.
template <typename Stats>
int refusal_of(COMPLETION_PORT_HANDLE completion_port, const Stats* stats) {
    if (completion_port == nullptr || stats == nullptr || stats->size < sizeof(stats->size)) {
        return -EINVAL;
    }
    return stats->size > kStructureBytesMax ? -E2BIG : 0;
}

template <typename Stats>
void write(Stats known, Stats* callers) {
    known.size = callers->size;
    write_sized(&known, sizeof(known), callers, callers->size);
}

uint32_t workers_of(const CapturedOptions& captured) {
    return captured.options.workers == 0 ? 1 : captured.options.workers;
}

COMPLETION_PORT_STATS first_stats(const CapturedOptions& captured) {
    COMPLETION_PORT_STATS stats{};
    stats.workers = workers_of(captured);
    stats.engine = COMPLETION_PORT_ENGINE_EPOLL;
    if (captured.options.size == 0) {
        stats.engine_reason = COMPLETION_PORT_ENGINE_REASON_DEFAULT;
    } else if (captured.options.engine == COMPLETION_PORT_ENGINE_IO_URING &&
               (captured.options.flags & COMPLETION_PORT_OPTION_CALLER_DRIVEN) != 0) {
        stats.engine_reason = COMPLETION_PORT_ENGINE_REASON_CALLER_DRIVEN;
    } else if (captured.options.engine == COMPLETION_PORT_ENGINE_AUTO) {
        stats.engine_reason = COMPLETION_PORT_ENGINE_REASON_TABLE;
    } else {
        stats.engine_reason = COMPLETION_PORT_ENGINE_REASON_ASKED;
    }
    return stats;
}

}  // namespace

int CompletionCapture::completion_port_stats(COMPLETION_PORT_HANDLE completion_port,
                                             COMPLETION_PORT_STATS* stats) {
    const int refusal = refusal_of(completion_port, stats);
    if (refusal != 0) return refusal;
    const std::lock_guard lock(state_->mutex_);
    const State::Port* const port = state_->find(completion_port, "completion_port_stats");
    if (port == nullptr) return -EINVAL;
    COMPLETION_PORT_STATS known = port->stats.value_or(first_stats(port->options));
    constexpr uint32_t kBefore = offsetof(COMPLETION_PORT_STATS, total);
    constexpr uint32_t kTotal = sizeof(known.total);
    known.total.size = stats->size <= kBefore ? 0 : std::min(stats->size - kBefore, kTotal);
    write(known, stats);
    return 0;
}

int CompletionCapture::completion_port_worker_stats(COMPLETION_PORT_HANDLE completion_port,
                                                    uint32_t worker,
                                                    COMPLETION_PORT_WORKER_STATS* stats) {
    const int refusal = refusal_of(completion_port, stats);
    if (refusal != 0) return refusal;
    const std::lock_guard lock(state_->mutex_);
    State::Port* const port = state_->find(completion_port, "completion_port_worker_stats");
    if (port == nullptr || worker >= workers_of(port->options)) return -EINVAL;
    write(port->worker_stats[worker], stats);
    return 0;
}

void CompletionCapture::set_stats(COMPLETION_PORT_HANDLE completion_port,
                                  const COMPLETION_PORT_STATS& stats) {
    const std::lock_guard lock(state_->mutex_);
    State::Port* const port = state_->find(completion_port, "set_stats");
    if (port != nullptr) port->stats = stats;
}

void CompletionCapture::set_worker_stats(COMPLETION_PORT_HANDLE completion_port, uint32_t worker,
                                         const COMPLETION_PORT_WORKER_STATS& stats) {
    const std::lock_guard lock(state_->mutex_);
    State::Port* const port = state_->find(completion_port, "set_worker_stats");
    if (port == nullptr) return;
    if (worker >= workers_of(port->options)) {
        ADD_FAILURE() << "set_worker_stats: the port has no worker " << worker;
        return;
    }
    port->worker_stats[worker] = stats;
}

}  // namespace completionport::testing
