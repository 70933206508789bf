// When to stop waiting: a hierarchical timer wheel for one thread, which never allocates.
//
// Time is counted in ticks of 2^19 ns. A level has 64 slots, each as wide as all slots of the level
// below, and an entry sits at the level of the highest digit (base 64) in which its tick and the
// wheel's differ. So all entries of a level precede those of the level above, a slot of level 0 is
// one tick, and a slot's entries move to lower levels (the cascade) when the wheel reaches it: at
// most once a level in an entry's life. Inserting touches the entry, the end of a ring and its last
// entry; what expires is spliced, slot by slot, to one ring that waits to be handed out.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "runtime/check.h"

namespace cport {

struct TimerLink {
    TimerLink* next;
    TimerLink** link;  // what points to it; nullptr: not in the wheel
};

// Lives in what waits. All zero while it is not in a wheel; stays where it is while it is in one.
struct TimerEntry : TimerLink {
    TimerEntry() {
        next = nullptr;
        link = nullptr;
    }
    TimerEntry(const TimerEntry&) = delete;
    TimerEntry& operator=(const TimerEntry&) = delete;

    bool is_set() const { return link != nullptr; }

    uint64_t expiry_tick = 0;
};
static_assert(sizeof(TimerEntry) == 24 && std::is_trivially_destructible_v<TimerEntry>);

class TimerWheel {
 public:
    static constexpr int kTickShift = 19;
    static constexpr int64_t kTick_ns = int64_t{1} << kTickShift;
    static constexpr int kLevelBits = 6;
    static constexpr uint32_t kLevelSlots = 1u << kLevelBits;
    // Enough for every int64 time: its ticks have 45 bits.
    static constexpr uint32_t kLevels = 8;
    // A slot is so many rings, and an entry's tick says which: an order that holds within each tick
    // is all that is needed, and the cascade, which waits for memory, follows the rings side by
    // side.
    static constexpr uint32_t kSlotRings = 8;
    // One advance moves at most so many entries to lower levels; the next one goes on.
    static constexpr size_t kMovesMax = 1024;
    static_assert(kMovesMax >= kSlotRings);
    // A first slot with at most so many entries is looked through for the earliest.
    static constexpr size_t kExactLooksMax = 4;

    // Times are of CLOCK_MONOTONIC; one before its zero counts as zero.
    explicit TimerWheel(int64_t now_ns);
    TimerWheel(const TimerWheel&) = delete;
    TimerWheel& operator=(const TimerWheel&) = delete;

    // The first tick that is not before the deadline: nothing expires early, nor later than by one
    // tick, given a wheel that is advanced in time.
    static uint64_t tick_at_or_after(int64_t deadline_ns) {
        const auto time_ns = static_cast<uint64_t>(deadline_ns > 0 ? deadline_ns : 0);
        return (time_ns + (uint64_t{kTick_ns} - 1)) >> kTickShift;
    }

    // The entry must not be in a wheel. With a deadline that has passed it expires at the next
    // advance; with one later than the last tick that int64 can say, such as INT64_MAX, never.
    void insert(TimerEntry& entry, int64_t deadline_ns) {
        CPORT_CHECK(!entry.is_set());
        const uint64_t tick = tick_at_or_after(deadline_ns);
        entry.expiry_tick = tick;
        append(entry, tick > tick_ ? ring_of(tick, tick_) : kPassed);
        ++size_;
    }

    // The entry must be in this wheel.
    void remove(TimerEntry& entry) {
        CPORT_CHECK(entry.is_set());
        unlink(entry);
    }

    // Hands at most `entries_max` expired entries to `sink(TimerEntry&)`, each already out of the
    // wheel and zeroed: by tick, those of one tick in order of insertion; what was inserted with a
    // deadline that had passed follows what was due then. The sink may insert and remove any entry,
    // also the one that it got; what it inserts expires at a later advance. It must not advance.
    // True: more is due, or may be; advance again before sleeping. A time before that of an earlier
    // advance counts as that one.
    template <typename Sink>
    bool advance(int64_t now_ns, size_t entries_max, Sink&& sink) {
        const uint64_t now_tick = static_cast<uint64_t>(now_ns > 0 ? now_ns : 0) >> kTickShift;
        if (now_tick > tick_ || has_due()) collect(now_tick);
        for (; entries_max != 0 && is_occupied(kDue); --entries_max) {
            auto& entry = static_cast<TimerEntry&>(*rings_[kDue].next);
            unlink(entry);
            sink(entry);
        }
        return has_due() || cascading_;
    }

