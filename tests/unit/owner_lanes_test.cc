// Whose turn is next, among sockets that have little to do and sockets that have much, over a
// scripted kernel.
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
#include "runtime/port/owner.h"
#include "tests/support/mock_platform.h"

namespace cport {
namespace {

using ::testing::_;
using ::testing::ElementsAre;
using ::testing::NiceMock;
using ::testing::Return;

constexpr int kQuiet = 7;
constexpr int kOtherQuiet = 8;
constexpr int kFlood = 20;
constexpr int kOtherFlood = 21;
constexpr int kMuch = static_cast<int>(Owner::kSparseBytesMax);

class OwnerLanesTest : public ::testing::Test {
 protected:
    void SetUp() override {
        ON_CALL(kernel_, epoll_create()).WillByDefault(Return(100));
        ON_CALL(kernel_, eventfd_create()).WillByDefault(Return(101));
        ON_CALL(kernel_, socket_type(_)).WillByDefault(Return(SOCK_STREAM));
        ON_CALL(kernel_, socket_protocol(_)).WillByDefault(Return(IPPROTO_TCP));
        ON_CALL(kernel_, send(_, _, _)).WillByDefault(Return(-EAGAIN));
        // A turn is one receive, of as much as the socket brings.
        ON_CALL(kernel_, receive(_, _, _, _)).WillByDefault([this](int descriptor, auto...) {
            turns_.push_back(descriptor);
            return bytes_of_turn_;
        });
        ASSERT_EQ(table_.open(), 0);
        ASSERT_EQ(engine_.open(), 0);
    }

    Socket& socket(int descriptor) {
        int error = 0;
        Socket* found = table_.find_or_create(descriptor, error);
        found->word |= SocketWord::kKindKnown | SocketWord::kIsSocket;
        return *found;
    }

    Operation& prepare(int descriptor, Direction direction, uint32_t length) {
        Operation& operation = operations_.emplace_back(static_cast<uint32_t>(operations_.size()));
        operation.direction = direction;
        operation.socket = &socket(descriptor);
        operation.socket_generation = SocketWord::generation(operation.socket->word);
        operation.length = length;
        operation.buffer = buffers_.emplace_back(length).data();
        return operation;
    }
    // Reads into more memory than there ever are bytes.
    void read(int descriptor) {
        owner_.accept(prepare(descriptor, Direction::kRead, 2 * Owner::kRoundMovedMax));
    }

    // A turn of that many bytes, after which the socket waits for an edge.
    void make_turn(int descriptor, int64_t bytes) {
        become_ready(descriptor);
        socket(descriptor).set(kWatched);
        bytes_of_turn_ = bytes;
        owner_.advance_next();
        bytes_of_turn_ = 1;
        turns_.clear();
    }
    void become_ready(int descriptor) {
        read(descriptor);
        edge(descriptor);
    }
    // One that has moved much and can advance that many times more, without an edge.
    void flood(int descriptor, int reads) {
        bytes_of_turn_ = kMuch;
        owner_.accept(prepare(descriptor, Direction::kRead, 2 * kMuch));
        owner_.advance_next();
        for (int i = 0; i < reads; ++i) {
            owner_.accept(prepare(descriptor, Direction::kRead, ReadyLanes::kVisitBytesMax));
        }
        turns_.clear();
    }
    void edge(int descriptor) {
        owner_.on_edge(Edge{descriptor, socket(descriptor).generation, EPOLLIN});
    }
    std::vector<int> all_turns() {
        while (owner_.has_ready()) owner_.advance_next();
        return turns_;
    }

