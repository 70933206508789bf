// Receives from pools over a scripted kernel.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdint>
#include <vector>

#include "platform/linux/linux_platform.h"
#include "runtime/buffer/buffer_pool.h"
#include "runtime/buffer/receive_size.h"
#include "runtime/engine/epoll_engine.h"
#include "runtime/operation/fields.h"
#include "runtime/port/owner.h"
#include "runtime/port/port.h"
#include "tests/support/fault_platform.h"
#include "tests/support/mock_platform.h"

namespace cport {
namespace {

using ::testing::_;
using ::testing::InSequence;
using ::testing::NiceMock;
using ::testing::Return;

constexpr int kSocket = 7;
constexpr uint32_t kUnit = 4096;

class OwnerPoolsTest : public ::testing::Test {
 protected:
    void SetUp() override {
        ON_CALL(kernel_, epoll_create()).WillByDefault(Return(100));
        ON_CALL(kernel_, eventfd_create()).WillByDefault(Return(101));
        ON_CALL(kernel_, socket_type(_)).WillByDefault(Return(SOCK_STREAM));
        ON_CALL(kernel_, socket_protocol(_)).WillByDefault(Return(IPPROTO_TCP));
        ON_CALL(kernel_, receive(_, _, _, _)).WillByDefault(Return(-EAGAIN));
        ASSERT_EQ(table_.open(), 0);
        ASSERT_EQ(engine_.open(), 0);
        int error = 0;
        socket_ = table_.find_or_create(kSocket, error);
        ASSERT_NE(socket_, nullptr);
        socket_->word |= SocketWord::kKindKnown | SocketWord::kIsSocket;
        make_pool(kUnit, 1024);
    }
    void TearDown() override {
        while (Operation* record = completed()) give_back(*record);
        EXPECT_EQ(pool_->bytes_in_use(), 0u);
        pool_->close();
        // No receive holds it any more. Spec: CP-POOL-8
        EXPECT_TRUE(counting_.holdings().empty());
    }

    void make_pool(uint32_t largest, uint64_t units) {
        if (pool_ != nullptr) pool_->close();
        int error = 0;
        pool_ = BufferPool::create(counting_.platform().memory, nullptr,
                                   {kUnit, largest, units * kUnit}, error);
        ASSERT_NE(pool_, nullptr);
    }
    Operation& submit(uint32_t watch_events) {
        int error = 0;
        Operation& operation = *slab_.take_as_owner(error);
        operation.kind = TaskKind::kSubmission;
        operation.record_kind = COMPLETION_PORT_KIND_RECEIVE_POOLED;
        operation.direction = Direction::kRead;
        operation.socket = socket_;
        operation.socket_generation = SocketWord::generation(socket_->word);
        operation.watch_events = watch_events;
        operation.argument = as_argument(pool_);
        EXPECT_TRUE(pool_->hold());
        owner_.accept(operation);
        return operation;
    }
    void advance_all() {
        while (owner_.has_ready()) owner_.advance_next();
    }
    Operation* completed() {
        return completed_.empty() ? nullptr : static_cast<Operation*>(completed_.pop());
    }
    size_t give_back_completed() {
        size_t count = 0;
        for (; Operation* record = completed(); ++count) give_back(*record);
        return count;
    }
    void give_back(Operation& record) {
        if (record.buffer != nullptr) {
            EXPECT_EQ(pool_of_record(record), pool_);
            EXPECT_EQ(pool_->release(record.buffer), 0);
        }
        slab_.release_as_owner(&record);
    }

