#include "runtime/timer/timer_wheel.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <deque>
#include <iostream>
#include <limits>
#include <map>
#include <memory>
#include <random>
#include <tuple>
#include <vector>

namespace cport {
namespace {

constexpr int64_t kTick_ns = TimerWheel::kTick_ns;
constexpr int64_t kMillisecond_ns = 1'000'000;
constexpr int64_t kSecond_ns = 1'000'000'000;
constexpr int64_t kMax_ns = std::numeric_limits<int64_t>::max();
constexpr size_t kNoLimit = std::numeric_limits<size_t>::max();

uint64_t tick_of(int64_t deadline_ns) { return TimerWheel::tick_at_or_after(deadline_ns); }

struct Timer : TimerEntry {
    uint64_t tick = 0;
    uint64_t turn = 0;
};

void set(TimerWheel& wheel, Timer& timer, int64_t deadline_ns) {
    timer.tick = tick_of(deadline_ns);
    wheel.insert(timer, deadline_ns);
}

using Entries = std::vector<TimerEntry*>;

// What one advance hands out, in its order.
Entries expired_by(TimerWheel& wheel, int64_t now_ns, size_t budget = kNoLimit) {
    Entries expired;
    wheel.advance(now_ns, budget, [&](TimerEntry& entry) { expired.push_back(&entry); });
    return expired;
}

bool is_zero(const TimerEntry& entry) {
    return entry.next == nullptr && entry.link == nullptr && entry.expiry_tick == 0;
}

uint64_t fresh_seed() {
    const uint64_t seed = std::random_device{}();
    std::cout << "seed " << seed << std::endl;
    return seed;
}

TEST(TimerWheel, RoundsDeadlinesUpToTicks) {
    EXPECT_EQ(tick_of(std::numeric_limits<int64_t>::min()), 0u);
    EXPECT_EQ(tick_of(-1), 0u);
    EXPECT_EQ(tick_of(0), 0u);
    EXPECT_EQ(tick_of(1), 1u);
    EXPECT_EQ(tick_of(kTick_ns), 1u);
    EXPECT_EQ(tick_of(kTick_ns + 1), 2u);
    EXPECT_EQ(tick_of(kMax_ns), uint64_t{1} << 44);
}

TEST(TimerWheel, AnEntryIsZeroWhileItIsInNoWheel) {
    TimerWheel wheel(0);
    TimerEntry removed;
    TimerEntry expired;
    EXPECT_TRUE(is_zero(removed));
    wheel.insert(removed, kSecond_ns);
    wheel.insert(expired, kSecond_ns);
    EXPECT_EQ(wheel.size(), 2u);
    wheel.remove(removed);
    EXPECT_TRUE(is_zero(removed));
    wheel.advance(2 * kSecond_ns, kNoLimit, [&](TimerEntry& entry) {
        EXPECT_EQ(&entry, &expired);
        EXPECT_TRUE(is_zero(entry));
        EXPECT_TRUE(wheel.empty());
    });
    EXPECT_TRUE(is_zero(expired));
}

TEST(TimerWheelDeathTest, AnEntryIsInAtMostOneWheelAndLeavesItOnce) {
    TimerWheel wheel(0);
    TimerEntry entry;
    EXPECT_DEATH(wheel.remove(entry), "broken invariant");
    wheel.insert(entry, kSecond_ns);
    EXPECT_DEATH(wheel.insert(entry, kSecond_ns), "broken invariant");
}

// Sleeps until the wheel says, again and again: `timers` must expire at their ticks' times.
void expect_on_time(TimerWheel& wheel, std::vector<Timer>& timers) {
    size_t expired = 0;
    size_t wakes = 0;
    while (!wheel.empty()) {
        const int64_t now_ns = wheel.next_deadline_ns();
        ASSERT_LT(now_ns, kMax_ns);
        ++wakes;
        EXPECT_TRUE(expired_by(wheel, now_ns - 1).empty());
        wheel.advance(now_ns, kNoLimit, [&](TimerEntry& entry) {
            EXPECT_EQ(static_cast<Timer&>(entry).tick, static_cast<uint64_t>(now_ns / kTick_ns));
            ++expired;
        });
        ASSERT_LE(wakes, TimerWheel::kLevels * timers.size());
    }
    EXPECT_EQ(expired, timers.size());
}

TEST(TimerWheel, IsExactAtTheBoundariesOfEveryLevel) {
    for (uint32_t level = 0; level < TimerWheel::kLevels; ++level) {
        const int64_t width_ticks = int64_t{1} << (level * TimerWheel::kLevelBits);
        for (const int64_t start_tick : {int64_t{0}, int64_t{62}, width_ticks - 1, width_ticks,
                                         width_ticks + 1, 63 * width_ticks, 64 * width_ticks - 1}) {
            std::vector<int64_t> deadlines_ns;
            for (const int64_t slots : {1, 2, 63, 64, 65}) {
                for (const int64_t ticks : {-1, 0, 1}) {
                    const int64_t tick = start_tick + slots * width_ticks + ticks;
                    if (tick <= start_tick || tick >= int64_t{1} << 44) continue;
                    deadlines_ns.push_back(tick * kTick_ns);
                    deadlines_ns.push_back(tick * kTick_ns - kTick_ns + 1);
                }
            }
            if (deadlines_ns.empty()) continue;
            TimerWheel together(start_tick * kTick_ns);
            std::vector<Timer> timers(deadlines_ns.size());
            for (size_t i = 0; i < timers.size(); ++i) set(together, timers[i], deadlines_ns[i]);
            ASSERT_NO_FATAL_FAILURE(expect_on_time(together, timers)) << level << ' ' << start_tick;
            for (const int64_t deadline_ns : deadlines_ns) {
                TimerWheel wheel(start_tick * kTick_ns);
                std::vector<Timer> lone(1);
                set(wheel, lone[0], deadline_ns);
                EXPECT_EQ(wheel.next_deadline_ns(),
                          (deadline_ns + kTick_ns - 1) / kTick_ns * kTick_ns);
                ASSERT_NO_FATAL_FAILURE(expect_on_time(wheel, lone)) << level << ' ' << start_tick;
            }
        }
    }
}

TEST(TimerWheel, ADeadlineThatHasPassedExpiresAtTheNextAdvance) {
    TimerWheel wheel(10 * kSecond_ns);
    TimerEntry a;
    TimerEntry b;
    TimerEntry c;
    wheel.insert(a, 10 * kSecond_ns - kMillisecond_ns);
    wheel.insert(b, std::numeric_limits<int64_t>::min());
    wheel.insert(c, 0);
    EXPECT_LE(wheel.next_deadline_ns(), 10 * kSecond_ns);
    EXPECT_EQ(expired_by(wheel, 10 * kSecond_ns), (Entries{&a, &b, &c}));
    EXPECT_EQ(wheel.next_deadline_ns(), kMax_ns);
}

TEST(TimerWheel, TheEndOfTimeNeverComes) {
    TimerWheel wheel(kSecond_ns);
    TimerEntry never;
    TimerEntry last;
    wheel.insert(never, kMax_ns);
    EXPECT_EQ(wheel.next_deadline_ns(), kMax_ns);
    wheel.insert(last, kMax_ns / kTick_ns * kTick_ns);
    EXPECT_LE(wheel.next_deadline_ns(), kMax_ns / kTick_ns * kTick_ns);
    EXPECT_EQ(expired_by(wheel, kMax_ns), (Entries{&last}));
    EXPECT_TRUE(expired_by(wheel, kMax_ns).empty());
    EXPECT_EQ(wheel.next_deadline_ns(), kMax_ns);
    EXPECT_TRUE(never.is_set());
}

TEST(TimerWheel, TimeNeverGoesBackwards) {
    TimerWheel wheel(kSecond_ns);
    TimerEntry early;
    TimerEntry late;
    wheel.insert(early, 2 * kSecond_ns);
    wheel.insert(late, 4 * kSecond_ns);
    EXPECT_EQ(expired_by(wheel, 3 * kSecond_ns), (Entries{&early}));
    EXPECT_TRUE(expired_by(wheel, -1).empty());
    for (int i = 0; i < 2; ++i) {
        wheel.insert(early, 2 * kSecond_ns);
        EXPECT_EQ(expired_by(wheel, 1), (Entries{&early}));
    }
    EXPECT_EQ(expired_by(wheel, 5 * kSecond_ns), (Entries{&late}));
}

TEST(TimerWheel, WhatTheSinkInsertsExpiresAtALaterAdvance) {
    TimerWheel wheel(0);
    TimerEntry again;
    TimerEntry other;
    wheel.insert(again, kSecond_ns);
    int calls = 0;
    auto insert_expired = [&](TimerEntry& entry) {
        ++calls;
        wheel.insert(entry, kSecond_ns);
        // Later than what is handed out, but due now.
        if (!other.is_set()) wheel.insert(other, kSecond_ns + kMillisecond_ns);
    };
    EXPECT_TRUE(wheel.advance(2 * kSecond_ns, 100, insert_expired));
    EXPECT_EQ(calls, 1);
    EXPECT_LE(wheel.next_deadline_ns(), 2 * kSecond_ns);
    EXPECT_TRUE(wheel.advance(2 * kSecond_ns, 100, insert_expired));
    EXPECT_EQ(calls, 3);
    EXPECT_EQ(expired_by(wheel, 2 * kSecond_ns).size(), 2u);
    EXPECT_TRUE(wheel.empty());
}

TEST(TimerWheel, TheSinkMayRemoveWhatIsDue) {
    TimerWheel wheel(0);
    std::vector<TimerEntry> entries(6);
    for (TimerEntry& entry : entries) wheel.insert(entry, kSecond_ns);
    Entries expired;
    EXPECT_FALSE(wheel.advance(kSecond_ns * 2, kNoLimit, [&](TimerEntry& entry) {
        expired.push_back(&entry);
        if (&entry == &entries[0]) {
            wheel.remove(entries[1]);  // the next one
            wheel.remove(entries[5]);  // the last one
            wheel.remove(entries[3]);
            wheel.insert(entries[3], kSecond_ns * 3);
        }
        if (&entry == &entries[2]) wheel.remove(entries[4]);  // the only one left
    }));
    EXPECT_EQ(expired, (Entries{&entries[0], &entries[2]}));
    EXPECT_EQ(wheel.size(), 1u);
    EXPECT_EQ(expired_by(wheel, kSecond_ns * 3 + kTick_ns), (Entries{&entries[3]}));
}

TEST(TimerWheel, HandsOutNoMoreThanTheBudget) {
    TimerWheel wheel(0);
    std::vector<TimerEntry> entries(5);
    for (size_t i = 0; i < entries.size(); ++i) {
        wheel.insert(entries[i], kSecond_ns - static_cast<int64_t>(i) * kMillisecond_ns);
    }
    auto ignore = [](TimerEntry&) {};
    EXPECT_TRUE(wheel.advance(kSecond_ns * 2, 0, ignore));
    EXPECT_EQ(expired_by(wheel, kSecond_ns * 2, 2), (Entries{&entries[4], &entries[3]}));
    EXPECT_LE(wheel.next_deadline_ns(), kSecond_ns * 2);
    // Passed when it is inserted: behind all that was due then.
    wheel.insert(entries[4], 0);
    EXPECT_EQ(expired_by(wheel, kSecond_ns * 2, 3),
              (Entries{&entries[2], &entries[1], &entries[0]}));
    EXPECT_FALSE(wheel.advance(kSecond_ns * 2, 1, ignore)) << "nothing more is due";
    EXPECT_TRUE(wheel.empty());
}

// More entries in one slot than an advance may move: it says so, and the order holds.
TEST(TimerWheel, ABigCascadeIsCutAndKeepsTheOrder) {
    constexpr int64_t kSlotStart_tick = 3 * 4096;
    constexpr size_t kCount = 20 * TimerWheel::kMovesMax;
    constexpr size_t kRemoved = 500;
    constexpr size_t kInsertedMeanwhile = 10;
    TimerWheel wheel(0);
    std::mt19937_64 random(fresh_seed());
    std::vector<Timer> timers(kCount + kInsertedMeanwhile);
    size_t inserted = 0;
    auto insert_next = [&] {
        Timer& timer = timers[inserted];
        timer.turn = inserted++;
        set(wheel, timer, (kSlotStart_tick + 1 + static_cast<int64_t>(random() % 200)) * kTick_ns);
    };
    while (inserted < kCount) insert_next();
    const int64_t slot_start_ns = kSlotStart_tick * kTick_ns;
    EXPECT_EQ(wheel.next_deadline_ns(), slot_start_ns);

    size_t expired = 0;
    std::tuple<uint64_t, uint64_t> last{0, 0};
    auto expect_order = [&](TimerEntry& entry) {
        const auto& timer = static_cast<Timer&>(entry);
        const std::tuple<uint64_t, uint64_t> turn{timer.tick, timer.turn};
        EXPECT_LT(last, turn);
        last = turn;
        ++expired;
    };
    size_t cuts = 0;
    while (wheel.advance(slot_start_ns, kNoLimit, expect_order)) {
        ++cuts;
        EXPECT_LE(wheel.next_deadline_ns(), slot_start_ns);
        // Some join the slot while it moves, and some leave it.
        if (cuts <= kInsertedMeanwhile) insert_next();
        if (cuts == kInsertedMeanwhile) {
            for (size_t i = 0; i < kRemoved; ++i) wheel.remove(timers[i * kCount / kRemoved]);
        }
    }
    EXPECT_GE(cuts, (kCount - kRemoved) / TimerWheel::kMovesMax - 1);
    EXPECT_EQ(expired, 0u);
    while (!wheel.empty()) {
        const int64_t now_ns = wheel.next_deadline_ns();
        ASSERT_GT(now_ns, slot_start_ns);
        while (wheel.advance(now_ns, kNoLimit, expect_order)) continue;
    }
    EXPECT_EQ(expired, inserted - kRemoved);
}

TEST(TimerWheel, WhatIsLeftOfACutCascadeCanBeRemoved) {
    constexpr int64_t kDeadline_ns = (3 * 4096 + 7) * kTick_ns;
    TimerWheel wheel(0);
    std::vector<TimerEntry> entries(3 * TimerWheel::kMovesMax);
    for (size_t i = 0; i < entries.size(); ++i) {
        wheel.insert(entries[i], kDeadline_ns + static_cast<int64_t>(i % 16) * kTick_ns);
    }
    EXPECT_TRUE(expired_by(wheel, 3 * 4096 * kTick_ns).empty());
    while (wheel.size() > 1) wheel.remove(entries[wheel.size() - 2]);
    EXPECT_LE(wheel.next_deadline_ns(), 3 * 4096 * kTick_ns);
    EXPECT_FALSE(wheel.advance(3 * 4096 * kTick_ns, kNoLimit, [](TimerEntry&) {}));
    EXPECT_EQ(expired_by(wheel, kDeadline_ns + 16 * kTick_ns), (Entries{&entries.back()}));
}

// The same in the plainest terms: sorted by tick, first in first out within a tick.
class Reference {
 public:
    explicit Reference(int64_t now_ns) : tick_(static_cast<uint64_t>(now_ns / kTick_ns)) {}

