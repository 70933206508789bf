#include "perf/load/open_load.h"

#include <cstdio>

namespace cport::perf {

/* It always spins: a thread that sleeps wakes late. */
OpenLoad::OpenLoad(const Options& options)
    : options_(options),
      connections_(options.port, {.spins = true}),
      first_measured_(static_cast<std::uint64_t>(options.rate * options.warm_up_s)),
      message_count_(first_measured_ +
                     static_cast<std::uint64_t>(options.rate * options.duration_s)),
      received_on_(options.connections) {
    for (std::size_t i = 0; i < options.connections; ++i) {
        connections_.add(options.message_bytes);
    }
}

void OpenLoad::run() {
    start_ns_ = now_ns();
    while (received_ < message_count_) {
        send_what_is_due();
        connections_.wait([this](std::size_t number) {
            receive(number);
            send_what_is_due();
        });
    }
}

std::uint64_t OpenLoad::due_ns(std::uint64_t message) const {
    return start_ns_ +
           static_cast<std::uint64_t>(static_cast<double>(message) * 1e9 / options_.rate);
}

/* What is due by the clock now: a load that is behind looks for answers all the same. */
void OpenLoad::send_what_is_due() {
    const std::uint64_t time_ns = now_ns();
    for (; sent_ < message_count_ && due_ns(sent_) <= time_ns; ++sent_) {
        if (sent_ >= first_measured_) {
            late_.record(now_ns() - due_ns(sent_), 1);
        }
        connections_.send(sent_ % connections_.size(), 1);
    }
}

void OpenLoad::receive(std::size_t number) {
    const std::size_t complete = connections_.receive(number);
    const std::uint64_t time_ns = now_ns();
    for (std::size_t i = 0; i < complete; ++i) {
        const std::uint64_t message = received_on_[number]++ * connections_.size() + number;
        if (message >= first_measured_) {
            latency_.record(time_ns - due_ns(message), 1);
        }
    }
    received_ += complete;
}

void OpenLoad::report() const {
    std::printf(
        "{\"messages\": %llu, \"messages_with_warm_up\": %llu, \"messages_per_second\": %.1f, ",
        static_cast<unsigned long long>(latency_.total()),
        static_cast<unsigned long long>(received_), options_.rate);
    latency_.print_us("latency_us");
    std::printf(", ");
    late_.print_us("late_us");
    std::printf("}\n");
}

}  // namespace cport::perf
