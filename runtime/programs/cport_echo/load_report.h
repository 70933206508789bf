// What a run of the load generator found.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/programs/common/latency_histogram.h"
#include "runtime/programs/cport_echo/commands.h"

namespace cport::programs {

struct LoadFigures {
    uint64_t opened = 0;
    uint64_t failed = 0;
    uint64_t mismatches = 0;
    uint64_t messages = 0;
    uint64_t bytes = 0;
    double seconds = 0;
    std::string first_failure;
    LatencyHistogram latency;

    [[nodiscard]] bool good() const { return failed == 0 && mismatches == 0; }
};

void print_table(const LoadOptions& options, const LoadFigures& figures);
void print_json(const LoadOptions& options, const LoadFigures& figures);

}  // namespace cport::programs
