// Accepts, connects and sends of files over a scripted kernel: what no real one does at will.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <deque>
#include <utility>
#include <vector>

#include "platform/linux/linux_platform.h"
#include "runtime/engine/epoll_engine.h"
#include "runtime/operation/fields.h"
#include "runtime/port/owner.h"
#include "tests/support/mock_platform.h"

namespace cport {
namespace {

using ::testing::_;
using ::testing::InSequence;
using ::testing::NiceMock;
using ::testing::Return;

constexpr int kSocket = 7;
constexpr int kAccepted = 20;

class OwnerKindsTest : public ::testing::Test {
 protected:
    void SetUp() override {
        ON_CALL(kernel_, epoll_create()).WillByDefault(Return(100));
        ON_CALL(kernel_, eventfd_create()).WillByDefault(Return(101));
        ON_CALL(kernel_, socket_type(_)).WillByDefault(Return(SOCK_STREAM));
        ON_CALL(kernel_, socket_protocol(_)).WillByDefault(Return(IPPROTO_TCP));
        ON_CALL(kernel_, receive(_, _, _, _)).WillByDefault(Return(-EAGAIN));
        ON_CALL(kernel_, accept(_, _, _, _)).WillByDefault(Return(-EAGAIN));
        ASSERT_EQ(table_.open(), 0);
        ASSERT_EQ(engine_.open(), 0);
        int error = 0;
        socket_ = table_.find_or_create(kSocket, error);
        ASSERT_NE(socket_, nullptr);
        socket_->word |= SocketWord::kKindKnown | SocketWord::kIsSocket;
    }

    // Submits it, and leaves the rest to the owner's next steps.
    Operation& begin(Socket& socket, uint32_t kind, Direction direction, uint32_t watch_events = 0,
                     uint32_t length = 8) {
        int error = 0;
        Operation& operation = *slab_.take_as_owner(error);
        operation.kind = TaskKind::kSubmission;
        operation.record_kind = static_cast<uint8_t>(kind);
        operation.direction = direction;
        operation.socket = &socket;
        operation.socket_generation = SocketWord::generation(socket.word);
        operation.watch_events = watch_events;
        operation.length = length;
        operation.buffer = bytes_.data();
        owner_.accept(operation);
        return operation;
    }
    Operation& submit(uint32_t kind, Direction direction, uint32_t watch_events = 0) {
        Operation& operation = begin(*socket_, kind, direction, watch_events);
        advance_all();
        return operation;
    }
    Operation& submit_accept(uint32_t watch_events = 0) {
        return submit(COMPLETION_PORT_KIND_ACCEPT, Direction::kRead, watch_events);
    }
    void advance_all() {
        while (owner_.has_ready()) owner_.advance_next();
    }
    void edge(uint32_t events) {
        owner_.on_edge(Edge{kSocket, socket_->generation, events});
        advance_all();
    }
    Operation* completed() {
        return completed_.empty() ? nullptr : static_cast<Operation*>(completed_.pop());
    }

