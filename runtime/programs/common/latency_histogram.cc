#include "runtime/programs/common/latency_histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace cport::programs {
namespace {

// Values below 2^7 have a bucket each; every further octave has 2^7 of them.
constexpr uint32_t kBitsPerOctave = 7;
constexpr uint64_t kPerOctave = uint64_t{1} << kBitsPerOctave;
constexpr uint32_t kOctaves = 37;
constexpr size_t kBuckets = static_cast<size_t>(kPerOctave * (kOctaves + 1));
constexpr uint64_t kValueMax = (uint64_t{1} << (kOctaves + kBitsPerOctave)) - 1;

size_t bucket_of(uint64_t value) {
    if (value < kPerOctave) return value;
    const auto shift = static_cast<uint32_t>(std::bit_width(value)) - kBitsPerOctave - 1;
    return kPerOctave * (shift + 1) + ((value >> shift) - kPerOctave);
}

// The largest value that falls into a bucket.
uint64_t end_of(size_t bucket) {
    if (bucket < kPerOctave) return bucket;
    const uint64_t shift = bucket / kPerOctave - 1;
    return ((bucket % kPerOctave + kPerOctave + 1) << shift) - 1;
}

}  // namespace

LatencyHistogram::LatencyHistogram() : buckets_(kBuckets) {}

void LatencyHistogram::record(int64_t latency_ns) {
    const int64_t value = std::clamp<int64_t>(latency_ns, 0, kValueMax);
    ++buckets_[bucket_of(static_cast<uint64_t>(value))];
    ++count_;
    max_ns_ = std::max(max_ns_, value);
    sum_ns_ += static_cast<double>(value);
}

void LatencyHistogram::add(const LatencyHistogram& other) {
    for (size_t i = 0; i < kBuckets; ++i) buckets_[i] += other.buckets_[i];
    count_ += other.count_;
    max_ns_ = std::max(max_ns_, other.max_ns_);
    sum_ns_ += other.sum_ns_;
}

void LatencyHistogram::clear() { *this = LatencyHistogram(); }

double LatencyHistogram::mean_ns() const {
    return count_ == 0 ? 0 : sum_ns_ / static_cast<double>(count_);
}

int64_t LatencyHistogram::quantile_ns(double fraction) const {
    const auto wanted = static_cast<uint64_t>(std::ceil(fraction * static_cast<double>(count_)));
    uint64_t seen = 0;
    for (size_t i = 0; i < kBuckets; ++i) {
        seen += buckets_[i];
        if (seen != 0 && seen >= wanted) return std::min(static_cast<int64_t>(end_of(i)), max_ns_);
    }
    return 0;
}

}  // namespace cport::programs
