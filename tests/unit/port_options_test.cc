// Ports of several workers, that spin, or with timers, over a scripted machine. Each worker runs on
// the test's own thread when the test says so.
#include <completionport/operations.h>
#include <completionport/timers.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdint>
#include <string>
#include <vector>

#include "platform/linux/linux_platform.h"
#include "runtime/abi/handle.h"
#include "tests/support/fault_platform.h"
#include "tests/support/mock_platform.h"

namespace cport {
namespace {

using ::testing::_;
using ::testing::NiceMock;
using ::testing::Return;

constexpr int kSocket = 7;
constexpr int64_t kMillisecond_ns = 1'000'000;
constexpr int64_t kSecond_ns = 1'000 * kMillisecond_ns;
// A wheel's tick is less.
constexpr int64_t kLateness_ns = kMillisecond_ns;

class OptionsOnMocks : public ::testing::Test {
 protected:
    void SetUp() override {
        test::hand_on(memory_, counting_.platform().memory);
        ON_CALL(kernel_, epoll_create()).WillByDefault([this] { return open_one(); });
        ON_CALL(kernel_, eventfd_create()).WillByDefault([this] { return open_one(); });
        ON_CALL(kernel_, close(_)).WillByDefault([this](int) { return --open_, 0; });
        ON_CALL(kernel_, descriptor_kind(_))
            .WillByDefault(Return(static_cast<int>(platform::DescriptorKind::kSocket)));
        ON_CALL(kernel_, socket_type(_)).WillByDefault(Return(SOCK_DGRAM));
        ON_CALL(kernel_, receive(_, _, _, _)).WillByDefault(Return(-EAGAIN));
        ON_CALL(threads_, start(_, _, _, _, _))
            .WillByDefault([this](pthread_t* thread, const char* name, int cpu,
                                  platform::Threads::Body body, void* argument) {
                *thread = static_cast<pthread_t>(started_.size());
                started_.push_back({body, argument, name, cpu});
                return 0;
            });
        ON_CALL(threads_, join(_)).WillByDefault([this](pthread_t thread) {
            joined_.push_back(thread);
            run_worker(static_cast<size_t>(thread));
        });
        ON_CALL(clock_, now_ns()).WillByDefault([this] { return now_ns_; });
    }
    void TearDown() override {
        EXPECT_TRUE(counting_.holdings().empty());
        EXPECT_EQ(open_, 0);
    }

    int open_one() { return ++open_, next_descriptor_++; }
    COMPLETION_PORT_HANDLE create(const PortOptions& options) {
        return create_handle(machine_, options);
    }
    // Until the worker has ended.
    void run_worker(size_t index) {
        Started& worker = started_[index];
        if (!worker.ran) worker.body(worker.argument);
        worker.ran = true;
    }

    static void keep_record(void* context, const COMPLETION_PORT_COMPLETION* record) {
        static_cast<std::vector<COMPLETION_PORT_COMPLETION>*>(context)->push_back(*record);
    }
    int start_timer(COMPLETION_PORT_HANDLE port, int64_t expires_ns, int64_t period_ns = 0) {
        COMPLETION_PORT_TIMER_OPERATION timer{};
        timer.common.size = sizeof(timer);
        timer.common.kind = COMPLETION_PORT_KIND_TIMER;
        timer.common.on_complete = keep_record;
        timer.common.context = &records_;
        timer.expires_ns = static_cast<uint64_t>(expires_ns);
        timer.period_ns = static_cast<uint64_t>(period_ns);
        return completion_port_submit(port, &timer.common, nullptr, nullptr);
    }
    int submit_receive(COMPLETION_PORT_HANDLE port, int64_t deadline_ns) {
        COMPLETION_PORT_RECEIVE_OPERATION receive{};
        receive.common.size = sizeof(receive);
        receive.common.kind = COMPLETION_PORT_KIND_RECEIVE;
        receive.common.descriptor = kSocket;
        receive.common.on_complete = keep_record;
        receive.common.context = &records_;
        receive.common.deadline_ns = static_cast<uint64_t>(deadline_ns);
        receive.buffer = &byte_;
        receive.length = 1;
        return completion_port_submit(port, &receive.common, nullptr, nullptr);
    }

