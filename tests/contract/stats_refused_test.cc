// Which forms of statistics are filled, and which are refused.
#include <completionport/stats.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "tests/contract/stats_fixture.h"

namespace cport::test {
namespace {

class StatsRefusedTest : public StatsTest {};
CPORT_ON_EVERY_ENGINE(StatsRefusedTest);

// Spec: CP-STATS-12
TEST_P(StatsRefusedTest, AShorterStructureIsFilledAsFarAsItReaches) {
    constexpr uint32_t kSize = offsetof(COMPLETION_PORT_WORKER_STATS, completions_error);
    COMPLETION_PORT_WORKER_STATS stats;
    std::memset(&stats, 0xaa, sizeof(stats));
    stats.size = kSize;
    write_all(keep(unix_pair()).theirs.get(), "x");
    fence();
    ASSERT_EQ(completion_port_worker_stats(port(), 0, &stats), 0);
    EXPECT_EQ(stats.size, kSize);
    EXPECT_EQ(stats.reserved, 0u);
    EXPECT_GT(stats.completions_ok, 0u);
    EXPECT_EQ(stats.completions_error, 0xaaaaaaaaaaaaaaaau);
    stats.reserved = 7;
    stats.size = sizeof(stats.size);
    ASSERT_EQ(completion_port_worker_stats(port(), 0, &stats), 0);
    EXPECT_EQ(stats.reserved, 7u);
    COMPLETION_PORT_STATS all;
    std::memset(&all, 0xaa, sizeof(all));
    all.size = offsetof(COMPLETION_PORT_STATS, total) + 12;
    ASSERT_EQ(completion_port_stats(port(), &all), 0);
    EXPECT_EQ(all.total.size, 12u);
    EXPECT_EQ(all.total.completions[1], 0xaaaaaaaaaaaaaaaau);
    all.size = offsetof(COMPLETION_PORT_STATS, records_queued);
    ASSERT_EQ(completion_port_stats(port(), &all), 0);
    EXPECT_EQ(all.workers, GetParam().workers);
}

// Spec: CP-STATS-12
TEST_P(StatsRefusedTest, TheRestOfALongerStructureBecomesZero) {
    struct {
        COMPLETION_PORT_STATS known;
        std::array<unsigned char, 100> unknown;
    } longer;
    std::memset(&longer, 0xaa, sizeof(longer));
    longer.known.size = sizeof(longer);
    ASSERT_EQ(completion_port_stats(port(), &longer.known), 0);
    EXPECT_EQ(longer.known.size, sizeof(longer));
    EXPECT_EQ(longer.known.total.size, sizeof(longer.known.total));
    EXPECT_EQ(longer.unknown, decltype(longer.unknown){});
    for (const uint64_t each : longer.known.reserved) EXPECT_EQ(each, 0u);
    EXPECT_EQ(longer.known.total.pool_bytes, 0u);
}

// Spec: CP-STATS-13
TEST_P(StatsRefusedTest, RefusesBadForms) {
    COMPLETION_PORT_STATS all;
    COMPLETION_PORT_WORKER_STATS one;
    std::memset(&all, 0xaa, sizeof(all));
    std::memset(&one, 0xaa, sizeof(one));
    const auto workers = static_cast<uint32_t>(GetParam().workers);
    EXPECT_EQ(completion_port_stats(port(), nullptr), -EINVAL);
    EXPECT_EQ(completion_port_worker_stats(port(), 0, nullptr), -EINVAL);
    for (const uint32_t size : {0u, 3u}) {
        all.size = one.size = size;
        EXPECT_EQ(completion_port_stats(port(), &all), -EINVAL);
        EXPECT_EQ(completion_port_worker_stats(port(), 0, &one), -EINVAL);
    }
    all.size = one.size = 4097;
    EXPECT_EQ(completion_port_stats(port(), &all), -E2BIG);
    EXPECT_EQ(completion_port_worker_stats(port(), 0, &one), -E2BIG);
    all.size = sizeof(all);
    one.size = sizeof(one);
    EXPECT_EQ(completion_port_stats(nullptr, &all), -EINVAL);
    EXPECT_EQ(completion_port_worker_stats(nullptr, 0, &one), -EINVAL);
    EXPECT_EQ(completion_port_worker_stats(port(), workers, &one), -EINVAL);
    EXPECT_EQ(completion_port_worker_stats(port(), UINT32_MAX, &one), -EINVAL);
    EXPECT_EQ(all.workers, 0xaaaaaaaau);
    EXPECT_EQ(one.reserved, 0xaaaaaaaau);
}

// Spec: CP-STATS-13
TEST_P(StatsRefusedTest, RefusesAForkedChild) {
    const auto ask = [](COMPLETION_PORT_HANDLE inherited, int) {
        COMPLETION_PORT_STATS all{};
        all.size = sizeof(all);
        COMPLETION_PORT_WORKER_STATS one{};
        one.size = sizeof(one);
        const bool refused = completion_port_stats(inherited, &all) == -EPERM &&
                             completion_port_worker_stats(inherited, 0, &one) == -EPERM;
        return refused && all.workers == 0 ? 0 : 1;
    };
    EXPECT_EQ(status_of_child(ask, port(), 0), 0);
}

}  // namespace
}  // namespace cport::test
