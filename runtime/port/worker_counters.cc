#include "runtime/port/worker_counters.h"

#include <algorithm>

namespace cport {

void WorkerCounters::add_to(COMPLETION_PORT_WORKER_STATS& stats) const {
    std::array<uint64_t, kResults> results{};
    for (uint32_t kind = 0; kind < kKinds; ++kind) {
        const uint64_t at_once = get(inline_[kind]);
        stats.inline_successes += at_once;
        stats.completions[kind] += at_once;
        results[COMPLETION_PORT_RESULT_OK] += at_once;
        for (uint32_t result = 0; result < kResults; ++result) {
            const uint64_t called = get(called_[cell(kind, result)]);
            const uint64_t queued = get(queued_[cell(kind, result)]);
            stats.callbacks += called;
            stats.records_queued += queued;
            stats.completions[kind] += called + queued;
            results[result] += called + queued;
        }
    }
    stats.completions_ok += results[COMPLETION_PORT_RESULT_OK];
    stats.completions_error += results[COMPLETION_PORT_RESULT_ERROR];
    stats.completions_abandoned += results[COMPLETION_PORT_RESULT_ABANDONED];
    stats.callbacks += get(removed_);
    stats.rounds += get(rounds_);
    stats.sleeps += get(sleeps_);
    stats.batches += get(batches_);
    stats.events += get(events_);
    stats.mail += get(mail_);
    stats.sweeps += get(sweeps_);
    stats.descriptors_renewed += get(renewed_);
    stats.pool_buffers += get(pool_buffers_);
    stats.pool_bytes += get(pool_bytes_);
    stats.pool_drops += get(pool_drops_);
    stats.operations_pending += get(pending_);
    stats.timers_pending += get(timers_);
    stats.run_list_max = std::max(stats.run_list_max, get(run_list_max_));
}

}  // namespace cport
