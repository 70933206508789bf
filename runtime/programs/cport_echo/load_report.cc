#include "runtime/programs/cport_echo/load_report.h"

#include <fmt/format.h>

#include <cstdio>
#include <string>

namespace cport::programs {
namespace {

double per_second(uint64_t count, double seconds) {
    return seconds > 0 ? static_cast<double>(count) / seconds : 0;
}

double mebibytes(uint64_t bytes) { return static_cast<double>(bytes) / 1048576.0; }

double microseconds(double nanoseconds) { return nanoseconds / 1e3; }

double quantile_us(const LoadFigures& figures, double fraction) {
    return microseconds(static_cast<double>(figures.latency.quantile_ns(fraction)));
}

// Quotes and backslashes come from error texts; control characters do not.
std::string quoted(const std::string& text) {
    std::string result = "\"";
    for (const char character : text) {
        if (character == '"' || character == '\\') result += '\\';
        result += character;
    }
    return result + '"';
}

}  // namespace

void print_table(const LoadOptions& options, const LoadFigures& figures) {
    fmt::print("{} connections of {} messages of {} bytes for {:.2f} s\n", options.connections,
               options.depth, options.size_bytes, figures.seconds);
    fmt::print("  messages   {:>12}   {:>12.0f} /s\n", figures.messages,
               per_second(figures.messages, figures.seconds));
    fmt::print("  echoed MiB {:>12.1f}   {:>12.1f} /s\n", mebibytes(figures.bytes),
               per_second(figures.bytes, figures.seconds) / 1048576.0);
    fmt::print("  latency us {:>9} {:>9} {:>9} {:>9} {:>9}\n", "p50", "p90", "p99", "p99.9", "max");
    fmt::print("             {:>9.1f} {:>9.1f} {:>9.1f} {:>9.1f} {:>9.1f}\n",
               quantile_us(figures, 0.5), quantile_us(figures, 0.9), quantile_us(figures, 0.99),
               quantile_us(figures, 0.999),
               microseconds(static_cast<double>(figures.latency.max_ns())));
    fmt::print("  connections opened {}, failed {}; mismatches {}\n", figures.opened,
               figures.failed, figures.mismatches);
    if (!figures.first_failure.empty()) fmt::print("  first failure: {}\n", figures.first_failure);
    std::fflush(stdout);
}

void print_json(const LoadOptions& options, const LoadFigures& figures) {
    fmt::print(
        "{{\"connections\": {}, \"depth\": {}, \"size_bytes\": {}, \"seconds\": {:.6f}, "
        "\"opened\": {}, \"failed\": {}, \"mismatches\": {}, \"messages\": {}, \"bytes\": {}, ",
        options.connections, options.depth, options.size_bytes, figures.seconds, figures.opened,
        figures.failed, figures.mismatches, figures.messages, figures.bytes);
    fmt::print(
        "\"messages_per_s\": {:.1f}, \"mib_per_s\": {:.3f}, \"latency_us\": {{\"mean\": {:.3f}, "
        "\"p50\": {:.3f}, \"p90\": {:.3f}, \"p99\": {:.3f}, \"p99_9\": {:.3f}, \"max\": {:.3f}}}, "
        "\"first_failure\": {}}}\n",
        per_second(figures.messages, figures.seconds),
        per_second(figures.bytes, figures.seconds) / 1048576.0,
        microseconds(figures.latency.mean_ns()), quantile_us(figures, 0.5),
        quantile_us(figures, 0.9), quantile_us(figures, 0.99), quantile_us(figures, 0.999),
        microseconds(static_cast<double>(figures.latency.max_ns())),
        figures.first_failure.empty() ? "null" : quoted(figures.first_failure));
    std::fflush(stdout);
}

}  // namespace cport::programs
