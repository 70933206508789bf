#ifndef PERF_LOAD_CONNECTIONS_H
#define PERF_LOAD_CONNECTIONS_H

#include <sys/epoll.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace cport::perf {

std::uint64_t now_ns();

/* Says what failed, and why by errno; ends the program with status 1. */
[[noreturn]] void fail(const char* what);

/* The connections to the server, under one level-triggered epoll. Whatever fails ends the
 * program; so does a server that sends nothing for some seconds. */
class Connections {
 public:
    /* How the load goes about it. */
    struct Manner {
        bool spins = false;    /* looks without an end instead of sleeping */
        bool discards = false; /* lets the kernel throw answers away, which costs less */
    };

    Connections(std::uint16_t port, Manner manner);
    Connections(const Connections&) = delete;
    Connections& operator=(const Connections&) = delete;
    ~Connections();

    /* One more, for messages of this size. They are numbered from 0. */
    void add(std::size_t message_bytes);

    std::size_t size() const { return connections_.size(); }

    /* Sends so many messages more; what the kernel does not take goes when it has room. */
    void send(std::size_t number, std::size_t messages);

    /* Receives once: how many messages are now complete that were not before. */
    std::size_t receive(std::size_t number);

    /* Waits for events, or looks once if it spins, and calls `on_readable` with the number of each
     * connection that has bytes. */
    template <typename OnReadable>
    void wait(OnReadable on_readable) {
        const int count = wait_for_events();
        for (int i = 0; i < count; ++i) {
            const epoll_event& event = events_[static_cast<std::size_t>(i)];
            if ((event.events & EPOLLOUT) != 0) {
                send(event.data.u64, 0);
            }
            if ((event.events & ~static_cast<std::uint32_t>(EPOLLOUT)) != 0) {
                on_readable(event.data.u64);
            }
        }
    }

 private:
    struct Connection {
        int descriptor = -1;
        std::size_t message_bytes = 0;
        std::size_t partial_bytes = 0; /* of the message that is coming in */
        std::size_t unsent_bytes = 0;
        bool waits_for_out = false;
    };

    int wait_for_events();
    void watch(int operation, std::size_t number, std::uint32_t interest);

    static constexpr int kEventsPerWait = 256;

    std::uint16_t port_;
    Manner manner_;
    int epoll_;
    std::uint64_t no_event_since_ns_ = 0; /* while it spins; 0: the last look brought some */
    std::array<epoll_event, kEventsPerWait> events_;
    std::vector<Connection> connections_;
    std::vector<char> incoming_;
    std::vector<char> outgoing_;
};

}  // namespace cport::perf

#endif
