// Very many timers, and timers that expire, move and are cancelled at the same time.
#include <completionport/options.h>
#include <completionport/timers.h>
#include <errno.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <iostream>
#include <random>
#include <thread>
#include <vector>

#include "tests/contract/operations_fixture.h"
#include "tests/contract/process_facts.h"
#include "tests/contract/timing.h"

namespace cport::test {
namespace {

constexpr uint32_t kSlotsMax = 1u << 20;

// Counts how its timers ended.
struct Tally {
    std::atomic<uint32_t> finished{0};
    std::atomic<uint32_t> abandoned{0};
    std::atomic<uint32_t> failed{0};
    std::atomic<uint32_t> early{0};

    uint32_t endings() const { return finished + abandoned + failed; }

    static void on_complete(void* context, const COMPLETION_PORT_COMPLETION* record) {
        auto* tally = static_cast<Tally*>(context);
        if ((record->flags & COMPLETION_PORT_COMPLETION_MORE) != 0) return;
        if (record->result == COMPLETION_PORT_RESULT_OK) {
            const auto expires_ns = static_cast<int64_t>(record->key);
            tally->early += now_ns() < expires_ns ? 1 : 0;
            ++tally->finished;
        } else {
            ++(record->result == COMPLETION_PORT_RESULT_ABANDONED ? tally->abandoned
                                                                  : tally->failed);
        }
    }
};

int start(COMPLETION_PORT_HANDLE port, Tally& tally, int64_t expires_ns, uint64_t* id = nullptr,
          int64_t period_ns = 0) {
    COMPLETION_PORT_TIMER_OPERATION timer{};
    timer.common.size = sizeof(timer);
    timer.common.kind = COMPLETION_PORT_KIND_TIMER;
    timer.common.key = static_cast<uint64_t>(expires_ns);
    timer.common.on_complete = &Tally::on_complete;
    timer.common.context = &tally;
    timer.expires_ns = static_cast<uint64_t>(expires_ns);
    timer.period_ns = static_cast<uint64_t>(period_ns);
    return completion_port_submit(port, &timer.common, id, nullptr);
}

COMPLETION_PORT_HANDLE create_with_limit(uint32_t operations_max) {
    COMPLETION_PORT_OPTIONS options{};
    options.size = sizeof(options);
    options.operations_max = operations_max;
    return completion_port_create_with_options(&options);
}

class TimerRaceTest : public OperationsTest {};
CPORT_ON_EVERY_ENGINE(TimerRaceTest);

// Spec: CP-TIMER-9
TEST_P(TimerRaceTest, AMillionTimersAtOnce) {
    const uint32_t kTimers = runs_shrink() ? 100'000 : 1'000'000;
    const uint32_t seed = std::random_device{}();
    std::cout << "seed " << seed << std::endl;
    std::mt19937 random(seed);
    Tally tally;
    // The end comes while some have expired and most have not.
    const int64_t start_ns = now_ns() + 500 * kMillisecond_ns;
    uint32_t accepted = 0;
    uint32_t passed = 0;
    for (uint32_t i = 0; i < kTimers; ++i) {
        const int64_t expires_ns = start_ns + static_cast<int64_t>(random() % 4'000'000) * 1'000;
        const int result = start(port(), tally, expires_ns);
        accepted += result == 0 ? 1 : 0;
        passed += result == -ETIMEDOUT ? 1 : 0;
    }
    EXPECT_EQ(accepted + passed, kTimers);
    wait_until([&] { return tally.endings() >= accepted / 10; });
    end();
    EXPECT_EQ(tally.endings(), accepted);
    EXPECT_EQ(tally.failed, 0u);
    EXPECT_EQ(tally.early, 0u);
    EXPECT_GT(tally.finished, 0u);
}

// Spec: CP-TIMER-9
TEST_P(TimerRaceTest, TheLimitOfAWorkerIsReachedAndFreedAgain) {
    Tally tally;
    const int64_t far_ns = now_ns() + kHour_ns;
    std::vector<uint64_t> ids;
    int result = 0;
    uint64_t id = 0;
    while ((result = start(port(), tally, far_ns, &id)) == 0) ids.push_back(id);
    EXPECT_EQ(result, -ENOBUFS);
    // The worker may have a few hundred free ones to itself.
    EXPECT_LE(ids.size(), kSlotsMax);
    EXPECT_GE(ids.size(), kSlotsMax - 2'048);
    end();
    EXPECT_EQ(tally.abandoned, ids.size());
}

// Spec: CP-TIMER-9
TEST(TimerLimit, IsReachedAndFreedAgain) {
    constexpr uint32_t kLimit = 512;
    COMPLETION_PORT_HANDLE port = create_with_limit(kLimit);
    ASSERT_NE(port, nullptr);
    Tally tally;
    const int64_t far_ns = now_ns() + kHour_ns;
    std::vector<uint64_t> ids(kLimit);
    for (uint64_t& id : ids) ASSERT_EQ(start(port, tally, far_ns, &id), 0);
    for (int i = 0; i < 3; ++i) EXPECT_EQ(start(port, tally, far_ns), -ENOBUFS);
    // A message to the worker needs a slot too: the port says so, and nothing changed.
    EXPECT_EQ(completion_port_cancel(port, ids[0]), -ENOBUFS);
    EXPECT_EQ(completion_port_timer_move(port, ids[0], static_cast<uint64_t>(far_ns)), -ENOBUFS);
    EXPECT_EQ(tally.endings(), 0u);
    completion_port_dec_ref(port);
    EXPECT_EQ(tally.abandoned, kLimit);
}

struct Refill {
    COMPLETION_PORT_HANDLE port;
    Tally* tally;
    int64_t far_ns;
    int refused_before = 0;
    int accepted_after = 0;
    Gate done;
};

// Spec: CP-TIMER-9
TEST(TimerLimit, WhatHasEndedMakesRoom) {
    constexpr uint32_t kLimit = 512;
    COMPLETION_PORT_HANDLE port = create_with_limit(kLimit);
    ASSERT_NE(port, nullptr);
    Tally tally;
    const int64_t far_ns = now_ns() + kHour_ns;
    for (uint32_t i = 0; i + 100 < kLimit; ++i) ASSERT_EQ(start(port, tally, far_ns), 0);
    for (int round = 0; round < 10; ++round) {
        const uint32_t before = tally.endings();
        uint32_t accepted = 0;
        int result = 0;
        const int64_t soon_ns = now_ns() + 20 * kMillisecond_ns;
        while (accepted < kLimit && (result = start(port, tally, soon_ns)) == 0) ++accepted;
        EXPECT_TRUE(result == -ENOBUFS || result == -ETIMEDOUT) << result;
        EXPECT_GT(accepted, 0u);
        wait_until([&] { return tally.endings() == before + accepted; });
    }
    completion_port_dec_ref(port);
    EXPECT_EQ(tally.failed, 0u);
}

// Spec: CP-TIMER-9
TEST(TimerLimit, APeriodicTimerWithoutASlotForItsRecordEnds) {
    constexpr uint32_t kLimit = 512;
    COMPLETION_PORT_HANDLE port = create_with_limit(kLimit);
    ASSERT_NE(port, nullptr);
    Tally tally;
    RecordLog log;
    Submission& periodic =
        log.submission().as_timer(now_ns() + 100 * kMillisecond_ns, kMillisecond_ns);
    ASSERT_EQ(periodic.submit(port), 0);
    while (start(port, tally, now_ns() + kHour_ns) == 0) {
    }
    const Ending last = ending_of(periodic.wait_for_last().record);
    EXPECT_EQ(last, failed(-ENOBUFS));
    completion_port_dec_ref(port);
    log.expect_each_ended_once();
    EXPECT_EQ(tally.endings() + 1, kLimit);
}

// Spec: CP-TIMER-13
TEST_P(TimerRaceTest, ExpiriesAgainstMovesAndCancels) {
    const size_t kThreads = 4;
    const size_t kEach = static_cast<size_t>(scaled(50'000, 5'000));
    const uint32_t seed = std::random_device{}();
    std::cout << "seed " << seed << std::endl;
    Tally tally;
    std::atomic<uint32_t> accepted{0};
    std::vector<std::thread> threads;
    for (uint32_t i = 0; i < kThreads; ++i) {
        threads.emplace_back([&, i] {
            std::mt19937 random(seed + i);
            std::vector<uint64_t> ids(64);
            for (size_t k = 0; k < kEach; ++k) {
                const auto delay_ns = static_cast<int64_t>(random() % 3'000'000);
                const int64_t period_ns = random() % 8 == 0 ? kMillisecond_ns : 0;
                uint64_t& id = ids[random() % ids.size()];
                // A periodic one must not be lost sight of.
                if (id != 0) completion_port_cancel(port(), id);
                const int result =
                    start(port(), tally, now_ns() + 100'000 + delay_ns, &id, period_ns);
                ASSERT_TRUE(result == 0 || result == -ETIMEDOUT) << result;
                if (result != 0) id = 0;
                accepted += result == 0 ? 1 : 0;
                const uint64_t other = ids[random() % ids.size()];
                if (other == 0) continue;
                const int64_t there_ns = now_ns() + static_cast<int64_t>(random() % 2'000'000);
                const int moved =
                    completion_port_timer_move(port(), other, static_cast<uint64_t>(there_ns));
                EXPECT_TRUE(moved == 0 || moved == -ENOENT || moved == -ETIMEDOUT) << moved;
                if (random() % 4 == 0) completion_port_cancel(port(), other);
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    end();
    EXPECT_EQ(tally.endings(), accepted.load());
    EXPECT_EQ(tally.failed, 0u);
}

}  // namespace
}  // namespace cport::test
