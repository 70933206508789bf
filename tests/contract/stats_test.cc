// What the port counts.
#include <completionport/options.h>
#include <completionport/stats.h>
#include <completionport/timers.h>
#include <poll.h>

#include <atomic>
#include <thread>
#include <vector>

#include "tests/contract/process_facts.h"
#include "tests/contract/stats_fixture.h"
#include "tests/contract/timing.h"

namespace cport::test {
namespace {

CPORT_ON_EVERY_ENGINE(StatsTest);

// Spec: CP-STATS-1 CP-STATS-2 CP-STATS-3
TEST_P(StatsTest, CompletionsCountByKindAndByResult) {
    Pair& pair = keep(unix_pair());
    const int ours = pair.ours.get();
    const COMPLETION_PORT_WORKER_STATS before = total();
    for (int i = 0; i < 3; ++i) {
        write_all(pair.theirs.get(), "x");
        EXPECT_EQ(receive(ours, 1).wait(), received(1));
    }
    EXPECT_EQ(submit_send(ours, "ab").wait(), finished(2));
    EXPECT_EQ(submit_send(ours, "cd").wait(), finished(2));
    Submission& poll = submit_poll(ours, POLLPRI);
    EXPECT_EQ(completion_port_cancel(port(), poll.id()), 0);
    EXPECT_EQ(poll.wait(), abandoned(-ECANCELED));
    Submission& late = submission("?").as_receive(ours).with_deadline(now_ns() + kMillisecond_ns);
    EXPECT_EQ(late.submit(port()), 0);
    EXPECT_EQ(late.wait(), failed(-ETIMEDOUT));
    const COMPLETION_PORT_WORKER_STATS after = total();
    EXPECT_EQ(after.completions[0] - before.completions[0], 3u);
    const auto of = [&](uint32_t kind) {
        return after.completions[kind] - before.completions[kind];
    };
    EXPECT_EQ(of(COMPLETION_PORT_KIND_SEND), 2u);
    EXPECT_EQ(of(COMPLETION_PORT_KIND_POLL), 1u);
    EXPECT_EQ(of(COMPLETION_PORT_KIND_RECEIVE), 1u);
    EXPECT_EQ(of(COMPLETION_PORT_KIND_TIMER), 0u);
    EXPECT_EQ(after.completions_ok - before.completions_ok, 5u);
    EXPECT_EQ(after.completions_abandoned - before.completions_abandoned, 1u);
    EXPECT_EQ(after.completions_error - before.completions_error, 1u);
    EXPECT_EQ(after.callbacks - before.callbacks, 7u);
    EXPECT_EQ(after.records_queued, before.records_queued);
    EXPECT_EQ(sum_of_kinds(after), sum_of_results(after));
}

// Spec: CP-STATS-2 CP-STATS-7
TEST_P(StatsTest, RecordsForWaitersAreNoCallbacks) {
    Pair& pair = keep(unix_pair());
    write_all(pair.theirs.get(), "ab");
    const COMPLETION_PORT_STATS before = stats();
    Submission& read = submission("??").as_receive(pair.ours.get()).for_waiters();
    ASSERT_EQ(read.submit(port()), 0);
    wait_until([&] { return stats().records_waiting == 1; });
    const COMPLETION_PORT_STATS queued = stats();
    EXPECT_EQ(queued.records_queued - before.records_queued, 1u);
    EXPECT_EQ(queued.total.records_queued - before.total.records_queued, 1u);
    EXPECT_EQ(queued.total.callbacks, before.total.callbacks);
    EXPECT_EQ(queued.total.completions[COMPLETION_PORT_KIND_RECEIVE], 1u);
    EXPECT_EQ(queued.total.completions_ok - before.total.completions_ok, 1u);
    EXPECT_EQ(ending_of(wait_for_record()), finished(2));
    EXPECT_EQ(stats().records_waiting, 0u);
    EXPECT_EQ(stats().records_queued, queued.records_queued);
    wait_until_pending(0);
}

// Spec: CP-STATS-7
TEST_P(StatsTest, PostsForWaitersOfOtherThreadsAreCountedInTheQueue) {
    const COMPLETION_PORT_STATS before = stats();
    for (int i = 0; i < 3; ++i) {
        ASSERT_EQ(completion_port_post(port(), 1, i, nullptr, nullptr), 0);
    }
    EXPECT_EQ(stats().records_queued - before.records_queued, 3u);
    EXPECT_EQ(stats().records_waiting, 3u);
    wait_for_record();
    EXPECT_EQ(stats().records_waiting, 2u);
    EXPECT_EQ(records_there().size(), 2u);
    EXPECT_EQ(stats().records_waiting, 0u);
    EXPECT_EQ(stats().records_queued - before.records_queued, 3u);
}

// Spec: CP-STATS-7
TEST_P(StatsTest, AskingCostsNoWaiterItsWake) {
    constexpr size_t kWaiters = 3;
    const int posts = scaled(3'000, 300);
    std::atomic<int> taken{0};
    std::vector<std::jthread> waiters;
    for (size_t i = 0; i < kWaiters; ++i) {
        waiters.emplace_back([&] {
            COMPLETION_PORT_COMPLETION record{};
            while (completion_port_wait(port(), &record, 1, -1) == 1) ++taken;
        });
    }
    std::jthread asker([&](const std::stop_token& stop) {
        while (!stop.stop_requested()) stats();
    });
    for (int i = 0; i < posts; ++i) {
        ASSERT_EQ(completion_port_post(port(), 0, i, nullptr, nullptr), 0);
        // One at a time, so that waiters sleep.
        wait_until([&] { return taken == i + 1; });
    }
    asker.request_stop();
    asker.join();
    completion_port_shutdown(port());
}

// Spec: CP-STATS-1 CP-STATS-2
TEST_P(StatsTest, SuccessAtOnceIsCounted) {
    Pair& pair = keep(unix_pair());
    write_all(pair.theirs.get(), "x");
    Submission& read = submission("?").as_receive(pair.ours.get());
    COMPLETION_PORT_COMPLETION completed{};
    const COMPLETION_PORT_WORKER_STATS before = total();
    COMPLETION_PORT_WORKER_STATS after{};
    run_on_worker_of(pair.ours.get(), [&] {
        EXPECT_EQ(read.submit_inline(port(), completed), 1);
        after = total();
    });
    EXPECT_EQ(after.inline_successes - before.inline_successes, 1u);
    constexpr uint32_t kReceive = COMPLETION_PORT_KIND_RECEIVE;
    EXPECT_EQ(after.completions[kReceive] - before.completions[kReceive], 1u);
    EXPECT_EQ(sum_of_kinds(after), sum_of_results(after));
    EXPECT_EQ(sum_of_kinds(after), after.callbacks + after.records_queued + after.inline_successes);
}

// Spec: CP-STATS-2
TEST_P(StatsTest, OnRemovedIsACallbackAndNoCompletion) {
    Pair& pair = keep(unix_pair());
    Gate removed;
    const COMPLETION_PORT_WORKER_STATS before = total();
    ASSERT_EQ(
        completion_port_remove_async(
            port(), pair.ours.get(),
            [](void* context, SOCKET_HANDLE) { static_cast<Gate*>(context)->open(); }, &removed),
        0);
    removed.wait();
    EXPECT_EQ(total().callbacks - before.callbacks, 1u);
    EXPECT_EQ(sum_of_kinds(total()), sum_of_kinds(before));
    wait_until_pending(0);
}

// Spec: CP-STATS-1
TEST_P(StatsTest, RecordsWithMoreCount) {
    Submission& timer = submission().as_timer(now_ns() + kMillisecond_ns, kMillisecond_ns);
    const uint64_t before = of_kind(COMPLETION_PORT_KIND_TIMER);
    ASSERT_EQ(timer.submit(port()), 0);
    timer.wait_for(3);
    EXPECT_EQ(completion_port_cancel(port(), timer.id()), 0);
    timer.wait_for_last();
    EXPECT_EQ(of_kind(COMPLETION_PORT_KIND_TIMER) - before, timer.records());
    wait_until_pending(0);
    EXPECT_EQ(total().timers_pending, 0u);
}

// Spec: CP-STATS-5
TEST_P(StatsTest, PendingIsWhatWasAcceptedAndNotTold) {
    wait_until_pending(0);
    std::vector<Submission*> waiting;
    for (int i = 0; i < 5; ++i) {
        waiting.push_back(&submit_receive(keep(unix_pair()).ours.get(), 1));
        waiting.push_back(&submission().as_timer(now_ns() + kHour_ns));
        ASSERT_EQ(waiting.back()->submit(port()), 0);
    }
    Submission& limited = submission("?").as_receive(keep(unix_pair()).ours.get());
    ASSERT_EQ(limited.with_deadline(now_ns() + kHour_ns).submit(port()), 0);
    waiting.push_back(&limited);
    receive(keep(unix_pair()).ours.get(), 1);
    wait_until_pending(12);
    wait_until([&] { return total().timers_pending == 6; });
    EXPECT_EQ(total().slots_free, total().operations_max - 12);
    EXPECT_GE(total().slots_allocated, 12u);
    for (Submission* each : waiting) {
        EXPECT_EQ(completion_port_cancel(port(), each->id()), 0);
        each->wait();
    }
    wait_until_pending(1);
    EXPECT_EQ(total().timers_pending, 0u);
    EXPECT_EQ(total().slots_free, total().operations_max - 1);
}

// Spec: CP-STATS-5
TEST_P(StatsTest, PendingIsExactInACallbackOfTheWorker) {
    Pair& pair = keep(unix_pair());
    wait_until_pending(0);
    run_on_worker_of(pair.ours.get(), [&] {
        EXPECT_EQ(total().operations_pending, 0u);
        submit_receive(pair.ours.get(), 1);
        EXPECT_EQ(total().operations_pending, 1u);
        Submission& timer = submission().as_timer(now_ns() + kHour_ns);
        EXPECT_EQ(timer.submit(port()), 0);
        EXPECT_EQ(total().operations_pending, 2u);
        EXPECT_EQ(total().timers_pending, 1u);
        EXPECT_EQ(completion_port_post(port(), 0, 0, nullptr, nullptr), 0);
        EXPECT_EQ(total().operations_pending, 3u);
        EXPECT_EQ(completion_port_cancel(port(), timer.id()), 0);
        EXPECT_EQ(total().timers_pending, 0u);
    });
    wait_for_record();
    wait_until_pending(1);
}

// Spec: CP-STATS-4
TEST_P(StatsTest, MailIsCountedAndWakesASleeper) {
    const auto post_one = [this] {
        Gate done;
        EXPECT_EQ(completion_port_post(
                      port(), 0, 0,
                      [](void* context, const COMPLETION_PORT_COMPLETION*) {
                          static_cast<Gate*>(context)->open();
                      },
                      &done),
                  0);
        done.wait();
    };
    wait_until_pending(0);
    const COMPLETION_PORT_WORKER_STATS before = total();
    uint64_t posts = 0;
    wait_until([&] {
        post_one();
        ++posts;
        const COMPLETION_PORT_WORKER_STATS now = total();
        return now.wakes > before.wakes && now.sleeps > before.sleeps;
    });
    // The last round's mail is counted when it has been taken, before its callback.
    const COMPLETION_PORT_WORKER_STATS after = total();
    EXPECT_EQ(after.mail - before.mail, posts);
    EXPECT_LE(after.wakes - before.wakes, posts);
    EXPECT_GT(after.rounds, before.rounds);
    EXPECT_GT(after.events, before.events);
    EXPECT_GE(after.events - before.events, after.batches - before.batches);
    EXPECT_GT(after.batches, before.batches);
}

// Spec: CP-STATS-4 CP-STATS-16
TEST_P(StatsTest, AWorkerThatIsAwakeIsNotWoken) {
    constexpr int kPosts = 40;
    std::atomic<int> called{0};
    {
        WorkerHold hold(*this);
        const COMPLETION_PORT_WORKER_STATS before = total();
        for (int i = 0; i < kPosts; ++i) {
            ASSERT_EQ(completion_port_post(
                          port(), 0, 0,
                          [](void* context, const COMPLETION_PORT_COMPLETION*) {
                              ++*static_cast<std::atomic<int>*>(context);
                          },
                          &called),
                      0);
        }
        EXPECT_EQ(total().wakes, before.wakes);
        EXPECT_EQ(total().sleeps, before.sleeps);
    }
    wait_until([&] { return called == kPosts; });
    EXPECT_EQ(total().run_list_max, uint64_t{kPosts});
}

// Spec: CP-STATS-10
TEST_P(StatsTest, TheTotalIsTheSumOfTheWorkers) {
    for (int i = 0; i < 6; ++i) {
        Pair& pair = keep(unix_pair());
        write_all(pair.theirs.get(), "x");
        receive(pair.ours.get(), 1).wait();
    }
    wait_until_pending(0);
    COMPLETION_PORT_WORKER_STATS sum{};
    const COMPLETION_PORT_STATS all = stats();
    EXPECT_EQ(all.workers, GetParam().workers);
    for (uint32_t i = 0; i < all.workers; ++i) {
        const COMPLETION_PORT_WORKER_STATS one = stats_of_worker(port(), i);
        EXPECT_EQ(one.size, sizeof(one));
        EXPECT_GT(one.completions[0], 0u);
        sum.completions[0] += one.completions[0];
        sum.completions_ok += one.completions_ok;
        sum.callbacks += one.callbacks;
        sum.mail += one.mail;
        sum.operations_max += one.operations_max;
        EXPECT_LE(one.run_list_max, all.total.run_list_max);
    }
    EXPECT_EQ(sum.completions[0], all.total.completions[0]);
    EXPECT_EQ(sum.completions_ok, all.total.completions_ok);
    EXPECT_EQ(sum.callbacks, all.total.callbacks);
    EXPECT_EQ(sum.mail, all.total.mail);
    EXPECT_EQ(sum.operations_max, all.total.operations_max);
    EXPECT_EQ(all.total.operations_max, all.workers * uint64_t{1u << 20});
}

// Spec: CP-STATS-3 CP-STATS-11
TEST_P(StatsTest, AnyThreadMayAskWhileWorkersWork) {
    Pair& pair = keep(unix_pair());
    std::vector<std::jthread> askers;
    for (int i = 0; i < 2; ++i) {
        askers.emplace_back([this](const std::stop_token& stop) {
            uint64_t completions = 0;
            uint64_t callbacks = 0;
            while (!stop.stop_requested()) {
                const COMPLETION_PORT_WORKER_STATS now = total();
                EXPECT_GE(sum_of_kinds(now), completions);
                EXPECT_GE(now.callbacks, callbacks);
                completions = sum_of_kinds(now);
                callbacks = now.callbacks;
            }
        });
    }
    uint64_t seen = 0;
    const uint64_t before = of_kind(0);
    const int reads = scaled(5'000, 500);
    for (int i = 0; i < reads; ++i) {
        write_all(pair.theirs.get(), "x");
        Operation& read = operation("?");
        read.then([&](const Completion&) { seen = of_kind(0); });
        ASSERT_EQ(read.add(port(), EPOLLIN, pair.ours.get()), 0);
        EXPECT_EQ(read.wait(), received(1));
        EXPECT_EQ(seen - before, static_cast<uint64_t>(i) + 1);
    }
}

// Spec: CP-STATS-14
TEST_P(StatsTest, CanBeAskedForAfterTheEnd) {
    Operation& waiting = receive(keep(unix_pair()).ours.get(), 1);
    fence();
    const uint64_t before = total().completions_abandoned;
    EXPECT_EQ(completion_port_shutdown(port()), 0);
    EXPECT_EQ(waiting.wait(), closing());
    EXPECT_EQ(total().completions_abandoned - before, 1u);
    wait_until_pending(0);
    COMPLETION_PORT_COMPLETION record{};
    // The workers have ended when the queue says so.
    EXPECT_EQ(completion_port_wait(port(), &record, 1, -1), -ESHUTDOWN);
    EXPECT_EQ(total().completions_abandoned - before, 1u);
    EXPECT_EQ(stats().workers, GetParam().workers);
}

// Spec: CP-STATS-18
TEST_P(StatsTest, WhatIoUringIsGivenCounts) {
    const COMPLETION_PORT_WORKER_STATS before = total();
    Pair& pair = keep(unix_pair());
    write_all(pair.theirs.get(), "x");
    EXPECT_EQ(receive(pair.ours.get(), 1).wait(), received(1));
    EXPECT_EQ(submit_send(pair.ours.get(), "ab").wait(), finished(2));
    // The worker publishes at the end of each round.
    fence();
    const COMPLETION_PORT_WORKER_STATS after = total();
    if (kernel_holds()) {
        EXPECT_GE(after.ring_requests - before.ring_requests, 2u);
        EXPECT_GE(after.ring_enters - before.ring_enters, 1u);
    } else {
        EXPECT_EQ(after.ring_requests, 0u);
        EXPECT_EQ(after.ring_enters, 0u);
    }
}

// Spec: CP-STATS-8
TEST_P(StatsTest, SaysWhichEngineAndWhy) {
    const COMPLETION_PORT_STATS made = stats();
    EXPECT_NE(made.engine, uint32_t{COMPLETION_PORT_ENGINE_AUTO});
    COMPLETION_PORT_OPTIONS options{};
    options.size = sizeof(options);
    for (const uint32_t engine : {uint32_t{COMPLETION_PORT_ENGINE_AUTO}, made.engine}) {
        options.engine = engine;
        COMPLETION_PORT_HANDLE other = completion_port_create_with_options(&options);
        ASSERT_NE(other, nullptr);
        const COMPLETION_PORT_STATS its = stats_of(other);
        completion_port_dec_ref(other);
        if (engine == COMPLETION_PORT_ENGINE_AUTO) {
            EXPECT_NE(its.engine, uint32_t{COMPLETION_PORT_ENGINE_AUTO});
            EXPECT_GE(its.engine_reason, uint32_t{COMPLETION_PORT_ENGINE_REASON_TABLE});
        } else {
            EXPECT_EQ(its.engine, engine);
            EXPECT_EQ(its.engine_reason, uint32_t{COMPLETION_PORT_ENGINE_REASON_ASKED});
        }
    }
    COMPLETION_PORT_HANDLE plain = completion_port_create();
    EXPECT_EQ(stats_of(plain).engine, uint32_t{COMPLETION_PORT_ENGINE_EPOLL});
    EXPECT_EQ(stats_of(plain).engine_reason, uint32_t{COMPLETION_PORT_ENGINE_REASON_DEFAULT});
    completion_port_dec_ref(plain);
}

// Spec: CP-STATS-6
TEST_P(StatsTest, RefusalsForTheLimitAreCounted) {
    COMPLETION_PORT_OPTIONS options{};
    options.size = sizeof(options);
    options.engine = stats().engine;
    options.operations_max = 1;
    COMPLETION_PORT_HANDLE small = completion_port_create_with_options(&options);
    ASSERT_NE(small, nullptr);
    Submission& timer = submission().as_timer(now_ns() + kHour_ns);
    uint64_t accepted = 0;
    while (timer.submit(small) == 0) ++accepted;
    EXPECT_EQ(accepted, 512u);
    EXPECT_EQ(timer.submit(small), -ENOBUFS);
    EXPECT_EQ(completion_port_post(small, 0, 0, nullptr, nullptr), -ENOBUFS);
    wait_until([&] { return stats_of(small).total.operations_pending == accepted; });
    const COMPLETION_PORT_WORKER_STATS full = stats_of(small).total;
    EXPECT_EQ(full.operations_max, 512u);
    EXPECT_EQ(full.slots_allocated, 512u);
    EXPECT_EQ(full.slots_free, 0u);
    EXPECT_EQ(full.slots_refused_limit, 3u);
    EXPECT_EQ(full.slots_refused_memory, 0u);
    EXPECT_EQ(full.timers_pending, accepted);
    completion_port_dec_ref(small);
}

}  // namespace
}  // namespace cport::test
