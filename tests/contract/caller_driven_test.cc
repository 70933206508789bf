// Ports without threads, driven by those that wait.
#include <completionport/operations.h>
#include <completionport/options.h>
#include <completionport/timers.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/contract/engine_under_test.h"
#include "tests/contract/process_facts.h"
#include "tests/contract/timing.h"
#include "tests/support/record_log.h"
#include "tests/support/recorder.h"
#include "tests/support/sockets.h"

namespace cport::test {
namespace {

constexpr int64_t kForever_ns = -1;

COMPLETION_PORT_OPTIONS driven_options(uint32_t more_flags = 0) {
    COMPLETION_PORT_OPTIONS options{};
    options.size = sizeof(options);
    options.flags = COMPLETION_PORT_OPTION_CALLER_DRIVEN | more_flags;
    return options;
}

class CallerDrivenTest : public ::testing::TestWithParam<uint32_t> {
 protected:
    void SetUp() override {
        const COMPLETION_PORT_OPTIONS options = driven_options(GetParam());
        port_ = completion_port_create_with_options(&options);
        ASSERT_NE(port_, nullptr);
    }
    void TearDown() override {
        completion_port_dec_ref(std::exchange(port_, nullptr));
        log_.expect_each_ended_once();
    }

    int wait(int64_t timeout_ns) { return completion_port_wait(port_, &record_, 1, timeout_ns); }
    // Does what is there to do, for callbacks alone.
    void work() { EXPECT_EQ(wait(0), -ETIMEDOUT); }