    void insert(Timer& timer) {
        if (timer.tick <= tick_) {
            passed_.push_back(&timer);
        } else {
            later_.emplace(timer.tick, &timer);
        }
    }

    void remove(Timer& timer) {
        if (std::erase(due_, &timer) + std::erase(passed_, &timer) != 0) return;
        auto [at, end] = later_.equal_range(timer.tick);
        while (at != end && at->second != &timer) ++at;
        ASSERT_NE(at, end);
        later_.erase(at);
    }

    void advance(int64_t now_ns) {
        tick_ = std::max(tick_, static_cast<uint64_t>(std::max<int64_t>(now_ns, 0) / kTick_ns));
        due_.insert(due_.end(), passed_.begin(), passed_.end());
        passed_.clear();
        while (!later_.empty() && later_.begin()->first <= tick_) {
            due_.push_back(later_.begin()->second);
            later_.erase(later_.begin());
        }
    }

    Timer* take() {
        if (due_.empty()) return nullptr;
        Timer* timer = due_.front();
        due_.pop_front();
        return timer;
    }

    size_t size() const { return due_.size() + passed_.size() + later_.size(); }
    bool has_due() const { return !due_.empty() || !passed_.empty(); }
    int64_t earliest_ns() const {
        if (has_due()) return static_cast<int64_t>(tick_) * kTick_ns;
        if (later_.empty() || later_.begin()->first >= uint64_t{1} << 44) return kMax_ns;
        return static_cast<int64_t>(later_.begin()->first) * kTick_ns;
    }

