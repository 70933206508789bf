// The ring of a worker, scripted: what no real one does at will.
#include "runtime/engine/uring_engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdint>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "platform/linux/linux_platform.h"
#include "runtime/port/owner.h"
#include "tests/support/mock_platform.h"

namespace cport {
namespace {

using platform::RingRequest;
using platform::RingResult;
using ::testing::_;
using ::testing::Field;
using ::testing::InSequence;
using ::testing::Invoke;
using ::testing::NiceMock;
using ::testing::Return;

constexpr int kEpoll = 100;
constexpr int kSocket = 7;
constexpr uint64_t kReadiness = UINT64_MAX;

class MockRing : public platform::Ring {
 public:
    MOCK_METHOD(int, enable, (), (override));
    MOCK_METHOD(int, put, (const RingRequest& request), (override));
    MOCK_METHOD(int, wait, (int64_t timeout_ns), (override));
    MOCK_METHOD(int, cancel, (uint64_t name), (override));
    MOCK_METHOD(uint64_t, enters, (), (const, override));
    MOCK_METHOD(int, results_max, (), (const, override));

    int take(RingResult* taken, int results_max) override {
        int count = 0;
        for (; count < results_max && !results.empty(); ++count) {
            taken[count] = results.front();
            results.pop_front();
        }
        return count;
    }

    std::deque<RingResult> results;
};

class OneRing : public platform::Rings {
 public:
    explicit OneRing(std::unique_ptr<platform::Ring> ring) : ring_(std::move(ring)) {}
    std::unique_ptr<platform::Ring> create(int& error) override {
        error = ring_ == nullptr ? -EPERM : 0;
        return std::move(ring_);
    }

 private:
    std::unique_ptr<platform::Ring> ring_;
};

class UringEngineTest : public ::testing::Test {
 protected:
    void SetUp() override {
        ON_CALL(kernel_, epoll_create()).WillByDefault(Return(kEpoll));
        ON_CALL(kernel_, eventfd_create()).WillByDefault(Return(kEpoll + 1));
        ON_CALL(kernel_, socket_type(_)).WillByDefault(Return(SOCK_STREAM));
        ON_CALL(kernel_, socket_protocol(_)).WillByDefault(Return(IPPROTO_TCP));
        ON_CALL(kernel_, receive(_, _, _, _)).WillByDefault(Return(-EAGAIN));
        ASSERT_EQ(epoll_.open(), 0);
        auto ring = std::make_unique<NiceMock<MockRing>>();
        ring_ = ring.get();
        ON_CALL(*ring_, results_max()).WillByDefault(Return(1024));
        rings_ = std::make_unique<OneRing>(std::move(ring));
        ASSERT_EQ(engine_.open(rings_.get()), 0);
    }

    int wait(int64_t timeout_ns) {
        return engine_.wait(
            timeout_ns, [this](const Edge& edge) { edges_.push_back(edge); },
            [this](uint64_t name, int32_t value) { results_.emplace_back(name, value); });
    }

