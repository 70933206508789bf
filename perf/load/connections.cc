#include "perf/load/connections.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace cport::perf {

namespace {

constexpr std::size_t kReceiveBytes = std::size_t{256} * 1024;
/* As much as one send takes: the largest load has this in flight on a connection. */
constexpr std::size_t kSendBytes = std::size_t{1024} * 1024;
/* No answer for this long means that the server is broken. */
constexpr int kStall_ms = 5000;

int connect_to(std::uint16_t port) {
    const int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0) {
        fail("socket");
    }
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
        fail("connect");
    }
    const int on = 1;
    setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return descriptor;
}

[[noreturn]] void fail_for_silence() {
    errno = ETIMEDOUT;
    fail("no answer");
}

}  // namespace

std::uint64_t now_ns() {
    return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                          std::chrono::steady_clock::now().time_since_epoch())
                                          .count());
}

void fail(const char* what) {
    std::fprintf(stderr, "%s: %s\n", what, std::strerror(errno));
    std::exit(1);
}

Connections::Connections(std::uint16_t port, Manner manner)
    : port_(port),
      manner_(manner),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      incoming_(kReceiveBytes),
      outgoing_(kSendBytes, 'x') {}

Connections::~Connections() {
    for (const Connection& connection : connections_) {
        close(connection.descriptor);
    }
    close(epoll_);
}

void Connections::add(std::size_t message_bytes) {
    Connection connection;
    connection.descriptor = connect_to(port_);
    connection.message_bytes = message_bytes;
    connections_.push_back(connection);
    watch(EPOLL_CTL_ADD, connections_.size() - 1, EPOLLIN);
}

void Connections::send(std::size_t number, std::size_t messages) {
    Connection& connection = connections_[number];
    connection.unsent_bytes += messages * connection.message_bytes;
    const ssize_t taken =
        ::send(connection.descriptor, outgoing_.data(),
               std::min(connection.unsent_bytes, outgoing_.size()), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (taken < 0 && errno != EAGAIN) {
        fail("send");
    }
    connection.unsent_bytes -= taken < 0 ? 0 : static_cast<std::size_t>(taken);
    const bool waits = connection.unsent_bytes != 0;
    if (waits != connection.waits_for_out) {
        connection.waits_for_out = waits;
        watch(EPOLL_CTL_MOD, number, waits ? EPOLLIN | EPOLLOUT : EPOLLIN);
    }
}

std::size_t Connections::receive(std::size_t number) {
    Connection& connection = connections_[number];
    const ssize_t received = recv(connection.descriptor, incoming_.data(), incoming_.size(),
                                  MSG_DONTWAIT | (manner_.discards ? MSG_TRUNC : 0));
    if (received < 0 && errno == EAGAIN) {
        return 0;
    }
    if (received <= 0) {
        fail(received == 0 ? "the server closed a connection" : "recv");
    }
    connection.partial_bytes += static_cast<std::size_t>(received);
    const std::size_t complete = connection.partial_bytes / connection.message_bytes;
    connection.partial_bytes %= connection.message_bytes;
    return complete;
}

int Connections::wait_for_events() {
    const int count =
        epoll_wait(epoll_, events_.data(), kEventsPerWait, manner_.spins ? 0 : kStall_ms);
    if (count > 0) {
        no_event_since_ns_ = 0;
    } else if (count < 0) {
        fail("epoll_wait");
    } else if (!manner_.spins) {
        fail_for_silence();
    } else if (no_event_since_ns_ == 0) {
        no_event_since_ns_ = now_ns();
    } else if (now_ns() - no_event_since_ns_ > std::uint64_t{kStall_ms} * 1'000'000) {
        fail_for_silence();
    }
    return count;
}

void Connections::watch(int operation, std::size_t number, std::uint32_t interest) {
    epoll_event event{};
    event.events = interest;
    event.data.u64 = number;
    epoll_ctl(epoll_, operation, connections_[number].descriptor, &event);
}

}  // namespace cport::perf
