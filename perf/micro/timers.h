#ifndef PERF_MICRO_TIMERS_H
#define PERF_MICRO_TIMERS_H

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#include "perf/micro/support.h"

namespace cport::perf {

inline constexpr std::size_t kTimers = 1'000'000;
inline constexpr int kRounds = 3;
inline constexpr std::int64_t kMillisecond_ns = 1'000'000;
inline constexpr std::int64_t kSpan_ns_min = 1000 * kMillisecond_ns;
inline constexpr std::int64_t kSpan_ns_max = 60'000 * kMillisecond_ns;
inline constexpr std::uint64_t kSeed = 20;

enum class When { kFuture, kPast };

using Order = std::vector<std::uint32_t>;

inline const std::vector<std::int64_t>& spans_ns() {
    static const std::vector<std::int64_t> spans = [] {
        std::mt19937_64 random(kSeed);
        std::uniform_int_distribution<std::int64_t> any(kSpan_ns_min, kSpan_ns_max);
        std::vector<std::int64_t> made(kTimers);
        std::generate(made.begin(), made.end(), [&] { return any(random); });
        return made;
    }();
    return spans;
}

inline Order in_order() {
    Order order(kTimers);
    std::iota(order.begin(), order.end(), 0u);
    return order;
}

inline Order shuffled() {
    Order order = in_order();
    std::shuffle(order.begin(), order.end(), std::mt19937_64(kSeed));
    return order;
}

/* Rounds of `prepare` and `timed`, after one that is not counted: memory is there then. */
template <typename Timers, typename Prepare, typename Timed>
void time_rounds(benchmark::State& state, Prepare prepare, Timed timed) {
    pin_to_cpu(kWorkerCpu);
    Timers timers;
    std::uint64_t total_ns = 0;
    std::uint64_t operations = 0;
    timers.insert_all(When::kFuture);
    timers.cancel(in_order());
    timers.settle();
    for ([[maybe_unused]] auto _ : state) {
        prepare(timers);
        const std::uint64_t start_ns = now_ns();
        timed(timers);
        const std::uint64_t taken_ns = now_ns() - start_ns;
        state.SetIterationTime(static_cast<double>(taken_ns) / 1e9);
        total_ns += taken_ns;
        operations += kTimers;
    }
    report_operations(state, total_ns, operations);
}

template <typename Timers>
void run_insert(benchmark::State& state) {
    const Order order = in_order();
    bool inserted = false;
    time_rounds<Timers>(
        state,
        [&](Timers& timers) {
            if (std::exchange(inserted, true)) {
                timers.cancel(order);
                timers.settle();
            }
        },
        [](Timers& timers) { timers.insert_all(When::kFuture); });
}

template <typename Timers, Order (*order_of)()>
void run_cancel(benchmark::State& state) {
    const Order order = order_of();
    time_rounds<Timers>(
        state,
        [](Timers& timers) {
            timers.settle();
            timers.insert_all(When::kFuture);
        },
        [&](Timers& timers) { timers.cancel(order); });
}

template <typename Timers>
void run_expire(benchmark::State& state) {
    time_rounds<Timers>(
        state, [](Timers& timers) { timers.insert_all(When::kPast); },
        [](Timers& timers) { require(timers.expire_all() == kTimers, "timers that expire"); });
}

inline void in_rounds(benchmark::internal::Benchmark* benchmark) {
    benchmark->UseManualTime()->Iterations(kRounds);
}

}  // namespace cport::perf

#endif