    NiceMock<test::MockKernel> kernel_;
    EpollEngine epoll_{kernel_};
    UringEngine engine_{epoll_};
    NiceMock<MockRing>* ring_ = nullptr;
    std::unique_ptr<OneRing> rings_;
    std::vector<Edge> edges_;
    std::vector<std::pair<uint64_t, int32_t>> results_;
};

// Spec: CP-ENGINE-1
TEST_F(UringEngineTest, WithoutARingItSaysWhyAndEpollWaits) {
    UringEngine none(epoll_);
    OneRing denied(nullptr);
    EXPECT_EQ(none.open(&denied), -EPERM);
    EXPECT_FALSE(none.is_usable());
    UringEngine unheard_of(epoll_);
    EXPECT_EQ(unheard_of.open(nullptr), -ENOSYS);
    EXPECT_CALL(kernel_, epoll_wait(kEpoll, _, _, 5)).WillOnce(Return(0));
    EXPECT_EQ(none.wait(
                  5, [](const Edge&) {}, [](uint64_t, int32_t) {}),
              0);
}

// Spec: CP-RING-5
TEST_F(UringEngineTest, ARingThatCannotBeEnabledIsNotUsed) {
    EXPECT_CALL(*ring_, enable()).WillOnce(Return(-EEXIST));
    EXPECT_CALL(*ring_, put(_)).Times(0);
    EXPECT_FALSE(engine_.is_usable());
    EXPECT_CALL(kernel_, epoll_wait(kEpoll, _, _, 5)).WillOnce(Return(0));
    EXPECT_EQ(wait(5), 0);
}

// Spec: CP-RING-6
TEST_F(UringEngineTest, ReadinessIsFetchedAndItsPollBeginsAgainWhereTheKernelEndedIt) {
    EXPECT_CALL(*ring_, put(Field(&RingRequest::what, RingRequest::What::kPoll))).Times(2);
    EXPECT_CALL(*ring_, wait(9)).Times(2).WillRepeatedly(Return(0));
    EXPECT_CALL(kernel_, epoll_wait(kEpoll, _, _, 0)).WillOnce(Return(0));
    ring_->results.push_back({kReadiness, 1, false});
    EXPECT_EQ(wait(9), 1);
    EXPECT_EQ(wait(9), 0);
    EXPECT_TRUE(results_.empty());
}

// Spec: CP-RING-6
TEST_F(UringEngineTest, AFullFetchOfReadinessIsFollowedByAnotherWithoutSleep) {
    InSequence sequence;
    EXPECT_CALL(*ring_, wait(9)).WillOnce(Return(0));
    EXPECT_CALL(kernel_, epoll_wait(kEpoll, _, _, 0)).WillOnce(Return(EpollEngine::kEventsMax));
    EXPECT_CALL(*ring_, wait(0)).WillOnce(Return(0));
    EXPECT_CALL(kernel_, epoll_wait(kEpoll, _, _, 0)).WillOnce(Return(0));
    EXPECT_CALL(*ring_, wait(9)).WillOnce(Return(0));
    ring_->results.push_back({kReadiness, 1, true});
    wait(9);
    wait(9);
    wait(9);
    EXPECT_EQ(edges_.size(), static_cast<size_t>(EpollEngine::kEventsMax));
}

// Spec: CP-RING-5
TEST_F(UringEngineTest, WhereEnteringFailsEpollIsAskedAndWaitedFor) {
    ASSERT_TRUE(engine_.is_usable());
    EXPECT_CALL(*ring_, wait(9)).WillOnce(Return(-EPERM));
    EXPECT_CALL(kernel_, epoll_wait(kEpoll, _, _, 9)).WillOnce(Return(0));
    EXPECT_EQ(wait(9), -EPERM);
}

// Spec: CP-RING-5
TEST_F(UringEngineTest, NoMoreIsStartedThanThereIsRoomForResults) {
    ASSERT_TRUE(engine_.is_usable());
    ON_CALL(*ring_, results_max()).WillByDefault(Return(66));
    const RingRequest request{};
    EXPECT_TRUE(engine_.start(request));
    EXPECT_TRUE(engine_.start(request));
    EXPECT_FALSE(engine_.start(request));
    ring_->results.push_back({1, 0, false});
    wait(0);
    EXPECT_TRUE(engine_.start(request));
    EXPECT_FALSE(engine_.start(request));
}

// Spec: CP-RING-3
TEST_F(UringEngineTest, ARecallAsksUntilThereIsAResultAndHandsOnWhatElseComes) {
    ASSERT_TRUE(engine_.is_usable());
    bool back = false;
    int asked = 0;
    EXPECT_CALL(*ring_, cancel(42)).Times(3).WillRepeatedly(Invoke([&](uint64_t) {
        if (++asked == 2) ring_->results.push_back({43, 5, false});
        if (asked == 3) ring_->results.push_back({42, -ECANCELED, false});
        return asked == 1 ? -EAGAIN : 0;
    }));
    engine_.recall(
        42,
        [&](uint64_t name, int32_t value) {
            results_.emplace_back(name, value);
            back = back || name == 42;
        },
        [&] { return back; });
    ASSERT_EQ(results_.size(), 2u);
    EXPECT_EQ(results_[0], (std::pair<uint64_t, int32_t>(43, 5)));
    EXPECT_EQ(results_[1], (std::pair<uint64_t, int32_t>(42, -ECANCELED)));
}

// A socket whose operations ride the ring.
class OwnerRingTest : public UringEngineTest {
 protected:
    void SetUp() override {
        UringEngineTest::SetUp();
        ASSERT_EQ(table_.open(), 0);
        owner_.use(&engine_);
        ON_CALL(*ring_, put(_)).WillByDefault(Invoke([this](const RingRequest& request) {
            requests_.push_back(request);
            return 0;
        }));
        int error = 0;
        socket_ = table_.find_or_create(kSocket, error);
        ASSERT_NE(socket_, nullptr);
        socket_->owner = 1;
        socket_->word |= SocketWord::kKindKnown | SocketWord::kIsSocket;
        owner_.catch_up(*socket_);
    }

    Operation& add(Direction direction, char* buffer, uint32_t length) {
        int error = 0;
        Operation& operation = *slab_.take_as_owner(error);
        operation.kind = TaskKind::kAdd;
        operation.record_kind = 0;
        operation.direction = direction;
        operation.wants_hangup = false;
        operation.error = 0;
        operation.transferred = 0;
        operation.socket = socket_;
        operation.socket_generation = socket_->generation;
        operation.buffer = buffer;
        operation.length = length;
        owner_.accept(operation);
        advance_all();
        return operation;
    }
    void advance_all() {
        while (owner_.has_ready()) owner_.advance_next();
    }
    void give_back(uint64_t name, int32_t value) {
        owner_.on_result(name, value);
        advance_all();
    }
    Operation* completed() {
        return completed_.empty() ? nullptr : static_cast<Operation*>(completed_.pop());
    }

