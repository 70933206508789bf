// The sockets of a worker over a scripted kernel: what no real one does at will.
#include "runtime/port/owner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdint>
#include <deque>
#include <vector>

#include "platform/linux/linux_platform.h"
#include "runtime/engine/epoll_engine.h"
#include "tests/support/mock_platform.h"

namespace cport {
namespace {

using ::testing::_;
using ::testing::DoAll;
using ::testing::InSequence;
using ::testing::Le;
using ::testing::NiceMock;
using ::testing::Return;
using ::testing::SaveArg;

constexpr int kEpoll = 100;
constexpr int kWake = 101;
constexpr int kSocket = 7;
constexpr int kOther = 8;
constexpr uint32_t kMebibyte = 1u << 20;

class OwnerTest : public ::testing::Test {
 protected:
    void SetUp() override {
        ON_CALL(kernel_, epoll_create()).WillByDefault(Return(kEpoll));
        ON_CALL(kernel_, eventfd_create()).WillByDefault(Return(kWake));
        ON_CALL(kernel_, socket_type(_)).WillByDefault(Return(SOCK_STREAM));
        ON_CALL(kernel_, socket_protocol(_)).WillByDefault(Return(IPPROTO_TCP));
        ON_CALL(kernel_, receive(_, _, _, _)).WillByDefault(Return(-EAGAIN));
        ON_CALL(kernel_, send(_, _, _)).WillByDefault(Return(-EAGAIN));
        ASSERT_EQ(table_.open(), 0);
        ASSERT_EQ(engine_.open(), 0);
    }

    Socket& socket(int descriptor) {
        int error = 0;
        Socket* found = table_.find_or_create(descriptor, error);
        found->word |= SocketWord::kKindKnown | SocketWord::kIsSocket;
        return *found;
    }

    Operation& add(int descriptor, Direction direction, uint32_t length) {
        Operation& operation = operations_.emplace_back(static_cast<uint32_t>(operations_.size()));
        operation.direction = direction;
        operation.socket = &socket(descriptor);
        operation.socket_generation = SocketWord::generation(operation.socket->word);
        operation.length = length;
        if (length != 0) operation.buffer = buffers_.emplace_back(length).data();
        owner_.accept(operation);
        return operation;
    }
    Operation& add_read(int descriptor, uint32_t length = 64) {
        return add(descriptor, Direction::kRead, length);
    }

    void advance_all() {
        while (owner_.has_ready()) owner_.advance_next();
    }
    void edge(int descriptor, uint32_t events) {
        owner_.on_edge(Edge{descriptor, socket(descriptor).generation, events});
        advance_all();
    }
    // The next completion, or nullptr.
    Operation* completed() {
        return completed_.empty() ? nullptr : static_cast<Operation*>(completed_.pop());
    }
    void expect_completed(const Operation& operation, COMPLETION_PORT_EPOLL_ACTION action,
                          COMPLETION_PORT_RESULT result, int32_t amount, int32_t error = 0) {
        ASSERT_EQ(completed(), &operation);
        EXPECT_EQ(operation.action, action);
        EXPECT_EQ(operation.result, result);
        EXPECT_EQ(operation.amount, amount);
        EXPECT_EQ(operation.error, error);
    }

