// The limits of sockets and of mail: an error code, and nothing has changed.
#include <completionport/connections.h>
#include <completionport/files.h>
#include <completionport/options.h>
#include <completionport/stats.h>
#include <completionport/timers.h>
#include <fcntl.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <deque>
#include <latch>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/contract/operations_fixture.h"
#include "tests/contract/process_facts.h"

namespace cport::test {
namespace {

class LimitsTest : public ::testing::TestWithParam<EngineUnderTest> {
 protected:
    void open(uint32_t sockets_max, uint32_t mailbox_max, uint32_t waiters_running_max = 0) {
        COMPLETION_PORT_OPTIONS options{};
        options.size = sizeof(options);
        options.engine = GetParam().engine;
        options.workers = static_cast<uint32_t>(GetParam().workers);
        options.sockets_max = sockets_max;
        options.mailbox_max = mailbox_max;
        options.waiters_running_max = waiters_running_max;
        port_ = completion_port_create_with_options(&options);
        ASSERT_NE(port_, nullptr);
    }
    void TearDown() override {
        // A callback that runs yet may read it.
        completion_port_dec_ref(port_);
        log_.expect_each_ended_once();
        recorder_.expect_each_add_ended_once();
    }

    Pair& pair() { return pairs_.emplace_back(unix_pair()); }
    Submission& receive(const Pair& from) {
        return log_.submission("....").as_receive(from.ours.get());
    }
    int post(ON_COMPLETION_PORT_COMPLETION on_complete = ignore) {
        return completion_port_post(port_, 0, 0, on_complete, this);
    }
    static void ignore(void*, const COMPLETION_PORT_COMPLETION*) {}
    // Keeps the worker of this thread's posts inside a callback.
    void hold_worker() {
        const auto hold = [](void* context, const COMPLETION_PORT_COMPLETION*) {
            auto& test = *static_cast<LimitsTest*>(context);
            test.held_.open();
            test.go_on_.wait();
            // A worker's own requests are no mail.
            for (int i = 0; i < 8; ++i) test.own_result_ |= test.post();
            test.own_done_.open();
        };
        wait_until([&] { return post(hold) == 0; });
        held_.wait();
    }
    COMPLETION_PORT_STATS stats() {
        COMPLETION_PORT_STATS all{};
        all.size = sizeof(all);
        EXPECT_EQ(completion_port_stats(port_, &all), 0);
        return all;
    }
    int remove_async_unheard(int socket) {
        return completion_port_remove_async(
            port_, socket, [](void*, SOCKET_HANDLE) {}, nullptr);
    }
    int remove_async(int socket) {
        return completion_port_remove_async(
            port_, socket,
            [](void* context, SOCKET_HANDLE) { static_cast<Gate*>(context)->open(); }, &removed_);
    }

