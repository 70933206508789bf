#include "runtime/timer/timer_wheel.h"

#include <algorithm>
#include <limits>

namespace cport {
namespace {

constexpr int64_t kNever_ns = std::numeric_limits<int64_t>::max();

int64_t time_of(uint64_t tick) {
    constexpr uint64_t kLastTick = static_cast<uint64_t>(kNever_ns) >> TimerWheel::kTickShift;
    return tick > kLastTick ? kNever_ns : static_cast<int64_t>(tick << TimerWheel::kTickShift);
}

}  // namespace

TimerWheel::TimerWheel(int64_t now_ns)
    : tick_(static_cast<uint64_t>(std::max<int64_t>(now_ns, 0)) >> kTickShift) {}

void TimerWheel::append_all(uint32_t to, uint32_t from) {
    if (!is_occupied(from)) return;
    TimerLink& source = rings_[from];
    TimerLink& target = rings_[to];
    if (!is_occupied(to)) target.link = &target.next;
    *target.link = source.next;
    source.next->link = target.link;
    *source.link = &target;
    target.link = source.link;
    occupied_[word_of(from)] &= ~bit_of(from);
    occupied_[word_of(to)] |= bit_of(to);
}

bool TimerWheel::first_slot(Slot& slot) const {
    for (uint32_t level = 0; level < kLevels; ++level) {
        uint64_t occupied = 0;
        for (uint32_t i = 0; i < kSlotRings; ++i) occupied |= occupied_[level * kSlotRings + i];
        if (occupied == 0) continue;
        const uint32_t shift = level * kLevelBits;
        slot.level = level;
        slot.digit = static_cast<uint32_t>(std::countr_zero(occupied));
        const uint64_t higher_digits = tick_ >> (shift + kLevelBits) << kLevelBits;
        slot.start_tick = (higher_digits | slot.digit) << shift;
        return true;
    }
    return false;
}

void TimerWheel::collect(uint64_t now_tick) {
    append_all(kDue, kPassed);
    size_t moves_left = kMovesMax;
    for (;;) {
        if (cascading_ && !cascade(moves_left)) return;
        Slot slot;
        if (!first_slot(slot) || slot.start_tick > now_tick) break;
        if (slot.level == 0) {
            tick_ = slot.start_tick;
            append_all(kDue, ring_of(tick_, tick_));
        } else {
            tick_ = slot.start_tick - 1;
            cascading_ = true;
        }
    }
    tick_ = std::max(tick_, now_tick);
}

bool TimerWheel::cascade(size_t& moves_left) {
    const uint64_t start_tick = tick_ + 1;
    const uint32_t first = ring_of(start_tick, tick_);
    struct Walk {
        TimerLink* at;
        uint32_t ring;
    };
    std::array<Walk, kSlotRings> walks;
    size_t walk_count = 0;
    for (uint32_t i = 0; i < kSlotRings; ++i) {
        const uint32_t ring = first + i * kLevelSlots;
        if (is_occupied(ring)) walks[walk_count++] = {rings_[ring].next, ring};
    }
    while (walk_count != 0 && moves_left >= walk_count) {
        moves_left -= walk_count;
        size_t going_on = 0;
        for (size_t i = 0; i < walk_count; ++i) {
            Walk walk = walks[i];
            auto& entry = static_cast<TimerEntry&>(*walk.at);
            walk.at = entry.next;
            __builtin_prefetch(walk.at, 1);
            const uint64_t tick = entry.expiry_tick;
            append(entry, tick == start_tick ? kDue : ring_of(tick, start_tick));
            if (walk.at == &rings_[walk.ring]) {
                occupied_[word_of(walk.ring)] &= ~bit_of(walk.ring);
            } else {
                walks[going_on++] = walk;
            }
        }
        walk_count = going_on;
    }
    for (size_t i = 0; i < walk_count; ++i) {
        TimerLink& ring = rings_[walks[i].ring];
        ring.next = walks[i].at;
        ring.next->link = &ring.next;
    }
    if (walk_count != 0) return false;
    tick_ = start_tick;
    cascading_ = false;
    return true;
}

int64_t TimerWheel::next_deadline_ns() const {
    if (has_due()) return time_of(tick_);
    if (cascading_) return time_of(tick_ + 1);
    Slot slot;
    if (!first_slot(slot)) return kNever_ns;
    if (slot.level == 0) return time_of(slot.start_tick);
    uint64_t earliest_tick = std::numeric_limits<uint64_t>::max();
    size_t looks_left = kExactLooksMax;
    const uint32_t first = first_ring(slot.level, slot.digit);
    for (uint32_t i = 0; i < kSlotRings; ++i) {
        const uint32_t index = first + i * kLevelSlots;
        if (!is_occupied(index)) continue;
        const TimerLink& ring = rings_[index];
        for (const TimerLink* at = ring.next; at != &ring; at = at->next) {
            if (looks_left-- == 0) return time_of(slot.start_tick);
            earliest_tick =
                std::min(earliest_tick, static_cast<const TimerEntry*>(at)->expiry_tick);
        }
    }
    return time_of(earliest_tick);
}

}  // namespace cport