    NiceMock<test::MockKernel> kernel_;
    std::array<char, 8> bytes_{};
    EpollEngine engine_{kernel_};
    DescriptorTable table_{platform::linux_platform().memory};
    TaskList completed_;
    // Of one chunk.
    Slab slab_{platform::linux_platform().memory, Slab::kChunkSlots};
    Owner owner_{0, kernel_, engine_, table_, slab_, completed_, 0};
    Socket* socket_ = nullptr;
};

// Spec: CP-ACCEPT-5
TEST_F(OwnerKindsTest, PassesOverConnectionsThatWereGivenUp) {
    for (uint32_t goes_on : {0u, kAcceptGoesOn}) {
        InSequence sequence;
        for (int error : {ECONNABORTED, EPROTO, EHOSTUNREACH, ENETDOWN}) {
            EXPECT_CALL(kernel_, accept(kSocket, _, _, _)).WillOnce(Return(-error));
        }
        EXPECT_CALL(kernel_, accept(kSocket, _, _, _)).WillOnce(Return(-EINTR));
        EXPECT_CALL(kernel_, accept(kSocket, _, _, _)).WillOnce(Return(kAccepted));
        if (goes_on != 0) {
            EXPECT_CALL(kernel_, accept(kSocket, _, _, _)).WillOnce(Return(-EAGAIN));
        }
        submit_accept(goes_on);
        const Operation* record = completed();
        ASSERT_NE(record, nullptr);
        EXPECT_EQ(record->amount, kAccepted);
        EXPECT_EQ(record->error, 0);
        EXPECT_EQ(record->more, goes_on != 0);
        EXPECT_EQ(completed(), nullptr);
    }
}

// Spec: CP-ACCEPT-5
TEST_F(OwnerKindsTest, EndsAnAcceptWhereTheMachineHasNoMore) {
    for (int error : {EMFILE, ENFILE, ENOMEM, ENOBUFS}) {
        EXPECT_CALL(kernel_, accept(kSocket, _, _, _))
            .WillOnce(Return(kAccepted))
            .WillOnce(Return(-error));
        const Operation& accept = submit_accept(kAcceptGoesOn);
        ASSERT_NE(completed(), nullptr);
        ASSERT_EQ(completed(), &accept);
        EXPECT_EQ(accept.error, error);
        EXPECT_EQ(accept.result, COMPLETION_PORT_RESULT_ERROR);
        EXPECT_FALSE(accept.more);
    }
}

// Spec: CP-ACCEPT-4 CP-ACCEPT-7
TEST_F(OwnerKindsTest, TakesNoConnectionThatItCannotTellOf) {
    // All slots but one are in use: the accept's.
    EXPECT_CALL(kernel_, accept(_, _, _, _)).Times(0);
    int error = 0;
    for (uint32_t i = 1; i < Slab::kChunkSlots; ++i) ASSERT_NE(slab_.take_as_owner(error), nullptr);
    const Operation& accept = submit_accept(kAcceptGoesOn);
    ASSERT_EQ(completed(), &accept);
    EXPECT_EQ(accept.error, ENOBUFS);
    EXPECT_EQ(accept.result, COMPLETION_PORT_RESULT_ERROR);
}

// Spec: CP-ACCEPT-4
TEST_F(OwnerKindsTest, AcceptsABoundedNumberARound) {
    EXPECT_CALL(kernel_, accept(_, _, _, _))
        .Times(Owner::kRoundAcceptsMax)
        .WillRepeatedly(Return(kAccepted));
    begin(*socket_, COMPLETION_PORT_KIND_ACCEPT, Direction::kRead, kAcceptGoesOn);
    owner_.advance_next();
    EXPECT_TRUE(owner_.has_ready());
    for (int i = 0; i < Owner::kRoundAcceptsMax; ++i) ASSERT_NE(completed(), nullptr);
    EXPECT_EQ(completed(), nullptr);
}

// Spec: CP-ACCEPT-11
TEST_F(OwnerKindsTest, AListenerAdvancesAmongAnyNumberOfBusySockets) {
    constexpr int kBusySockets = 3 * ReadyLanes::kTurnsBetweenAcceptsMax;
    constexpr uint32_t kLong = 1u << 30;
    // Each step of a busy socket is one receive, of a read that goes on.
    int steps = 0;
    ON_CALL(kernel_, receive(_, _, _, _)).WillByDefault([&steps] { return ++steps, 1 << 20; });
    int waiting = 2 * Owner::kRoundAcceptsMax;
    std::vector<int> steps_before_accepts;
    ON_CALL(kernel_, accept(_, _, _, _)).WillByDefault([&] {
        const int others = std::exchange(steps, 0);
        if (waiting % Owner::kRoundAcceptsMax == 0) steps_before_accepts.push_back(others);
        return waiting-- > 0 ? kAccepted : -EAGAIN;
    });
    for (int i = 0; i < kBusySockets; ++i) {
        int error = 0;
        Socket* busy = table_.find_or_create(kSocket + 1 + i, error);
        ASSERT_NE(busy, nullptr);
        busy->word |= SocketWord::kKindKnown | SocketWord::kIsSocket;
        begin(*busy, COMPLETION_PORT_KIND_RECEIVE, Direction::kRead, 0, kLong);
    }
    // It comes last, and all the same does not wait for all.
    begin(*socket_, COMPLETION_PORT_KIND_ACCEPT, Direction::kRead, kAcceptGoesOn);
    constexpr int kTurnsMax = 3 * (ReadyLanes::kTurnsBetweenAcceptsMax + 1);
    for (int i = 0; i < kTurnsMax; ++i) owner_.advance_next();
    // Two rounds, and one that found nothing more.
    constexpr int kMax = ReadyLanes::kTurnsBetweenAcceptsMax;
    EXPECT_THAT(steps_before_accepts, ::testing::ElementsAre(kMax, kMax, kMax));

    waiting = 1;
    steps = 0;
    owner_.on_edge(Edge{kSocket, socket_->generation, EPOLLIN});
    for (int i = 0; i <= kMax; ++i) owner_.advance_next();
    EXPECT_EQ(waiting, -1);
}

// Spec: CP-CONNECT-4
TEST_F(OwnerKindsTest, AConnectFailsThoughAReadWasToldTheReason) {
    EXPECT_CALL(kernel_, connect(kSocket, _, _)).WillRepeatedly(Return(-EINPROGRESS));
    EXPECT_CALL(kernel_, take_socket_error(kSocket)).WillRepeatedly(Return(0));
    const Operation& connect = submit(COMPLETION_PORT_KIND_CONNECT, Direction::kWrite);
    const Operation& receive = submit(COMPLETION_PORT_KIND_RECEIVE, Direction::kRead);
    EXPECT_EQ(completed(), nullptr);
    EXPECT_CALL(kernel_, receive(kSocket, _, _, _)).WillOnce(Return(-ECONNREFUSED));
    ON_CALL(kernel_, poll_now(kSocket, _)).WillByDefault(Return(POLLOUT | POLLHUP));
    edge(EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP);
    ASSERT_EQ(completed(), &receive);
    EXPECT_EQ(receive.error, ECONNREFUSED);
    ASSERT_EQ(completed(), &connect);
    EXPECT_EQ(connect.error, ECONNREFUSED);
}

// Spec: CP-CONNECT-4
TEST_F(OwnerKindsTest, AnEdgeTooEarlyDoesNotEndAConnect) {
    EXPECT_CALL(kernel_, connect(kSocket, _, _)).WillOnce(Return(-EINTR));
    const Operation& connect = submit(COMPLETION_PORT_KIND_CONNECT, Direction::kWrite);
    EXPECT_CALL(kernel_, poll_now(kSocket, _)).WillOnce(Return(0)).WillOnce(Return(POLLOUT));
    edge(EPOLLOUT);
    EXPECT_EQ(completed(), nullptr);
    EXPECT_CALL(kernel_, take_socket_error(kSocket)).WillOnce(Return(0));
    edge(EPOLLOUT);
    ASSERT_EQ(completed(), &connect);
    EXPECT_EQ(connect.error, 0);
    EXPECT_EQ(connect.amount, 0);
}

// Spec: CP-CONNECT-6
TEST_F(OwnerKindsTest, WhatWaitsBehindAConnectThatFailsIsNotSent) {
    EXPECT_CALL(kernel_, connect(kSocket, _, _)).WillRepeatedly(Return(-EINPROGRESS));
    EXPECT_CALL(kernel_, take_socket_error(kSocket)).WillOnce(Return(-ENOBUFS));
    EXPECT_CALL(kernel_, send(_, _, _)).Times(0);
    const Operation& connect = submit(COMPLETION_PORT_KIND_CONNECT, Direction::kWrite);
    ON_CALL(kernel_, epoll_ctl(_, EPOLL_CTL_ADD, kSocket, _, _)).WillByDefault(Return(-EEXIST));
    const Operation& behind = submit(COMPLETION_PORT_KIND_SEND, Direction::kWrite);
    ON_CALL(kernel_, poll_now(kSocket, _)).WillByDefault(Return(POLLOUT));
    edge(EPOLLOUT);
    ASSERT_EQ(completed(), &connect);
    EXPECT_EQ(connect.error, ENOBUFS);
    ASSERT_EQ(completed(), &behind);
    EXPECT_EQ(behind.error, ENOBUFS);
}

// Spec: CP-CONNECT-6
TEST_F(OwnerKindsTest, NorBehindOneThatCannotBeWaitedFor) {
    EXPECT_CALL(kernel_, connect(kSocket, _, _)).WillOnce(Return(-EINPROGRESS)).WillOnce(Return(0));
    EXPECT_CALL(kernel_, epoll_ctl(_, EPOLL_CTL_ADD, kSocket, _, _)).WillOnce(Return(-ENOSPC));
    const Operation& connect = submit(COMPLETION_PORT_KIND_CONNECT, Direction::kWrite);
    ASSERT_EQ(completed(), &connect);
    EXPECT_EQ(connect.error, ENOSPC);
    const Operation& behind = submit(COMPLETION_PORT_KIND_SEND, Direction::kWrite);
    ASSERT_EQ(completed(), &behind);
    EXPECT_EQ(behind.error, ENOSPC);
    // The next connect begins afresh.
    const Operation& again = submit(COMPLETION_PORT_KIND_CONNECT, Direction::kWrite);
    ASSERT_EQ(completed(), &again);
    EXPECT_CALL(kernel_, send(kSocket, _, 8)).WillOnce(Return(8));
    const Operation& send = submit(COMPLETION_PORT_KIND_SEND, Direction::kWrite);
    ASSERT_EQ(completed(), &send);
    EXPECT_EQ(send.error, 0);
}

// Another thread has removed the socket, and its owner has yet to hear of it.
// Spec: CP-MESSAGE-3
TEST_F(OwnerKindsTest, AMessageGoesOnWhereItStoppedThoughItsSocketIsBeingRemoved) {
    owner_.catch_up(*socket_);
    iovec piece = {bytes_.data(), bytes_.size()};
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    int error = 0;
    Operation& operation = *slab_.take_as_owner(error);
    operation.kind = TaskKind::kSubmission;
    operation.record_kind = COMPLETION_PORT_KIND_SEND_MESSAGE;
    operation.direction = Direction::kWrite;
    operation.socket = socket_;
    operation.socket_generation = socket_->generation;
    operation.buffer = reinterpret_cast<char*>(&message);
    operation.length = static_cast<uint32_t>(bytes_.size());
    socket_->word = SocketWord::next_generation(socket_->word);
    size_t second = 0;
    EXPECT_CALL(kernel_, send_message(kSocket, _, _))
        .WillOnce(Return(5))
        .WillOnce([&](int, const msghdr* part, int) {
            second = part->msg_iov[0].iov_len;
            return static_cast<int64_t>(second);
        });
    owner_.accept(operation);
    advance_all();
    EXPECT_EQ(second, 3u);
    ASSERT_EQ(completed(), &operation);
    EXPECT_EQ(operation.amount, 8);
}

// Spec: CP-WRITE-6
TEST_F(OwnerKindsTest, NothingFollowsPartOfASendThatCannotBeWaitedFor) {
    EXPECT_CALL(kernel_, send(kSocket, _, _)).WillOnce(Return(3)).WillOnce(Return(-EAGAIN));
    EXPECT_CALL(kernel_, epoll_ctl(_, EPOLL_CTL_ADD, kSocket, _, _)).WillOnce(Return(-ENOSPC));
    const Operation& part = submit(COMPLETION_PORT_KIND_SEND, Direction::kWrite);
    ASSERT_EQ(completed(), &part);
    EXPECT_EQ(part.error, ENOSPC);
    EXPECT_EQ(part.amount, 3);
    const Operation& next = submit(COMPLETION_PORT_KIND_SEND, Direction::kWrite);
    ASSERT_EQ(completed(), &next);
    EXPECT_EQ(next.error, ENOSPC);
    EXPECT_EQ(next.amount, 0);
}

// Spec: CP-SENDFILE-6
TEST_F(OwnerKindsTest, AFileThatCannotBeReadIsNoErrorOfTheConnection) {
    EXPECT_CALL(kernel_, send_file(kSocket, 9, _, 8)).WillOnce(Return(-EIO));
    const Operation& sendfile = submit(COMPLETION_PORT_KIND_SENDFILE, Direction::kWrite, 9);
    ASSERT_EQ(completed(), &sendfile);
    EXPECT_EQ(sendfile.error, EIO);
    EXPECT_CALL(kernel_, send(kSocket, _, 8)).WillOnce(Return(8));
    const Operation& send = submit(COMPLETION_PORT_KIND_SEND, Direction::kWrite);
    ASSERT_EQ(completed(), &send);
    EXPECT_EQ(send.error, 0);
}

}  // namespace
}  // namespace cport
