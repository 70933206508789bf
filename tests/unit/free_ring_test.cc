#include "runtime/operation/free_ring.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

namespace cport {
namespace {

// Gives `count` entries that follow one another from `first` on.
void give_from(FreeRing& ring, uint32_t first, uint32_t count) {
    ring.give(count, [&first] { return first++; });
}

TEST(FreeRing, GivesInTheOrderInWhichItGot) {
    FreeRing ring;
    EXPECT_TRUE(ring.empty());
    EXPECT_EQ(ring.take().entry, 0u);
    give_from(ring, 1, 2);
    give_from(ring, 3, 1);
    EXPECT_FALSE(ring.empty());
    for (uint32_t entry = 1; entry <= 3; ++entry) EXPECT_EQ(ring.take().entry, entry);
    EXPECT_EQ(ring.take().entry, 0u);
    EXPECT_TRUE(ring.empty());
}

TEST(FreeRing, HasRoomForWhatWasTaken) {
    FreeRing ring;
    EXPECT_EQ(ring.room(), FreeRing::kPlaces);
    uint32_t next = 1;
    for (int lap = 0; lap < 3; ++lap) {
        give_from(ring, next, FreeRing::kPlaces);
        EXPECT_EQ(ring.room(), 0u);
        EXPECT_EQ(ring.take().entry, next);
        EXPECT_EQ(ring.room(), 1u);
        for (uint32_t i = 1; i < FreeRing::kPlaces; ++i) ASSERT_EQ(ring.take().entry, next + i);
        next += FreeRing::kPlaces;
    }
}

TEST(FreeRing, TellsWhichEntryIsTakenLater) {
    FreeRing ring;
    give_from(ring, 1, FreeRing::kAhead + 1);
    EXPECT_EQ(ring.take().later, FreeRing::kAhead + 1);
    EXPECT_EQ(ring.take().later, 0u) << "not given yet";
}

// Spec: MODEL-RING-1, MODEL-RING-2
TEST(FreeRing, EachEntryIsTakenOnceAsItsGiverLeftIt) {
    constexpr uint32_t kEntries = 60'000;
    constexpr int kTakers = 3;
    FreeRing ring;
    // Plain: only the ring orders the giver's stores before the takers' looks.
    std::vector<uint32_t> written(kEntries + 1);
    std::vector<std::atomic<uint32_t>> times(kEntries + 1);
    std::atomic<uint32_t> left = kEntries;
    std::atomic<bool> unseen = false;
    std::vector<std::thread> takers;
    for (int i = 0; i < kTakers; ++i) {
        takers.emplace_back([&] {
            while (left.load(std::memory_order_relaxed) != 0) {
                const uint32_t entry = ring.take().entry;
                if (entry == 0) {
                    std::this_thread::yield();
                    continue;
                }
                if (written[entry] != entry) unseen = true;
                times[entry].fetch_add(1, std::memory_order_relaxed);
                left.fetch_sub(1, std::memory_order_relaxed);
            }
        });
    }
    for (uint32_t given = 0; given < kEntries;) {
        const uint32_t count = std::min(ring.room(), kEntries - given);
        if (count == 0) std::this_thread::yield();
        ring.give(count, [&] {
            ++given;
            written[given] = given;
            return given;
        });
    }
    for (std::thread& taker : takers) taker.join();
    EXPECT_FALSE(unseen);
    for (uint32_t entry = 1; entry <= kEntries; ++entry) ASSERT_EQ(times[entry].load(), 1u);
}

}  // namespace
}  // namespace cport
