// Free slots that one thread gives to all others, their indices side by side in memory: who takes
// one sees which are taken next, and may fetch them ahead. (On a linked stack each link lies in a
// line that the other CPU wrote last, and says only the next one.)
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

namespace cport {

class FreeRing {
 public:
    static constexpr uint32_t kPlaces = 512;
    // The slot to fetch ahead is so many behind the one that was taken.
    static constexpr uint32_t kAhead = 8;

    struct Taken {
        uint32_t entry;  // 0: there was none
        uint32_t later;  // one that is taken soon; 0: unknown
    };

    FreeRing() = default;
    FreeRing(const FreeRing&) = delete;
    FreeRing& operator=(const FreeRing&) = delete;

    // Any thread.
    Taken take() {
        // Acquire pairs with the exchange of the one who took before: what it had seen given is
        // seen here, so that the second number is never behind the first.
        uint64_t taken = taken_.load(std::memory_order_acquire);
        for (;;) {
            // Pairs with give: the places are written, and the slots as their giver left them.
            const uint64_t given = given_.load(std::memory_order_acquire);
            if (taken == given) return {0, 0};
            const uint32_t entry = place(taken).load(std::memory_order_relaxed);
            // The place may be given afresh only after another thread came first, and then the
            // exchange fails. Release pairs with room: the place has been read.
            if (taken_.compare_exchange_weak(taken, taken + 1, std::memory_order_acq_rel,
                                             std::memory_order_acquire)) {
                const bool is_given = given - taken > kAhead;
                return {entry,
                        is_given ? place(taken + kAhead).load(std::memory_order_relaxed) : 0};
            }
        }
    }
    // Any thread; a guess if others take or give meanwhile.
    bool empty() const {
        return taken_.load(std::memory_order_relaxed) == given_.load(std::memory_order_relaxed);
    }

    // The giver. How many it may give.
    uint32_t room() const {
        const uint64_t given = given_.load(std::memory_order_relaxed);
        return kPlaces - static_cast<uint32_t>(given - taken_.load(std::memory_order_acquire));
    }
    // The giver: `count` entries, none of them 0, which `next` returns one by one. There is room.
    template <typename Next>
    void give(uint32_t count, Next next) {
        const uint64_t given = given_.load(std::memory_order_relaxed);
        for (uint32_t i = 0; i < count; ++i) {
            place(given + i).store(next(), std::memory_order_relaxed);
        }
        given_.store(given + count, std::memory_order_release);
    }

 private:
    std::atomic<uint32_t>& place(uint64_t number) { return places_[number % kPlaces]; }

    alignas(64) std::atomic<uint64_t> taken_{0};
    alignas(64) std::atomic<uint64_t> given_{0};
    alignas(64) std::array<std::atomic<uint32_t>, kPlaces> places_{};
};

}  // namespace cport
