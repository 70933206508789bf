#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <limits>
#include <string>
#include <vector>

#include "runtime/programs/common/errors.h"
#include "runtime/programs/common/network_address.h"
#include "runtime/programs/common/quantity.h"
#include "runtime/programs/cport_echo/commands.h"

namespace cport::programs {
namespace {

constexpr uint32_t kThreadsMax = 256;
constexpr uint32_t kConnectionsMax = 1'000'000;
constexpr uint32_t kDepthMax = 65'536;
constexpr uint64_t kMessageBytesMax = 16 * 1024 * 1024;
constexpr uint64_t kBuffersMinBytes = 16 * 1024;
constexpr uint64_t kBuffersMaxBytes = uint64_t{16} * 1024 * 1024 * 1024;
constexpr int64_t kNsPerSecond = 1'000'000'000;
constexpr int64_t kSpinMaxNs = kNsPerSecond;

constexpr const char* kUrlHelp = "tcp://HOST:PORT";

constexpr const char* kServeExamples =
    "Examples:\n"
    "  cport-echo serve                                  echo on tcp://127.0.0.1:8090\n"
    "  cport-echo serve --listen tcp://[::1]:0           any free port; its number is printed\n"
    "  cport-echo serve --listen tcp://0.0.0.0:7 --listen tcp://[::]:7 --threads 2\n"
    "INT or TERM: no new connections, those that are open may finish for the --drain time; a "
    "second\n"
    "signal closes them at once. USR1 prints the counts.\n";

constexpr const char* kLoadExamples =
    "Examples:\n"
    "  cport-echo load --connect tcp://127.0.0.1:8090 --connections 64 --depth 16 --duration 10s\n"
    "  cport-echo load --connect tcp://[::1]:8090 --size 1MiB --depth 4\n"
    "  cport-echo load --connect tcp://localhost:8090 --connections 1000 --message-rate 20000\n"
    "Every byte that comes back is compared. With --message-rate a latency counts from the moment "
    "at\n"
    "which its message was due, so that a stalled server cannot hide. Exit status: 0 all came "
    "back\n"
    "right; 1 a connection failed or bytes differed; 2 the command line is wrong.\n";

constexpr const char* kPipeExamples =
    "Example:\n"
    "  cport-echo pipe --connect tcp://127.0.0.1:8090 < in > out && cmp in out\n"
    "Sends standard input, ends its side, and writes what comes back until the server ends its "
    "own.\n";

// CLI11 converts and checks options while it parses; its errors become the one line of UsageError.
template <typename Value, typename Parser>
CLI::Option* add_parsed(CLI::App* app, const std::string& name, const std::string& help,
                        Value* value, Parser parser) {
    return app->add_option_function<std::string>(
        name,
        [=](const std::string& text) {
            try {
                *value = parser(text);
            } catch (const UsageError& error) {
                throw UsageError(fmt::format("{}: {}", name, error.what()));
            }
        },
        help);
}

CLI::Option* add_duration(CLI::App* app, const std::string& name, const std::string& help,
                          int64_t* value_ns) {
    return add_parsed(app, name, help, value_ns, parse_duration_ns)->type_name("DURATION");
}

CLI::Option* add_count(CLI::App* app, const std::string& name, const std::string& help,
                       uint32_t* value, uint32_t max) {
    return add_parsed(
               app, name, help, value,
               [max](const std::string& text) {
                   double number = 0;
                   try {
                       number = parse_rate(text);
                   } catch (const UsageError&) {
                       number = 0;
                   }
                   const auto count =
                       static_cast<uint32_t>(std::min<double>(number, kConnectionsMax + 1));
                   if (count == 0 || count > max || count != number) {
                       throw UsageError(fmt::format(
                           "'{}' is not accepted: give a whole number from 1 to {}", text, max));
                   }
                   return count;
               })
        ->type_name("COUNT");
}

CLI::Option* add_rate(CLI::App* app, const std::string& name, const std::string& help,
                      double* value) {
    return add_parsed(app, name, help, value, parse_rate)->type_name("RATE");
}

uint32_t parse_engine(const std::string& text) {
    if (text == "auto") return COMPLETION_PORT_ENGINE_AUTO;
    if (text == "epoll") return COMPLETION_PORT_ENGINE_EPOLL;
    if (text == "io_uring") return COMPLETION_PORT_ENGINE_IO_URING;
    throw UsageError(fmt::format("'{}' is not accepted: give auto, epoll or io_uring", text));
}

int64_t parse_spin_ns(const std::string& text) {
    const int64_t spin_ns = parse_duration_ns(text);
    if (spin_ns > kSpinMaxNs) {
        throw UsageError(fmt::format("'{}' is not accepted: give 0s to 1s", text));
    }
    return spin_ns;
}

uint64_t parse_buffer_bytes(const std::string& text) {
    const uint64_t bytes = parse_size_bytes(text);
    if (bytes < kBuffersMinBytes || bytes > kBuffersMaxBytes) {
        throw UsageError(fmt::format("'{}' is not accepted: give 16KiB to 16GiB", text));
    }
    return bytes;
}

CLI::App* add_serve(CLI::App* app, ServeOptions* options) {
    CLI::App* serve = app->add_subcommand("serve", "Send back to every peer what it sends");
    serve
        ->add_option_function<std::vector<std::string>>(
            "--listen",
            [=](const std::vector<std::string>& urls) {
                try {
                    for (const std::string& url : urls) {
                        options->listen.push_back(parse_tcp_url(url));
                    }
                } catch (const UsageError& error) {
                    throw UsageError(fmt::format("--listen: {}", error.what()));
                }
            },
            "Address to listen on, repeatable; port 0 is any free one. Default "
            "tcp://127.0.0.1:8090")
        ->type_name(kUrlHelp);
    add_count(serve, "--threads", "Completion ports, each with one worker. Default 1",
              &options->threads, kThreadsMax);
    add_parsed(serve, "--engine",
               "How the kernel is asked: auto, epoll or io_uring (epoll where the kernel does not "
               "allow it). Default auto",
               &options->engine, parse_engine)
        ->type_name("ENGINE");
    add_count(serve, "--max-connections",
              "Connections at a time; more are accepted and closed. Default 10000",
              &options->connections_max, kConnectionsMax);
    add_duration(serve, "--drain", "How long open connections may go on after a signal. Default 5s",
                 &options->drain_ns);
    add_parsed(serve, "--idle-timeout", "Close a connection without progress. Default: never",
               &options->idle_timeout_s,
               [](const std::string& text) {
                   const int64_t seconds =
                       (parse_duration_ns(text) + kNsPerSecond - 1) / kNsPerSecond;
                   return static_cast<uint32_t>(seconds);
               })
        ->type_name("DURATION");
    add_parsed(serve, "--buffers",
               "Memory for received bytes that wait to be sent, of each thread; beyond it a "
               "connection gets 4 KiB. Default 64MiB",
               &options->buffer_bytes_max, parse_buffer_bytes)
        ->type_name("SIZE");
    add_parsed(serve, "--spin",
               "How long a thread without work looks for some before it sleeps: answers come "
               "sooner, and a CPU is busy. Default 0s",
               &options->spin_ns, parse_spin_ns)
        ->type_name("DURATION");
    serve->footer(kServeExamples);
    return serve;
}

CLI::App* add_load(CLI::App* app, LoadOptions* options) {
    CLI::App* load = app->add_subcommand("load", "Drive an echo server, check and measure it");
    add_parsed(load, "--connect", "The server", &options->connect, parse_tcp_url)
        ->type_name(kUrlHelp)
        ->required();
    add_count(load, "--threads", "Completion ports, each with one worker. Default 1",
              &options->threads, kThreadsMax);
    add_count(load, "--connections", "Connections at a time. Default 1", &options->connections,
              kConnectionsMax);
    add_parsed(load, "--size", "Bytes of a message. Default 64", &options->size_bytes,
               [](const std::string& text) {
                   const uint64_t bytes = parse_size_bytes(text);
                   if (bytes == 0 || bytes > kMessageBytesMax) {
                       throw UsageError(fmt::format("'{}' is not accepted: give 1 to 16MiB", text));
                   }
                   return static_cast<uint32_t>(bytes);
               })
        ->type_name("SIZE");
    add_count(load, "--depth", "Messages in flight on each connection. Default 1", &options->depth,
              kDepthMax);
    add_duration(load, "--duration", "How long to measure, once all are connected. Default 10s",
                 &options->duration_ns);
    add_rate(load, "--connect-rate", "Connections opened a second. Default: as fast as they open",
             &options->connect_rate);
    add_rate(load, "--message-rate", "Messages a second in all. Default: as fast as they return",
             &options->message_rate);
    add_duration(load, "--channel-lifetime", "Close and reopen a connection of that age",
                 &options->channel_lifetime_ns);
    load->add_flag("--json", options->json, "Print the figures as one JSON object");
    load->footer(kLoadExamples);
    return load;
}

CLI::App* add_pipe(CLI::App* app, PipeOptions* options) {
    CLI::App* pipe = app->add_subcommand("pipe", "Send standard input through an echo server");
    add_parsed(pipe, "--connect", "The server", &options->connect, parse_tcp_url)
        ->type_name(kUrlHelp)
        ->required();
    pipe->footer(kPipeExamples);
    return pipe;
}

std::string one_line(std::string text) {
    std::replace(text.begin(), text.end(), '\n', ' ');
    return text;
}

}  // namespace

int run_command_line(int argument_count, char** arguments) {
    ServeOptions serve_options;
    LoadOptions load_options;
    PipeOptions pipe_options;
    CLI::App app{"TCP echo over completion ports: a server, and a client that checks and measures"};
    app.name("cport-echo");
    app.require_subcommand(0, 1);
    app.footer("'cport-echo serve --help', 'load --help' and 'pipe --help' tell of each.\n");
    const CLI::App* serve = add_serve(&app, &serve_options);
    const CLI::App* load = add_load(&app, &load_options);
    const CLI::App* pipe = add_pipe(&app, &pipe_options);
    try {
        app.parse(argument_count, arguments);
    } catch (const CLI::Success& help) {
        return app.exit(help);
    } catch (const CLI::ParseError& error) {
        throw UsageError(
            fmt::format("{}; see 'cport-echo --help'", one_line(std::string(error.what()))));
    }
    if (serve->parsed()) {
        if (serve_options.listen.empty()) {
            serve_options.listen.push_back(parse_tcp_url("tcp://127.0.0.1:8090"));
        }
        return run_serve(serve_options);
    }
    if (load->parsed()) return run_load(load_options);
    if (pipe->parsed()) return run_pipe(pipe_options);
    throw UsageError("no command is given: serve, load or pipe; see 'cport-echo --help'");
}

}  // namespace cport::programs
