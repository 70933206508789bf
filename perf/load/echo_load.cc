/* The load of the echo comparison: the same for every server, and written over none of them. One
 * thread, level-triggered epoll, a fixed number of connections that each keep a fixed number of
 * messages in flight. Prints one line of JSON. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "perf/load/histogram.h"

namespace cport::perf {

namespace {

constexpr int kEventsPerWait = 256;
constexpr std::size_t kReceiveBytes = std::size_t{256} * 1024;
/* No answer for this long means that the server is broken; the run ends with status 1. */
constexpr int kStall_ms = 5000;

struct Options {
    std::uint16_t port = 0;
    std::size_t connections = 0;
    std::size_t message_bytes = 0;
    std::size_t depth = 0;
    double warm_up_s = 0;
    double duration_s = 0;
};

std::uint64_t now_ns() {
    return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                          std::chrono::steady_clock::now().time_since_epoch())
                                          .count());
}

[[noreturn]] void fail(const char* what) {
    std::fprintf(stderr, "%s: %s\n", what, std::strerror(errno));
    std::exit(1);
}

struct Connection {
    int descriptor = -1;
    std::size_t partial_bytes = 0; /* of the message that is coming in */
    std::size_t unsent_bytes = 0;
    bool waits_for_out = false;
    std::size_t oldest = 0;             /* index into sent_ns */
    std::vector<std::uint64_t> sent_ns; /* a ring of `depth` send times */
};

class EchoLoad {
 public:
    explicit EchoLoad(const Options& options)
        : options_(options),
          epoll_(epoll_create1(EPOLL_CLOEXEC)),
          outgoing_(options.message_bytes * options.depth, 'x'),
          incoming_(kReceiveBytes),
          connections_(options.connections) {
        for (std::size_t i = 0; i < connections_.size(); ++i) {
            connect_one(connections_[i], i);
        }
    }

    EchoLoad(const EchoLoad&) = delete;
    EchoLoad& operator=(const EchoLoad&) = delete;

    ~EchoLoad() {
        for (const Connection& connection : connections_) {
            close(connection.descriptor);
        }
        close(epoll_);
    }

    void run() {
        const std::uint64_t start_ns = now_ns();
        for (Connection& connection : connections_) {
            std::fill(connection.sent_ns.begin(), connection.sent_ns.end(), start_ns);
            queue(connection, options_.depth);
        }
        const std::uint64_t warm_ns =
            start_ns + static_cast<std::uint64_t>(options_.warm_up_s * 1e9);
        measured_from_ns_ = serve_until(warm_ns);
        measuring_ = true;
        measured_to_ns_ =
            serve_until(measured_from_ns_ + static_cast<std::uint64_t>(options_.duration_s * 1e9));
    }

    void report() const {
        const double seconds = static_cast<double>(measured_to_ns_ - measured_from_ns_) / 1e9;
        const auto microseconds = [this](double quantile) {
            return static_cast<double>(latency_.quantile_ns(quantile)) / 1e3;
        };
        std::printf(
            "{\"messages\": %llu, \"messages_with_warm_up\": %llu, \"seconds\": %.6f, "
            "\"messages_per_second\": %.1f, \"latency_us\": {\"p50\": %.2f, \"p90\": %.2f, "
            "\"p99\": %.2f, \"p999\": %.2f, \"max\": %.2f}}\n",
            static_cast<unsigned long long>(latency_.total()),
            static_cast<unsigned long long>(received_), seconds,
            static_cast<double>(latency_.total()) / seconds, microseconds(0.5), microseconds(0.9),
            microseconds(0.99), microseconds(0.999),
            static_cast<double>(latency_.largest_ns()) / 1e3);
    }