    COMPLETION_PORT_HANDLE port_ = nullptr;
    RecordLog log_;
    Recorder recorder_;
    std::deque<Pair> pairs_;
    Gate held_;
    Gate go_on_;
    Gate own_done_;
    Gate removed_;
    std::atomic<int> own_result_{0};
};
CPORT_ON_EVERY_ENGINE(LimitsTest);

// Spec: CP-OPT-11, CP-STATS-6
TEST_P(LimitsTest, OneSocketMoreIsRefusedWhateverIsAskedOfIt) {
    open(2, 0);
    Pair& first = pair();
    Pair& second = pair();
    Pair& more = pair();
    const Descriptor file(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
    Submission& reads = receive(first);
    ASSERT_EQ(reads.submit(port_), 0);
    Operation& adds = recorder_.operation("....");
    ASSERT_EQ(adds.add(port_, EPOLLIN, second.ours.get()), 0);
    EXPECT_EQ(stats().sockets, 2u);

    EXPECT_EQ(recorder_.operation("..").add(port_, EPOLLIN, more.ours.get()), -ENOSPC);
    EXPECT_EQ(receive(more).submit(port_), -ENOSPC);
    EXPECT_EQ(log_.submission().as_poll(more.ours.get(), POLLIN).submit(port_), -ENOSPC);
    EXPECT_EQ(remove_async(more.ours.get()), -ENOSPC);
    completion_port_remove(port_, more.ours.get());
    COMPLETION_PORT_CLOSE_OPERATION close{};
    close.common.size = sizeof(close);
    close.common.kind = COMPLETION_PORT_KIND_CLOSE;
    close.common.descriptor = more.ours.get();
    close.common.on_complete = ignore;
    EXPECT_EQ(completion_port_submit(port_, &close.common, nullptr, nullptr), -ENOSPC);
    char byte = 0;
    COMPLETION_PORT_FILE_READ_OPERATION reads_file{};
    reads_file.common = close.common;
    reads_file.common.size = sizeof(reads_file);
    reads_file.common.kind = COMPLETION_PORT_KIND_FILE_READ;
    reads_file.common.descriptor = file.get();
    reads_file.buffer = &byte;
    reads_file.length = 1;
    EXPECT_EQ(completion_port_submit(port_, &reads_file.common, nullptr, nullptr), -ENOSPC);
    EXPECT_EQ(stats().sockets, 2u);
    EXPECT_EQ(stats().sockets_refused, 6u);

    // Those that count go on, also after a removal.
    write_all(first.theirs.get(), "four");
    EXPECT_EQ(reads.wait(), finished(4));
    completion_port_remove(port_, second.ours.get());
    Submission& again = receive(second);
    ASSERT_EQ(again.submit(port_), 0);
    write_all(second.theirs.get(), "more");
    EXPECT_EQ(again.wait(), finished(4));
}

// Spec: CP-OPT-11
TEST_P(LimitsTest, ANumberThatNamesNothingDoesNotCount) {
    open(1, 0);
    Pair& only = pair();
    Pair& gone = pair();
    const int number = gone.ours.get();
    gone.ours = Descriptor(-1);
    EXPECT_EQ(recorder_.operation("..").add(port_, EPOLLIN, number), -EBADF);
    EXPECT_EQ(stats().sockets, 0u);
    Submission& reads = receive(only);
    ASSERT_EQ(reads.submit(port_), 0);
    // The page of records is there now.
    EXPECT_EQ(recorder_.operation("..").add(port_, EPOLLIN, number), -EBADF);
    EXPECT_EQ(recorder_.operation("..").add(port_, EPOLLIN, -1), -EBADF);
    EXPECT_EQ(stats().sockets, 1u);
}

// Spec: CP-OPT-11
TEST_P(LimitsTest, ANumberThatManyThreadsUseFirstCountsOnce) {
    for (int round = 0; round < 200; ++round) {
        open(1, 0);
        Pair& only = pairs_.emplace_back(unix_pair());
        std::array<int, 4> results{};
        {
            std::latch begin(results.size());
            std::vector<std::jthread> threads;
            for (int& result : results) {
                threads.emplace_back([&] {
                    begin.arrive_and_wait();
                    result = remove_async_unheard(only.ours.get());
                });
            }
        }
        for (const int result : results) {
            ASSERT_TRUE(result == 0 || result == -EALREADY) << result << " in round " << round;
        }
        EXPECT_EQ(stats().sockets, 1u);
        EXPECT_EQ(stats().sockets_refused, 0u);
        completion_port_dec_ref(std::exchange(port_, nullptr));
        pairs_.pop_back();
    }
}

// Spec: CP-STATS-6
TEST_P(LimitsTest, WithoutALimitOnlyWhatNamesSomethingCounts) {
    open(0, 0);
    Pair& first = pair();
    Pair& gone = pair();
    const int number = gone.ours.get();
    gone.ours = Descriptor(-1);
    ASSERT_EQ(receive(first).submit(port_), 0);
    // The page of records is there: it does not stand for the number.
    EXPECT_EQ(recorder_.operation("..").add(port_, EPOLLIN, number), -EBADF);
    EXPECT_EQ(stats().sockets, 1u);
}

// Spec: CP-OPT-12, CP-OPT-13, CP-STATS-6
TEST_P(LimitsTest, OneRequestMoreThanTheMailboxHolds) {
    constexpr uint32_t kMail = 4;
    open(0, kMail, 1);
    hold_worker();
    for (uint32_t i = 0; i < kMail; ++i) EXPECT_EQ(post(), 0);
    EXPECT_EQ(post(), -EAGAIN);
    EXPECT_EQ(log_.submission().as_timer(int64_t{1} << 62).submit(port_), -EAGAIN);
    EXPECT_EQ(stats().total.mail_refused, 2u);
    // Nothing of this is mail.
    for (int i = 0; i < 8; ++i) {
        EXPECT_EQ(completion_port_post(port_, 0, 0, nullptr, nullptr), 0);
    }
    COMPLETION_PORT_COMPLETION record{};
    EXPECT_EQ(completion_port_wait(port_, &record, 1, 0), 1);
    EXPECT_EQ(completion_port_wait_leave(port_), 0);
    go_on_.open();
    own_done_.wait();
    EXPECT_EQ(own_result_.load(), 0);
    // The worker takes its mail, and there is room for as much again.
    wait_until([this] { return post() == 0; });
    Submission& timer = log_.submission().as_timer(1'000'000'000'000'000'000);
    int code = -EAGAIN;
    while (code == -EAGAIN) code = timer.submit(port_);
    EXPECT_EQ(code, 0);
}

// Whose mail is whose is known where there is one worker.
class MailLimitTest : public LimitsTest {};
INSTANTIATE_TEST_SUITE_P(Engine, MailLimitTest, ::testing::ValuesIn(engines_of_one_worker()),
                         engine_name);

// Spec: CP-OPT-12, CP-OPT-13
TEST_P(MailLimitTest, ARefusalForMailLeavesTheSocketAsItWas) {
    open(0, 1);
    Pair& first = pair();
    Submission& reads = receive(first);
    int code = -EAGAIN;
    while (code == -EAGAIN) code = reads.submit(port_);
    ASSERT_EQ(code, 0);
    hold_worker();
    ASSERT_EQ(post(), 0);
    EXPECT_EQ(recorder_.operation("..").add(port_, EPOLLIN, first.ours.get()), -EAGAIN);
    EXPECT_EQ(receive(first).submit(port_), -EAGAIN);
    EXPECT_EQ(completion_port_cancel(port_, reads.id()), -EAGAIN);
    EXPECT_EQ(remove_async(first.ours.get()), -EAGAIN);
    go_on_.open();
    own_done_.wait();
    // The removal that was refused has not ended what was there.
    write_all(first.theirs.get(), "four");
    EXPECT_EQ(reads.wait(), finished(4));
    Submission& last = receive(first);
    code = -EAGAIN;
    while (code == -EAGAIN) code = last.submit(port_);
    ASSERT_EQ(code, 0);
    completion_port_remove(port_, first.ours.get());
    EXPECT_EQ(last.wait(), abandoned(-ECANCELED));
}

// Spec: CP-OPT-12
TEST(DrivenMailLimit, CountsWhatWaitsForTheDriver) {
    COMPLETION_PORT_OPTIONS options{};
    options.size = sizeof(options);
    options.flags = COMPLETION_PORT_OPTION_CALLER_DRIVEN;
    options.mailbox_max = 1;
    COMPLETION_PORT_HANDLE port = completion_port_create_with_options(&options);
    COMPLETION_PORT_COMPLETION record{};
    for (uint64_t key = 1; key <= 2; ++key) {
        EXPECT_EQ(completion_port_post(port, key, 0, nullptr, nullptr), 0);
        EXPECT_EQ(completion_port_post(port, 0, 0, nullptr, nullptr), -EAGAIN);
        EXPECT_EQ(completion_port_wait(port, &record, 1, 0), 1);
        EXPECT_EQ(record.key, key);
    }
    completion_port_dec_ref(port);
}

// Spec: CP-OPT-13
TEST_P(LimitsTest, RemoveAndTheEndNeedNoRoom) {
    open(0, 1);
    hold_worker();
    ASSERT_EQ(post(), 0);
    EXPECT_EQ(post(), -EAGAIN);
    Pair& never_used = pair();
    completion_port_remove(port_, never_used.ours.get());
    EXPECT_EQ(completion_port_shutdown(port_), 0);
    go_on_.open();
}

}  // namespace
}  // namespace cport::test
