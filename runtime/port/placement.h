// Which worker a descriptor belongs to that belongs to none yet, and how many each one has.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "completionport/options.h"
#include "runtime/operation/socket.h"
#include "runtime/port/descriptor_table.h"

namespace cport {

// Any thread, without a lock. The counts are exact, but what follows from them may be late by what
// other threads do meanwhile.
class Placement {
 public:
    Placement(DescriptorTable& table, uint32_t workers) : table_(table), workers_(workers) {}
    Placement(const Placement&) = delete;
    Placement& operator=(const Placement&) = delete;

    // The socket is the worker's, from 0, unless another was faster.
    static void assign(Socket& socket, uint32_t worker);
    void assign_in_turn(Socket& socket) { assign(socket, next_of(next_owner_)); }
    // A connection that has just been accepted: to the worker with the fewest descriptors, unless
    // its number has one. Where there is no memory to note it, its first add decides.
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

    DescriptorTable& table_;
    const uint32_t workers_;
    std::atomic<uint32_t> next_owner_ = 0;
    std::atomic<uint32_t> next_of_equals_ = 0;
    std::array<std::atomic<uint32_t>, COMPLETION_PORT_WORKERS_MAX> live_{};
};

}  // namespace cport