    RecordLog log_;
    COMPLETION_PORT_HANDLE port_ = nullptr;
    COMPLETION_PORT_COMPLETION record_{};
};

INSTANTIATE_TEST_SUITE_P(Threads, CallerDrivenTest,
                         ::testing::Values(0u, uint32_t{COMPLETION_PORT_OPTION_SINGLE_THREADED}),
                         [](const auto& each) {
                             return each.param == 0 ? "any_thread" : "single_threaded";
                         });

// Spec: CP-DRIVE-1 CP-DRIVE-3
TEST_P(CallerDrivenTest, CallbacksRunInsideWait) {
    const std::set<int> threads = thread_ids();
    Pair pair = unix_pair();
    Submission& read = log_.submission("....").as_receive(pair.ours.get());
    ASSERT_EQ(read.submit(port_), 0);
    work();
    EXPECT_FALSE(read.completed());
    write_all(pair.theirs.get(), "four");
    EXPECT_FALSE(read.completed());
    work();
    ASSERT_TRUE(read.completed());
    EXPECT_EQ(read.wait(), finished(4));
    EXPECT_EQ(read.wait_for(1).thread, gettid());
    EXPECT_EQ(thread_ids(), threads);
}

// Spec: CP-DRIVE-2
TEST_P(CallerDrivenTest, WaitReturnsRecordsOfOperationsAndPosts) {
    Pair pair = tcp_pair();
    Submission& read = log_.submission("..").as_receive(pair.ours.get()).for_waiters();
    ASSERT_EQ(read.submit(port_), 0);
    ASSERT_EQ(completion_port_post(port_, 7, 70, nullptr, nullptr), 0);
    ASSERT_EQ(wait(kForever_ns), 1);
    EXPECT_EQ(record_.kind, uint32_t{COMPLETION_PORT_KIND_POST});
    EXPECT_EQ(record_.key, 7u);
    write_all(pair.theirs.get(), "ab");
    ASSERT_EQ(wait(kForever_ns), 1);
    EXPECT_EQ(record_.operation, read.id());
    EXPECT_EQ(ending_of(record_), finished(2));
}

// Spec: CP-DRIVE-3
TEST_P(CallerDrivenTest, TimesOutNotBeforeItsTime) {
    const int64_t end_ns = now_ns() + 3 * kMillisecond_ns;
    EXPECT_EQ(wait(3 * kMillisecond_ns), -ETIMEDOUT);
    EXPECT_GE(now_ns(), end_ns);
}

// Spec: CP-DRIVE-1
TEST_P(CallerDrivenTest, TimersExpireInsideWait) {
    Submission& timer = log_.submission().as_timer(now_ns() + 2 * kMillisecond_ns).for_waiters();
    ASSERT_EQ(timer.submit(port_), 0);
    ASSERT_EQ(wait(kForever_ns), 1);
    EXPECT_EQ(ending_of(record_), finished(1));
    EXPECT_GE(now_ns(), static_cast<int64_t>(timer.timer().expires_ns));
}

// Spec: CP-DRIVE-6
TEST_P(CallerDrivenTest, ShutdownDrainsThenSaysSo) {
    Pair pair = unix_pair();
    Submission& queued = log_.submission("..").as_receive(pair.ours.get()).for_waiters();
    Submission& called = log_.submission("..").as_receive(pair.ours.get());
    ASSERT_EQ(queued.submit(port_), 0);
    ASSERT_EQ(called.submit(port_), 0);
    EXPECT_EQ(completion_port_shutdown(port_), 0);
    ASSERT_EQ(wait(kForever_ns), 1);
    EXPECT_EQ(record_.operation, queued.id());
    EXPECT_EQ(ending_of(record_), abandoned(-ECANCELED));
    EXPECT_EQ(wait(kForever_ns), -ESHUTDOWN);
    EXPECT_EQ(called.wait(), abandoned(-ECANCELED));
    EXPECT_EQ(wait(0), -ESHUTDOWN);
}

// Spec: CP-DRIVE-7
TEST_P(CallerDrivenTest, TheLastReferenceRunsWhatIsLeft) {
    Pair pair = unix_pair();
    Submission& read = log_.submission("..").as_receive(pair.ours.get());
    ASSERT_EQ(read.submit(port_), 0);
    completion_port_dec_ref(std::exchange(port_, nullptr));
    ASSERT_TRUE(read.completed());
    EXPECT_EQ(read.wait(), abandoned(-ECANCELED));
    EXPECT_EQ(read.wait_for(1).thread, gettid());
}

// Spec: CP-DRIVE-7
TEST_P(CallerDrivenTest, TheLastReferenceGoesInAnotherPortsCallback) {
    const COMPLETION_PORT_OPTIONS options = driven_options(GetParam());
    COMPLETION_PORT_HANDLE other = completion_port_create_with_options(&options);
    ASSERT_NE(other, nullptr);
    Pair pair = unix_pair();
    Submission& read = log_.submission("..").as_receive(pair.ours.get());
    ASSERT_EQ(read.submit(other), 0);
    Submission& turn = log_.submission().as_poll(pair.ours.get(), POLLOUT);
    turn.then([&](const COMPLETION_PORT_COMPLETION&) { completion_port_dec_ref(other); });
    ASSERT_EQ(turn.submit(port_), 0);
    work();
    EXPECT_TRUE(turn.completed());
    ASSERT_TRUE(read.completed());
    EXPECT_EQ(read.wait(), abandoned(-ECANCELED));
}

// Spec: CP-DRIVE-8
TEST_P(CallerDrivenTest, WaitInsideACallbackIsRefused) {
    int said = 0;
    Descriptor ready = ready_eventfd();
    Submission& poll = log_.submission().as_poll(ready.get(), POLLIN);
    poll.then([&](const COMPLETION_PORT_COMPLETION&) { said = wait(0); });
    ASSERT_EQ(poll.submit(port_), 0);
    work();
    EXPECT_EQ(said, -EDEADLK);
}

// Spec: CP-DRIVE-8
TEST_P(CallerDrivenTest, AForkedChildIsRefused) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        const bool refused = wait(0) == -EPERM && completion_port_fd(port_) == -EPERM &&
                             completion_port_next_timeout(port_) == -EPERM;
        _exit(refused ? 0 : 1);
    }
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
}