 private:
    void connect_one(Connection& connection, std::size_t index) {
        connection.descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connection.descriptor < 0) {
            fail("socket");
        }
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(options_.port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        if (connect(connection.descriptor, reinterpret_cast<sockaddr*>(&address),
                    sizeof(address)) != 0) {
            fail("connect");
        }
        const int on = 1;
        setsockopt(connection.descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        connection.sent_ns.resize(options_.depth);
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.u64 = index;
        epoll_ctl(epoll_, EPOLL_CTL_ADD, connection.descriptor, &event);
    }

    /* Returns the time at which it stopped. */
    std::uint64_t serve_until(std::uint64_t end_ns) {
        std::array<epoll_event, kEventsPerWait> events;
        for (;;) {
            const int count = epoll_wait(epoll_, events.data(), kEventsPerWait, kStall_ms);
            if (count == 0) {
                errno = ETIMEDOUT;
                fail("no answer");
            }
            std::uint64_t time_ns = now_ns();
            if (time_ns >= end_ns) {
                return time_ns;
            }
            for (int i = 0; i < count; ++i) {
                const epoll_event& event = events[static_cast<std::size_t>(i)];
                Connection& connection = connections_[event.data.u64];
                if ((event.events & EPOLLOUT) != 0) {
                    queue(connection, 0);
                }
                if ((event.events & ~static_cast<std::uint32_t>(EPOLLOUT)) != 0) {
                    receive(connection);
                }
            }
        }
    }

    void receive(Connection& connection) {
        const ssize_t received =
            recv(connection.descriptor, incoming_.data(), incoming_.size(), MSG_DONTWAIT);
        if (received < 0 && errno == EAGAIN) {
            return;
        }
        if (received <= 0) {
            fail(received == 0 ? "the server closed a connection" : "recv");
        }
        connection.partial_bytes += static_cast<std::size_t>(received);
        const std::size_t complete = connection.partial_bytes / options_.message_bytes;
        connection.partial_bytes %= options_.message_bytes;
        if (complete == 0) {
            return;
        }
        received_ += complete;
        const std::uint64_t time_ns = now_ns();
        for (std::size_t i = 0; i < complete; ++i) {
            std::uint64_t& sent_ns = connection.sent_ns[connection.oldest];
            if (measuring_) {
                latency_.record(time_ns - sent_ns, 1);
            }
            sent_ns = time_ns;
            connection.oldest = connection.oldest + 1 == options_.depth ? 0 : connection.oldest + 1;
        }
        queue(connection, complete);
    }

    /* At most `depth` messages are unsent at any time, so one buffer of that size serves all. */
    void queue(Connection& connection, std::size_t messages) {
        connection.unsent_bytes += messages * options_.message_bytes;
        const ssize_t taken = send(connection.descriptor, outgoing_.data(), connection.unsent_bytes,
                                   MSG_DONTWAIT | MSG_NOSIGNAL);
        if (taken < 0 && errno != EAGAIN) {
            fail("send");
        }
        connection.unsent_bytes -= taken < 0 ? 0 : static_cast<std::size_t>(taken);
        const bool waits = connection.unsent_bytes != 0;
        if (waits != connection.waits_for_out) {
            connection.waits_for_out = waits;
            epoll_event event{};
            event.events = waits ? EPOLLIN | EPOLLOUT : EPOLLIN;
            event.data.u64 = static_cast<std::uint64_t>(&connection - connections_.data());
            epoll_ctl(epoll_, EPOLL_CTL_MOD, connection.descriptor, &event);
        }
    }

    Options options_;
    int epoll_;
    std::vector<char> outgoing_;
    std::vector<char> incoming_;
    std::vector<Connection> connections_;
    Histogram latency_;
    bool measuring_ = false;
    std::uint64_t received_ = 0;
    std::uint64_t measured_from_ns_ = 0;
    std::uint64_t measured_to_ns_ = 0;
};

Options parse(int argc, char** argv) {
    Options options;
    if (argc == 7) {
        options.port = static_cast<std::uint16_t>(std::strtoul(argv[1], nullptr, 10));
        options.connections = std::strtoul(argv[2], nullptr, 10);
        options.message_bytes = std::strtoul(argv[3], nullptr, 10);
        options.depth = std::strtoul(argv[4], nullptr, 10);
        options.warm_up_s = std::strtod(argv[5], nullptr);
        options.duration_s = std::strtod(argv[6], nullptr);
    }
    if (options.port == 0 || options.connections == 0 || options.message_bytes == 0 ||
        options.depth == 0 || options.duration_s <= 0) {
        std::fprintf(stderr,
                     "usage: %s PORT CONNECTIONS MESSAGE_BYTES DEPTH WARM_UP_S DURATION_S\n",
                     argv[0]);
        std::exit(2);
    }
    return options;
}

}  // namespace

}  // namespace cport::perf

int main(int argc, char** argv) {
    const auto load = std::make_unique<cport::perf::EchoLoad>(cport::perf::parse(argc, argv));
    load->run();
    load->report();
    return 0;
}
