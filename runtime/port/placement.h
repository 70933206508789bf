// Which worker a descriptor belongs to that belongs to none yet, how many each one has, and how
// many there may be.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "completionport/options.h"
#include "runtime/mutex.h"
#include "runtime/operation/socket.h"
#include "runtime/port/descriptor_table.h"

namespace cport {

// Any thread; without a lock, but for a number's first use where there is a limit. A count may be
// late by what other threads do meanwhile.
class Placement {
 public:
    // sockets_max: the most descriptors that belong to workers; 0: no limit.
    Placement(DescriptorTable& table, uint32_t workers, uint32_t sockets_max)
        : table_(table), workers_(workers), sockets_max_(sockets_max) {}
    Placement(const Placement&) = delete;
    Placement& operator=(const Placement&) = delete;

    uint32_t sockets() const { return sockets_.load(std::memory_order_relaxed); }
    uint64_t refused() const { return refused_.load(std::memory_order_relaxed); }

    // A number that belongs to none: to this worker, from 0, unless another was faster. nullptr
    // with -ENOSPC (the limit is reached) or -ENOMEM.
    Socket* assign(int descriptor, uint32_t worker, int& error) ABSL_LOCKS_EXCLUDED(adoption_);
    Socket* assign_in_turn(int descriptor, int& error) {
        return assign(descriptor, next_of(next_owner_), error);
    }
    // A connection that has just been accepted: to the worker with the fewest descriptors, unless
    // its number has one. Where there is no room or memory to note it, its first add decides.
    void assign_by_load(int descriptor);

    // Of a socket that has its owner, whose word was `before` and is `after` now.
    void count(const Socket& socket, uint64_t before, uint64_t after) {
        if (((before ^ after) & SocketWord::kLive) == 0) return;
        std::atomic<uint32_t>& live = live_[socket.owner.load(std::memory_order_relaxed) - 1];
        (after & SocketWord::kLive) != 0 ? live.fetch_add(1, std::memory_order_relaxed)
                                         : live.fetch_sub(1, std::memory_order_relaxed);
    }

 private:
    uint32_t next_of(std::atomic<uint32_t>& turn) const {
        return workers_ == 1 ? 0 : turn.fetch_add(1, std::memory_order_relaxed) % workers_;
    }
    uint32_t least_loaded();
    Socket* adopt(int descriptor, uint32_t worker, int& error);

    DescriptorTable& table_;
    const uint32_t workers_;
    const uint32_t sockets_max_;
    Mutex adoption_;  // where there is a limit: who counts and who looks take turns
    std::atomic<uint32_t> sockets_ = 0;
    std::atomic<uint64_t> refused_ = 0;
    std::atomic<uint32_t> next_owner_ = 0;
    std::atomic<uint32_t> next_of_equals_ = 0;
    std::array<std::atomic<uint32_t>, COMPLETION_PORT_WORKERS_MAX> live_{};
};

}  // namespace cport