// Spec: CP-DRIVE-5
TEST_P(CallerDrivenTest, RemoveNeedsNobodyElse) {
    Pair pair = unix_pair();
    Submission& read = log_.submission("..").as_receive(pair.ours.get());
    ASSERT_EQ(read.submit(port_), 0);
    work();
    completion_port_remove(port_, pair.ours.get());
    // Where a single thread does everything, remove takes effect at once and the callback follows.
    if (GetParam() != 0) work();
    ASSERT_TRUE(read.completed());
    EXPECT_EQ(read.wait(), abandoned(-ECANCELED));
}

// More callbacks than one round runs: what a wait leaves it tells the other loop of.
// Spec: CP-EMBED-1 CP-EMBED-2
TEST_P(CallerDrivenTest, WorkThatAWaitLeavesMakesTheDescriptorReadable) {
    struct Chain {
        COMPLETION_PORT_HANDLE port;
        int left;
        static void on_record(void* context, const COMPLETION_PORT_COMPLETION*) {
            auto& chain = *static_cast<Chain*>(context);
            if (--chain.left > 0) completion_port_post(chain.port, 0, 0, on_record, context);
        }
    } chain{port_, 1000};
    ASSERT_EQ(completion_port_post(port_, 0, 0, Chain::on_record, &chain), 0);
    int waits = 0;
    while (chain.left > 0) {
        struct pollfd look = {completion_port_fd(port_), POLLIN, 0};
        // What a single thread itself asks for only the timeout tells.
        if (waits > 0 || GetParam() == 0) {
            ASSERT_EQ(::poll(&look, 1, 0), 1) << chain.left << " callbacks are left";
        }
        ASSERT_EQ(completion_port_next_timeout(port_), 0);
        work();
        ++waits;
    }
    EXPECT_GT(waits, 1);
    EXPECT_GT(completion_port_next_timeout(port_), 0);
}

// Spec: CP-EMBED-1 CP-EMBED-2
TEST_P(CallerDrivenTest, AnotherLoopLearnsOfWork) {
    const int descriptor = completion_port_fd(port_);
    ASSERT_GE(descriptor, 0);
    struct pollfd look = {descriptor, POLLIN, 0};
    Pair pair = tcp_pair();
    Submission& read = log_.submission("..").as_receive(pair.ours.get());
    ASSERT_EQ(read.submit(port_), 0);
    EXPECT_EQ(completion_port_next_timeout(port_), 0);
    work();
    EXPECT_EQ(poll(&look, 1, 0), 0);
    EXPECT_GT(completion_port_next_timeout(port_), 0);
    write_all(pair.theirs.get(), "ab");
    ASSERT_EQ(poll(&look, 1, -1), 1);
    work();
    EXPECT_EQ(read.wait(), finished(2));
    Submission& timer = log_.submission().as_timer(now_ns() + 1000 * kMillisecond_ns);
    ASSERT_EQ(timer.submit(port_), 0);
    work();
    const int64_t timeout_ns = completion_port_next_timeout(port_);
    EXPECT_GT(timeout_ns, 0);
    EXPECT_LE(timeout_ns, 1001 * kMillisecond_ns);
}

// Spec: CP-EMBED-2
TEST(CallerDrivenOptions, WithoutAnIdleWaitThereIsNoLimit) {
    COMPLETION_PORT_OPTIONS options = driven_options();
    options.idle_wait_ns = COMPLETION_PORT_IDLE_WAIT_FOREVER;
    COMPLETION_PORT_HANDLE port = completion_port_create_with_options(&options);
    ASSERT_NE(port, nullptr);
    EXPECT_EQ(completion_port_next_timeout(port), INT64_MAX);
    completion_port_dec_ref(port);
}

// Spec: CP-EMBED-3
TEST(CallerDrivenOptions, APortWithWorkersCannotBeEmbedded) {
    COMPLETION_PORT_HANDLE port = completion_port_create();
    ASSERT_NE(port, nullptr);
    EXPECT_EQ(completion_port_fd(port), -ENOTSUP);
    EXPECT_EQ(completion_port_next_timeout(port), -ENOTSUP);
    EXPECT_EQ(completion_port_fd(nullptr), -EINVAL);
    EXPECT_EQ(completion_port_next_timeout(nullptr), -EINVAL);
    completion_port_dec_ref(port);
}