 private:
    uint64_t tick_;
    std::deque<Timer*> due_;
    std::deque<Timer*> passed_;
    std::multimap<uint64_t, Timer*> later_;
};

// Does the same to a wheel and to the reference, at random.
class Comparison {
 public:
    explicit Comparison(uint64_t seed)
        : random_(seed),
          now_ns_(magnitude(61)),
          wheel_(now_ns_),
          reference_(now_ns_),
          timers_(1 + below(600)) {}

    void run(int steps) {
        for (int i = 0; i < steps && !testing::Test::HasFailure(); ++i) step();
    }

 private:
    uint64_t below(uint64_t limit) { return random_() % limit; }
    // Any size up to 2^bits, small ones as likely as big ones.
    int64_t magnitude(uint64_t bits) {
        return static_cast<int64_t>(below(uint64_t{1} << below(bits + 1)));
    }
    int64_t after(int64_t span_ns) {
        return span_ns > kMax_ns - now_ns_ ? kMax_ns : now_ns_ + span_ns;
    }

    int64_t any_deadline_ns() {
        switch (below(16)) {
            case 0:
                return now_ns_ - magnitude(62);
            case 1:
                return -magnitude(62);
            case 2:
                return kMax_ns - magnitude(20);
            case 3:
                return after(magnitude(62));
            default:
                return after(magnitude(38));
        }
    }