    struct Started {
        platform::Threads::Body body;
        void* argument;
        std::string name;
        int cpu;
        bool ran = false;
    };

    test::FaultPlatform counting_{platform::linux_platform(), test::Fault{}};
    NiceMock<test::MockKernel> kernel_;
    NiceMock<test::MockThreads> threads_;
    NiceMock<test::MockMemory> memory_;
    NiceMock<test::MockClock> clock_;
    platform::Platform machine_{kernel_, threads_, memory_, clock_};
    std::vector<Started> started_;
    std::vector<pthread_t> joined_;
    std::vector<COMPLETION_PORT_COMPLETION> records_;
    int64_t now_ns_ = 1'000 * kSecond_ns;
    int open_ = 0;
    int next_descriptor_ = 100;
    char byte_ = 0;
};

void count_end(void* context) { ++*static_cast<int*>(context); }

// Spec: CP-OPT-7, CP-CREATE-2
TEST_F(OptionsOnMocks, IsUndoneWhicheverThreadCannotBeMade) {
    constexpr uint32_t kWorkers = 5;
    for (size_t failing = 0; failing < kWorkers; ++failing) {
        started_.clear();
        joined_.clear();
        EXPECT_CALL(threads_, start(_, _, _, _, _))
            .Times(static_cast<int>(failing) + 1)
            .WillRepeatedly([this, failing](pthread_t* thread, const char* name, int cpu,
                                            platform::Threads::Body body, void* argument) {
                if (started_.size() == failing) return -EAGAIN;
                *thread = static_cast<pthread_t>(started_.size());
                started_.push_back({body, argument, name, cpu});
                return 0;
            });
        int ends = 0;
        PortOptions options;
        options.workers = kWorkers;
        options.on_ended = count_end;
        options.on_ended_context = &ends;
        errno = 0;
        EXPECT_EQ(create(options), nullptr);
        EXPECT_EQ(errno, EAGAIN);
        EXPECT_EQ(joined_.size(), failing);
        EXPECT_EQ(ends, 0);
        EXPECT_EQ(open_, 0);
        EXPECT_TRUE(counting_.holdings().empty());
    }
}

// Spec: CP-OPT-7, CP-CREATE-2
TEST_F(OptionsOnMocks, IsUndoneWhicheverWorkerCannotOpen) {
    constexpr uint32_t kWorkers = 4;
    EXPECT_CALL(threads_, start(_, _, _, _, _)).Times(0);
    for (int failing = 0; failing < 2 * static_cast<int>(kWorkers); ++failing) {
        int opens = 0;
        const auto open_or_fail = [&] { return opens++ == failing ? -ENFILE : open_one(); };
        ON_CALL(kernel_, epoll_create()).WillByDefault(open_or_fail);
        ON_CALL(kernel_, eventfd_create()).WillByDefault(open_or_fail);
        PortOptions options;
        options.workers = kWorkers;
        EXPECT_EQ(create(options), nullptr);
        EXPECT_EQ(errno, ENFILE);
        EXPECT_EQ(open_, 0);
    }
}

// Spec: CP-OPT-4, CP-OPT-5
TEST_F(OptionsOnMocks, NamesAndCpusGoToTheThreads) {
    const int32_t cpus[] = {3, -1, 5};
    PortOptions options;
    options.workers = 3;
    options.cpus = cpus;
    options.name = "net";
    COMPLETION_PORT_HANDLE port = create(options);
    ASSERT_EQ(started_.size(), 3u);
    for (size_t i = 0; i < 3; ++i) {
        EXPECT_EQ(started_[i].name, "net-" + std::to_string(i));
        EXPECT_EQ(started_[i].cpu, cpus[i]);
    }
    completion_port_dec_ref(port);
}

// Spec: CP-OPT-9
TEST_F(OptionsOnMocks, TheLastWorkerToLeaveTellsTheEnd) {
    int ends = 0;
    PortOptions options;
    options.workers = 3;
    options.on_ended = count_end;
    options.on_ended_context = &ends;
    COMPLETION_PORT_HANDLE port = create(options);
    completion_port_shutdown(port);
    for (size_t i : {1u, 0u}) {
        run_worker(i);
        EXPECT_EQ(ends, 0);
    }
    run_worker(2);
    EXPECT_EQ(ends, 1);
    completion_port_dec_ref(port);
    EXPECT_EQ(ends, 1);
}

// Spec: CP-OPT-10
TEST_F(OptionsOnMocks, AnIdleWorkerSleepsAsLongAsItWasTold) {
    for (const int64_t idle_ns : {kMillisecond_ns, int64_t{5}, 3'600 * kSecond_ns, int64_t{-1}}) {
        started_.clear();
        PortOptions options;
        options.idle_wait_ns = idle_ns;
        COMPLETION_PORT_HANDLE port = create(options);
        int waits = 0;
        EXPECT_CALL(kernel_, epoll_wait(_, _, _, idle_ns))
            .Times(3)
            .WillRepeatedly([&](int, struct epoll_event*, int, int64_t) {
                if (++waits == 3) completion_port_shutdown(port);
                return 0;
            });
        run_worker(0);
        completion_port_dec_ref(port);
    }
}

// Spec: CP-OPT-10, CP-TIMER-14
TEST_F(OptionsOnMocks, AnIdleWaitForEverStillEndsForATimer) {
    PortOptions options;
    options.idle_wait_ns = -1;
    COMPLETION_PORT_HANDLE port = create(options);
    const int64_t expires_ns = now_ns_ + 10 * kSecond_ns;
    ASSERT_EQ(start_timer(port, expires_ns), 0);
    EXPECT_CALL(kernel_, epoll_wait(_, _, _, _))
        .WillRepeatedly([&](int, struct epoll_event*, int, int64_t timeout_ns) {
            if (!records_.empty()) {
                EXPECT_EQ(timeout_ns, -1);
                completion_port_shutdown(port);
                return 0;
            }
            EXPECT_GE(timeout_ns, 0);
            EXPECT_LE(now_ns_ + timeout_ns, expires_ns + kLateness_ns);
            now_ns_ += timeout_ns;
            return 0;
        });
    run_worker(0);
    ASSERT_EQ(records_.size(), 1u);
    EXPECT_EQ(records_[0].result, COMPLETION_PORT_RESULT_OK);
    EXPECT_GE(now_ns_, expires_ns);
    EXPECT_LE(now_ns_, expires_ns + kLateness_ns);
    completion_port_dec_ref(port);
}

// Spec: CP-TIMER-14, CP-OPT-6
TEST_F(OptionsOnMocks, AWorkerThatSpinsIsNotLateForATimer) {
    for (const int64_t ahead_ns : {kSecond_ns / 3, kSecond_ns - 1, kSecond_ns * 3 / 2}) {
        started_.clear();
        records_.clear();
        PortOptions options;
        options.spin_ns = kSecond_ns;
        COMPLETION_PORT_HANDLE port = create(options);
        const int64_t expires_ns = now_ns_ + ahead_ns;
        ASSERT_EQ(start_timer(port, expires_ns), 0);
        int64_t seen_ns = 0;
        EXPECT_CALL(kernel_, epoll_wait(_, _, _, _))
            .WillRepeatedly([&](int, struct epoll_event*, int, int64_t timeout_ns) {
                if (!records_.empty()) {
                    if (seen_ns == 0) seen_ns = now_ns_;
                    completion_port_shutdown(port);
                    return 0;
                }
                // A look that does not wait takes its time too.
                now_ns_ += timeout_ns == 0 ? kMillisecond_ns / 10 : timeout_ns;
                return 0;
            });
        run_worker(0);
        EXPECT_GE(seen_ns, expires_ns);
        EXPECT_LE(seen_ns - expires_ns, kLateness_ns) << ahead_ns;
        completion_port_dec_ref(port);
    }
}

// Spec: CP-OPT-6
TEST_F(OptionsOnMocks, AWorkerThatSpinsLooksForThatLongAndThenSleeps) {
    PortOptions options;
    options.spin_ns = 10 * kMillisecond_ns;
    COMPLETION_PORT_HANDLE port = create(options);
    const int64_t start_ns = now_ns_;
    EXPECT_CALL(kernel_, epoll_wait(_, _, _, _))
        .WillRepeatedly([&](int, struct epoll_event*, int, int64_t timeout_ns) {
            if (timeout_ns != 0) {
                EXPECT_GE(now_ns_ - start_ns, 10 * kMillisecond_ns);
                EXPECT_LE(now_ns_ - start_ns, 11 * kMillisecond_ns);
                completion_port_shutdown(port);
            }
            now_ns_ += kMillisecond_ns / 10;
            return 0;
        });
    run_worker(0);
    completion_port_dec_ref(port);
}

// Spec: CP-DEADLINE-2
TEST_F(OptionsOnMocks, WhatCompletedBeforeItsDeadlineWakesNobody) {
    COMPLETION_PORT_HANDLE port = create({});
    int receives = 0;
    ON_CALL(kernel_, receive(_, _, _, _)).WillByDefault([&](int, void*, size_t, int) {
        return receives++ == 0 ? int64_t{-EAGAIN} : int64_t{1};
    });
    uint64_t name = 0;
    ON_CALL(kernel_, epoll_ctl(_, _, kSocket, _, _))
        .WillByDefault([&](int, int, int, uint32_t, uint64_t data) { return name = data, 0; });
    ASSERT_EQ(submit_receive(port, now_ns_ + 50 * kMillisecond_ns), 0);
    int waits = 0;
    EXPECT_CALL(kernel_, epoll_wait(_, _, _, _))
        .WillRepeatedly([&](int, struct epoll_event* events, int, int64_t timeout_ns) {
            now_ns_ += kMillisecond_ns;
            if (++waits == 1) {
                EXPECT_LE(timeout_ns, 51 * kMillisecond_ns);
                events[0].events = EPOLLIN;
                events[0].data.u64 = name;
                return 1;
            }
            EXPECT_EQ(timeout_ns, 2 * kSecond_ns);
            if (waits == 4) completion_port_shutdown(port);
            return 0;
        });
    run_worker(0);
    EXPECT_EQ(waits, 4);
    ASSERT_EQ(records_.size(), 1u);
    EXPECT_EQ(records_[0].value, 1);
    completion_port_dec_ref(port);
}

// Spec: CP-TIMER-4
TEST_F(OptionsOnMocks, TheValueOfAPeriodicTimerIsExact) {
    COMPLETION_PORT_HANDLE port = create({});
    const int64_t first_ns = now_ns_ + 10 * kMillisecond_ns;
    const int64_t period_ns = 7 * kMillisecond_ns;
    ASSERT_EQ(start_timer(port, first_ns, period_ns), 0);
    int waits = 0;
    int64_t expired = 0;
    EXPECT_CALL(kernel_, epoll_wait(_, _, _, _))
        .WillRepeatedly([&](int, struct epoll_event*, int, int64_t timeout_ns) {
            // Late by more and more.
            now_ns_ += timeout_ns + waits * kMillisecond_ns;
            if (++waits == 100) completion_port_shutdown(port);
            return 0;
        });
    ON_CALL(kernel_, epoll_ctl(_, _, _, _, _)).WillByDefault(Return(0));
    run_worker(0);
    ASSERT_GT(records_.size(), 10u);
    for (size_t i = 0; i + 1 < records_.size(); ++i) {
        EXPECT_EQ(records_[i].flags, uint32_t{COMPLETION_PORT_COMPLETION_MORE});
        expired += records_[i].value;
    }
    // As many as there were, up to the last that the worker saw.
    EXPECT_LE(first_ns + (expired - 1) * period_ns, now_ns_);
    EXPECT_GT(first_ns + expired * period_ns, now_ns_ - 200 * kMillisecond_ns);
    EXPECT_EQ(records_.back().result, COMPLETION_PORT_RESULT_ABANDONED);
    EXPECT_EQ(records_.back().flags, 0u);
    completion_port_dec_ref(port);
}

}  // namespace
}  // namespace cport
