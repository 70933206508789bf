#include "runtime/port/placement.h"

namespace cport {

bool Placement::try_reserve() {
    uint32_t sockets = sockets_.load(std::memory_order_relaxed);
    while (!limited() || sockets < sockets_max_) {
        if (sockets_.compare_exchange_weak(sockets, sockets + 1, std::memory_order_relaxed)) {
            return true;
        }
    }
    return false;
}

bool Placement::reserve() {
    const bool reserved = try_reserve();
    if (!reserved) refused_.fetch_add(1, std::memory_order_relaxed);
    return reserved;
}

bool Placement::assign(Socket& socket, uint32_t worker) {
    uint8_t none = 0;
    // Nothing is published by it; the number alone is agreed on.
    return socket.owner.compare_exchange_strong(none, static_cast<uint8_t>(worker + 1),
                                                std::memory_order_relaxed);
}

uint32_t Placement::least_loaded() {
    const uint32_t first = next_of(next_of_equals_);
    uint32_t least = first;
    uint32_t least_live = UINT32_MAX;
    for (uint32_t i = 0; i < workers_; ++i) {
        const uint32_t worker = (first + i) % workers_;
        const uint32_t live = live_[worker].load(std::memory_order_relaxed);
        if (live >= least_live) continue;
        least = worker;
        least_live = live;
    }
    return least;
}

void Placement::assign_by_load(int descriptor) {
    if (workers_ == 1) return;
    Socket* socket = table_.find(descriptor);
    if (socket == nullptr || socket->owner.load(std::memory_order_relaxed) == 0) {
        if (!try_reserve()) return;
        int error = 0;
        socket = table_.find_or_create(descriptor, error);
        if (socket == nullptr || !assign(*socket, least_loaded())) give_back();
        if (socket == nullptr) return;
    }
    // From now on, not from its first add: all of a round's connections come before any of theirs.
    const uint64_t before = socket->word.fetch_or(SocketWord::kLive, std::memory_order_acq_rel);
    count(*socket, before, before | SocketWord::kLive);
}

}  // namespace cport
