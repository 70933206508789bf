// On which nodes memory is asked for, over a machine of several.
#include <completionport/buffers.h>
#include <completionport/operations.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <semaphore>
#include <utility>
#include <vector>

#include "platform/linux/linux_platform.h"
#include "runtime/abi/handle.h"
#include "runtime/operation/slab.h"
#include "runtime/port/worker_homes.h"
#include "tests/support/fault_platform.h"
#include "tests/support/mock_platform.h"

namespace cport {
namespace {

using platform::Numa;
using ::testing::_;
using ::testing::ElementsAre;
using ::testing::NiceMock;
using ::testing::Return;

constexpr size_t kChunkBytes = sizeof(Operation) * Slab::kChunkSlots;
constexpr size_t kPoolBytes = 1u << 20;

class NumaOnMocks : public ::testing::Test {
 protected:
    void SetUp() override {
        machine_.numa = &numa_;
        ON_CALL(numa_, has_node(_)).WillByDefault([](int node) { return node < 4; });
        ON_CALL(numa_, node_of_cpu(_)).WillByDefault(Return(Numa::kAnyNode));
        ON_CALL(numa_, prefer(_, _, _)).WillByDefault([this](void* memory, size_t size, int node) {
            const auto* bytes = static_cast<const char*>(memory);
            EXPECT_TRUE(std::all_of(bytes, bytes + size, [](char byte) { return byte == 0; }))
                << "somebody has written to it";
            preferred_.emplace_back(size, node);
        });
    }
    void TearDown() override {
        for (const int event : events_) ::close(event);
        EXPECT_TRUE(counting_.holdings().empty());
    }

    int node_of(const PortOptions& options, uint32_t worker) const {
        return home_of_worker(machine_, options, worker).node;
    }
    // In a callback on the next worker; waits for it.
    void run(COMPLETION_PORT_HANDLE port, ON_COMPLETION_PORT_COMPLETION body) {
        events_.push_back(::eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK));
        COMPLETION_PORT_POLL_OPERATION poll{};
        poll.common.size = sizeof(poll);
        poll.common.kind = COMPLETION_PORT_KIND_POLL;
        poll.common.descriptor = events_.back();
        poll.common.on_complete = body;
        poll.common.context = this;
        poll.events = POLLIN;
        ASSERT_EQ(completion_port_submit(port, &poll.common, nullptr, nullptr), 0);
        ran_.acquire();
    }
    static void do_nothing(void* context, const COMPLETION_PORT_COMPLETION*) {
        static_cast<NumaOnMocks*>(context)->ran_.release();
    }
    static void make_pool_in_callback(void* context, const COMPLETION_PORT_COMPLETION*) {
        auto* test = static_cast<NumaOnMocks*>(context);
        make_pool(test->port_);
        test->ran_.release();
    }
    static void make_pool(COMPLETION_PORT_HANDLE port) {
        COMPLETION_PORT_BUFFER_POOL_OPTIONS options{};
        options.size = sizeof(options);
        options.bytes_max = kPoolBytes;
        COMPLETION_PORT_BUFFER_POOL_HANDLE pool =
            completion_port_buffer_pool_create(port, &options);
        ASSERT_NE(pool, nullptr);
        completion_port_buffer_pool_destroy(pool);
    }
    std::vector<int> nodes_of(size_t size) const {
        std::vector<int> nodes;
        for (const auto& [bytes, node] : preferred_) {
            if (bytes == size) nodes.push_back(node);
        }
        return nodes;
    }