    void insert(Timer& timer) {
        set(wheel_, timer, any_deadline_ns());
        reference_.insert(timer);
    }
    void change_any() {
        Timer& timer = timers_[below(timers_.size())];
        if (timer.is_set()) {
            wheel_.remove(timer);
            reference_.remove(timer);
        } else {
            insert(timer);
        }
    }

    void advance() {
        const size_t budget = below(2) == 0 ? kNoLimit : below(20);
        const bool busy = below(2) == 0;
        size_t expired = 0;
        reference_.advance(now_ns_);
        const bool more = wheel_.advance(now_ns_, budget, [&](TimerEntry& entry) {
            ++expired;
            ASSERT_EQ(&entry, reference_.take());
            ASSERT_LE(static_cast<Timer&>(entry).tick, static_cast<uint64_t>(now_ns_ / kTick_ns));
            if (!busy) return;
            if (below(2) == 0) insert(static_cast<Timer&>(entry));
            for (uint64_t i = below(4); i != 0; --i) change_any();
        });
        EXPECT_LE(expired, budget);
        EXPECT_EQ(more, reference_.has_due());
        EXPECT_TRUE(expired == budget || reference_.take() == nullptr);
    }

    void step() {
        switch (below(8)) {
            case 0:
                now_ns_ = after(magnitude(below(50) == 0 ? 60 : 36));
                advance();
                break;
            case 1:
                now_ns_ = std::max(now_ns_, wheel_.next_deadline_ns() - 1);
                advance();
                break;
            case 2:
                if (wheel_.next_deadline_ns() != kMax_ns) {
                    now_ns_ = std::max(now_ns_, wheel_.next_deadline_ns());
                }
                advance();
                break;
            default:
                for (uint64_t i = below(20); i != 0; --i) change_any();
        }
        ASSERT_EQ(wheel_.size(), reference_.size());
        ASSERT_EQ(wheel_.empty(), reference_.size() == 0);
        ASSERT_LE(wheel_.next_deadline_ns(), reference_.earliest_ns());
        ASSERT_EQ(wheel_.next_deadline_ns() > now_ns_, reference_.earliest_ns() > now_ns_);
    }

