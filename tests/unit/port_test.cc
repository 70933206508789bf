// The port over a scripted machine. Its worker runs on the test's own thread, so every step is
// known.
#include <completionport/completion_port.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>

#include "platform/linux/linux_platform.h"
#include "runtime/abi/handle.h"
#include "runtime/port/owner.h"
#include "tests/support/fault_platform.h"
#include "tests/support/mock_platform.h"

namespace cport {
namespace {

using ::testing::_;
using ::testing::AtMost;
using ::testing::DoAll;
using ::testing::InSequence;
using ::testing::Ne;
using ::testing::NiceMock;
using ::testing::Return;
using ::testing::SaveArg;

constexpr int kEpoll = 100;
constexpr int kWake = 101;
constexpr int kSocket = 7;
constexpr int kOther = 8;
constexpr int kBeyondTheTable = 1 << 24;

// One read of kOther after another, each added in the callback of the one before.
struct Loop {
    COMPLETION_PORT_HANDLE port;
    char byte;

    int add() {
        COMPLETION_PORT_INGRESS_DATA data{};
        data.epoll_op = EPOLLIN;
        data.socket = kOther;
        data.event_callback = on_complete;
        data.event_callback_ctx = this;
        data.buffer_data = {&byte, 1};
        return completion_port_add(port, &data);
    }
    static void on_complete(void* context, COMPLETION_PORT_EPOLL_ACTION, COMPLETION_PORT_RESULT,
                            int32_t) {
        // Refused once the port is ending, which ends the loop.
        static_cast<Loop*>(context)->add();
    }
};

class PortOnMocks : public ::testing::Test {
 protected:
    void SetUp() override {
        test::hand_on(memory_, counting_.platform().memory);
        ON_CALL(kernel_, epoll_create()).WillByDefault(Return(kEpoll));
        ON_CALL(kernel_, eventfd_create()).WillByDefault(Return(kWake));
        ON_CALL(kernel_, descriptor_kind(_))
            .WillByDefault(Return(static_cast<int>(platform::DescriptorKind::kSocket)));
        ON_CALL(kernel_, socket_type(_)).WillByDefault(Return(SOCK_DGRAM));
        ON_CALL(threads_, start(_, _, _, _, _))
            .WillByDefault(DoAll(SaveArg<3>(&body_), SaveArg<4>(&argument_), Return(0)));
    }
    void TearDown() override { EXPECT_TRUE(counting_.holdings().empty()); }

    COMPLETION_PORT_HANDLE create() { return create_handle(machine_); }
    // Until the port has ended.
    void run_worker() { body_(argument_); }

    static void count_callback(void* context, COMPLETION_PORT_EPOLL_ACTION, COMPLETION_PORT_RESULT,
                               int32_t) {
        ++*static_cast<int*>(context);
    }
    // Runs the port until `adds` of its adds are complete. The most of them that were between two
    // looks at the kernel.
    int most_between_looks(COMPLETION_PORT_HANDLE port, int adds) {
        int seen = 0;
        int most = 0;
        EXPECT_CALL(kernel_, epoll_wait(kEpoll, _, _, _))
            .WillRepeatedly([&](int, struct epoll_event*, int, int) {
                most = std::max(most, callbacks_ - seen);
                seen = callbacks_;
                if (callbacks_ == adds) completion_port_shutdown(port);
                return 0;
            });
        run_worker();
        EXPECT_EQ(callbacks_, adds);
        return most;
    }
    int add_read(COMPLETION_PORT_HANDLE port, int descriptor) {
        COMPLETION_PORT_INGRESS_DATA data{};
        data.epoll_op = EPOLLIN;
        data.socket = descriptor;
        data.event_callback = count_callback;
        data.event_callback_ctx = &callbacks_;
        data.buffer_data = {&byte_, 1};
        return completion_port_add(port, &data);
    }

