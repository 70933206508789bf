#ifndef PERF_MICRO_IDLE_CONNECTIONS_H
#define PERF_MICRO_IDLE_CONNECTIONS_H

#include <sys/types.h>

#include <cstddef>
#include <utility>
#include <vector>

#include "perf/micro/support.h"

namespace cport::perf {

/* Whether this process may have so many descriptors, once it has raised its own limit as far as it
 * may. If not, the benchmark is skipped and says why. */
bool descriptors_allowed(benchmark::State& state, std::size_t count);

/* TCP connections over which nothing comes. The far ends are another process's, as a server's
 * clients are, so that the numbers of the near ones follow each other. To be made before there is a
 * second thread. */
class IdleConnections {
 public:
    explicit IdleConnections(std::size_t count_max);
    IdleConnections(const IdleConnections&) = delete;
    IdleConnections& operator=(const IdleConnections&) = delete;
    ~IdleConnections();

    /* So many more. */
    void open(std::size_t count);

    std::size_t size() const { return near_.size(); }
    int operator[](std::size_t index) const { return near_[index]; }
    /* For who closes it. */
    int give(std::size_t index) { return std::exchange(near_[index], -1); }

 private:
    std::vector<int> near_;
    int listener_;
    int control_;
    pid_t child_;
};

}  // namespace cport::perf

#endif