    test::FaultPlatform counting_{platform::linux_platform(), test::Fault{}};
    NiceMock<test::MockNuma> numa_;
    platform::Platform machine_ = counting_.platform();
    std::vector<std::pair<size_t, int>> preferred_;
    std::vector<int> events_;
    std::binary_semaphore ran_{0};
    COMPLETION_PORT_HANDLE port_ = nullptr;
};

// Spec: CP-NUMA-1
TEST_F(NumaOnMocks, EachBlockOfOperationsIsPreferredBeforeItIsWrittenTo) {
    {
        Slab slab(machine_.memory, Slab::kSlotsMax, 0, nullptr, {&numa_, 3});
        int error = 0;
        for (uint32_t i = 0; i < Slab::kChunkSlots + 1; ++i) slab.take(error);
    }
    EXPECT_THAT(nodes_of(kChunkBytes), ElementsAre(3, 3));
}

// Spec: CP-NUMA-1, CP-NUMA-2
TEST_F(NumaOnMocks, EachWorkersOperationsLieOnItsNode) {
    const int32_t nodes[] = {2, -1, 1};
    PortOptions options;
    options.workers = 3;
    options.nodes = nodes;
    COMPLETION_PORT_HANDLE port = create_handle(machine_, options);
    ASSERT_NE(port, nullptr);
    for (int i = 0; i < 3; ++i) run(port, do_nothing);
    completion_port_dec_ref(port);
    EXPECT_THAT(nodes_of(kChunkBytes), ElementsAre(2, 1));
}

// Spec: CP-NUMA-2
TEST_F(NumaOnMocks, WithoutANodeThatOfTheCpuIsTaken) {
    ON_CALL(numa_, node_of_cpu(5)).WillByDefault(Return(2));
    ON_CALL(numa_, node_of_cpu(6)).WillByDefault(Return(9));  // has no memory
    const int32_t cpus[] = {5, -1, 6, 7, 5};
    const int32_t nodes[] = {-1, -1, -1, -1, 1};
    PortOptions options;
    options.workers = 5;
    options.cpus = cpus;
    for (const int32_t* its_nodes : {static_cast<const int32_t*>(nullptr), nodes}) {
        options.nodes = its_nodes;
        EXPECT_EQ(node_of(options, 0), 2);
        EXPECT_EQ(node_of(options, 1), Numa::kAnyNode);
        EXPECT_EQ(node_of(options, 2), Numa::kAnyNode);
        EXPECT_EQ(node_of(options, 3), Numa::kAnyNode);
        EXPECT_EQ(node_of(options, 4), its_nodes == nullptr ? 2 : 1);
        EXPECT_EQ(check_nodes(machine_, options), 0);
    }
}

// Spec: CP-NUMA-3
TEST_F(NumaOnMocks, ForANodeThatThereIsNotNothingIsCreated) {
    const int32_t nodes[] = {0, 4};
    PortOptions options;
    options.workers = 2;
    options.nodes = nodes;
    int error = 0;
    EXPECT_EQ(Port::create(machine_, options, error), nullptr);
    EXPECT_EQ(error, -EINVAL);
    for (const test::Call call :
         {test::Call::kAllocate, test::Call::kForkMark, test::Call::kThreadStart}) {
        EXPECT_EQ(counting_.calls(call), 0) << call_name(call);
    }
}

// Spec: CP-NUMA-4
TEST_F(NumaOnMocks, APoolLiesWhereItsPortsWorkersDo) {
    for (const int32_t second : {3, 2}) {
        const int32_t nodes[] = {3, second};
        PortOptions options;
        options.workers = 2;
        options.nodes = nodes;
        port_ = create_handle(machine_, options);
        ASSERT_NE(port_, nullptr);
        preferred_.clear();
        make_pool(port_);
        const std::vector<int> of_both = second == 3 ? std::vector{3} : std::vector<int>{};
        EXPECT_EQ(nodes_of(kPoolBytes), of_both);
        preferred_.clear();
        for (int i = 0; i < 2; ++i) run(port_, make_pool_in_callback);
        completion_port_dec_ref(port_);
        EXPECT_THAT(nodes_of(kPoolBytes), ElementsAre(3, second));
    }
}

// Spec: CP-NUMA-6
TEST_F(NumaOnMocks, PagesOfTheHeapStayAsTheyAre) {
    alignas(4096) std::byte block[8192];
    const platform::MemoryHome home{&numa_, 1};
    EXPECT_CALL(numa_, prefer(_, _, _)).Times(0);
    home.claim(block, sizeof(block));
}

// Spec: CP-NUMA-5
TEST_F(NumaOnMocks, AMachineWithoutIsNodeZero) {
    machine_.numa = nullptr;
    int32_t node = 0;
    PortOptions options;
    options.nodes = &node;
    COMPLETION_PORT_HANDLE port = create_handle(machine_, options);
    ASSERT_NE(port, nullptr);
    run(port, do_nothing);
    make_pool(port);
    completion_port_dec_ref(port);
    node = 1;
    EXPECT_EQ(create_handle(machine_, options), nullptr);
    EXPECT_EQ(errno, EINVAL);
}

}  // namespace
}  // namespace cport
