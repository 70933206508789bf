// Durations, sizes and rates as people write them. The parsers throw UsageError.
#pragma once

#include <cstdint>
#include <string>

namespace cport::programs {

// "250ms", "10s", "2m", "1h", also with a fraction: nanoseconds, at most 1000 h.
[[nodiscard]] int64_t parse_duration_ns(const std::string& text);

// "64", "16KiB", "1MiB", "2GiB": bytes.
[[nodiscard]] uint64_t parse_size_bytes(const std::string& text);

// "300", "2.5": events a second, above 0.
[[nodiscard]] double parse_rate(const std::string& text);

}  // namespace cport::programs
