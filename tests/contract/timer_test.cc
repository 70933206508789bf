// Timers: once and again, moved, cancelled, refused, and the end of their port.
#include <completionport/timers.h>
#include <errno.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <iostream>
#include <random>
#include <thread>
#include <vector>

#include "tests/contract/operations_fixture.h"
#include "tests/contract/timing.h"

namespace cport::test {
namespace {

// One tick of a timer wheel is less; two times that are so far apart keep their order.
constexpr int64_t kApart_ns = kMillisecond_ns;
// Time enough for a slow machine to set a timer.
constexpr int64_t kSoon_ns = 50 * kMillisecond_ns;

class TimerTest : public OperationsTest {
 protected:
    Submission& start(int64_t expires_ns, int64_t period_ns = 0) {
        Submission& timer = submission().as_timer(expires_ns, period_ns);
        EXPECT_EQ(timer.submit(port()), 0);
        return timer;
    }
    int move(const Submission& timer, int64_t expires_ns) {
        return completion_port_timer_move(port(), timer.id(), static_cast<uint64_t>(expires_ns));
    }
    int cancel(const Submission& timer) { return completion_port_cancel(port(), timer.id()); }

    // Runs `body` in a callback of the worker that has this thread's timers, after everything that
    // this thread asked of it before, and waits for it.
    void run_where_timers_run(std::function<void()> body) {
        Turn turn{std::move(body), {}};
        ASSERT_EQ(completion_port_post(port(), 0, 0, &Turn::run, &turn), 0);
        turn.done.wait();
    }

 private:
    struct Turn {
        std::function<void()> body;
        Gate done;