    std::mt19937_64 random_;
    int64_t now_ns_;
    TimerWheel wheel_;
    Reference reference_;
    std::vector<Timer> timers_;
};

TEST(TimerWheel, DoesWhatASortedMapDoes) {
    const uint64_t seed = fresh_seed();
    for (uint64_t i = 0; i < 300 && !HasFailure(); ++i) {
        SCOPED_TRACE(seed + i);
        Comparison(seed + i).run(400);
    }
}

TEST(TimerWheel, AMillionTimersExpireInTheirMillisecond) {
    constexpr size_t kCount = 1'000'000;
    std::mt19937_64 random(fresh_seed());
    std::uniform_int_distribution<int64_t> spans_ns(kSecond_ns, 60 * kSecond_ns);
    TimerWheel wheel(0);
    const auto timers = std::make_unique<Timer[]>(kCount);
    for (size_t i = 0; i < kCount; ++i) {
        timers[i].turn = i;
        set(wheel, timers[i], spans_ns(random));
    }
    EXPECT_EQ(wheel.size(), kCount);
    size_t expired = 0;
    size_t wrong = 0;
    std::tuple<uint64_t, uint64_t> last{0, 0};
    for (int64_t now_ns = 0; now_ns <= 60 * kSecond_ns + kMillisecond_ns;
         now_ns += kMillisecond_ns) {
        const int64_t before_ns = now_ns - kMillisecond_ns;
        auto check = [&](TimerEntry& entry) {
            const auto& timer = static_cast<Timer&>(entry);
            const auto tick_ns = static_cast<int64_t>(timer.tick) * kTick_ns;
            const std::tuple<uint64_t, uint64_t> turn{timer.tick, timer.turn};
            if (tick_ns > now_ns || tick_ns <= before_ns || turn <= last) ++wrong;
            last = turn;
            ++expired;
        };
        while (wheel.advance(now_ns, 64, check)) continue;
    }
    EXPECT_EQ(wrong, 0u);
    EXPECT_EQ(expired, kCount);
}

}  // namespace
}  // namespace cport
