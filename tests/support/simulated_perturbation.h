// What a simulated machine does that Linux may do, but seldom does: one switch for each, all drawn
// from one seed. And what Linux never does, for tests that must find it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <random>
#include <utility>

namespace cport::test {

// Each is a chance in 1000 calls; 0 switches it off.
struct SimulatedChances {
    uint32_t segments_late = 0;  // TCP's bytes arrive later, in pieces: reads come short, or EAGAIN
    uint32_t reads_short = 0;    // a unix read stops between two messages, as at passed descriptors
    uint32_t sends_short = 0;    // a send takes a part, though there is room
    uint32_t sends_refused = 0;  // EAGAIN, though there is room; an edge follows
    uint32_t interrupted = 0;    // EINTR
    uint32_t waits_empty = 0;    // epoll_wait and futex_wait return early
    uint32_t connections_aborted = 0;  // an accept is told of one that was given up
    uint32_t edges_late = 0;           // an edge comes after its bytes can be read
    uint32_t edges_spurious = 0;       // an edge without cause (reported only if readiness holds)
    uint32_t edges_reordered = 0;      // the ready list in another order
    uint32_t requests_refused = 0;     // a ring has no room
    uint32_t results_late = 0;         // a ring's request is tried, or its result told, later
    uint32_t results_reordered = 0;    // those of different requests
    uint32_t cancels_missed = 0;       // a ring's cancel comes between two tries, and finds nothing
    uint32_t polls_ended = 0;          // a ring's poll ends with what it reports
    // Wrong for any machine.
    uint32_t edges_lost = 0;
    uint32_t receives_doubled = 0;
    uint32_t results_lost = 0;
    uint32_t results_doubled = 0;
    uint32_t bytes_lost = 0;  // the last one of a receive
    uint32_t connections_lost = 0;
    uint32_t errnos_wrong = 0;  // ECONNRESET instead of EPIPE
};

// How much fits into the buffers of a machine. Small ones are often full, as random sequences like
// them; Linux's hold what programs send without looking.
struct SimulatedSizes {
    size_t tcp_send_bytes = 16 * 1024;
    size_t tcp_receive_bytes = 16 * 1024;
    size_t unix_send_bytes = 16 * 1024;
    size_t udp_receive_bytes = 64 * 1024;
};
constexpr SimulatedSizes kSizesOfLinux = {
    .tcp_send_bytes = 256 * 1024,
    .tcp_receive_bytes = 128 * 1024,
    .unix_send_bytes = 212'992,
    .udp_receive_bytes = 212'992,
};

class SimulatedPerturbation {
 public:
    SimulatedPerturbation(uint64_t seed, const SimulatedChances& chances,
                          const SimulatedSizes& sizes = {})
        : chances_(chances), sizes_(sizes), random_(seed) {}

    const SimulatedSizes& sizes() const { return sizes_; }

    bool happens(uint32_t SimulatedChances::*chance) {
        const uint32_t permille = chances_.*chance;
        return permille != 0 && random_() % 1000 < permille;
    }
    // From 1 to `most`.
    size_t part_of(size_t most) { return most <= 1 ? most : 1 + random_() % most; }
    uint64_t draw() { return random_(); }

    // Puts something off. What was put off comes in any order: it may only say "look again".
    void later(std::function<void()> action) { put_off_.push_back(std::move(action)); }
    bool pending() const { return !put_off_.empty(); }
    bool deliver_one() {
        if (put_off_.empty()) return false;
        std::swap(put_off_[random_() % put_off_.size()], put_off_.back());
        std::function<void()> action = std::move(put_off_.back());
        put_off_.pop_back();
        action();
        return true;
    }
    // Now and then, at a call of the machine.
    void deliver_some() {
        while (pending() && random_() % 3 == 0) deliver_one();
    }
    void switch_off() { chances_ = SimulatedChances{}; }

 private:
    SimulatedChances chances_;
    const SimulatedSizes sizes_;
    std::mt19937_64 random_;
    std::deque<std::function<void()>> put_off_;
};

}  // namespace cport::test
