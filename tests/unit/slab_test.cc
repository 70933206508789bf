#include "runtime/operation/slab.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <set>
#include <thread>
#include <vector>

#include "platform/linux/linux_platform.h"
#include "runtime/operation/operation.h"
#include "tests/support/fault_platform.h"
#include "tests/support/mock_platform.h"

namespace cport {
namespace {

using ::testing::_;
using ::testing::Return;

platform::Memory& memory() { return platform::linux_platform().memory; }

// Spec: CP-BAD-9
TEST(Slab, TellsTheLimitFromTheLackOfMemory) {
    Slab slab(memory(), 1);  // rounded up to one chunk
    int error = 0;
    std::set<Operation*> taken;
    for (uint32_t i = 0; i < Slab::kChunkSlots; ++i) {
        Operation* operation = slab.take(error);
        ASSERT_NE(operation, nullptr);
        EXPECT_TRUE(taken.insert(operation).second);
    }
    EXPECT_EQ(slab.take(error), nullptr);
    EXPECT_EQ(error, -ENOBUFS);
    EXPECT_EQ(slab.take_as_owner(error), nullptr);
    EXPECT_EQ(error, -ENOBUFS);
    slab.release(*taken.begin());
    EXPECT_EQ(slab.take_as_owner(error), *taken.begin());

    ::testing::StrictMock<test::MockMemory> no_memory;
    EXPECT_CALL(no_memory, allocate(_, alignof(Operation))).WillRepeatedly(Return(nullptr));
    Slab poor(no_memory);
    EXPECT_EQ(poor.take(error), nullptr);
    EXPECT_EQ(error, -ENOMEM);
}

TEST(Slab, HasRoomForAMillionOperations) {
    Slab slab(memory());
    int error = 0;
    for (uint32_t i = 0; i < Slab::kSlotsMax; ++i) ASSERT_NE(slab.take(error), nullptr);
    EXPECT_EQ(slab.take(error), nullptr);
    EXPECT_EQ(error, -ENOBUFS);
}

TEST(Slab, GivesItsMemoryBack) {
    test::FaultPlatform counting(platform::linux_platform(), test::Fault{});
    {
        Slab slab(counting.platform().memory);
        int error = 0;
        for (uint32_t i = 0; i < 3 * Slab::kChunkSlots; ++i) ASSERT_NE(slab.take(error), nullptr);
        EXPECT_EQ(counting.holdings().memory_blocks, 3);
    }
    EXPECT_TRUE(counting.holdings().empty());
}

TEST(Slab, AReleasedSlotIsTheNextOneTaken) {
    Slab slab(memory());
    int error = 0;
    Operation* operation = slab.take_as_owner(error);
    slab.release_as_owner(operation);
    EXPECT_EQ(slab.take_as_owner(error), operation);
    slab.release(operation);
    EXPECT_EQ(slab.take(error), operation);
}

// Spec: CP-COST-1
TEST(Slab, ASteadyFlowNeedsNoMemory) {
    test::FaultPlatform counting(platform::linux_platform(), test::Fault{});
    Slab slab(counting.platform().memory);
    auto flow = [&slab] {
        for (uint32_t i = 0; i < 4 * Slab::kOwnFreeMax; ++i) {
            int error = 0;
            Operation* own = slab.take_as_owner(error);
            Operation* foreign = slab.take(error);
            ASSERT_TRUE(own != nullptr && foreign != nullptr);
            slab.release_as_owner(own);
            slab.release_as_owner(foreign);
        }
    };
    flow();
    const int chunks = counting.calls(test::Call::kAllocate);
    counting.exhaust_memory();
    flow();
    EXPECT_EQ(counting.calls(test::Call::kAllocate), chunks);
}

// What the owner collects from other threads' adds must become free for them again.
TEST(Slab, TheOwnerDoesNotKeepEverythingToItself) {
    constexpr uint32_t kChunks = 4;
    Slab slab(memory(), kChunks * Slab::kChunkSlots);
    int error = 0;
    for (int round = 0; round < 3; ++round) {
        std::vector<Operation*> taken;
        while (Operation* operation = slab.take(error)) taken.push_back(operation);
        EXPECT_EQ(error, -ENOBUFS);
        EXPECT_GE(taken.size(), kChunks * Slab::kChunkSlots - Slab::kOwnFreeMax);
        for (Operation* operation : taken) slab.release_as_owner(operation);
    }
}

// Spec: CP-OPT-8
TEST(Slab, AtTheLimitARestingOwnerKeepsNothing) {
    Slab slab(memory(), 1);
    int error = 0;
    std::vector<Operation*> taken;
    for (uint32_t i = 1; i < Slab::kChunkSlots; ++i) taken.push_back(slab.take(error));
    for (Operation* operation : taken) slab.release_as_owner(operation);
    slab.rest_as_owner();
    for (uint32_t i = 0; i < Slab::kChunkSlots; ++i) {
        ASSERT_NE(slab.take(error), nullptr) << i;
    }
}

// Other threads take slots; the owner takes some, and releases its own and theirs. A slot that two
// have at a time would show in its `context`.
TEST(Slab, ASlotHasOneUserAtATime) {
    constexpr int kThreads = 3;
    constexpr int kTurnsEach = 20'000;
    Slab slab(memory(), 4 * Slab::kChunkSlots);
    std::atomic<bool> doubled = false;
    std::array<std::atomic<Operation*>, kThreads> handed_over{};
    auto use = [&doubled](Operation* operation) {
        if (operation->context != nullptr) doubled = true;
        operation->context = operation;
    };
    std::vector<std::thread> threads;
    for (auto& hand_over : handed_over) {
        threads.emplace_back([&slab, &hand_over, &use] {
            for (int turn = 0; turn < kTurnsEach; ++turn) {
                int error = 0;
                Operation* operation = slab.take(error);
                use(operation);
                if (turn % 2 == 0) {
                    operation->context = nullptr;
                    slab.release(operation);
                    continue;
                }
                Operation* expected = nullptr;
                while (!hand_over.compare_exchange_weak(expected, operation)) {
                    expected = nullptr;
                    std::this_thread::yield();
                }
            }
        });
    }
    int to_collect = kThreads * kTurnsEach / 2;
    while (to_collect > 0) {
        int error = 0;
        Operation* own = slab.take_as_owner(error);
        use(own);
        for (auto& hand_over : handed_over) {
            Operation* theirs = hand_over.exchange(nullptr);
            if (theirs == nullptr) continue;
            theirs->context = nullptr;
            slab.release_as_owner(theirs);
            --to_collect;
        }
        own->context = nullptr;
        slab.release_as_owner(own);
        std::this_thread::yield();
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_FALSE(doubled);
}

// Spec: CP-SUBMIT-5
TEST(Slab, AnIdNamesOneUseOfOneSlot) {
    Slab slab(memory());
    int error = 0;
    Operation* operation = slab.take(error);
    const uint64_t id = operation->id();
    EXPECT_NE(id, 0u);
    EXPECT_EQ(slab.find(id), operation);
    slab.release(operation);
    EXPECT_EQ(slab.find(id), nullptr);
    ASSERT_EQ(slab.take_as_owner(error), operation);
    const uint64_t next = operation->id();
    EXPECT_NE(next, id);
    EXPECT_EQ(slab.find(next), operation);
    EXPECT_EQ(slab.find(id), nullptr);
    slab.release_as_owner(operation);
    EXPECT_EQ(slab.find(next), nullptr);
}

// Spec: CP-SUBMIT-5
TEST(Slab, TheIdsOfAllSlotsDiffer) {
    Slab slab(memory());
    std::set<uint64_t> ids;
    constexpr uint32_t kSlots = 3 * Slab::kChunkSlots;
    int error = 0;
    for (uint32_t i = 0; i < kSlots; ++i) {
        Operation* operation = slab.take(error);
        ASSERT_EQ(slab.find(operation->id()), operation);
        ids.insert(operation->id());
    }
    EXPECT_EQ(ids.size(), kSlots);
    EXPECT_EQ(ids.count(0), 0u);
}

// Spec: CP-CANCEL-2
TEST(Slab, WhatIsNoIdFindsNothing) {
    Slab slab(memory());
    constexpr uint64_t kUse = uint64_t{1} << 32;
    EXPECT_EQ(slab.find(kUse | 1), nullptr) << "nothing was taken yet";
    int error = 0;
    const uint64_t id = slab.take(error)->id();
    for (uint64_t garbage :
         {uint64_t{0}, id - kUse, id + kUse, id & UINT32_MAX, kUse, uint64_t{UINT64_MAX},
          kUse | UINT32_MAX, kUse | (Slab::kChunkSlots + 1), kUse | Slab::kSlotsMax,
          kUse | (Slab::kSlotsMax + 1)}) {
        EXPECT_EQ(slab.find(garbage), nullptr) << garbage;
    }
}

// Spec: CP-SUBMIT-5
TEST(Slab, AnIdIsNotZeroWhenTheUsesHaveGoneRound) {
    Slab slab(memory());
    int error = 0;
    Operation* operation = slab.take(error);
    operation->generation.store(UINT32_MAX);
    EXPECT_EQ(slab.find(operation->id()), operation);
    slab.release(operation);
    ASSERT_EQ(slab.take(error), operation);
    EXPECT_EQ(operation->generation.load(), 1u);
    EXPECT_EQ(slab.find(operation->id()), operation);
}

}  // namespace
}  // namespace cport
