// completion_port_wait: what it returns, for how long it waits, and to whom records go.
#include <errno.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <barrier>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "tests/contract/operations_fixture.h"
#include "tests/contract/process_facts.h"

namespace cport::test {
namespace {

int64_t now_ns() {
    struct timespec now {};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

class WaitTest : public OperationsTest {
 protected:
    void post(uint64_t key) {
        ASSERT_EQ(completion_port_post(port(), key, 0, nullptr, nullptr), 0);
    }
    // Runs `body` in a thread, and returns when that thread sleeps.
    template <typename Body>
    std::thread asleep(Body body) {
        std::atomic<pid_t> thread_id{0};
        std::thread thread([&thread_id, body] {
            thread_id.store(::gettid());
            body();
        });
        wait_until([&] { return thread_id.load() != 0 && is_asleep(thread_id.load()); });
        return thread;
    }

    std::array<COMPLETION_PORT_COMPLETION, 8> records_{};
};
CPORT_ON_EVERY_ENGINE(WaitTest);

// Spec: CP-WAIT-1
TEST_P(WaitTest, AsManyAsThereAreAndFitInTheirOrder) {
    for (uint64_t key = 1; key <= 10; ++key) post(key);
    ASSERT_EQ(completion_port_wait(port(), records_.data(), 1, -1), 1);
    EXPECT_EQ(records_[0].key, 1u);
    ASSERT_EQ(completion_port_wait(port(), records_.data(), 8, -1), 8);
    for (size_t i = 0; i < 8; ++i) EXPECT_EQ(records_[i].key, 2 + i);
    ASSERT_EQ(completion_port_wait(port(), records_.data(), 8, 0), 1);
    EXPECT_EQ(records_[0].key, 10u);
    // What comes behind what is left stays behind it.
    for (uint64_t key = 11; key <= 13; ++key) post(key);
    ASSERT_EQ(completion_port_wait(port(), records_.data(), 2, 0), 2);
    post(14);
    ASSERT_EQ(completion_port_wait(port(), records_.data(), UINT32_MAX, 0), 1);
    EXPECT_EQ(records_[0].key, 13u);
    ASSERT_EQ(completion_port_wait(port(), records_.data(), 8, 0), 1);
    EXPECT_EQ(records_[0].key, 14u);
}

// Spec: CP-WAIT-1 CP-SUBMIT-6
TEST_P(WaitTest, OperationsInTheOrderInWhichTheyWereFinished) {
    Pair& tcp = keep(tcp_pair());
    Pair& other = keep(tcp_pair());
    Submission& first = submission("?").as_receive(tcp.ours.get()).for_waiters();
    Submission& second = submission("?").as_receive(other.ours.get()).for_waiters();
    ASSERT_EQ(first.submit(port()), 0);
    ASSERT_EQ(second.submit(port()), 0);
    write_all(other.theirs.get(), "b");
    EXPECT_EQ(wait_for_record().operation, second.id());
    write_all(tcp.theirs.get(), "a");
    EXPECT_EQ(wait_for_record().operation, first.id());
    EXPECT_EQ(first.buffer() + second.buffer(), "ab");
}

// Spec: CP-WAIT-2
TEST_P(WaitTest, ATimeoutOfZeroLooksAndReturns) {
    EXPECT_EQ(completion_port_wait(port(), records_.data(), 8, 0), -ETIMEDOUT);
    post(1);
    EXPECT_EQ(completion_port_wait(port(), records_.data(), 8, 0), 1);
    EXPECT_EQ(completion_port_wait(port(), records_.data(), 8, 0), -ETIMEDOUT);
}

// Spec: CP-WAIT-2
TEST_P(WaitTest, AFiniteTimeoutEndsNotBeforeItsTime) {
    for (const int64_t timeout_ns : {int64_t{1}, int64_t{1'000'000}, int64_t{10'000'000}}) {
        const int64_t before_ns = now_ns();
        EXPECT_EQ(completion_port_wait(port(), records_.data(), 8, timeout_ns), -ETIMEDOUT);
        EXPECT_GE(now_ns() - before_ns, timeout_ns);
    }
    post(1);
    EXPECT_EQ(completion_port_wait(port(), records_.data(), 8, 1), 1);
}

// Spec: CP-WAIT-2
TEST_P(WaitTest, ASleeperIsWokenWhateverItsTimeout) {
    constexpr int64_t kHour_ns = 3'600'000'000'000;
    for (const int64_t timeout_ns : {int64_t{-1}, INT64_MIN, kHour_ns, INT64_MAX}) {
        int count = 0;
        std::thread waiter =
            asleep([&] { count = completion_port_wait(port(), records_.data(), 8, timeout_ns); });
        post(5);
        waiter.join();
        EXPECT_EQ(count, 1);
        EXPECT_EQ(records_[0].key, 5u);
    }
}

// Spec: CP-WAIT-3
TEST_P(WaitTest, EverySleeperGetsOne) {
    constexpr size_t kWaiters = 4;
    std::vector<std::thread> waiters;
    std::array<uint64_t, kWaiters> keys{};
    for (size_t i = 0; i < kWaiters; ++i) {
        waiters.push_back(asleep([this, &keys, i] { keys[i] = wait_for_record().key; }));
    }
    for (uint64_t key = 1; key <= kWaiters; ++key) post(key);
    for (std::thread& waiter : waiters) waiter.join();
    EXPECT_EQ(std::set<uint64_t>(keys.begin(), keys.end()), (std::set<uint64_t>{1, 2, 3, 4}));
}

// The word says "sleeping" for the one that was first; the others must hear too.
// Spec: CP-WAIT-3
TEST_P(WaitTest, ManyRecordsFinishedAtOnceWakeEverySleeper) {
    constexpr size_t kWaiters = 4;
    const int kRounds = scaled(100, 20);
    for (int round = 0; round < kRounds; ++round) {
        std::vector<std::thread> waiters;
        std::atomic<size_t> got{0};
        for (size_t i = 0; i < kWaiters; ++i) {
            waiters.push_back(asleep([this, &got] {
                wait_for_record();
                got.fetch_add(1);
            }));
        }
        run_on_worker([this] {
            for (uint64_t key = 1; key <= kWaiters; ++key) post(key);
        });
        for (std::thread& waiter : waiters) waiter.join();
        EXPECT_EQ(got.load(), kWaiters);
    }
}

// One that looks and leaves must not take the sleepers' wake with it. Each round is bounded work:
// whoever looks without end keeps the others from the processor.
// Spec: CP-WAIT-3
TEST_P(WaitTest, ThoseWhoOnlyLookDoNotStealAWake) {
    constexpr int kLooks = 5;
    const int kRounds = scaled(1'000, 300);
    std::atomic<int> taken{0};
    const auto take = [&](int64_t timeout_ns) {
        COMPLETION_PORT_COMPLETION record;
        if (completion_port_wait(port(), &record, 1, timeout_ns) != 1) return false;
        taken.fetch_add(1);
        taken.notify_one();
        return true;
    };
    std::barrier<> meeting(3);
    std::vector<std::thread> lookers;
    // One looks, the other falls asleep for a moment.
    for (const int64_t timeout_ns : {0, 1}) {
        lookers.emplace_back([&, timeout_ns] {
            for (int round = 0; round < kRounds; ++round) {
                meeting.arrive_and_wait();
                for (int look = 0; look < kLooks; ++look) take(timeout_ns);
                meeting.arrive_and_wait();
            }
        });
    }
    std::thread sleeper([&] {
        while (take(-1)) {
        }
    });
    for (int posted = 0; posted < 2 * kRounds;) {
        meeting.arrive_and_wait();
        post(static_cast<uint64_t>(++posted));
        meeting.arrive_and_wait();
        // Only the sleeper is left for this one.
        post(static_cast<uint64_t>(++posted));
        for (int seen = taken.load(); seen != posted; seen = taken.load()) taken.wait(seen);
    }
    for (std::thread& looker : lookers) looker.join();
    completion_port_shutdown(port());
    sleeper.join();
}

// Spec: CP-WAIT-4
TEST_P(WaitTest, AfterShutdownItDrainsThenSaysSo) {
    Pair& tcp = keep(tcp_pair());
    for (uint64_t key = 1; key <= 3; ++key) post(key);
    Submission& pending = submission("?").as_receive(tcp.ours.get()).for_waiters();
    ASSERT_EQ(pending.submit(port()), 0);
    ASSERT_EQ(completion_port_shutdown(port()), 0);
    for (uint64_t key = 1; key <= 3; ++key) EXPECT_EQ(wait_for_record().key, key);
    EXPECT_EQ(ending_of(wait_for_record()), abandoned(-ECANCELED));
    for (const int64_t timeout_ns : {int64_t{-1}, int64_t{0}, int64_t{1'000'000'000}}) {
        EXPECT_EQ(completion_port_wait(port(), records_.data(), 8, timeout_ns), -ESHUTDOWN);
    }
}

// Spec: CP-WAIT-4
TEST_P(WaitTest, ShutdownWakesEveryThreadThatWaits) {
    std::vector<std::thread> waiters;
    std::array<int, 4> answers{};
    for (size_t i = 0; i < answers.size(); ++i) {
        waiters.push_back(asleep([this, &answers, i] {
            COMPLETION_PORT_COMPLETION record;
            const int64_t timeout_ns = i % 2 == 0 ? -1 : 3'600'000'000'000;
            answers[i] = completion_port_wait(port(), &record, 1, timeout_ns);
        }));
    }
    ASSERT_EQ(completion_port_shutdown(port()), 0);
    for (std::thread& waiter : waiters) waiter.join();
    for (int answer : answers) EXPECT_EQ(answer, -ESHUTDOWN);
}

// Spec: CP-WAIT-5
TEST_P(WaitTest, WhatIsRefused) {
    EXPECT_EQ(completion_port_wait(nullptr, records_.data(), 8, 0), -EINVAL);
    EXPECT_EQ(completion_port_wait(port(), nullptr, 8, 0), -EINVAL);
    EXPECT_EQ(completion_port_wait(port(), records_.data(), 0, 0), -EINVAL);
    post(1);
    COMPLETION_PORT_HANDLE other = GetParam().create();
    run_on_worker([&] {
        for (const int64_t timeout_ns : {int64_t{0}, int64_t{-1}, int64_t{1}}) {
            EXPECT_EQ(completion_port_wait(port(), records_.data(), 8, timeout_ns), -EDEADLK);
            EXPECT_EQ(completion_port_wait(other, records_.data(), 8, timeout_ns), -EDEADLK);
        }
    });
    completion_port_dec_ref(other);
    EXPECT_EQ(wait_for_record().key, 1u);
}

// Spec: CP-WAIT-6
TEST_P(WaitTest, TheLastReferenceGoesWhileThePostReturns) {
    const int kRounds = scaled(1'000, 300);
    for (int round = 0; round < kRounds; ++round) {
        COMPLETION_PORT_HANDLE only = GetParam().create();
        std::atomic<pid_t> waiter_id{0};
        std::thread waiter([only, &waiter_id] {
            waiter_id.store(::gettid());
            COMPLETION_PORT_COMPLETION record;
            EXPECT_EQ(completion_port_wait(only, &record, 1, -1), 1);
            completion_port_dec_ref(only);
        });
        // A sleeper must be woken, and so the post has more to do behind the record.
        if (round % 2 == 0) {
            wait_until([&] { return waiter_id.load() != 0 && is_asleep(waiter_id.load()); });
        }
        EXPECT_EQ(completion_port_post(only, 1, 1, nullptr, nullptr), 0);
        waiter.join();
    }
}

// Spec: CP-WAIT-6
TEST_P(WaitTest, RecordsThatNobodyWaitedForGoWithThePort) {
    Descriptor& ready = keep(ready_eventfd());
    for (uint64_t key = 0; key < 1'000; ++key) post(key);
    ASSERT_EQ(submission().as_poll(ready.get(), POLLIN).for_waiters().submit(port()), 0);
    ASSERT_EQ(completion_port_wait(port(), records_.data(), 1, 0), 1);
    end();
}

// Spec: CP-WAIT-6
TEST_P(WaitTest, AThreadThatWaitsHoldsAReference) {
    COMPLETION_PORT_HANDLE other = GetParam().create();
    std::thread waiter = asleep([other] {
        COMPLETION_PORT_COMPLETION record;
        EXPECT_EQ(completion_port_wait(other, &record, 1, -1), -ESHUTDOWN);
    });
    ASSERT_EQ(completion_port_shutdown(other), 0);
    completion_port_dec_ref(other);
    waiter.join();
}

}  // namespace
}  // namespace cport::test
