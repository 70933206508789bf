#include "runtime/buffer/buffer_pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <iostream>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "platform/linux/linux_platform.h"
#include "runtime/buffer/receive_size.h"
#include "tests/support/fault_platform.h"
#include "tests/support/mock_platform.h"

namespace cport {
namespace {

using ::testing::_;
using ::testing::Return;

constexpr uint32_t kUnit = 256;
constexpr uint32_t kLargest = 64 * kUnit;

struct Closer {
    void operator()(BufferPool* pool) const { pool->close(); }
};
using OpenPool = std::unique_ptr<BufferPool, Closer>;

platform::Memory& memory() { return platform::linux_platform().memory; }

OpenPool make_pool(uint64_t bytes_max, uint32_t largest = kLargest,
                   platform::Memory& from = memory()) {
    int error = 0;
    OpenPool pool(BufferPool::create(from, nullptr, {kUnit, largest, bytes_max}, error));
    EXPECT_NE(pool, nullptr) << error;
    return pool;
}

char* draw(BufferPool& pool, uint32_t wanted, uint32_t least) {
    uint32_t drawn = 0;
    return pool.draw(wanted, least, drawn);
}

// Spec: CP-POOL-4
TEST(BufferPool, DrawsWhatTheBudgetAllowsAndNoMore) {
    const OpenPool pool = make_pool(100 * kUnit + kUnit / 2);
    std::set<char*> drawn;
    for (int i = 0; i < 100; ++i) {
        char* buffer = draw(*pool, 0, 0);
        ASSERT_NE(buffer, nullptr);
        EXPECT_TRUE(drawn.insert(buffer).second);
        std::memset(buffer, i, kUnit);
    }
    EXPECT_EQ(pool->bytes_in_use(), 100u * kUnit);
    EXPECT_EQ(draw(*pool, 0, 0), nullptr);
    for (char* buffer : drawn) EXPECT_EQ(pool->release(buffer), 0);
    EXPECT_EQ(pool->bytes_in_use(), 0u);
}

// Spec: CP-POOL-11
TEST(BufferPool, DrawsASmallerOneWhereTheLargeOnesAreUsedUp) {
    const OpenPool pool = make_pool(96 * kUnit);
    uint32_t drawn = 0;
    std::vector<char*> buffers = {pool->draw(6, 0, drawn)};
    EXPECT_EQ(drawn, 6u);
    EXPECT_EQ(pool->draw(6, 6, drawn), nullptr);
    buffers.push_back(pool->draw(6, 0, drawn));
    EXPECT_EQ(drawn, 5u);
    EXPECT_EQ(pool->bytes_in_use(), 96u * kUnit);
    EXPECT_EQ(pool->draw(6, 0, drawn), nullptr);
    for (char* buffer : buffers) EXPECT_EQ(pool->release(buffer), 0);
}

// Spec: CP-POOL-11
TEST(BufferPool, WhatSmallOnesHeldServesLargeOnes) {
    const OpenPool pool = make_pool(128 * kUnit);
    for (int round = 0; round < 3; ++round) {
        std::vector<char*> small;
        while (char* buffer = draw(*pool, 0, 0)) small.push_back(buffer);
        EXPECT_EQ(small.size(), 128u);
        std::shuffle(small.begin(), small.end(), std::mt19937(static_cast<uint32_t>(round)));
        for (char* buffer : small) EXPECT_EQ(pool->release(buffer), 0);
        char* first = draw(*pool, 6, 6);
        char* second = draw(*pool, 6, 6);
        ASSERT_TRUE(first != nullptr && second != nullptr);
        EXPECT_EQ(pool->release(first), 0);
        EXPECT_EQ(pool->release(second), 0);
    }
}

// Spec: CP-POOL-12
TEST(BufferPool, GivesBackWhatAReceiveLeftEmpty) {
    const OpenPool pool = make_pool(64 * kUnit);
    char* buffer = draw(*pool, 6, 6);
    ASSERT_NE(buffer, nullptr);
    pool->trim(buffer, kLargest);
    EXPECT_EQ(pool->bytes_in_use(), kLargest);
    pool->trim(buffer, 3 * kUnit + 1);
    EXPECT_EQ(pool->bytes_in_use(), 4u * kUnit);
    pool->trim(buffer, 1);
    EXPECT_EQ(pool->bytes_in_use(), kUnit);
    std::vector<char*> others;
    while (char* other = draw(*pool, 5, 0)) others.push_back(other);
    EXPECT_EQ(pool->bytes_in_use(), 64u * kUnit);
    EXPECT_EQ(pool->release(buffer), 0);
    for (char* other : others) EXPECT_EQ(pool->release(other), 0);
    EXPECT_EQ(pool->bytes_in_use(), 0u);
}

// Spec: CP-POOL-9
TEST(BufferPool, RefusesWhatIsNoBufferInUse) {
    const OpenPool pool = make_pool(70 * kUnit);
    const OpenPool other = make_pool(70 * kUnit);
    char* buffer = draw(*pool, 2, 2);
    char* foreign = draw(*other, 0, 0);
    char on_the_stack = 0;
    for (void* wrong : {static_cast<void*>(buffer + 1), static_cast<void*>(buffer + kUnit),
                        static_cast<void*>(buffer - kUnit), static_cast<void*>(buffer + kLargest),
                        static_cast<void*>(foreign), static_cast<void*>(&on_the_stack)}) {
        EXPECT_EQ(pool->release(wrong), -EINVAL);
    }
    EXPECT_EQ(pool->bytes_in_use(), 4u * kUnit);
    EXPECT_EQ(pool->release(buffer), 0);
    EXPECT_EQ(pool->release(buffer), -EINVAL);
    EXPECT_EQ(other->release(foreign), 0);
}

// Spec: CP-POOL-8
TEST(BufferPool, ItsMemoryGoesWithTheLastHolderAndTheLastBuffer) {
    test::FaultPlatform counting(platform::linux_platform(), test::Fault{});
    platform::Memory& counted = counting.platform().memory;
    make_pool(kUnit, kUnit, counted).reset();
    EXPECT_TRUE(counting.holdings().empty());

    BufferPool& pool = *make_pool(4 * kUnit, kUnit, counted).release();
    char* first = draw(pool, 0, 0);
    char* second = draw(pool, 0, 0);
    ASSERT_TRUE(pool.hold());
    pool.close();
    EXPECT_EQ(draw(pool, 0, 0), nullptr);
    EXPECT_FALSE(pool.hold());
    EXPECT_EQ(pool.release(first), 0);
    pool.drop();
    EXPECT_FALSE(counting.holdings().empty());
    std::memset(second, 1, kUnit);
    EXPECT_EQ(pool.release(second), 0);
    EXPECT_TRUE(counting.holdings().empty());
    EXPECT_TRUE(counting.breaches().empty());
}

// Spec: CP-POOL-2
TEST(BufferPool, LeavesNothingWhereMemoryEnds) {
    for (int failing = 1; failing <= 3; ++failing) {
        test::Fault fault;
        fault.call = failing == 3 ? test::Call::kForkMark : test::Call::kAllocate;
        fault.ordinal = failing == 3 ? 1 : failing;
        fault.effect = test::Effect::kNoMemory;
        test::FaultPlatform poor(platform::linux_platform(), fault);
        int error = 0;
        EXPECT_EQ(BufferPool::create(poor.platform().memory, nullptr,
                                     {kUnit, kLargest, 100 * kLargest}, error),
                  nullptr);
        EXPECT_EQ(error, -ENOMEM);
        EXPECT_TRUE(poor.fault_happened());
        EXPECT_TRUE(poor.holdings().empty());
    }
}

// Spec: CP-POOL-13
TEST(BufferPool, DrawingNeedsNoMemory) {
    test::FaultPlatform counting(platform::linux_platform(), test::Fault{});
    const OpenPool pool = make_pool(100 * kLargest, kLargest, counting.platform().memory);
    counting.exhaust_memory();
    std::vector<char*> buffers;
    while (char* buffer = draw(*pool, 6, 0)) buffers.push_back(buffer);
    EXPECT_EQ(buffers.size(), 100u);
    for (char* buffer : buffers) EXPECT_EQ(pool->release(buffer), 0);
}

TEST(BufferPool, TellsClasses) {
    const OpenPool pool = make_pool(kLargest, 8 * kUnit);
    EXPECT_EQ(pool->largest_class(), 3u);
    const std::array<std::pair<uint64_t, uint32_t>, 8> expected = {{{0, 0},
                                                                    {1, 0},
                                                                    {kUnit, 0},
                                                                    {kUnit + 1, 1},
                                                                    {2 * kUnit, 1},
                                                                    {2 * kUnit + 1, 2},
                                                                    {8 * kUnit, 3},
                                                                    {UINT32_MAX, 3}}};
    for (const auto& [bytes, size_class] : expected) {
        EXPECT_EQ(pool->class_for(bytes), size_class) << bytes;
    }
    EXPECT_EQ(pool->bytes_of(3), 8 * kUnit);
}

// A draw that fails though the model has room is fine only where the room is in pieces.
// Spec: CP-POOL-4 CP-POOL-11 CP-POOL-12
TEST(BufferPool, RandomStepsAgreeWithAModel) {
    const uint32_t seed = std::random_device{}();
    std::cout << "seed " << seed << std::endl;
    std::mt19937 random(seed);
    constexpr uint32_t kUnits = 200;
    const OpenPool pool = make_pool(kUnits * kUnit);
    std::map<char*, uint32_t> model;  // bytes
    const auto in_use = [&] {
        uint64_t sum = 0;
        for (const auto& [buffer, bytes] : model) sum += bytes;
        return sum;
    };
    // Whether an aligned run of that class is free.
    const char* base = nullptr;
    const auto has_room = [&](uint32_t size_class) {
        const uint32_t run = 1u << size_class;
        std::array<bool, 256> used{};
        std::fill(used.begin() + kUnits, used.end(), true);
        for (const auto& [buffer, bytes] : model) {
            const auto unit = static_cast<size_t>(buffer - base) / kUnit;
            std::fill_n(used.begin() + static_cast<std::ptrdiff_t>(unit), bytes / kUnit, true);
        }
        for (uint32_t at = 0; at + run <= kUnits; at += run) {
            if (std::none_of(used.begin() + at, used.begin() + at + run, [](bool u) { return u; }))
                return true;
        }
        return false;
    };
    char* lowest = draw(*pool, 0, 0);
    base = lowest;
    ASSERT_EQ(pool->release(lowest), 0);
    for (int step = 0; step < 20'000; ++step) {
        const auto choice = static_cast<uint32_t>(random());
        if (choice % 5 < 3) {
            const uint32_t wanted = choice / 8 % 7;
            const uint32_t least = choice / 64 % (wanted + 1);
            uint32_t drawn = 0;
            char* buffer = pool->draw(wanted, least, drawn);
            uint32_t expected = wanted;
            while (expected > least && !has_room(expected)) --expected;
            ASSERT_EQ(buffer != nullptr, has_room(expected)) << "step " << step;
            if (buffer == nullptr) continue;
            ASSERT_EQ(drawn, expected) << "step " << step;
            const uint32_t bytes = kUnit << drawn;
            const auto next = model.lower_bound(buffer);
            ASSERT_TRUE(next == model.end() || buffer + bytes <= next->first);
            ASSERT_TRUE(next == model.begin() ||
                        std::prev(next)->first + std::prev(next)->second <= buffer);
            model.emplace(buffer, bytes);
        } else if (!model.empty()) {
            auto chosen = model.begin();
            std::advance(chosen, choice / 8 % model.size());
            if (choice % 5 == 3) {
                const uint32_t bytes = 1 + choice / 4096 % chosen->second;
                pool->trim(chosen->first, bytes);
                chosen->second = kUnit << pool->class_for(bytes);
            } else {
                ASSERT_EQ(pool->release(chosen->first), 0);
                model.erase(chosen);
            }
        }
        ASSERT_EQ(pool->bytes_in_use(), in_use()) << "step " << step;
    }
    for (const auto& [buffer, bytes] : model) EXPECT_EQ(pool->release(buffer), 0);
    EXPECT_EQ(pool->bytes_in_use(), 0u);
}

// Two draw, two others release what those drew. A buffer that two have at a time would show in its
// first bytes.
// Spec: CP-POOL-10
TEST(BufferPool, ABufferHasOneUserAtATime) {
    constexpr int kPairs = 2;
    constexpr int kTurnsEach = 50'000;
    const OpenPool pool = make_pool(70 * kUnit);
    std::array<std::atomic<char*>, kPairs> handed_over{};
    std::atomic<int> wrong = 0;
    std::vector<std::thread> threads;
    for (uint32_t i = 0; i < kPairs; ++i) {
        std::atomic<char*>& hand_over = handed_over[i];
        threads.emplace_back([&, i] {
            std::mt19937 random(i);
            for (int turn = 0; turn < kTurnsEach; ++turn) {
                uint32_t drawn = 0;
                char* buffer = pool->draw(static_cast<uint32_t>(random() % 7), 0, drawn);
                if (buffer == nullptr) {
                    std::this_thread::yield();
                    --turn;
                    continue;
                }
                const uint32_t kept = random() % 2 == 0 ? drawn : 0;
                if (buffer[0] != 0) ++wrong;
                buffer[0] = 1;
                pool->trim(buffer, pool->bytes_of(kept));
                for (char* none = nullptr; !hand_over.compare_exchange_weak(none, buffer);) {
                    none = nullptr;
                    std::this_thread::yield();
                }
            }
        });
        threads.emplace_back([&] {
            for (int turn = 0; turn < kTurnsEach; ++turn) {
                char* buffer = nullptr;
                while ((buffer = hand_over.exchange(nullptr)) == nullptr) std::this_thread::yield();
                if (buffer[0] != 1) ++wrong;
                buffer[0] = 0;
                if (pool->release(buffer) != 0) ++wrong;
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(wrong, 0);
    EXPECT_EQ(pool->bytes_in_use(), 0u);
}

// Spec: CP-POOL-11
TEST(ReceiveSize, GrowsWhenFilledAndShrinksAfterSeveralShortReceives) {
    const OpenPool pool = make_pool(kLargest, 4 * kUnit);
    constexpr uint32_t kOthers = 0xff0000ff;
    uint32_t word = kOthers | ReceiveSize::first(0);
    const auto learn = [&](uint32_t drawn, uint32_t bytes) {
        ReceiveSize::learn(word, *pool, drawn, bytes);
        EXPECT_EQ(word & kOthers, kOthers);
        return ReceiveSize::class_of(word);
    };
    EXPECT_EQ(learn(0, kUnit - 1), 0u);
    EXPECT_EQ(learn(0, kUnit), 1u);
    EXPECT_EQ(learn(1, 2 * kUnit), 2u);
    EXPECT_EQ(learn(2, 4 * kUnit), 2u) << "the largest";
    EXPECT_EQ(learn(1, 2 * kUnit), 2u) << "a smaller one was drawn";
    for (uint32_t i = 1; i < ReceiveSize::kShortReceivesMax; ++i) EXPECT_EQ(learn(2, 1), 2u);
    EXPECT_EQ(learn(2, kUnit), 2u) << "a quarter is enough to begin anew";
    for (uint32_t i = 1; i < ReceiveSize::kShortReceivesMax; ++i) EXPECT_EQ(learn(2, 1), 2u);
    EXPECT_EQ(learn(2, kUnit - 1), 1u);
    for (uint32_t i = 0; i < 3 * ReceiveSize::kShortReceivesMax; ++i) learn(1, 1);
    EXPECT_EQ(ReceiveSize::class_of(word), 0u);
}

}  // namespace
}  // namespace cport
