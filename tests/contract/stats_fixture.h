// The fixture of the tests of statistics: as OperationsTest, with what the port counts.
#pragma once

#include <completionport/stats.h>

#include <cstdint>
#include <iterator>
#include <numeric>

#include "tests/contract/operations_fixture.h"
#include "tests/contract/process_facts.h"

namespace cport::test {

inline COMPLETION_PORT_STATS stats_of(COMPLETION_PORT_HANDLE port) {
    COMPLETION_PORT_STATS stats{};
    stats.size = sizeof(stats);
    EXPECT_EQ(completion_port_stats(port, &stats), 0);
    return stats;
}

inline COMPLETION_PORT_WORKER_STATS stats_of_worker(COMPLETION_PORT_HANDLE port, uint32_t worker) {
    COMPLETION_PORT_WORKER_STATS stats{};
    stats.size = sizeof(stats);
    EXPECT_EQ(completion_port_worker_stats(port, worker, &stats), 0);
    return stats;
}

inline uint64_t sum_of_kinds(const COMPLETION_PORT_WORKER_STATS& stats) {
    return std::accumulate(std::begin(stats.completions), std::end(stats.completions), uint64_t{0});
}

inline uint64_t sum_of_results(const COMPLETION_PORT_WORKER_STATS& stats) {
    return stats.completions_ok + stats.completions_error + stats.completions_abandoned;
}

class StatsTest : public OperationsTest {
 protected:
    COMPLETION_PORT_STATS stats() const { return stats_of(port()); }
    COMPLETION_PORT_WORKER_STATS total() const { return stats().total; }
    uint64_t of_kind(uint32_t kind) const { return total().completions[kind]; }
    void wait_until_pending(uint64_t operations) {
        wait_until([&] { return total().operations_pending == operations; });
    }
};

}  // namespace cport::test
