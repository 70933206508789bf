// One shard's counters: written by its worker only, read by any thread.
#pragma once

#include <atomic>
#include <cstdint>

namespace cport::echo {

// Relaxed is enough: a reader wants each number, and orders nothing by it. With one writer a load
// and a store do what a locked addition would.
class Counter {
 public:
    void add(uint64_t amount) {
        value_.store(value_.load(std::memory_order_relaxed) + amount, std::memory_order_relaxed);
    }
    void subtract(uint64_t amount) {
        value_.store(value_.load(std::memory_order_relaxed) - amount, std::memory_order_relaxed);
    }
    [[nodiscard]] uint64_t get() const { return value_.load(std::memory_order_relaxed); }

 private:
    std::atomic<uint64_t> value_{0};
};

struct Counters {
    Counter active;
    Counter accepted;
    Counter refused;
    Counter accept_failures;
    Counter closed_by_peer;
    Counter closed_by_error;
    Counter closed_idle;
    Counter closed_by_stop;
    Counter bytes_received;
    Counter bytes_sent;
};

}  // namespace cport::echo
