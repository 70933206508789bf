#ifndef PERF_LOAD_CLOSED_LOAD_H
#define PERF_LOAD_CLOSED_LOAD_H

#include <cstddef>
#include <cstdint>
#include <vector>

#include "perf/load/connections.h"
#include "perf/load/histogram.h"
#include "perf/load/options.h"

namespace cport::perf {

/* A closed loop: each connection keeps a fixed number of messages in flight, and sends the next
 * when one has come back. Beside them there may be a quiet connection with one small message at a
 * time, whose latencies are counted apart. */
class ClosedLoad {
 public:
    explicit ClosedLoad(const Options& options);

    void run();
    /* Prints one line of JSON. */
    void report() const;

 private:
    struct Flight {
        std::size_t oldest = 0;             /* index into sent_ns */
        std::vector<std::uint64_t> sent_ns; /* a ring: a time for each message in flight */
        Histogram* latency = nullptr;
    };

    void add(std::size_t message_bytes, std::size_t depth, Histogram* latency);
    /* Returns the time at which it stopped. */
    std::uint64_t serve_until(std::uint64_t end_ns);
    void receive(std::size_t number);

    Options options_;
    Connections connections_;
    std::vector<Flight> flights_; /* by the connection's number; the quiet one is the last */
    Histogram latency_;
    Histogram quiet_latency_;
    bool measuring_ = false;
    std::uint64_t received_ = 0;
    std::uint64_t measured_from_ns_ = 0;
    std::uint64_t measured_to_ns_ = 0;
};

}  // namespace cport::perf

#endif