    test::FaultPlatform counting_{platform::linux_platform(), test::Fault{}};
    NiceMock<test::MockKernel> kernel_;
    NiceMock<test::MockThreads> threads_;
    NiceMock<test::MockMemory> memory_;
    NiceMock<test::MockClock> clock_;
    platform::Platform machine_{kernel_, threads_, memory_, clock_};
    platform::Threads::Body body_ = nullptr;
    void* argument_ = nullptr;
    int callbacks_ = 0;
    char byte_ = 0;
};

// Spec: CP-CREATE-1
TEST_F(PortOnMocks, IsMadeOfOneEpollInstanceAndOneWorker) {
    {
        InSequence in_order;
        EXPECT_CALL(memory_, fork_mark_create());
        EXPECT_CALL(kernel_, epoll_create());
        EXPECT_CALL(kernel_, eventfd_create());
        EXPECT_CALL(kernel_, epoll_ctl(kEpoll, EPOLL_CTL_ADD, kWake, EPOLLIN | EPOLLET, _));
        EXPECT_CALL(threads_, start(_, _, _, _, _));
    }
    COMPLETION_PORT_HANDLE port = create();
    ASSERT_NE(port, nullptr);
    // The one reference: giving it back ends the worker, then closes the descriptors.
    EXPECT_CALL(kernel_, epoll_wait(_, _, _, _)).Times(0);
    InSequence in_order;
    EXPECT_CALL(threads_, join(_)).WillOnce([this](pthread_t) { run_worker(); });
    EXPECT_CALL(kernel_, close(kWake));
    EXPECT_CALL(kernel_, close(kEpoll));
    completion_port_dec_ref(port);
}

// Spec: CP-CREATE-2
TEST_F(PortOnMocks, IsUndoneWhenNoThreadCanBeMade) {
    ON_CALL(threads_, start(_, _, _, _, _)).WillByDefault(Return(-EAGAIN));
    EXPECT_CALL(threads_, join(_)).Times(0);
    EXPECT_CALL(threads_, detach(_)).Times(0);
    EXPECT_CALL(kernel_, close(kWake));
    EXPECT_CALL(kernel_, close(kEpoll));
    errno = 0;
    EXPECT_EQ(create(), nullptr);
    EXPECT_EQ(errno, EAGAIN);
}

// Spec: CP-CREATE-2
TEST_F(PortOnMocks, IsUndoneWhenTheWakeCannotBeWatched) {
    EXPECT_CALL(kernel_, epoll_ctl(_, _, _, _, _)).WillOnce(Return(-ENOMEM));
    EXPECT_CALL(threads_, start(_, _, _, _, _)).Times(0);
    EXPECT_CALL(kernel_, close(kWake)).WillOnce(Return(-EINTR));
    EXPECT_CALL(kernel_, close(kEpoll)).WillOnce(Return(-EIO));
    EXPECT_EQ(create(), nullptr);
    EXPECT_EQ(errno, ENOMEM);
}

// Spec: CP-CREATE-2
TEST_F(PortOnMocks, ClosesNothingThatWasNotOpened) {
    EXPECT_CALL(kernel_, epoll_create()).WillOnce(Return(-EMFILE));
    EXPECT_CALL(kernel_, eventfd_create()).Times(0);
    EXPECT_CALL(kernel_, close(_)).Times(0);
    EXPECT_EQ(create(), nullptr);
    EXPECT_EQ(errno, EMFILE);

    EXPECT_CALL(memory_, fork_mark_create()).WillOnce(Return(nullptr));
    EXPECT_EQ(create(), nullptr);
    EXPECT_EQ(errno, ENOMEM);
}

// Spec: CP-COST-3
TEST_F(PortOnMocks, AnIdleWorkerWaitsTwoSecondsAtATime) {
    COMPLETION_PORT_HANDLE port = create();
    int waits = 0;
    EXPECT_CALL(kernel_, epoll_wait(kEpoll, _, _, 2'000'000'000))
        .Times(5)
        .WillRepeatedly([&waits, port](int, struct epoll_event*, int, int) {
            if (++waits == 5) completion_port_shutdown(port);
            return waits % 2 == 0 ? 0 : -EINTR;
        });
    EXPECT_CALL(kernel_, epoll_ctl(_, _, _, _, _)).Times(0);
    run_worker();
    completion_port_dec_ref(port);
}

// Spec: CP-COST-4
TEST_F(PortOnMocks, ReadinessThatNobodyAskedForLeavesTheWorkerIdle) {
    COMPLETION_PORT_HANDLE port = create();
    uint64_t name = 0;
    EXPECT_CALL(kernel_, receive(kSocket, _, _, _)).WillOnce(Return(-EAGAIN)).WillOnce(Return(1));
    EXPECT_CALL(kernel_, epoll_ctl(kEpoll, EPOLL_CTL_ADD, kSocket, _, _))
        .WillOnce(DoAll(SaveArg<4>(&name), Return(0)));
    ASSERT_EQ(add_read(port, kSocket), 0);
    int waits = 0;
    EXPECT_CALL(kernel_, epoll_wait(kEpoll, _, _, 2'000'000'000))
        .Times(4)
        .WillRepeatedly([&](int, struct epoll_event* events, int, int) {
            if (++waits == 4) completion_port_shutdown(port);
            events[0].events = EPOLLIN | EPOLLOUT | EPOLLHUP | EPOLLERR;
            events[0].data.u64 = name;
            return 1;
        });
    run_worker();
    EXPECT_EQ(callbacks_, 1);
    completion_port_dec_ref(port);
}

// Spec: CP-FAIR-2
TEST_F(PortOnMocks, TheKernelIsAskedAtLeastEvery64Completions) {
    constexpr int kAdds = 500;
    COMPLETION_PORT_HANDLE port = create();
    ON_CALL(kernel_, receive(_, _, _, _)).WillByDefault(Return(1));
    for (int i = 0; i < kAdds; ++i) ASSERT_EQ(add_read(port, kSocket + i % 3), 0);
    const int most_at_once = most_between_looks(port, kAdds);
    EXPECT_LE(most_at_once, 64);
    completion_port_dec_ref(port);
}

// Spec: CP-FAIR-5
TEST_F(PortOnMocks, TheKernelIsAskedAgainAfterManyBytes) {
    constexpr int kAdds = 30;
    constexpr int kTurnsToTheLimit = 4;
    constexpr int64_t kBytes = Owner::kRoundMovedMax / kTurnsToTheLimit;
    COMPLETION_PORT_HANDLE port = create();
    ON_CALL(kernel_, receive(_, _, _, _)).WillByDefault(Return(kBytes));
    for (int i = 0; i < kAdds; ++i) ASSERT_EQ(add_read(port, kSocket + i % 3), 0);
    const int most_at_once = most_between_looks(port, kAdds);
    EXPECT_EQ(most_at_once, kTurnsToTheLimit);
    completion_port_dec_ref(port);
}

// Spec: CP-STALE-2
TEST_F(PortOnMocks, AWorkerThatNeverSleepsStillSweeps) {
    constexpr int kRoundsMax = 1000;
    COMPLETION_PORT_HANDLE port = create();
    ON_CALL(kernel_, receive(kSocket, _, _, _)).WillByDefault(Return(-EAGAIN));
    ON_CALL(kernel_, receive(kOther, _, _, _)).WillByDefault(Return(1));
    // Registered once; the second time nothing is registered any more: the number was closed.
    EXPECT_CALL(kernel_, epoll_ctl(kEpoll, EPOLL_CTL_ADD, kSocket, _, _))
        .WillOnce(Return(0))
        .WillOnce(Return(-EBADF));
    EXPECT_CALL(kernel_, epoll_ctl(kEpoll, EPOLL_CTL_DEL, kSocket, _, _)).Times(AtMost(1));
    ASSERT_EQ(add_read(port, kSocket), 0);
    Loop loop{port, 0};
    ASSERT_EQ(loop.add(), 0);

    int64_t now_ns = 0;
    ON_CALL(clock_, now_ns()).WillByDefault([&now_ns] { return now_ns += 2'000'000'000; });
    int rounds = 0;
    int ended_while_busy = 0;
    EXPECT_CALL(kernel_, epoll_wait(kEpoll, _, _, 0))
        .WillRepeatedly([&](int, struct epoll_event*, int, int) {
            if (++rounds == kRoundsMax || callbacks_ != 0) {
                ended_while_busy = callbacks_;
                completion_port_shutdown(port);
            }
            return 0;
        });
    EXPECT_CALL(kernel_, epoll_wait(kEpoll, _, _, Ne(0))).Times(0);
    run_worker();
    EXPECT_EQ(ended_while_busy, 1);
    EXPECT_EQ(callbacks_, 1);
    completion_port_dec_ref(port);
}

// Spec: CP-BAD-10
TEST_F(PortOnMocks, AddsOfClosedNumbersDoNotMakeTheTableGrow) {
    COMPLETION_PORT_HANDLE port = create();
    ASSERT_EQ(add_read(port, kSocket), 0);
    const int64_t held = counting_.holdings().memory_blocks;
    ON_CALL(kernel_, descriptor_kind(_)).WillByDefault(Return(-EBADF));
    for (int number = 1000; number < kBeyondTheTable; number += kBeyondTheTable / 64) {
        EXPECT_EQ(add_read(port, number), -EBADF);
    }
    EXPECT_EQ(counting_.holdings().memory_blocks, held);
    EXPECT_CALL(threads_, join(_)).WillOnce([this](pthread_t) { run_worker(); });
    completion_port_dec_ref(port);
    EXPECT_EQ(callbacks_, 1);
}

// Spec: CP-BAD-9, CP-BAD-10
TEST_F(PortOnMocks, RefusesNumbersBeyondTheTable) {
    COMPLETION_PORT_HANDLE port = create();
    EXPECT_CALL(kernel_, receive(_, _, _, _)).Times(0);
    EXPECT_EQ(add_read(port, kBeyondTheTable), -EMFILE);
    completion_port_remove(port, kBeyondTheTable);
    auto never = [](void*, SOCKET_HANDLE) { ADD_FAILURE() << "it was refused"; };
    EXPECT_EQ(completion_port_remove_async(port, kBeyondTheTable, never, nullptr), -EMFILE);
    EXPECT_CALL(threads_, join(_)).WillOnce([this](pthread_t) { run_worker(); });
    completion_port_dec_ref(port);
    EXPECT_EQ(callbacks_, 0);
}

// Spec: CP-BAD-9, CP-BAD-10
TEST_F(PortOnMocks, RefusesAddsWithoutMemoryAndAcceptsThemLater) {
    COMPLETION_PORT_HANDLE port = create();
    EXPECT_CALL(memory_, allocate(_, _))
        .WillOnce(Return(nullptr))
        .WillRepeatedly([this](size_t size, size_t alignment) {
            return counting_.platform().memory.allocate(size, alignment);
        });
    EXPECT_EQ(add_read(port, kSocket), -ENOMEM);
    EXPECT_EQ(add_read(port, kSocket), 0);
    EXPECT_CALL(threads_, join(_)).WillOnce([this](pthread_t) { run_worker(); });
    completion_port_dec_ref(port);
    EXPECT_EQ(callbacks_, 1);
}

}  // namespace
}  // namespace cport