    NiceMock<test::MockKernel> kernel_;
    std::deque<Operation> operations_;
    std::deque<std::vector<char>> buffers_;
    EpollEngine engine_{kernel_};
    DescriptorTable table_{platform::linux_platform().memory};
    TaskList completed_;
    Slab slab_{platform::linux_platform().memory};
    Owner owner_{0, kernel_, engine_, table_, slab_, completed_, 0};
};

// Spec: CP-READ-6
TEST_F(OwnerTest, TellsReadinessThatNoReadOfItsOwnExplains) {
    Operation& read = add_read(kSocket);
    advance_all();
    EXPECT_EQ(completed(), nullptr);
    edge(kSocket, EPOLLIN);
    expect_completed(read, COMPLETION_PORT_EPOLL_EPOLLIN, COMPLETION_PORT_RESULT_OK, -1);
}

// Spec: CP-READ-6
TEST_F(OwnerTest, KeepsQuietAboutReadinessThatItsOwnReadUsedUp) {
    add_read(kSocket);
    advance_all();
    EXPECT_CALL(kernel_, receive(kSocket, _, _, _)).WillOnce(Return(64)).WillOnce(Return(-EAGAIN));
    edge(kSocket, EPOLLIN);
    EXPECT_NE(completed(), nullptr);
    Operation& next = add_read(kSocket);
    advance_all();
    // The edge of bytes that the read above took along.
    EXPECT_CALL(kernel_, receive(kSocket, _, _, _)).WillOnce(Return(-EAGAIN));
    edge(kSocket, EPOLLIN);
    EXPECT_EQ(completed(), nullptr);
    EXPECT_CALL(kernel_, receive(kSocket, _, _, _)).WillOnce(Return(3));
    edge(kSocket, EPOLLIN);
    expect_completed(next, COMPLETION_PORT_EPOLL_EPOLLIN, COMPLETION_PORT_RESULT_OK, 3);
}

// Spec: CP-READ-8, CP-ONCE-1
TEST_F(OwnerTest, AReadThatEndsAtAMebibyteWithoutARegistrationLetsTheNextOneTry) {
    EXPECT_CALL(kernel_, receive(kSocket, _, _, _))
        .WillOnce(Return(kMebibyte))
        .WillOnce(Return(-EAGAIN))
        .WillOnce(Return(5));
    Operation& large = add_read(kSocket, 2 * kMebibyte);
    advance_all();
    expect_completed(large, COMPLETION_PORT_EPOLL_EPOLLIN, COMPLETION_PORT_RESULT_OK,
                     static_cast<int32_t>(kMebibyte));
    // Nothing watches the socket, so no edge will tell of the next bytes.
    Operation& next = add_read(kSocket);
    advance_all();
    expect_completed(next, COMPLETION_PORT_EPOLL_EPOLLIN, COMPLETION_PORT_RESULT_OK, 5);
}

// Spec: CP-STALE-3
TEST_F(OwnerTest, DropsEventsOfEarlierIncarnations) {
    add_read(kSocket);
    advance_all();
    const Edge fetched{kSocket, socket(kSocket).generation, EPOLLIN | EPOLLHUP};
    socket(kSocket).word += SocketWord::kGenerationOne;
    owner_.catch_up(socket(kSocket));
    EXPECT_NE(completed(), nullptr);
    add_read(kSocket);
    advance_all();
    EXPECT_CALL(kernel_, receive(_, _, _, _)).Times(0);
    owner_.on_edge(fetched);
    owner_.on_edge(Edge{kOther, 1, EPOLLIN});  // a number that was never added
    EXPECT_FALSE(owner_.has_ready());
    EXPECT_EQ(completed(), nullptr);
}

// A duplicate of a closed number keeps its registration alive.
TEST_F(OwnerTest, TakesOverARegistrationThatIsLeft) {
    InSequence in_order;
    EXPECT_CALL(kernel_, epoll_ctl(kEpoll, EPOLL_CTL_ADD, kSocket, _, _)).WillOnce(Return(-EEXIST));
    EXPECT_CALL(kernel_, epoll_ctl(kEpoll, EPOLL_CTL_MOD, kSocket, _, _)).WillOnce(Return(0));
    Operation& read = add_read(kSocket);
    advance_all();
    EXPECT_EQ(completed(), nullptr);
    EXPECT_CALL(kernel_, receive(kSocket, _, _, _)).WillOnce(Return(1));
    edge(kSocket, EPOLLIN);
    expect_completed(read, COMPLETION_PORT_EPOLL_EPOLLIN, COMPLETION_PORT_RESULT_OK, 1);
}

// Spec: CP-STALE-2
TEST_F(OwnerTest, AnAddToAReusedNumberEndsWhatWaitedForTheOldOne) {
    Operation& old = add_read(kSocket);
    advance_all();
    // Not refused as registered already: it names something else now.
    EXPECT_CALL(kernel_, epoll_ctl(kEpoll, EPOLL_CTL_ADD, kSocket, _, _)).Times(2);
    EXPECT_CALL(kernel_, epoll_ctl(kEpoll, EPOLL_CTL_DEL, kSocket, _, _));
    Operation& fresh = add_read(kSocket);
    advance_all();
    expect_completed(old, COMPLETION_PORT_CLOSING, COMPLETION_PORT_RESULT_ABANDONED, -1);
    EXPECT_EQ(completed(), nullptr);
    EXPECT_CALL(kernel_, receive(kSocket, _, _, _)).WillOnce(Return(2));
    edge(kSocket, EPOLLIN);
    expect_completed(fresh, COMPLETION_PORT_EPOLL_EPOLLIN, COMPLETION_PORT_RESULT_OK, 2);
}

// Spec: CP-STALE-2
TEST_F(OwnerTest, TheSweepEndsWhatWaitsForAReusedNumber) {
    Operation& old = add_read(kSocket);
    advance_all();
    EXPECT_CALL(kernel_, epoll_ctl(_, _, _, _, _)).Times(0);
    owner_.sweep();  // it may have come just now
    EXPECT_CALL(kernel_, epoll_ctl(kEpoll, EPOLL_CTL_DEL, kSocket, _, _));
    EXPECT_CALL(kernel_, epoll_ctl(kEpoll, EPOLL_CTL_ADD, kSocket, _, _))
        .WillOnce(Return(-EEXIST))
        .WillOnce(Return(0));
    owner_.sweep();
    EXPECT_EQ(completed(), nullptr);
    owner_.sweep();
    expect_completed(old, COMPLETION_PORT_CLOSING, COMPLETION_PORT_RESULT_ABANDONED, -1);
}

// Spec: CP-STALE-2
TEST_F(OwnerTest, TheSweepEndsWhatWaitsForANumberThatCannotBeRegisteredAnyMore) {
    // The number names a file by now; or something else, and the user's watches are used up.
    struct {
        int descriptor;
        int refusal;
    } const cases[] = {{kSocket, EPERM}, {kOther, ENOSPC}};
    for (const auto& reused : cases) {
        EXPECT_CALL(kernel_, epoll_ctl(kEpoll, EPOLL_CTL_ADD, reused.descriptor, _, _))
            .WillOnce(Return(0))
            .WillOnce(Return(-reused.refusal));
        EXPECT_CALL(kernel_, epoll_ctl(kEpoll, EPOLL_CTL_DEL, reused.descriptor, _, _));
        Operation& old = add_read(reused.descriptor);
        advance_all();
        owner_.sweep();
        EXPECT_EQ(completed(), nullptr);
        owner_.sweep();
        expect_completed(old, COMPLETION_PORT_CLOSING, COMPLETION_PORT_RESULT_ABANDONED, -1);
    }
}

// Spec: CP-RMASYNC-1, CP-STALE-2
TEST_F(OwnerTest, ARemovalDuringTheQuestionToTheKernelEndsTheAddThatJoins) {
    Operation& old = add_read(kSocket);
    advance_all();
    EXPECT_CALL(kernel_, epoll_ctl(kEpoll, EPOLL_CTL_DEL, kSocket, _, _));
    // Another thread removes the socket inside the very call that says that the number was reused.
    EXPECT_CALL(kernel_, epoll_ctl(kEpoll, EPOLL_CTL_ADD, kSocket, _, _)).WillOnce([this] {
        socket(kSocket).word += SocketWord::kGenerationOne;
        return 0;
    });
    Operation& joining = add_read(kSocket);
    advance_all();
    expect_completed(old, COMPLETION_PORT_CLOSING, COMPLETION_PORT_RESULT_ABANDONED, -1);
    expect_completed(joining, COMPLETION_PORT_CLOSING, COMPLETION_PORT_RESULT_ABANDONED, -1);
}

// Spec: CP-RMASYNC-1, CP-STALE-2
TEST_F(OwnerTest, ARemovalDuringTheRegistrationEndsTheAddThatMetTheNewDescriptor) {
    Operation& old = add_read(kSocket);
    advance_all();
    EXPECT_CALL(kernel_, epoll_ctl(kEpoll, EPOLL_CTL_DEL, kSocket, _, _));
    EXPECT_CALL(kernel_, epoll_ctl(kEpoll, EPOLL_CTL_MOD, kSocket, _, _)).WillOnce([this] {
        socket(kSocket).word += SocketWord::kGenerationOne;
        return -ENOENT;
    });
    Operation& write = add(kSocket, Direction::kWrite, 64);
    advance_all();
    expect_completed(old, COMPLETION_PORT_CLOSING, COMPLETION_PORT_RESULT_ABANDONED, -1);
    expect_completed(write, COMPLETION_PORT_CLOSING, COMPLETION_PORT_RESULT_ABANDONED, -1);
}

// Spec: CP-READY-4, CP-STALE-2
TEST_F(OwnerTest, AHangupAddToAReusedNumberStillKnowsASocket) {
    Operation& old = add(kSocket, Direction::kWatch, 0);
    advance_all();
    ON_CALL(kernel_, epoll_ctl(kEpoll, EPOLL_CTL_ADD, kSocket, _, _)).WillByDefault(Return(0));
    // What poll(2) says of a socket that was never connected.
    ON_CALL(kernel_, poll_now(kSocket, _)).WillByDefault(Return(EPOLLOUT | EPOLLHUP));
    add(kSocket, Direction::kWatch, 0);
    advance_all();
    expect_completed(old, COMPLETION_PORT_CLOSING, COMPLETION_PORT_RESULT_ABANDONED, -1);
    EXPECT_EQ(completed(), nullptr);
}

// Spec: CP-ONCE-1, CP-FAULT-1
TEST_F(OwnerTest, AnEpollThatIsFullFailsTheAddAndNoMore) {
    EXPECT_CALL(kernel_, epoll_ctl(kEpoll, EPOLL_CTL_ADD, kSocket, _, _))
        .WillOnce(Return(-ENOSPC))
        .WillOnce(Return(0));
    Operation& refused = add_read(kSocket);
    advance_all();
    expect_completed(refused, COMPLETION_PORT_EPOLL_EPOLLIN, COMPLETION_PORT_RESULT_ERROR, -1,
                     ENOSPC);
    // No edge will tell of what came meanwhile: the next add has to look.
    EXPECT_CALL(kernel_, receive(kSocket, _, _, _)).WillOnce(Return(5)).WillOnce(Return(-EAGAIN));
    Operation& next = add_read(kSocket);
    advance_all();
    expect_completed(next, COMPLETION_PORT_EPOLL_EPOLLIN, COMPLETION_PORT_RESULT_OK, 5);
    add_read(kSocket);
    advance_all();
    EXPECT_EQ(completed(), nullptr);
}

// Spec: CP-ONCE-1, CP-FAULT-1
TEST_F(OwnerTest, AFullEpollDoesNotStopLaterSends) {
    EXPECT_CALL(kernel_, epoll_ctl(kEpoll, EPOLL_CTL_ADD, kSocket, _, _)).WillOnce(Return(-ENOMEM));
    EXPECT_CALL(kernel_, send(kSocket, _, _)).WillOnce(Return(-EAGAIN)).WillOnce(Return(64));
    Operation& refused = add(kSocket, Direction::kWrite, 64);
    advance_all();
    expect_completed(refused, COMPLETION_PORT_EPOLL_EPOLLOUT, COMPLETION_PORT_RESULT_ERROR, -1,
                     ENOMEM);
    Operation& next = add(kSocket, Direction::kWrite, 64);
    advance_all();
    expect_completed(next, COMPLETION_PORT_EPOLL_EPOLLOUT, COMPLETION_PORT_RESULT_OK, 64);
}

// Spec: CP-FAIR-1
TEST_F(OwnerTest, ALongTransferLetsOthersInAfterEveryMebibyte) {
    InSequence in_order;
    EXPECT_CALL(kernel_, receive(kSocket, _, kMebibyte, _)).WillOnce(Return(kMebibyte));
    EXPECT_CALL(kernel_, receive(kOther, _, _, _)).WillOnce(Return(64));
    EXPECT_CALL(kernel_, receive(kSocket, _, kMebibyte, _))
        .Times(3)
        .WillRepeatedly(Return(kMebibyte));
    Operation& large = add_read(kSocket, 4 * kMebibyte);
    Operation& small = add_read(kOther);
    advance_all();
    EXPECT_EQ(completed(), &small);
    expect_completed(large, COMPLETION_PORT_EPOLL_EPOLLIN, COMPLETION_PORT_RESULT_OK,
                     4 * static_cast<int32_t>(kMebibyte));
}

// Spec: CP-FAIR-1
TEST_F(OwnerTest, ALongSendIsCutToo) {
    EXPECT_CALL(kernel_, send(kSocket, _, Le(kMebibyte)))
        .Times(4)
        .WillRepeatedly(Return(kMebibyte));
    add(kSocket, Direction::kWrite, 4 * kMebibyte);
    owner_.advance_next();
    EXPECT_EQ(completed(), nullptr);
    advance_all();
    EXPECT_NE(completed(), nullptr);
}

// Spec: CP-WRITE-1
TEST_F(OwnerTest, AMessageThatTheKernelTakesInPartsIsNeverReadBeyondItsEnd) {
    ON_CALL(kernel_, socket_type(kSocket)).WillByDefault(Return(SOCK_SEQPACKET));
    const void* first = nullptr;
    const void* second = nullptr;
    InSequence in_order;
    EXPECT_CALL(kernel_, send(kSocket, _, 8)).WillOnce(DoAll(SaveArg<1>(&first), Return(3)));
    EXPECT_CALL(kernel_, send(kSocket, _, 5)).WillOnce(DoAll(SaveArg<1>(&second), Return(5)));
    Operation& write = add(kSocket, Direction::kWrite, 8);
    advance_all();
    expect_completed(write, COMPLETION_PORT_EPOLL_EPOLLOUT, COMPLETION_PORT_RESULT_OK, 8);
    EXPECT_EQ(first, write.buffer);
    EXPECT_EQ(second, write.buffer + 3);
}

TEST_F(OwnerTest, ACallThatASignalInterruptedIsMadeAgain) {
    EXPECT_CALL(kernel_, receive(kSocket, _, _, _)).WillOnce(Return(-EINTR)).WillOnce(Return(64));
    Operation& read = add_read(kSocket);
    advance_all();
    expect_completed(read, COMPLETION_PORT_EPOLL_EPOLLIN, COMPLETION_PORT_RESULT_OK, 64);
    EXPECT_CALL(kernel_, eventfd_signal(kWake)).WillOnce(Return(-EINTR)).WillOnce(Return(0));
    engine_.wake();
}

// Spec: CP-END-7
TEST_F(OwnerTest, TheEngineWaitsForWakesThatAreUnderWay) {
    engine_.wake();
    engine_.await_wakes(1);
    // The second comes while the engine waits for it.
    EXPECT_CALL(kernel_, epoll_wait(kEpoll, _, _, _)).WillOnce([this] {
        engine_.wake();
        return 0;
    });
    engine_.await_wakes(2);
}

// Spec: CP-COST-2
TEST_F(OwnerTest, ASteadyReceiveTouchesTheRegistrationOnce) {
    EXPECT_CALL(kernel_, epoll_ctl(kEpoll, _, kSocket, _, _)).Times(1);
    add_read(kSocket);
    advance_all();
    for (int i = 0; i < 100; ++i) {
        EXPECT_CALL(kernel_, receive(kSocket, _, _, _)).WillOnce(Return(1));
        edge(kSocket, EPOLLIN);
        ASSERT_NE(completed(), nullptr);
        add_read(kSocket);
        advance_all();
    }
}

}  // namespace
}  // namespace cport
