// How completions are obtained with epoll: one persistent edge-triggered registration a socket.
#pragma once

#include <sys/epoll.h>

#include <array>
#include <atomic>
#include <cstdint>

#include "platform/kernel.h"
#include "runtime/operation/socket.h"

namespace cport {

// What the kernel holds of a socket: its number and its incarnation, never a pointer.
struct Edge {
    int descriptor;  // negative: of a source
    uint32_t generation;
    uint32_t events;

    bool of_source() const { return descriptor < 0; }
    uint32_t source_index() const { return static_cast<uint32_t>(descriptor) & ~kSourceName; }

    static constexpr uint32_t kSourceName = 1u << 31;
};

class EpollEngine {
 public:
    static constexpr int kEventsMax = 128;

    explicit EpollEngine(platform::Kernel& kernel) : kernel_(kernel) {}
    ~EpollEngine();
    EpollEngine(const EpollEngine&) = delete;
    EpollEngine& operator=(const EpollEngine&) = delete;

    // 0 or a negative errno.
    int open();

    // The rest but `wake` is the owner's.

    // Makes sure that edges of the socket's input, and of its output where asked for, are reported.
    // Readiness that already holds counts as an edge. -ENOENT: the number was closed and reused
    // since it was registered.
    int watch(Socket& socket, bool output);
    // Registers the number, so that `still_names` can tell, but for no edges; the peer's hang-up
    // and errors are reported all the same. 0 or a negative errno.
    int keep_name(Socket& socket);
    void unwatch(Socket& socket);
    // Whether a registered number still names what was registered. If not, the number may be
    // registered for what it names now, until `unwatch`.
    bool still_names(Socket& socket);

    // A source's descriptor, whose edges bear its slot and generation. Any thread: 0 or a negative
    // errno.
    int watch_source(int descriptor, uint32_t index, uint32_t generation) {
        return control_source(EPOLL_CTL_ADD, descriptor, index, generation);
    }
    // Readiness that holds counts as an edge from here on.
    int ask_source(int descriptor, uint32_t index, uint32_t generation) {
        return control_source(EPOLL_CTL_MOD, descriptor, index, generation);
    }
    // Any thread.
    void unwatch_source(int descriptor);

    // Waits, and hands each edge on; a sink that wants to is told some edges ahead. A negative
    // timeout waits for ever.
    template <typename Sink>
    int wait(int64_t timeout_ns, Sink&& sink) {
        const int count = kernel_.epoll_wait(epoll_, events_.data(), kEventsMax, timeout_ns);
        for (int i = 0; i < count; ++i) {
            if constexpr (requires(const Edge& edge) { sink.announce(edge); }) {
                if (i + kAnnouncedAhead < count) sink.announce(edge_at(i + kAnnouncedAhead));
                if (i + kAnnouncedAhead / 2 < count) {
                    sink.announce_again(edge_at(i + kAnnouncedAhead / 2));
                }
            }
            if (events_[static_cast<size_t>(i)].data.u64 != kWakeName) sink(edge_at(i));
        }
        return count;
    }

    // Readable while there are events to fetch.
    int descriptor() const { return epoll_; }

    // Any thread: ends the wait under way, or the next one.
    void wake();
    // Any thread: how many so far.
    uint64_t wakes() const { return static_cast<uint64_t>(wakes_.load(std::memory_order_relaxed)); }
    // The owner: waits until `wakes_owed` wakes have come in all, so that nobody is inside `wake`.
    void await_wakes(int64_t wakes_owed);

 private:
    static constexpr uint64_t kWakeName = UINT64_MAX;
    // Memory answers in about the time that so many edges take.
    static constexpr int kAnnouncedAhead = 8;

    Edge edge_at(int index) const {
        const struct epoll_event& event = events_[static_cast<size_t>(index)];
        return {static_cast<int>(event.data.u64 & 0xffffffff),
                static_cast<uint32_t>(event.data.u64 >> 32), event.events};
    }
    static uint64_t name_of(const Socket& socket) {
        return (uint64_t{socket.generation} << 32) | static_cast<uint32_t>(socket.descriptor);
    }
    int control(int operation, const Socket& socket, uint32_t events);
    // ADD, or MOD where something is registered already.
    int enlist(const Socket& socket, uint32_t events);
    int control_source(int operation, int descriptor, uint32_t index, uint32_t generation);

    platform::Kernel& kernel_;
    int epoll_ = -1;
    int wake_descriptor_ = -1;
    std::atomic<int64_t> wakes_ = 0;  // that have been made, to the end
    std::array<struct epoll_event, kEventsMax> events_{};
};

}  // namespace cport
