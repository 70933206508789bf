#ifndef PERF_LOAD_HISTOGRAM_H
#define PERF_LOAD_HISTOGRAM_H

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdio>

namespace cport::perf {

/* Counts durations in buckets that are at most 1/64 wide: enough for percentiles, no allocation. */
class Histogram {
 public:
    void record(std::uint64_t value_ns, std::uint64_t count) {
        buckets_[index_of(value_ns)] += count;
        total_ += count;
        if (value_ns > largest_ns_) {
            largest_ns_ = value_ns;
        }
    }

    std::uint64_t total() const { return total_; }
    std::uint64_t largest_ns() const { return largest_ns_; }

    /* The lower edge of the bucket that holds the quantile, 0 < quantile <= 1. */
    std::uint64_t quantile_ns(double quantile) const {
        const auto rank = static_cast<std::uint64_t>(quantile * static_cast<double>(total_));
        std::uint64_t seen = 0;
        for (std::size_t i = 0; i < buckets_.size(); ++i) {
            seen += buckets_[i];
            if (seen > rank) {
                return lower_edge(i);
            }
        }
        return largest_ns_;
    }

    /* Prints a member of a JSON object: its quantiles in microseconds. */
    void print_us(const char* name) const {
        const auto microseconds = [this](double quantile) {
            return static_cast<double>(quantile_ns(quantile)) / 1e3;
        };
        std::printf(
            "\"%s\": {\"p50\": %.2f, \"p90\": %.2f, \"p99\": %.2f, \"p999\": %.2f, "
            "\"max\": %.2f}",
            name, microseconds(0.5), microseconds(0.9), microseconds(0.99), microseconds(0.999),
            static_cast<double>(largest_ns_) / 1e3);
    }

 private:
    static constexpr unsigned kSubBits = 6;
    static constexpr std::uint64_t kSub = std::uint64_t{1} << kSubBits;
    static constexpr std::size_t kBuckets = (64 - kSubBits + 1) * kSub;

    static std::size_t index_of(std::uint64_t value) {
        if (value < kSub) {
            return value;
        }
        const auto shift = static_cast<unsigned>(std::bit_width(value)) - 1 - kSubBits;
        return (std::uint64_t{shift} + 1) * kSub + ((value >> shift) - kSub);
    }

    static std::uint64_t lower_edge(std::size_t index) {
        if (index < kSub) {
            return index;
        }
        const std::uint64_t shift = index / kSub - 1;
        return (kSub + index % kSub) << shift;
    }

    std::array<std::uint64_t, kBuckets> buckets_{};
    std::uint64_t total_ = 0;
    std::uint64_t largest_ns_ = 0;
};

}  // namespace cport::perf

#endif
