// Counts latencies in buckets whose width is at most 1/128 of their value, from 1 ns to 4.8 hours.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace cport::programs {

class LatencyHistogram {
 public:
    LatencyHistogram();

    // Negative values count as 0, values beyond the range as its end.
    void record(int64_t latency_ns);
    void add(const LatencyHistogram& other);
    void clear();

    [[nodiscard]] uint64_t count() const { return count_; }
    [[nodiscard]] int64_t max_ns() const { return max_ns_; }
    [[nodiscard]] double mean_ns() const;
    // The value that `fraction` (0 to 1) of all values do not exceed; 0 if there is none.
    [[nodiscard]] int64_t quantile_ns(double fraction) const;

 private:
    std::vector<uint64_t> buckets_;
    uint64_t count_ = 0;
    int64_t max_ns_ = 0;
    double sum_ns_ = 0;
};

}  // namespace cport::programs
