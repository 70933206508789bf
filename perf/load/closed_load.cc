#include "perf/load/closed_load.h"

#include <algorithm>
#include <cstdio>

namespace cport::perf {

namespace {

constexpr std::size_t kQuietBytes = 64;

}  // namespace

/* A flood discards: it shall be faster than every server, for the quiet connection waits for the
 * server only where the server is behind. */
ClosedLoad::ClosedLoad(const Options& options)
    : options_(options),
      connections_(options.port, {.spins = options.spin, .discards = options.quiet}) {
    for (std::size_t i = 0; i < options.connections; ++i) {
        add(options.message_bytes, options.depth, &latency_);
    }
    if (options.quiet) {
        add(kQuietBytes, 1, &quiet_latency_);
    }
}

void ClosedLoad::add(std::size_t message_bytes, std::size_t depth, Histogram* latency) {
    connections_.add(message_bytes);
    Flight flight;
    flight.sent_ns.resize(depth);
    flight.latency = latency;
    flights_.push_back(std::move(flight));
}

void ClosedLoad::run() {
    const std::uint64_t start_ns = now_ns();
    for (std::size_t i = 0; i < flights_.size(); ++i) {
        std::fill(flights_[i].sent_ns.begin(), flights_[i].sent_ns.end(), start_ns);
        connections_.send(i, flights_[i].sent_ns.size());
    }
    measured_from_ns_ =
        serve_until(start_ns + static_cast<std::uint64_t>(options_.warm_up_s * 1e9));
    measuring_ = true;
    measured_to_ns_ =
        serve_until(measured_from_ns_ + static_cast<std::uint64_t>(options_.duration_s * 1e9));
}

std::uint64_t ClosedLoad::serve_until(std::uint64_t end_ns) {
    for (;;) {
        connections_.wait([this](std::size_t number) {
            receive(number);
            /* At once, not after all the others: its latency is the server's, not this loop's. */
            if (options_.quiet) {
                receive(flights_.size() - 1);
            }
        });
        const std::uint64_t time_ns = now_ns();
        if (time_ns >= end_ns) {
            return time_ns;
        }
    }
}

void ClosedLoad::receive(std::size_t number) {
    const std::size_t complete = connections_.receive(number);
    if (complete == 0) {
        return;
    }
    Flight& flight = flights_[number];
    const std::uint64_t time_ns = now_ns();
    for (std::size_t i = 0; i < complete; ++i) {
        std::uint64_t& sent_ns = flight.sent_ns[flight.oldest];
        if (measuring_) {
            flight.latency->record(time_ns - sent_ns, 1);
        }
        sent_ns = time_ns;
        flight.oldest = flight.oldest + 1 == flight.sent_ns.size() ? 0 : flight.oldest + 1;
    }
    received_ += complete;
    connections_.send(number, complete);
}

void ClosedLoad::report() const {
    const double seconds = static_cast<double>(measured_to_ns_ - measured_from_ns_) / 1e9;
    std::printf(
        "{\"messages\": %llu, \"messages_with_warm_up\": %llu, \"seconds\": %.6f, "
        "\"messages_per_second\": %.1f, ",
        static_cast<unsigned long long>(latency_.total()),
        static_cast<unsigned long long>(received_), seconds,
        static_cast<double>(latency_.total()) / seconds);
    if (options_.quiet) {
        std::printf("\"quiet_messages\": %llu, ",
                    static_cast<unsigned long long>(quiet_latency_.total()));
        quiet_latency_.print_us("quiet_latency_us");
        std::printf(", ");
    }
    latency_.print_us("latency_us");
    std::printf("}\n");
}

}  // namespace cport::perf
