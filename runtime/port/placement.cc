#include "runtime/port/placement.h"

#include <cerrno>

namespace cport {

Socket* Placement::adopt(int descriptor, uint32_t worker, int& error) {
    Socket* socket = table_.find_or_create(descriptor, error);
    if (socket == nullptr) return nullptr;
    uint8_t none = 0;
    // Nothing is published by it; the number alone is agreed on.
    if (socket->owner.compare_exchange_strong(none, static_cast<uint8_t>(worker + 1),
                                              std::memory_order_relaxed)) {
        sockets_.fetch_add(1, std::memory_order_relaxed);
    }
    return socket;
}

Socket* Placement::assign(int descriptor, uint32_t worker, int& error) {
    if (sockets_max_ == 0) return adopt(descriptor, worker, error);
    MutexLock lock(adoption_);
    Socket* socket = table_.find(descriptor);
    if (socket != nullptr && socket->owner.load(std::memory_order_relaxed) != 0) return socket;
    if (sockets() < sockets_max_) return adopt(descriptor, worker, error);
    // Before the table grows.
    refused_.fetch_add(1, std::memory_order_relaxed);
    error = -ENOSPC;
    return nullptr;
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
        int error = 0;
        socket = assign(descriptor, least_loaded(), error);
        if (socket == nullptr) return;
    }
    // From now on, not from its first add: all of a round's connections come before any of theirs.
    const uint64_t before = socket->word.fetch_or(SocketWord::kLive, std::memory_order_acq_rel);
    count(*socket, before, before | SocketWord::kLive);
}

}  // namespace cport