        static void run(void* context, const COMPLETION_PORT_COMPLETION*) {
            auto* turn = static_cast<Turn*>(context);
            turn->body();
            turn->done.open();
        }
    };
};
CPORT_ON_EVERY_ENGINE(TimerTest);

// Spec: CP-TIMER-1
TEST_P(TimerTest, ExpiresOnceAndNeverEarly) {
    const int64_t start_ns = now_ns();
    for (int i = 0; i < 100; ++i) {
        const int64_t expires_ns = start_ns + 5 * kMillisecond_ns + i * 333'333;
        Submission& timer = submission().as_timer(expires_ns);
        timer.then([=](const COMPLETION_PORT_COMPLETION&) { EXPECT_GE(now_ns(), expires_ns); });
        // Under load the earliest of them may have passed by now.
        const int result = timer.submit(port());
        if (result == -ETIMEDOUT) continue;
        ASSERT_EQ(result, 0);
        EXPECT_NE(timer.id(), 0u);
    }
    Submission& last = start(now_ns() + 50 * kMillisecond_ns);
    const Recorded seen = last.wait_for(1);
    EXPECT_EQ(ending_of(seen.record), finished(1));
    EXPECT_EQ(seen.record.kind, uint32_t{COMPLETION_PORT_KIND_TIMER});
    EXPECT_EQ(seen.record.operation, last.id());
    EXPECT_EQ(seen.record.key, last.key());
    EXPECT_EQ(seen.record.context, &last);
    EXPECT_EQ(seen.record.buffer, nullptr);
    EXPECT_EQ(seen.record.flags, 0u);
    EXPECT_EQ(seen.record.reserved, 0u);
    EXPECT_NE(seen.thread, ::gettid());
}

// Spec: CP-TIMER-1
TEST_P(TimerTest, ATimeThatPassesOnTheWayExpiresAtOnce) {
    Submission* timer = nullptr;
    {
        WorkerHold hold(*this);
        const int64_t expires_ns = now_ns() + kSoon_ns;
        timer = &start(expires_ns);
        wait_until_time(expires_ns + 5 * kMillisecond_ns);
        EXPECT_FALSE(timer->completed());
    }
    EXPECT_EQ(timer->wait(), finished(1));
}

// Spec: CP-TIMER-2
TEST_P(TimerTest, ExpireInTheOrderOfTheirTimes) {
    const uint32_t seed = std::random_device{}();
    std::cout << "seed " << seed << std::endl;
    std::mt19937 random(seed);
    std::vector<int64_t> places(200);
    for (size_t i = 0; i < places.size(); ++i) places[i] = static_cast<int64_t>(i);
    std::shuffle(places.begin(), places.end(), random);
    // Far enough that all are set before the first expires; not in one slot of any wheel.
    const int64_t first_ns = now_ns() + 300 * kMillisecond_ns;
    std::vector<Submission*> timers(places.size());
    for (const int64_t place : places) {
        timers[static_cast<size_t>(place)] = &start(first_ns + place * kApart_ns);
    }
    uint64_t before = 0;
    for (Submission* timer : timers) {
        const uint64_t sequence = timer->wait_for(1).sequence;
        EXPECT_GT(sequence, before);
        before = sequence;
    }
}

// Spec: CP-TIMER-3
TEST_P(TimerTest, PeriodicRecordsHaveMoreUntilTheCancel) {
    constexpr int64_t kPeriod_ns = kMillisecond_ns;
    const int64_t first_ns = now_ns() + kSoon_ns;
    Submission& timer = start(first_ns, kPeriod_ns);
    int64_t expired = 0;
    for (size_t i = 1; i <= 5; ++i) {
        const COMPLETION_PORT_COMPLETION record = timer.wait_for(i).record;
        EXPECT_EQ(record.result, COMPLETION_PORT_RESULT_OK);
        EXPECT_EQ(record.error, 0);
        EXPECT_EQ(record.flags, uint32_t{COMPLETION_PORT_COMPLETION_MORE});
        EXPECT_EQ(record.kind, uint32_t{COMPLETION_PORT_KIND_TIMER});
        EXPECT_EQ(record.operation, timer.id());
        EXPECT_EQ(record.key, timer.key());
        EXPECT_EQ(record.buffer, nullptr);
        EXPECT_GE(record.value, 1);
        expired += record.value;
        EXPECT_GE(now_ns(), first_ns + (expired - 1) * kPeriod_ns);
    }
    EXPECT_EQ(cancel(timer), 0);
    const Recorded last = timer.wait_for_last();
    EXPECT_EQ(ending_of(last.record), abandoned(-ECANCELED));
    EXPECT_EQ(last.record.operation, timer.id());
    const size_t records = timer.records();
    wait_until_time(now_ns() + 3 * kPeriod_ns);
    run_where_timers_run([] {});
    EXPECT_EQ(timer.records(), records);
}

// Spec: CP-TIMER-3
TEST_P(TimerTest, APeriodicTimerIsCancelledInItsOwnCallback) {
    Submission& timer = submission().as_timer(now_ns() + kSoon_ns, kMillisecond_ns);
    size_t calls = 0;
    timer.then([&](const COMPLETION_PORT_COMPLETION& record) {
        ++calls;
        if (calls == 3) {
            EXPECT_EQ(completion_port_cancel(port(), record.operation), 0);
        }
        if (calls == 4) {
            EXPECT_EQ(completion_port_cancel(port(), record.operation), -ENOENT);
        }
    });
    ASSERT_EQ(timer.submit(port()), 0);
    EXPECT_EQ(ending_of(timer.wait_for_last().record), abandoned(-ECANCELED));
    EXPECT_EQ(timer.records(), 4u);
}

// Spec: CP-TIMER-4
TEST_P(TimerTest, WhatABusyWorkerMissedIsToldInOneRecord) {
    constexpr int64_t kPeriod_ns = 2 * kMillisecond_ns;
    constexpr int64_t kMissed = 10;
    const int64_t first_ns = now_ns() + kSoon_ns;
    Submission& timer = submission().as_timer(first_ns, kPeriod_ns);
    int64_t expired = 0;
    bool held = false;
    timer.then([&](const COMPLETION_PORT_COMPLETION& record) {
        expired += record.value;
        if (record.flags == 0) return;
        EXPECT_GE(now_ns(), first_ns + (expired - 1) * kPeriod_ns);
        if (held) return;
        held = true;
        wait_until_time(first_ns + (expired + kMissed - 1) * kPeriod_ns);
    });
    ASSERT_EQ(timer.submit(port()), 0);
    EXPECT_GE(timer.wait_for(2).record.value, kMissed);
    EXPECT_EQ(cancel(timer), 0);
    timer.wait_for_last();
}

// Spec: CP-TIMER-5
TEST_P(TimerTest, MovesEarlierAndLater) {
    Submission& earlier = start(now_ns() + kHour_ns);
    const int64_t soon_ns = now_ns() + 300 * kMillisecond_ns;
    Submission& later = start(soon_ns);
    run_where_timers_run([&] {
        EXPECT_EQ(move(later, now_ns() + kHour_ns), 0);
        EXPECT_EQ(move(earlier, now_ns() + kSoon_ns), 0);
    });
    EXPECT_EQ(earlier.wait(), finished(1));
    wait_until_time(soon_ns + kApart_ns);
    run_where_timers_run([&] {
        EXPECT_FALSE(later.completed());
        EXPECT_EQ(move(earlier, now_ns() + kHour_ns), -ENOENT);
        EXPECT_EQ(move(later, now_ns() + kSoon_ns), 0);
    });
    EXPECT_EQ(later.wait(), finished(1));
}

// Spec: CP-TIMER-5
TEST_P(TimerTest, APeriodicTimerKeepsItsPeriodWhenItMoves) {
    Submission& timer = start(now_ns() + kHour_ns, 5 * kMillisecond_ns);
    run_where_timers_run([&] { EXPECT_EQ(move(timer, now_ns() + kSoon_ns), 0); });
    timer.wait_for(2);
    run_where_timers_run([&] { EXPECT_EQ(move(timer, now_ns() + kHour_ns), 0); });
    const size_t records = timer.records();
    wait_until_time(now_ns() + 20 * kMillisecond_ns);
    run_where_timers_run([&] { EXPECT_EQ(timer.records(), records); });
    EXPECT_EQ(cancel(timer), 0);
    timer.wait_for_last();
}

// Spec: CP-TIMER-5
TEST_P(TimerTest, ATimerThatIsStillOnItsWayIsMovedAndCancelledForCertain) {
    Gate in_callback;
    Gate started;
    Submission& moved = submission();
    Submission& cancelled = submission();
    std::thread other([&] {
        in_callback.wait();
        EXPECT_EQ(moved.as_timer(now_ns() + 500 * kMillisecond_ns).submit(port()), 0);
        EXPECT_EQ(cancelled.as_timer(now_ns() + 500 * kMillisecond_ns).submit(port()), 0);
        started.open();
    });
    // While this callback runs, its worker takes no mail: neither timer has reached its place.
    const auto body = [&] {
        in_callback.open();
        started.wait();
        EXPECT_EQ(move(moved, now_ns() + kSoon_ns), 0);
        EXPECT_EQ(cancel(cancelled), 0);
    };
    run_where_timers_run(body);
    other.join();
    EXPECT_EQ(moved.wait(), finished(1));
    EXPECT_EQ(cancelled.wait(), abandoned(-ECANCELED));
}

// Spec: CP-TIMER-5
TEST_P(TimerTest, MoveRefuses) {
    Submission& timer = start(now_ns() + kHour_ns);
    Pair& pair = keep(unix_pair());
    Submission& receive = submit_receive(pair.ours.get(), 1);
    const auto latest = static_cast<uint64_t>(COMPLETION_PORT_TIME_MAX_NS);
    const auto later = static_cast<uint64_t>(now_ns() + kHour_ns);
    const auto refuse = [&] {
        EXPECT_EQ(completion_port_timer_move(nullptr, timer.id(), later), -EINVAL);
        EXPECT_EQ(completion_port_timer_move(port(), 0, later), -EINVAL);
        EXPECT_EQ(completion_port_timer_move(port(), timer.id(), 0), -ETIMEDOUT);
        EXPECT_EQ(completion_port_timer_move(port(), timer.id(), 1), -ETIMEDOUT);
        EXPECT_EQ(completion_port_timer_move(port(), timer.id(), latest + 1), -ERANGE);
        EXPECT_EQ(completion_port_timer_move(port(), timer.id(), UINT64_MAX), -ERANGE);
        EXPECT_EQ(completion_port_timer_move(port(), UINT64_MAX, later), -ENOENT);
        EXPECT_EQ(completion_port_timer_move(port(), timer.id() + (uint64_t{1} << 32), later),
                  -ENOENT);
    };
    refuse();
    run_where_timers_run(refuse);
    fence();
    run_on_worker_of(pair.ours.get(), [&] {
        EXPECT_EQ(completion_port_timer_move(port(), receive.id(), later), -EINVAL);
    });
    EXPECT_FALSE(receive.completed());
    // The latest time of all is one that can be waited for.
    EXPECT_EQ(completion_port_timer_move(port(), timer.id(), latest), 0);
    run_where_timers_run([&] { EXPECT_FALSE(timer.completed()); });
}

// Spec: CP-TIMER-6
TEST_P(TimerTest, MovesFromOtherThreads) {
    constexpr int kMoves = 5'000;
    Submission& timer = start(now_ns() + kHour_ns);
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
        threads.emplace_back([&] {
            for (int k = 0; k < kMoves; ++k) EXPECT_EQ(move(timer, now_ns() + kHour_ns), 0);
        });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_FALSE(timer.completed());
    EXPECT_EQ(move(timer, now_ns() + kSoon_ns), 0);
    EXPECT_EQ(timer.wait(), finished(1));
    EXPECT_EQ(timer.records(), 1u);
}

// Spec: CP-TIMER-7
TEST_P(TimerTest, CancelOfPendingAndFinished) {
    Submission& pending = start(now_ns() + kHour_ns);
    EXPECT_EQ(cancel(pending), 0);
    EXPECT_EQ(pending.wait(), abandoned(-ECANCELED));
    run_where_timers_run([&] { EXPECT_EQ(cancel(pending), -ENOENT); });
    Submission& finished_one = start(now_ns() + kSoon_ns);
    EXPECT_EQ(finished_one.wait(), finished(1));
    run_where_timers_run([&] { EXPECT_EQ(cancel(finished_one), -ENOENT); });
    Submission& last = start(now_ns() + kHour_ns);
    run_where_timers_run([&] {
        EXPECT_EQ(cancel(last), 0);
        EXPECT_FALSE(last.completed());
        EXPECT_EQ(cancel(last), -ENOENT);
    });
    EXPECT_EQ(last.wait(), abandoned(-ECANCELED));
}

// Spec: CP-TIMER-8
TEST_P(TimerTest, Refuses) {
    const int64_t later_ns = now_ns() + kHour_ns;
    const auto result_of = [&](const std::function<void(COMPLETION_PORT_TIMER_OPERATION&)>& spoil) {
        Submission& timer = submission().as_timer(later_ns, kMillisecond_ns);
        spoil(timer.timer());
        return timer.submit(port());
    };
    using Form = COMPLETION_PORT_TIMER_OPERATION;
    const auto latest = static_cast<uint64_t>(COMPLETION_PORT_TIME_MAX_NS);
    const auto refuse = [&] {
        EXPECT_EQ(result_of([](Form& form) { form.expires_ns = 0; }), -ETIMEDOUT);
        EXPECT_EQ(result_of([](Form& form) { form.expires_ns = 1; }), -ETIMEDOUT);
        EXPECT_EQ(result_of([=](Form& form) { form.expires_ns = latest + 1; }), -ERANGE);
        EXPECT_EQ(result_of([](Form& form) { form.expires_ns = UINT64_MAX; }), -ERANGE);
        EXPECT_EQ(result_of([](Form& form) { form.period_ns = 1; }), -EINVAL);
        EXPECT_EQ(result_of([](Form& form) { form.period_ns = 999'999; }), -EINVAL);
        EXPECT_EQ(result_of([=](Form& form) { form.period_ns = latest + 1; }), -ERANGE);
        EXPECT_EQ(result_of([](Form& form) { form.common.descriptor = 1; }), -EINVAL);
        EXPECT_EQ(result_of([](Form& form) { form.common.descriptor = -1; }), -EINVAL);
        EXPECT_EQ(result_of([](Form& form) { form.common.deadline_ns = 1; }), -EINVAL);
        EXPECT_EQ(result_of([](Form& form) { form.common.flags = 2; }), -EINVAL);
        EXPECT_EQ(result_of([](Form& form) { form.common.size = 8; }), -EINVAL);
    };
    refuse();
    run_where_timers_run(refuse);
    COMPLETION_PORT_COMPLETION record;
    EXPECT_EQ(submission().as_timer(later_ns).submit_inline(port(), record), -EINVAL);
    // A structure that ends before its times says that they are 0.
    Submission& none = submission().as_timer(later_ns);
    none.common().size = sizeof(COMPLETION_PORT_OPERATION);
    EXPECT_EQ(none.submit(port()), -ETIMEDOUT);
    EXPECT_EQ(completion_port_shutdown(port()), 0);
    EXPECT_EQ(result_of([](Form&) {}), -ESHUTDOWN);
    EXPECT_EQ(completion_port_timer_move(port(), 1, static_cast<uint64_t>(later_ns)), -ESHUTDOWN);
}

// Spec: CP-TIMER-8
TEST_P(TimerTest, TheLatestTimesAreWaitedFor) {
    Submission& once = start(COMPLETION_PORT_TIME_MAX_NS);
    Submission& again = start(COMPLETION_PORT_TIME_MAX_NS, COMPLETION_PORT_TIME_MAX_NS);
    Submission& seldom = start(now_ns() + kSoon_ns, COMPLETION_PORT_TIME_MAX_NS);
    seldom.wait_for(1);
    wait_until_time(now_ns() + 5 * kMillisecond_ns);
    run_where_timers_run([&] {
        EXPECT_FALSE(once.completed());
        EXPECT_FALSE(again.completed());
        EXPECT_EQ(seldom.records(), 1u);
    });
}

// Spec: CP-TIMER-8
TEST_P(TimerTest, AForkedChildIsRefused) {
    Submission& timer = start(now_ns() + kHour_ns);
    const auto in_child = [](COMPLETION_PORT_HANDLE port, int) {
        COMPLETION_PORT_TIMER_OPERATION form{};
        form.common.size = sizeof(form);
        form.common.kind = COMPLETION_PORT_KIND_TIMER;
        form.expires_ns = static_cast<uint64_t>(now_ns() + kHour_ns);
        if (completion_port_submit(port, &form.common, nullptr, nullptr) != -EPERM) return 1;
        return completion_port_timer_move(port, 1, form.expires_ns) == -EPERM ? 0 : 2;
    };
    EXPECT_EQ(status_of_child(in_child, port(), -1), 0);
    EXPECT_FALSE(timer.completed());
}

// Spec: CP-TIMER-10
TEST_P(TimerTest, TheEndOfThePortAbandonsTimers) {
    std::vector<Submission*> timers;
    for (int i = 0; i < 100; ++i) {
        const int64_t far_ns = kSecond_ns << (i % 28);
        timers.push_back(&start(now_ns() + far_ns, i % 2 == 0 ? 0 : kSecond_ns));
    }
    Submission* unseen = nullptr;
    {
        WorkerHold hold(*this);
        unseen = &start(now_ns() + kHour_ns);
        EXPECT_EQ(completion_port_shutdown(port()), 0);
    }
    timers.push_back(unseen);
    end();
    for (Submission* timer : timers) {
        ASSERT_EQ(timer->endings(), 1u);
        EXPECT_EQ(ending_of(timer->wait_for_last().record), abandoned(-ECANCELED));
    }
}

// Spec: CP-TIMER-11
TEST_P(TimerTest, TimersSetInCallbacksStayWithTheirWorker) {
    constexpr int kLinks = 10;
    std::vector<Submission*> chain;
    for (int i = 0; i <= kLinks; ++i) chain.push_back(&submission());
    for (size_t i = 0; i < kLinks; ++i) {
        chain[i]->then([this, next = chain[i + 1]](const COMPLETION_PORT_COMPLETION&) {
            EXPECT_EQ(next->as_timer(now_ns() + kSoon_ns / 2).submit(port()), 0);
        });
    }
    ASSERT_EQ(chain[0]->as_timer(now_ns() + kSoon_ns).submit(port()), 0);
    const pid_t worker = chain[0]->wait_for(1).thread;
    for (Submission* link : chain) EXPECT_EQ(link->wait_for(1).thread, worker);
}

// Spec: CP-TIMER-11
TEST_P(TimerTest, TimersOfSeveralThreads) {
    constexpr int kThreads = 4;
    constexpr int kEach = 200;
    std::vector<std::vector<Submission*>> timers(kThreads);
    std::vector<std::thread> threads;
    for (std::vector<Submission*>& own : timers) {
        threads.emplace_back([this, &own] {
            for (int i = 0; i < kEach; ++i) {
                own.push_back(&start(now_ns() + 2 * kSoon_ns + i * 10'000));
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    for (const std::vector<Submission*>& own : timers) {
        for (Submission* timer : own) {
            EXPECT_EQ(timer->wait(), finished(1));
            EXPECT_EQ(timer->wait_for(1).thread, own[0]->wait_for(1).thread);
        }
    }
}

// Spec: CP-TIMER-12
TEST_P(TimerTest, RecordsWithoutCallbackGoToWaiters) {
    Submission& once = submission().as_timer(now_ns() + kSoon_ns).for_waiters();
    ASSERT_EQ(once.submit(port()), 0);
    COMPLETION_PORT_COMPLETION record = wait_for_record();
    EXPECT_EQ(ending_of(record), finished(1));
    EXPECT_EQ(record.operation, once.id());
    EXPECT_EQ(record.flags, 0u);

    Submission& again = submission().as_timer(now_ns() + kSoon_ns, kMillisecond_ns);
    ASSERT_EQ(again.for_waiters().submit(port()), 0);
    for (int i = 0; i < 5; ++i) {
        record = wait_for_record();
        EXPECT_EQ(record.operation, again.id());
        EXPECT_EQ(record.flags, uint32_t{COMPLETION_PORT_COMPLETION_MORE});
        EXPECT_GE(record.value, 1);
    }
    EXPECT_EQ(cancel(again), 0);
    while (record.flags != 0) record = wait_for_record();
    EXPECT_EQ(ending_of(record), abandoned(-ECANCELED));
    EXPECT_EQ(record.operation, again.id());
    EXPECT_TRUE(records_there().empty());
}

}  // namespace
}  // namespace cport::test
