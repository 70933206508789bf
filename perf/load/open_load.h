#ifndef PERF_LOAD_OPEN_LOAD_H
#define PERF_LOAD_OPEN_LOAD_H

#include <cstddef>
#include <cstdint>
#include <vector>

#include "perf/load/connections.h"
#include "perf/load/histogram.h"
#include "perf/load/options.h"

namespace cport::perf {

/* An open loop: messages are due at equal distances, on the connections in turn, whether answers
 * come or not. A latency counts from the moment at which its message was due, so that neither a
 * stalled server nor a late load hides anything; how late the load itself was is counted apart. */
class OpenLoad {
 public:
    explicit OpenLoad(const Options& options);

    void run();
    /* Prints one line of JSON. */
    void report() const;

 private:
    std::uint64_t due_ns(std::uint64_t message) const;
    void send_what_is_due();
    void receive(std::size_t number);

    Options options_;
    Connections connections_;
    std::uint64_t start_ns_ = 0;
    std::uint64_t first_measured_; /* messages count from 0 */
    std::uint64_t message_count_;
    std::uint64_t sent_ = 0;
    std::uint64_t received_ = 0;
    std::vector<std::uint64_t> received_on_; /* by the connection's number */
    Histogram latency_;
    Histogram late_;
};

}  // namespace cport::perf

#endif
