/* The always-ready operation: submit, read 8 bytes, callback, on 64 sockets. The sockets are filled
 * outside the timed part with thousands of 8-byte units each, so that inside it every read finds
 * its bytes and nothing but the read itself enters the kernel. Every contender reads the same
 * descriptors, filled the same way, and the time goes from the first submission to the last
 * callback, both on the thread that runs the callbacks. */
#ifndef PERF_MICRO_READY_OPERATION_H
#define PERF_MICRO_READY_OPERATION_H

#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "perf/micro/support.h"

namespace cport::perf {

inline constexpr std::size_t kReadySockets = 64;
inline constexpr std::size_t kUnitBytes = 8;
/* 32 KiB a socket: less than any default socket buffer. */
inline constexpr std::uint64_t kUnitsPerSocket = 4096;
inline constexpr std::uint64_t kUnitsPerBatch = kReadySockets * kUnitsPerSocket;

/* On cache lines of its own: what two workers write must not be neighbours. */
struct alignas(128) ReadySocket {
    int descriptor = -1;
    std::uint64_t units = 0; /* that are still to be read */
    char buffer[kUnitBytes];
};

class ReadySockets {
 public:
    explicit ReadySockets(Transport transport);

    void fill();
    std::vector<ReadySocket>& sockets() { return sockets_; }

 private:
    SocketPairs pairs_;
    std::vector<ReadySocket> sockets_;
};

/* Times `run_batch()`, which returns the nanoseconds that it took to read every unit. */
template <typename RunBatch>
void time_batches(benchmark::State& state, ReadySockets& ready, RunBatch run_batch) {
    std::uint64_t total_ns = 0;
    std::uint64_t batches = 0;
    for ([[maybe_unused]] auto _ : state) {
        ready.fill();
        const std::uint64_t batch_ns = run_batch();
        state.SetIterationTime(static_cast<double>(batch_ns) / 1e9);
        total_ns += batch_ns;
        ++batches;
    }
    report_operations(state, total_ns, batches * kUnitsPerBatch);
}

}  // namespace cport::perf

#endif