    test::FaultPlatform counting_{platform::linux_platform(), test::Fault{}};
    NiceMock<test::MockKernel> kernel_;
    EpollEngine engine_{kernel_};
    DescriptorTable table_{platform::linux_platform().memory};
    TaskList completed_;
    // Of one chunk.
    Slab slab_{platform::linux_platform().memory, Slab::kChunkSlots};
    Owner owner_{0, kernel_, engine_, table_, slab_, completed_, 0};
    Socket* socket_ = nullptr;
    BufferPool* pool_ = nullptr;
};

// Spec: CP-POOL-6
TEST_F(OwnerPoolsTest, TakesABoundedNumberOfBuffersARound) {
    EXPECT_CALL(kernel_, receive(kSocket, _, kUnit, _))
        .Times(Owner::kRoundBuffersMax)
        .WillRepeatedly(Return(kUnit));
    Operation& receive = submit(kReceiveGoesOn);
    owner_.advance_next();
    EXPECT_TRUE(owner_.has_ready());
    EXPECT_EQ(give_back_completed(), size_t{Owner::kRoundBuffersMax});
    owner_.cancel(receive.id());
    EXPECT_EQ(completed(), &receive);
}

// Spec: CP-POOL-6
TEST_F(OwnerPoolsTest, TakesABoundedNumberOfBytesARound) {
    constexpr uint32_t kLargest = 64 * kUnit;
    make_pool(kLargest, 1024);
    EXPECT_CALL(kernel_, receive(kSocket, _, kLargest, _))
        .Times(kRoundBytesMax / kLargest)
        .WillRepeatedly(Return(kLargest));
    Operation& receive = submit(kReceiveGoesOn | ReceiveSize::first(6));
    owner_.advance_next();
    EXPECT_TRUE(owner_.has_ready());
    EXPECT_EQ(give_back_completed(), kRoundBytesMax / kLargest);
    owner_.cancel(receive.id());
    EXPECT_EQ(completed(), &receive);
}

// Spec: CP-POOL-7
TEST_F(OwnerPoolsTest, TakesNoBytesThatItCannotTellOf) {
    // All slots but one are in use: the receive's.
    EXPECT_CALL(kernel_, receive(_, _, _, _)).Times(0);
    int error = 0;
    for (uint32_t i = 1; i < Slab::kChunkSlots; ++i) ASSERT_NE(slab_.take_as_owner(error), nullptr);
    const Operation& receive = submit(kReceiveGoesOn);
    advance_all();
    // Nothing has come, so nothing is lacking.
    ASSERT_EQ(completed(), nullptr);
    EXPECT_CALL(kernel_, poll_now(kSocket, _)).WillRepeatedly(Return(EPOLLIN));
    owner_.on_edge(Edge{kSocket, socket_->generation, EPOLLIN});
    advance_all();
    ASSERT_EQ(completed(), &receive);
    EXPECT_EQ(receive.error, ENOBUFS);
    EXPECT_EQ(receive.buffer, nullptr);
}

// Spec: CP-POOL-3
TEST_F(OwnerPoolsTest, GivesTheBufferBackWhereNothingCame) {
    for (uint32_t goes_on : {0u, kReceiveGoesOn}) {
        EXPECT_CALL(kernel_, receive(kSocket, _, _, _))
            .WillOnce(Return(-EINTR))
            .WillOnce(Return(-EAGAIN));
        const Operation& receive = submit(goes_on);
        advance_all();
        EXPECT_EQ(pool_->bytes_in_use(), 0u);
        EXPECT_EQ(completed(), nullptr);
        owner_.cancel(receive.id());
        EXPECT_EQ(completed(), &receive);
    }
}

// After a short read of a watched TCP socket an edge is promised, so it is not tried again.
// Spec: CP-POOL-6
TEST_F(OwnerPoolsTest, AShortReceiveIsNotFollowedByAnother) {
    InSequence sequence;
    EXPECT_CALL(kernel_, receive(kSocket, _, _, _)).WillOnce(Return(-EAGAIN));
    const Operation& receive = submit(kReceiveGoesOn);
    advance_all();
    EXPECT_CALL(kernel_, receive(kSocket, _, _, _)).WillOnce(Return(100));
    owner_.on_edge(Edge{kSocket, socket_->generation, EPOLLIN});
    advance_all();
    EXPECT_EQ(give_back_completed(), 1u);
    EXPECT_CALL(kernel_, receive(kSocket, _, _, _)).WillOnce(Return(0));
    owner_.on_edge(Edge{kSocket, socket_->generation, EPOLLIN | EPOLLRDHUP});
    advance_all();
    ASSERT_EQ(completed(), &receive);
    EXPECT_EQ(receive.amount, 0);
    EXPECT_EQ(receive.error, 0);
    EXPECT_EQ(receive.buffer, nullptr);
}

// Spec: CP-POOL-7
TEST_F(OwnerPoolsTest, AsksWhetherThereIsSomethingBeforeItSaysThatNoBufferIsLeft) {
    make_pool(kUnit, 1);
    uint32_t drawn = 0;
    char* only = pool_->draw(0, 0, drawn);
    EXPECT_CALL(kernel_, receive(_, _, _, _)).Times(0);
    EXPECT_CALL(kernel_, poll_now(kSocket, EPOLLIN)).WillOnce(Return(0)).WillOnce(Return(EPOLLIN));
    const Operation& receive = submit(kReceiveGoesOn);
    advance_all();
    EXPECT_EQ(completed(), nullptr);
    owner_.on_edge(Edge{kSocket, socket_->generation, EPOLLIN});
    advance_all();
    ASSERT_EQ(completed(), &receive);
    EXPECT_EQ(receive.error, ENOBUFS);
    EXPECT_EQ(pool_->release(only), 0);
}

// Spec: CP-POOL-8 CP-POOL-9
TEST(PortPools, AReceiveThatIsRefusedHoldsNoPool) {
    test::FaultPlatform counting(platform::linux_platform(), test::Fault{});
    int error = 0;
    Port* port = Port::create(counting.platform(), {}, error);
    ASSERT_NE(port, nullptr);
    BufferPool* pool = port->create_pool({kUnit, kUnit, kUnit}, error);
    ASSERT_NE(pool, nullptr);
    SubmitRequest request{};
    request.descriptor = INT32_MAX;  // nobody's
    request.record_kind = COMPLETION_PORT_KIND_RECEIVE_POOLED;
    request.argument = as_argument(pool);
    EXPECT_EQ(port->submit_pooled(request, nullptr, nullptr), -EBADF);
    port->shutdown();
    EXPECT_EQ(port->submit_pooled(request, nullptr, nullptr), -ESHUTDOWN);
    port->dec_ref();
    pool->close();
    EXPECT_TRUE(counting.holdings().empty());
}

}  // namespace
}  // namespace cport