    DescriptorTable table_{platform::linux_platform().memory};
    Slab slab_{platform::linux_platform().memory};
    TaskList completed_;
    Owner owner_{1, kernel_, epoll_, table_, slab_, completed_, 0};
    Socket* socket_ = nullptr;
    std::vector<RingRequest> requests_;
    char buffer_[64] = {};
};

// Spec: CP-RING-1
TEST_F(OwnerRingTest, OneReceiveAndOneSendAreWithTheKernel) {
    ON_CALL(kernel_, epoll_ctl(_, EPOLL_CTL_ADD, _, _, _)).WillByDefault(Return(-EEXIST));
    Operation& first = add(Direction::kRead, buffer_, 8);
    Operation& second = add(Direction::kRead, buffer_ + 8, 8);
    Operation& send = add(Direction::kWrite, buffer_ + 16, 8);
    ASSERT_EQ(requests_.size(), 2u);
    EXPECT_EQ(requests_[0].name, first.id());
    EXPECT_EQ(requests_[1].name, send.id());
    give_back(first.id(), 3);
    EXPECT_EQ(completed(), &first);
    EXPECT_EQ(first.amount, 3);
    ASSERT_EQ(requests_.size(), 3u);
    EXPECT_EQ(requests_[2].name, second.id());
    EXPECT_EQ(completed(), nullptr);
}

// Spec: CP-RING-4
TEST_F(OwnerRingTest, AReceiveThatFilledARoundEndsWithWhatIsThere) {
    std::vector<char> large(3u << 20);
    Operation& read = add(Direction::kRead, large.data(), static_cast<uint32_t>(large.size()));
    ASSERT_EQ(requests_.size(), 1u);
    EXPECT_EQ(requests_[0].length, 1u << 20);
    EXPECT_CALL(kernel_, receive(kSocket, large.data() + (1 << 20), 1u << 20, 0))
        .WillOnce(Return(-EAGAIN));
    give_back(read.id(), 1 << 20);
    EXPECT_EQ(completed(), &read);
    EXPECT_EQ(read.amount, 1 << 20);
}

// Spec: CP-RING-1
TEST_F(OwnerRingTest, AShortSendGoesOnWhereItStopped) {
    Operation& send = add(Direction::kWrite, buffer_, 8);
    give_back(send.id(), 5);
    EXPECT_EQ(completed(), nullptr);
    ASSERT_EQ(requests_.size(), 2u);
    EXPECT_EQ(requests_[1].buffer, buffer_ + 5);
    EXPECT_EQ(requests_[1].length, 3u);
    give_back(send.id(), 3);
    EXPECT_EQ(completed(), &send);
    EXPECT_EQ(send.amount, 8);
}

// Spec: CP-RING-2
TEST_F(OwnerRingTest, ARemovalRecallsWhatTheKernelHolds) {
    Operation& read = add(Direction::kRead, buffer_, 8);
    Operation& send = add(Direction::kWrite, buffer_ + 8, 8);
    EXPECT_CALL(*ring_, cancel(read.id())).WillOnce(Invoke([&](uint64_t) {
        ring_->results.push_back({read.id(), 4, false});
        return 0;
    }));
    EXPECT_CALL(*ring_, cancel(send.id())).WillOnce(Invoke([&](uint64_t) {
        ring_->results.push_back({send.id(), -ECANCELED, false});
        return 0;
    }));
    socket_->word += SocketWord::kGenerationOne;
    owner_.catch_up(*socket_);
    // The bytes that came are delivered.
    EXPECT_EQ(completed(), &read);
    EXPECT_EQ(read.result, COMPLETION_PORT_RESULT_OK);
    EXPECT_EQ(read.amount, 4);
    EXPECT_EQ(completed(), &send);
    EXPECT_EQ(send.result, COMPLETION_PORT_RESULT_ABANDONED);
}

// Spec: CP-LATCH-1
TEST_F(OwnerRingTest, AnErrorThatASendWasToldIsTheReadsToo) {
    Operation& read = add(Direction::kRead, buffer_, 8);
    Operation& send = add(Direction::kWrite, buffer_ + 8, 8);
    // Both come back before either is looked at.
    owner_.on_result(send.id(), -ECONNRESET);
    owner_.on_result(read.id(), 0);
    advance_all();
    EXPECT_EQ(completed(), &read);
    EXPECT_EQ(read.error, ECONNRESET);
    EXPECT_EQ(completed(), &send);
    EXPECT_EQ(send.error, ECONNRESET);
}

// Spec: CP-RING-5
TEST_F(OwnerRingTest, WhatTheRingDoesNotTakeIsTriedBySystemCalls) {
    EXPECT_CALL(*ring_, put(_)).WillRepeatedly(Return(-EAGAIN));
    EXPECT_CALL(kernel_, receive(kSocket, buffer_, 8, 0)).WillOnce(Return(2));
    Operation& read = add(Direction::kRead, buffer_, 8);
    EXPECT_EQ(completed(), &read);
    EXPECT_EQ(read.amount, 2);
}

}  // namespace
}  // namespace cport
