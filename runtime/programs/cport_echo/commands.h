// The subcommands of cport-echo, and what the command line asks of each. They return the exit
// status.
#pragma once

#include <completionport/options.h>

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/programs/common/network_address.h"

namespace cport::programs {

struct ServeOptions {
    std::vector<Endpoint> listen;
    uint32_t threads = 1;
    uint32_t engine = COMPLETION_PORT_ENGINE_AUTO;
    uint32_t connections_max = 0;  // 0: the default, lowered to what the descriptor limit allows
    uint32_t idle_timeout_s = 0;
    uint64_t buffer_bytes_max = 0;  // of each thread; 0: the server's default
    int64_t drain_ns = 5'000'000'000;
    int64_t spin_ns = 0;  // how long a worker looks for work before it sleeps
};

struct LoadOptions {
    Endpoint connect;
    uint32_t threads = 1;
    uint32_t connections = 1;
    uint32_t size_bytes = 64;
    uint32_t depth = 1;
    int64_t duration_ns = 10'000'000'000;
    double connect_rate = 0;  // connections a second; 0: as fast as they open
    double message_rate = 0;  // messages a second in all; 0: as fast as they come back
    int64_t channel_lifetime_ns = 0;
    bool json = false;
};

struct PipeOptions {
    Endpoint connect;
};

[[nodiscard]] int run_serve(const ServeOptions& options);
[[nodiscard]] int run_load(const LoadOptions& options);
[[nodiscard]] int run_pipe(const PipeOptions& options);

// Parses the command line and runs what it asks for. Throws UsageError and OperatingError.
[[nodiscard]] int run_command_line(int argument_count, char** arguments);

}  // namespace cport::programs