// Spec: CP-DRIVE-9
TEST(CallerDrivenOptions, RefusesWhatContradictsIt) {
    const int32_t cpu = 0;
    COMPLETION_PORT_OPTIONS several = driven_options();
    several.workers = 2;
    COMPLETION_PORT_OPTIONS pinned = driven_options();
    pinned.worker_cpus = &cpu;
    COMPLETION_PORT_OPTIONS alone = driven_options();
    alone.flags = COMPLETION_PORT_OPTION_SINGLE_THREADED;
    for (const COMPLETION_PORT_OPTIONS* options : {&several, &pinned, &alone}) {
        errno = 0;
        EXPECT_EQ(completion_port_create_with_options(options), nullptr);
        EXPECT_EQ(errno, EINVAL);
    }
}

// Spec: CP-DRIVE-6
TEST(CallerDrivenOptions, OnEndedComesOnce) {
    int ended = 0;
    COMPLETION_PORT_OPTIONS options = driven_options();
    options.on_ended = [](void* context) { ++*static_cast<int*>(context); };
    options.on_ended_context = &ended;
    COMPLETION_PORT_HANDLE port = completion_port_create_with_options(&options);
    ASSERT_NE(port, nullptr);
    COMPLETION_PORT_COMPLETION record;
    completion_port_shutdown(port);
    EXPECT_EQ(completion_port_wait(port, &record, 1, kForever_ns), -ESHUTDOWN);
    EXPECT_EQ(ended, 1);
    completion_port_dec_ref(port);
    EXPECT_EQ(ended, 1);
}

// Spec: CP-DRIVE-10
TEST(CallerDrivenOptions, ASingleThreadOwnsItsSocketsOutsideCallbacksToo) {
    const COMPLETION_PORT_OPTIONS options = driven_options(COMPLETION_PORT_OPTION_SINGLE_THREADED);
    COMPLETION_PORT_HANDLE port = completion_port_create_with_options(&options);
    ASSERT_NE(port, nullptr);
    RecordLog log;
    Pair pair = unix_pair();
    write_all(pair.theirs.get(), "ab");
    COMPLETION_PORT_COMPLETION completed{};
    Submission& at_once = log.submission("..").as_receive(pair.ours.get());
    EXPECT_EQ(at_once.submit_inline(port, completed), 1);
    EXPECT_EQ(ending_of(completed), finished(2));
    Submission& waiting = log.submission("..").as_receive(pair.ours.get());
    ASSERT_EQ(waiting.submit(port), 0);
    EXPECT_EQ(completion_port_cancel(port, waiting.id()), 0);
    EXPECT_EQ(completion_port_cancel(port, waiting.id()), -ENOENT);
    completion_port_dec_ref(port);
    EXPECT_EQ(waiting.wait(), abandoned(-ECANCELED));
}

class SharedDriverTest : public ::testing::Test {
 protected:
    void SetUp() override {
        const COMPLETION_PORT_OPTIONS options = driven_options();
        port_ = completion_port_create_with_options(&options);
        ASSERT_NE(port_, nullptr);
    }

    COMPLETION_PORT_HANDLE port_ = nullptr;
};

// Spec: CP-DRIVE-2
TEST_F(SharedDriverTest, APostEndsAWaitThatSleeps) {
    std::atomic<pid_t> waiter = 0;
    COMPLETION_PORT_COMPLETION record{};
    int count = 0;
    std::thread thread([&] {
        waiter = gettid();
        count = completion_port_wait(port_, &record, 1, kForever_ns);
    });
    wait_until([&] { return waiter != 0 && is_asleep(waiter); });
    ASSERT_EQ(completion_port_post(port_, 3, 4, nullptr, nullptr), 0);
    thread.join();
    EXPECT_EQ(count, 1);
    EXPECT_EQ(record.value, 4);
    completion_port_dec_ref(port_);
}

