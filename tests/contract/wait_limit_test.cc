// The limit of threads that process records: who holds a place, who waits for one, and who gets it.
#include <errno.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "tests/contract/timing.h"
#include "tests/contract/wait_limit_fixture.h"

namespace cport::test {
namespace {

CPORT_ON_EVERY_ENGINE(WaitLimitTest);
INSTANTIATE_TEST_SUITE_P(Driven, WaitLimitTest,
                         ::testing::Values(EngineUnderTest{"caller_driven", nullptr, kNoWorkers,
                                                           COMPLETION_PORT_ENGINE_EPOLL}),
                         engine_name);

// Spec: CP-PLACE-1, CP-PLACE-3, CP-STATS-7
TEST_P(WaitLimitTest, NoMoreThreadsRunThanThereArePlaces) {
    open(2);
    constexpr size_t kWaiters = 5;
    for (size_t i = 0; i < kWaiters; ++i) asleep();
    for (uint64_t key = 1; key <= kWaiters; ++key) post(key);
    std::set<Waiter*> left;
    for (size_t ran = 2; ran <= kWaiters; ++ran) {
        wait_until([&] { return returned() == ran; });
        for (Waiter& waiter : waiters_) {
            if (!waiter.has_returned()) waiter.wait_until_asleep();
        }
        EXPECT_EQ(returned(), ran);
        EXPECT_EQ(stats().waiters_running, 2u);
        EXPECT_EQ(stats().records_waiting, kWaiters - ran);
        for (Waiter& waiter : waiters_) {
            if (!waiter.has_returned() || left.count(&waiter) != 0) continue;
            EXPECT_EQ(waiter.leave(), 0);
            left.insert(&waiter);
            break;
        }
    }
    EXPECT_EQ(stats().waiters_running, 1u);
}

// Spec: CP-PLACE-2
TEST_P(WaitLimitTest, AWaitGivesBackItsPlaceAndTakesItAgain) {
    open(1);
    Waiter* other = nullptr;
    for (uint64_t key = 1; key <= 3; ++key) post(key);
    for (int i = 0; i < 3; ++i) {
        EXPECT_EQ(wait(i == 1 ? 0 : kForever_ns), 1);
        EXPECT_EQ(stats().waiters_running, 1u);
        if (other == nullptr) other = &asleep();
        EXPECT_FALSE(other->has_returned());
    }
    // Nothing is left to take, so the place is given back.
    EXPECT_EQ(wait(0), -ETIMEDOUT);
    EXPECT_EQ(stats().waiters_running, 0u);
    post(4);
    EXPECT_EQ(other->key(), 4u);
}

// Spec: CP-PLACE-3
TEST_P(WaitLimitTest, ALeaveHandsItsPlaceToWhoWaitsBesideRecords) {
    open(1);
    Waiter& holder = running();
    Waiter& next = asleep();
    post(7);
    next.wait_until_asleep();
    EXPECT_FALSE(next.has_returned());
    EXPECT_EQ(holder.leave(), 0);
    EXPECT_EQ(next.key(), 7u);
}

// Spec: CP-PLACE-3
TEST_P(WaitLimitTest, ALeaveBeforeTheRecordLeavesAThreadThatHearsOfIt) {
    open(1);
    Waiter& holder = running();
    Waiter& next = asleep();
    EXPECT_EQ(holder.leave(), 0);
    next.wait_until_asleep();
    post(7);
    EXPECT_EQ(next.key(), 7u);
}

// Spec: CP-PLACE-3
TEST_P(WaitLimitTest, AWaitThatSleepsHandsItsPlaceOn) {
    open(1);
    post(0);
    ASSERT_EQ(wait(), 1);
    Waiter& first = asleep();
    const pid_t this_thread = ::gettid();
    std::atomic<bool> is_back{false};
    std::thread feeder([&] {
        wait_until([&] { return is_asleep(this_thread); });
        // One of the two gets it, and the other is left without a place.
        post(1);
        post(2);
        wait_until([&] { return first.has_returned() || is_back.load(); });
        if (first.has_returned()) {
            EXPECT_EQ(first.leave(), 0);
        }
    });
    EXPECT_EQ(wait(), 1);
    is_back.store(true);
    EXPECT_EQ(leave(), 0);
    feeder.join();
    EXPECT_EQ(first.result(), 1);
}

// Spec: CP-PLACE-4
TEST_P(WaitLimitTest, TimeoutsAreKeptWithoutAPlace) {
    open(1);
    Waiter& holder = running();
    post(1);
    EXPECT_EQ(wait(0), -ETIMEDOUT);
    const int64_t end_ns = now_ns() + 3 * kMillisecond_ns;
    EXPECT_EQ(wait(3 * kMillisecond_ns), -ETIMEDOUT);
    EXPECT_GE(now_ns(), end_ns);
    EXPECT_EQ(leave(), -ENOENT);
    EXPECT_EQ(stats().waiters_running, 1u);
    EXPECT_EQ(holder.leave(), 0);
    EXPECT_EQ(wait(0), 1);
}

// Spec: CP-PLACE-5
TEST_P(WaitLimitTest, AWaitThatIsRefusedKeepsThePlace) {
    open(1);
    post(1);
    ASSERT_EQ(wait(), 1);
    COMPLETION_PORT_COMPLETION record{};
    EXPECT_EQ(completion_port_wait(port_, nullptr, 1, 0), -EINVAL);
    EXPECT_EQ(completion_port_wait(port_, &record, 0, 0), -EINVAL);
    EXPECT_EQ(completion_port_wait(nullptr, &record, 1, 0), -EINVAL);
    EXPECT_EQ(stats().waiters_running, 1u);
    EXPECT_EQ(leave(), 0);
}

// A thread inside another port's callback, whose place is of this one.
struct InsideCallback {
    COMPLETION_PORT_HANDLE port;
    int wait_result = 1;
    int leave_result = 1;
    int second_leave_result = 1;
};

void wait_and_leave(void* context, const COMPLETION_PORT_COMPLETION*) {
    auto& inside = *static_cast<InsideCallback*>(context);
    inside.wait_result = wait_one(inside.port, 0);
    inside.leave_result = completion_port_wait_leave(inside.port);
    inside.second_leave_result = completion_port_wait_leave(inside.port);
}

// Spec: CP-PLACE-5, CP-PLACE-6
TEST_P(WaitLimitTest, InsideACallbackAWaitIsRefusedAndALeaveIsNot) {
    open(1);
    post(1);
    ASSERT_EQ(wait(), 1);
    const EngineUnderTest driven{"", nullptr, kNoWorkers, COMPLETION_PORT_ENGINE_EPOLL};
    COMPLETION_PORT_HANDLE other = create_limited(driven, 0);
    InsideCallback inside{port_};
    ASSERT_EQ(completion_port_post(other, 0, 0, wait_and_leave, &inside), 0);
    EXPECT_EQ(wait_one(other, 0), -ETIMEDOUT);
    EXPECT_EQ(inside.wait_result, -EDEADLK);
    EXPECT_EQ(inside.leave_result, 0);
    EXPECT_EQ(inside.second_leave_result, -ENOENT);
    completion_port_dec_ref(other);
}

// Spec: CP-PLACE-6
TEST_P(WaitLimitTest, ALeaveInTheLastCallbacks) {
    for (const uint32_t running_max : {0u, 1u}) {
        open(running_max);
        struct Last {
            COMPLETION_PORT_HANDLE port;
            int leave_result = 0;
        } last{port_};
        const auto on_ended = [](void* context, const COMPLETION_PORT_COMPLETION*) {
            auto& its = *static_cast<Last*>(context);
            its.leave_result = completion_port_wait_leave(its.port);
        };
        Pair pair = unix_pair();
        COMPLETION_PORT_POLL_OPERATION poll{};
        poll.common.size = sizeof(poll);
        poll.common.kind = COMPLETION_PORT_KIND_POLL;
        poll.common.descriptor = pair.ours.get();
        poll.common.on_complete = on_ended;
        poll.common.context = &last;
        poll.events = EPOLLIN;
        ASSERT_EQ(completion_port_submit(port_, &poll.common, nullptr, nullptr), 0);
        // The last reference has gone when the callback runs.
        completion_port_dec_ref(std::exchange(port_, nullptr));
        EXPECT_EQ(last.leave_result, -ENOENT);
    }
}

// Spec: CP-PLACE-6
TEST_P(WaitLimitTest, WhatALeaveRefuses) {
    open(2);
    EXPECT_EQ(completion_port_wait_leave(nullptr), -EINVAL);
    EXPECT_EQ(leave(), -ENOENT);
    Waiter& holder = running();
    EXPECT_EQ(leave(), -ENOENT) << "the place is another's";
    post(1);
    ASSERT_EQ(wait(), 1);
    EXPECT_EQ(leave(), 0);
    EXPECT_EQ(leave(), -ENOENT);
    EXPECT_EQ(holder.leave(), 0);
}

// Spec: CP-PLACE-6
TEST_P(WaitLimitTest, AForkedChildGivesNothingBack) {
    open(1);
    post(1);
    ASSERT_EQ(wait(), 1);
    const auto in_child = [](COMPLETION_PORT_HANDLE port, int) {
        return completion_port_wait_leave(port) == -EPERM && wait_one(port, 0) == -EPERM ? 0 : 1;
    };
    EXPECT_EQ(status_of_child(in_child, port_, -1), 0);
    EXPECT_EQ(stats().waiters_running, 1u);
    EXPECT_EQ(leave(), 0);
}

// Spec: CP-PLACE-7, CP-PLACE-4
TEST_P(WaitLimitTest, AfterShutdownWhatIsLeftKeepsToTheLimit) {
    open(1);
    Waiter& holder = running();
    Waiter& next = asleep();
    Waiter& last = asleep();
    post(1);
    ASSERT_EQ(completion_port_shutdown(port_), 0);
    for (Waiter* waiter : {&next, &last}) {
        waiter->wait_until_asleep();
        EXPECT_FALSE(waiter->has_returned());
    }
    EXPECT_EQ(wait(0), -ETIMEDOUT);
    EXPECT_EQ(wait(kMillisecond_ns), -ETIMEDOUT);
    EXPECT_EQ(holder.leave(), 0);
    // One gets it; the other, and whoever comes, the end, though the place is held.
    const std::multiset<int> both{next.result(), last.result()};
    EXPECT_EQ(both, (std::multiset<int>{-ESHUTDOWN, 1}));
    EXPECT_EQ(stats().waiters_running, 1u);
    EXPECT_EQ(wait(), -ESHUTDOWN);
    EXPECT_EQ(wait(0), -ESHUTDOWN);
    EXPECT_EQ(leave(), -ENOENT);
    EXPECT_EQ((next.result() == 1 ? next : last).leave(), 0);
}

// Spec: CP-PLACE-8
TEST_P(WaitLimitTest, PlacesOfSeveralPorts) {
    open(1);
    COMPLETION_PORT_HANDLE other = create_limited(GetParam(), 1);
    post(1);
    ASSERT_EQ(completion_port_post(other, 2, 0, nullptr, nullptr), 0);
    ASSERT_EQ(wait(), 1);
    ASSERT_EQ(wait_one(other, kForever_ns), 1);
    EXPECT_EQ(wait_one(other, 0), -ETIMEDOUT);
    EXPECT_EQ(stats().waiters_running, 1u);
    EXPECT_EQ(completion_port_wait_leave(other), -ENOENT);
    EXPECT_EQ(leave(), 0);
    completion_port_dec_ref(other);
}

// Spec: CP-PLACE-9
TEST_P(WaitLimitTest, AThreadThatEndsWithItsPlaceKeepsIt) {
    open(2);
    post(1);
    std::thread forgetful([this] { EXPECT_EQ(wait(), 1); });
    forgetful.join();
    EXPECT_EQ(stats().waiters_running, 1u);
    for (uint64_t key = 2; key <= 3; ++key) {
        post(key);
        EXPECT_EQ(wait(), 1);
        EXPECT_EQ(stats().waiters_running, 2u);
    }
    EXPECT_EQ(leave(), 0);
}

// Spec: CP-PLACE-11
TEST_P(WaitLimitTest, WithoutALimitAnyNumberRuns) {
    open(0);
    for (int i = 0; i < 4; ++i) running();
    EXPECT_EQ(stats().waiters_running, 0u);
    for (Waiter& waiter : waiters_) EXPECT_EQ(waiter.leave(), -ENOENT);
}

// Spec: CP-PLACE-12
TEST_P(WaitLimitTest, ManyRecordsAndThreadsThatWaitRunOutOfTimeAndLeave) {
    constexpr uint32_t kPlaces = 2;
    constexpr size_t kWaiters = 5;
    const auto records = static_cast<uint64_t>(scaled(100'000, 5'000));
    open(kPlaces);
    std::vector<std::atomic<uint8_t>> seen(records);
    std::atomic<uint64_t> taken{0};
    std::atomic<uint32_t> running{0};
    std::atomic<uint32_t> running_most{0};
    std::vector<std::thread> threads;
    for (size_t t = 0; t < kWaiters; ++t) {
        threads.emplace_back([&, t] {
            std::array<COMPLETION_PORT_COMPLETION, 4> some{};
            for (size_t i = t;; ++i) {
                const int64_t timeout_ns = i % 3 == 0 ? kForever_ns : i % 3 == 1 ? 0 : 20'000;
                const int count = completion_port_wait(
                    port_, some.data(), static_cast<uint32_t>(1 + i % some.size()), timeout_ns);
                if (count == -ESHUTDOWN) return;
                if (count == -ETIMEDOUT) continue;
                const uint32_t now = running.fetch_add(1) + 1;
                if (now > running_most.load()) running_most.store(now);
                for (int each = 0; each < count; ++each) seen[some[each].key].fetch_add(1);
                taken.fetch_add(static_cast<uint64_t>(count));
                running.fetch_sub(1);
                if (i % 2 == 0) {
                    EXPECT_EQ(leave(), 0);
                }
            }
        });
    }
    for (uint64_t key = 0; key < records; ++key) {
        post(key);
        // Now and then all of them sleep.
        if (key % 512 == 0) wait_until([&] { return taken.load() == key + 1; });
    }
    wait_until([&] { return taken.load() == records; });
    completion_port_shutdown(port_);
    for (std::thread& thread : threads) thread.join();
    for (const auto& each : seen) ASSERT_EQ(each.load(), 1u);
    EXPECT_LE(running_most.load(), kPlaces);
}

}  // namespace
}  // namespace cport::test
