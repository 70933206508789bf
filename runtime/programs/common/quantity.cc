#include "runtime/programs/common/quantity.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <string_view>

#include "runtime/programs/common/errors.h"

namespace cport::programs {
namespace {

struct Unit {
    std::string_view name;
    double factor;
};

constexpr std::array<Unit, 6> kDurationUnits{
    {{"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"m", 60e9}, {"h", 3600e9}}};
constexpr double kDurationMaxNs = 1000 * 3600e9;
constexpr std::array<Unit, 5> kSizeUnits{
    {{"", 1}, {"B", 1}, {"KiB", 1024}, {"MiB", 1048576}, {"GiB", 1073741824}}};
constexpr double kSizeMaxBytes = 1024.0 * 1073741824;
constexpr double kRateMax = 1e9;

// The number in front, and what follows it. False if no plain number stands there.
bool split(const std::string& text, double* number, std::string_view* rest) {
    const char* end = text.data() + text.size();
    const auto result = std::from_chars(text.data(), end, *number, std::chars_format::fixed);
    *rest = {result.ptr, static_cast<size_t>(end - result.ptr)};
    return result.ec == std::errc() && text.front() != '-' && *number >= 0;
}

template <size_t kCount>
bool parse_with_unit(const std::string& text, const std::array<Unit, kCount>& units, double max,
                     double* value) {
    double number = 0;
    std::string_view rest;
    if (!split(text, &number, &rest)) return false;
    for (const Unit& unit : units) {
        if (rest == unit.name) {
            *value = number * unit.factor;
            return *value <= max;
        }
    }
    return false;
}

}  // namespace

int64_t parse_duration_ns(const std::string& text) {
    double value = 0;
    if (!parse_with_unit(text, kDurationUnits, kDurationMaxNs, &value)) {
        throw UsageError(fmt::format(
            "'{}' is not a duration: give a number and a unit, such as 250ms, 10s, 2m or 1h",
            text));
    }
    return static_cast<int64_t>(value);
}

uint64_t parse_size_bytes(const std::string& text) {
    double value = 0;
    if (!parse_with_unit(text, kSizeUnits, kSizeMaxBytes, &value)) {
        throw UsageError(fmt::format(
            "'{}' is not a size: give bytes, or a number with a unit, such as 64, 16KiB, "
            "1MiB or 2GiB",
            text));
    }
    return static_cast<uint64_t>(value);
}

double parse_rate(const std::string& text) {
    double number = 0;
    std::string_view rest;
    if (!split(text, &number, &rest) || !rest.empty() || number <= 0 || number > kRateMax) {
        throw UsageError(
            fmt::format("'{}' is not a rate: give a number a second above 0, such as 300", text));
    }
    return number;
}

}  // namespace cport::programs