    // When to advance next: never after the tick of the earliest entry; before it where entries
    // first have to move to a lower level; a time that has passed where more is due or may be;
    // INT64_MAX where nothing will be.
    int64_t next_deadline_ns() const;

    bool empty() const { return size_ == 0; }
    size_t size() const { return size_; }

 private:
    struct Slot {
        uint32_t level;
        uint32_t digit;
        uint64_t start_tick;
    };

    // Behind the levels' rings: what is to be handed out, and what was inserted when it was due.
    static constexpr uint32_t kDue = kLevels * kLevelSlots * kSlotRings;
    static constexpr uint32_t kPassed = kDue + 1;
    static constexpr uint32_t kRings = kPassed + 1;

    struct LevelPlace {
        uint32_t shift;
        uint32_t first_ring;
    };
    // By the zeros before the highest bit. A table, as a level is a bit's number divided by six.
    static constexpr auto kPlaceByZeros = [] {
        std::array<LevelPlace, 64> places{};
        for (uint32_t zeros = 0; zeros < places.size(); ++zeros) {
            const uint32_t level = (63 - zeros) / kLevelBits;
            places[zeros] = {level * kLevelBits, level * kLevelSlots * kSlotRings};
        }
        return places;
    }();

    // Where an entry of a later tick belongs when the wheel is at `from_tick`. The rings of a level
    // lie by tick, then by digit, so that a ring's bit is where its number says.
    static uint32_t ring_of(uint64_t tick, uint64_t from_tick) {
        const auto zeros = static_cast<uint32_t>(std::countl_zero((tick ^ from_tick) | 1));
        const LevelPlace place = kPlaceByZeros[zeros];
        const auto digit = static_cast<uint32_t>(tick >> place.shift) % kLevelSlots;
        return place.first_ring + static_cast<uint32_t>(tick) % kSlotRings * kLevelSlots + digit;
    }
    static uint32_t first_ring(uint32_t level, uint32_t digit) {
        return level * kLevelSlots * kSlotRings + digit;
    }

    static uint32_t word_of(uint32_t ring) { return ring / kLevelSlots; }
    static uint64_t bit_of(uint32_t ring) { return uint64_t{1} << ring % kLevelSlots; }
    bool is_occupied(uint32_t ring) const { return (occupied_[word_of(ring)] & bit_of(ring)) != 0; }
    bool has_due() const { return occupied_[word_of(kDue)] != 0; }

    void append(TimerEntry& entry, uint32_t index) {
        TimerLink& ring = rings_[index];
        uint64_t& occupied = occupied_[word_of(index)];
        if ((occupied & bit_of(index)) == 0) {
            occupied |= bit_of(index);
            ring.link = &ring.next;
        }
        entry.next = &ring;
        entry.link = ring.link;
        *ring.link = &entry;
        ring.link = &entry.next;
    }

    void unlink(TimerEntry& entry) {
        if (entry.link == &entry.next->next) {
            // Nothing else is in the ring.
            const auto index = static_cast<uint32_t>(entry.next - rings_.data());
            occupied_[word_of(index)] &= ~bit_of(index);
        } else {
            *entry.link = entry.next;
            entry.next->link = entry.link;
        }
        entry.next = nullptr;
        entry.link = nullptr;
        entry.expiry_tick = 0;
        --size_;
    }

    void append_all(uint32_t to, uint32_t from);
    bool first_slot(Slot& slot) const;
    void collect(uint64_t now_tick);
    bool cascade(size_t& moves_left);

    uint64_t tick_;  // everything of this tick and before has left the levels
    size_t size_ = 0;
    // The slot that starts at the next tick has partly moved to the levels below it, which hold
    // nothing else. What is inserted for it meanwhile still goes to its end, and so keeps its turn.
    bool cascading_ = false;
    // A bit for each ring that is not empty: at each level, a word for the first rings of its
    // slots, one for the second rings, and so on; then one for the rings behind the levels.
    std::array<uint64_t, kLevels * kSlotRings + 1> occupied_{};
    // Written only once there is something in it, so that a level that is never used stays out of
    // the caches, and mostly out of memory.
    std::array<TimerLink, kRings> rings_;
};

}  // namespace cport