    NiceMock<test::MockKernel> kernel_;
    std::deque<Operation> operations_;
    std::deque<std::vector<char>> buffers_;
    std::vector<int> turns_;  // descriptors
    int64_t bytes_of_turn_ = 1;
    EpollEngine engine_{kernel_};
    DescriptorTable table_{platform::linux_platform().memory};
    TaskList completed_;
    Slab slab_{platform::linux_platform().memory};
    Owner owner_{0, kernel_, engine_, table_, slab_, completed_, 0};
};

// Spec: CP-FAIR-3
TEST_F(OwnerLanesTest, WhoMovedLittleGoesBeforeWhoMovedMuch) {
    make_turn(kFlood, kMuch);
    make_turn(kOtherFlood, kMuch);
    make_turn(kQuiet, kMuch - 1);
    for (int descriptor : {kFlood, kOtherFlood, kQuiet, kOtherQuiet}) become_ready(descriptor);
    EXPECT_THAT(all_turns(), ElementsAre(kQuiet, kOtherQuiet, kFlood, kOtherFlood));
}

// Spec: CP-FAIR-3
TEST_F(OwnerLanesTest, TheLastTurnDecides) {
    make_turn(kFlood, kMuch);
    make_turn(kFlood, kMuch - 1);
    make_turn(kQuiet, kMuch - 1);
    make_turn(kQuiet, kMuch);
    for (int descriptor : {kQuiet, kFlood}) become_ready(descriptor);
    EXPECT_THAT(all_turns(), ElementsAre(kFlood, kQuiet));
}

// Spec: CP-FAIR-3
TEST_F(OwnerLanesTest, ATurnThatMovesNothingSaysNothing) {
    make_turn(kFlood, kMuch);
    make_turn(kFlood, -EAGAIN);
    edge(kFlood);
    become_ready(kQuiet);
    EXPECT_THAT(all_turns(), ElementsAre(kQuiet, kFlood));
}

// Spec: CP-FAIR-3
TEST_F(OwnerLanesTest, WhoHasMoreToDoAfterItsTurnLetsOthersGoFirst) {
    // Not watched by the kernel: it may hold more.
    read(kFlood);
    read(kFlood);
    owner_.advance_next();
    become_ready(kQuiet);
    EXPECT_THAT(all_turns(), ElementsAre(kFlood, kQuiet, kFlood));
}

// Spec: CP-FAIR-3
TEST_F(OwnerLanesTest, ASendAtOnceCounts) {
    EXPECT_CALL(kernel_, send(kFlood, _, kMuch)).WillOnce(Return(kMuch));
    make_turn(kFlood, 1);
    while (!completed_.empty()) completed_.pop();
    ASSERT_TRUE(owner_.accept_inline(prepare(kFlood, Direction::kWrite, kMuch)));
    become_ready(kFlood);
    become_ready(kQuiet);
    EXPECT_THAT(all_turns(), ElementsAre(kQuiet, kFlood));
}

// Spec: CP-FAIR-4
TEST_F(OwnerLanesTest, WhoMovedMuchIsNotStarved) {
    constexpr int kQuietSockets = 3 * ReadyLanes::kSparseTurnsMax;
    make_turn(kFlood, kMuch);
    make_turn(kOtherFlood, kMuch);
    become_ready(kFlood);
    become_ready(kOtherFlood);
    for (int i = 0; i < kQuietSockets; ++i) become_ready(kOtherFlood + 1 + i);
    const std::vector<int> turns = all_turns();
    ASSERT_EQ(turns.size(), static_cast<size_t>(kQuietSockets) + 2);
    EXPECT_EQ(turns[ReadyLanes::kSparseTurnsMax], kFlood);
    EXPECT_EQ(turns[2 * ReadyLanes::kSparseTurnsMax + 1], kOtherFlood);
}

// Spec: CP-FAIR-7
TEST_F(OwnerLanesTest, WhoMovedMuchGoesOnUntilItHasMovedAMebibyte) {
    flood(kFlood, 6);
    flood(kOtherFlood, 2);
    bytes_of_turn_ = ReadyLanes::kVisitBytesMax / 4;
    EXPECT_THAT(all_turns(), ElementsAre(kFlood, kFlood, kFlood, kFlood, kOtherFlood, kOtherFlood,
                                         kFlood, kFlood));
}

// Spec: CP-FAIR-7
TEST_F(OwnerLanesTest, NobodyGoesOnWhoMightThenHaveMovedMore) {
    flood(kFlood, 2);
    flood(kOtherFlood, 2);
    bytes_of_turn_ = ReadyLanes::kVisitBytesMax / 2 + 1;
    EXPECT_THAT(all_turns(), ElementsAre(kFlood, kOtherFlood, kFlood, kOtherFlood));
}

// Spec: CP-FAIR-7
TEST_F(OwnerLanesTest, WhoMovedMuchGoesOnForSoManyTurns) {
    flood(kFlood, ReadyLanes::kVisitTurnsMax + 1);
    flood(kOtherFlood, 1);
    bytes_of_turn_ = kMuch;
    std::vector<int> expected(ReadyLanes::kVisitTurnsMax, kFlood);
    expected.insert(expected.end(), {kOtherFlood, kFlood});
    EXPECT_EQ(all_turns(), expected);
}

// Spec: CP-FAIR-7
TEST_F(OwnerLanesTest, WhoMovedLittleComesBetweenAndProlongsNothing) {
    flood(kFlood, 6);
    flood(kOtherFlood, 1);
    bytes_of_turn_ = ReadyLanes::kVisitBytesMax / 4;
    owner_.advance_next();
    owner_.advance_next();
    become_ready(kQuiet);
    become_ready(kOtherQuiet);
    EXPECT_THAT(all_turns(), ElementsAre(kFlood, kFlood, kQuiet, kOtherQuiet, kFlood, kOtherFlood,
                                         kFlood, kFlood, kFlood));
}

// Spec: CP-FAIR-7
TEST_F(OwnerLanesTest, WhoMovedLittleDoesNotGoOn) {
    // Each turn moves a byte, and leaves both with more to do.
    for (int i = 0; i < 3; ++i) {
        read(kQuiet);
        read(kOtherQuiet);
    }
    EXPECT_THAT(all_turns(),
                ElementsAre(kQuiet, kOtherQuiet, kQuiet, kOtherQuiet, kQuiet, kOtherQuiet));
}

// Spec: CP-FAIR-5
TEST_F(OwnerLanesTest, ARoundEndsAfterSoManyBytes) {
    owner_.begin_round();
    make_turn(kQuiet, Owner::kRoundMovedMax - 1);
    EXPECT_FALSE(owner_.has_moved_enough());
    make_turn(kQuiet, 1);
    EXPECT_TRUE(owner_.has_moved_enough());
    owner_.begin_round();
    EXPECT_FALSE(owner_.has_moved_enough());
}

}  // namespace
}  // namespace cport