// Spec: CP-DRIVE-5
TEST_F(SharedDriverTest, RemoveWaitsForADriverThatSleeps) {
    RecordLog log;
    Pair pair = unix_pair();
    Submission& read = log.submission("..").as_receive(pair.ours.get());
    ASSERT_EQ(read.submit(port_), 0);
    std::atomic<pid_t> waiter = 0;
    std::thread thread([&] {
        COMPLETION_PORT_COMPLETION record;
        waiter = gettid();
        EXPECT_EQ(completion_port_wait(port_, &record, 1, kForever_ns), -ESHUTDOWN);
    });
    wait_until([&] { return waiter != 0 && is_asleep(waiter); });
    completion_port_remove(port_, pair.ours.get());
    ASSERT_TRUE(read.completed());
    EXPECT_EQ(read.wait_for(1).thread, waiter.load());
    completion_port_shutdown(port_);
    thread.join();
    completion_port_dec_ref(port_);
}

// Spec: CP-DRIVE-4
TEST_F(SharedDriverTest, EachRecordGoesToOneOfTheWaiters) {
    constexpr int kWaiters = 4;
    constexpr int kProducers = 2;
    const int posts = scaled(100'000, 10'000);
    std::vector<std::vector<uint64_t>> got(kWaiters);
    std::vector<std::thread> threads;
    for (int i = 0; i < kWaiters; ++i) {
        threads.emplace_back([&, i] {
            COMPLETION_PORT_COMPLETION records[3];
            for (;;) {
                const int count = completion_port_wait(port_, records, 3, kForever_ns);
                if (count == -ESHUTDOWN) return;
                for (int k = 0; k < count; ++k)
                    got[static_cast<size_t>(i)].push_back(records[k].key);
            }
        });
    }
    std::vector<std::thread> producers;
    for (int i = 0; i < kProducers; ++i) {
        producers.emplace_back([&, i] {
            for (int n = 0; n < posts; ++n) {
                const auto key = static_cast<uint64_t>(i * posts + n);
                while (completion_port_post(port_, key, 0, nullptr, nullptr) == -ENOBUFS) {
                    std::this_thread::yield();
                }
            }
        });
    }
    for (std::thread& producer : producers) producer.join();
    completion_port_shutdown(port_);
    for (std::thread& thread : threads) thread.join();
    std::set<uint64_t> all;
    size_t count = 0;
    for (const auto& keys : got) {
        count += keys.size();
        all.insert(keys.begin(), keys.end());
    }
    EXPECT_EQ(count, static_cast<size_t>(kProducers * posts));
    EXPECT_EQ(all.size(), static_cast<size_t>(kProducers * posts));
    completion_port_dec_ref(port_);
}

// Spec: CP-DRIVE-4
TEST_F(SharedDriverTest, AnotherTakesOverWhenTheDriverLeaves) {
    RecordLog log;
    // One leaves with the first record; the callback of the second can run on the other alone.
    std::vector<std::thread> threads;
    std::atomic<int> waiting = 0;
    std::atomic<int> returned = 0;
    pid_t ids[2] = {};
    for (pid_t& id : ids) {
        threads.emplace_back([&] {
            id = gettid();
            ++waiting;
            COMPLETION_PORT_COMPLETION record;
            if (completion_port_wait(port_, &record, 1, kForever_ns) == 1) ++returned;
        });
    }
    wait_until([&] { return waiting == 2 && is_asleep(ids[0]) && is_asleep(ids[1]); });
    ASSERT_EQ(completion_port_post(port_, 1, 0, nullptr, nullptr), 0);
    wait_until([&] { return returned == 1; });
    Descriptor ready = ready_eventfd();
    Submission& poll = log.submission().as_poll(ready.get(), POLLIN);
    ASSERT_EQ(poll.submit(port_), 0);
    EXPECT_EQ(poll.wait(), finished(POLLIN));
    ASSERT_EQ(completion_port_post(port_, 2, 0, nullptr, nullptr), 0);
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(returned, 2);
    completion_port_dec_ref(port_);
}

}  // namespace
}  // namespace cport::test
