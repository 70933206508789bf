#include <fmt/format.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <memory>
#include <vector>

#include "runtime/programs/common/descriptor_limit.h"
#include "runtime/programs/common/errors.h"
#include "runtime/programs/common/port.h"
#include "runtime/programs/common/signals.h"
#include "runtime/programs/cport_echo/commands.h"
#include "runtime/services/echo/echo_server.h"

namespace cport::programs {
namespace {

constexpr uint32_t kConnectionsDefault = 10'000;
// Standard streams, signals, log, resolver; and what a port and its shard hold.
constexpr uint64_t kDescriptorsOfProcess = 16;
constexpr uint64_t kDescriptorsPerThread = 8;

struct ServerDeleter {
    void operator()(ECHO_SERVER_HANDLE server) const { echo_server_destroy(server); }
};
using ServerOwner = std::unique_ptr<ECHO_SERVER_TAG, ServerDeleter>;

uint32_t connections_that_fit(const ServeOptions& options) {
    const uint64_t limit = raise_descriptor_limit();
    const uint64_t reserved =
        kDescriptorsOfProcess + options.threads * (kDescriptorsPerThread + options.listen.size());
    const uint64_t room = limit > reserved ? limit - reserved : 0;
    if (options.connections_max > room || room == 0) {
        throw OperatingError(
            fmt::format("--max-connections {} does not fit into this process's limit of {} open "
                        "files, {} of which are needed otherwise: lower it, or raise ulimit -n",
                        options.connections_max, limit, reserved));
    }
    if (options.connections_max != 0) return options.connections_max;
    if (room < kConnectionsDefault) {
        spdlog::warn("at most {} connections: the limit of open files is {}", room, limit);
    }
    return static_cast<uint32_t>(std::min<uint64_t>(kConnectionsDefault, room));
}

void listen_on_all(ECHO_SERVER_HANDLE server, const std::vector<Endpoint>& endpoints,
                   std::vector<std::string>* urls) {
    for (const Endpoint& endpoint : endpoints) {
        for (const SocketAddress& address : resolve(endpoint)) {
            sockaddr_storage bound{};
            const int status = echo_server_listen(server, address.get(), address.length, &bound);
            if (status != 0) {
                throw OperatingError(fmt::format("cannot listen on {}: {}",
                                                 format_tcp_url(address.storage),
                                                 error_text(-status)));
            }
            urls->push_back(format_tcp_url(bound));
        }
    }
}

void print_counts(ECHO_SERVER_HANDLE server, const char* what) {
    ECHO_SERVER_COUNTERS counters{};
    [[maybe_unused]] const int status = echo_server_counters(server, &counters);
    const std::string line = fmt::format(
        "{}: {} connections accepted, {} open with {} bytes of buffers, {} refused, {} not "
        "accepted "
        "for an error; closed: {} by peer, {} by error, {} idle, {} by stop; {} bytes received, {} "
        "bytes sent\n",
        what, counters.connections_accepted, counters.connections_active, counters.buffer_bytes,
        counters.connections_refused, counters.accept_failures, counters.closed_by_peer,
        counters.closed_by_error, counters.closed_idle, counters.closed_by_stop,
        counters.bytes_received, counters.bytes_sent);
    // Whether anybody reads it or not, the server goes on.
    std::fputs(line.c_str(), stdout);
    std::fflush(stdout);
}

// Waits for INT or TERM; USR1 asks for the counts.
void wait_for_stop(Signals& signals, ECHO_SERVER_HANDLE server) {
    for (;;) {
        wait_readable(signals.descriptor(), -1, -1);
        switch (signals.take()) {
            case 0:
                break;
            case SIGUSR1:
                print_counts(server, "running");
                break;
            default:
                return;
        }
    }
}

// Lets connections finish until the time is over or another signal comes, then closes them.
void drain(Signals& signals, const Wakeup& ended, ECHO_SERVER_HANDLE server, int64_t drain_ns) {
    [[maybe_unused]] int status = echo_server_stop(server);
    const int64_t deadline_ns = monotonic_ns() + drain_ns;
    while (!ended.take()) {
        const int64_t left_ns = deadline_ns - monotonic_ns();
        const int signal = signals.take();
        if (signal == SIGUSR1) {
            print_counts(server, "stopping");
        } else if (signal != 0 || left_ns <= 0) {
            ECHO_SERVER_COUNTERS counters{};
            status = echo_server_counters(server, &counters);
            spdlog::warn("closing {} connections that have not finished",
                         counters.connections_active);
            status = echo_server_abort(server);
            wait_readable(ended.descriptor(), -1, -1);
        } else {
            wait_readable(signals.descriptor(), ended.descriptor(), left_ns);
        }
    }
}

}  // namespace

int run_serve(const ServeOptions& options) {
    spdlog::set_default_logger(spdlog::stderr_color_mt("cport-echo"));
    Signals signals{SIGINT, SIGTERM, SIGUSR1};
    const Wakeup ended;
    const uint32_t connections_max = connections_that_fit(options);
    std::vector<Port> ports;
    for (uint32_t i = 0; i < options.threads; ++i) {
        ports.emplace_back(options.engine, static_cast<uint64_t>(options.spin_ns));
    }
    std::vector<COMPLETION_PORT_HANDLE> handles;
    std::transform(ports.begin(), ports.end(), std::back_inserter(handles),
                   [](const Port& port) { return port.get(); });

    ECHO_SERVER_OPTIONS server_options{};
    server_options.ports = handles.data();
    server_options.port_count = options.threads;
    server_options.connections_max = connections_max;
    server_options.idle_timeout_s = options.idle_timeout_s;
    server_options.buffer_bytes_max = options.buffer_bytes_max;
    server_options.on_ended = [](void* context) { static_cast<const Wakeup*>(context)->signal(); };
    server_options.on_ended_context = const_cast<Wakeup*>(&ended);
    const ServerOwner server(echo_server_create(&server_options));
    if (server == nullptr) {
        throw OperatingError(fmt::format("cannot create the server: {}", error_text(errno)));
    }
    std::vector<std::string> urls;
    listen_on_all(server.get(), options.listen, &urls);
    const int status = echo_server_start(server.get());
    if (status != 0) {
        throw OperatingError(fmt::format("cannot start the server: {}", error_text(-status)));
    }
    for (const std::string& url : urls) fmt::print("listening on {}\n", url);
    std::fflush(stdout);

    wait_for_stop(signals, server.get());
    drain(signals, ended, server.get(), options.drain_ns);
    print_counts(server.get(), "stopped");
    return 0;
}

}  // namespace cport::programs
