#include "tests/support/sockets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

namespace cport::test {
namespace {

// The result of a call that a test cannot go on without.
template <typename Result>
Result must(Result result, const char* what) {
    if (result < 0) {
        std::fprintf(stderr, "test support: %s: %s\n", what, std::strerror(errno));
        std::abort();
    }
    return result;
}

struct Address {
    sockaddr_storage storage{};
    socklen_t length = sizeof(sockaddr_storage);

    sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

Address loopback(int family) {
    Address address;
    if (family == AF_INET6) {
        auto* v6 = reinterpret_cast<sockaddr_in6*>(&address.storage);
        v6->sin6_family = AF_INET6;
        v6->sin6_addr = in6addr_loopback;
        address.length = sizeof(sockaddr_in6);
    } else {
        auto* v4 = reinterpret_cast<sockaddr_in*>(&address.storage);
        v4->sin_family = AF_INET;
        v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        address.length = sizeof(sockaddr_in);
    }
    return address;
}

Descriptor open_socket(int family, int type) {
    return Descriptor(must(::socket(family, type | SOCK_CLOEXEC, 0), "socket"));
}

void bind_to_loopback(int socket, int family) {
    Address address = loopback(family);
    must(::bind(socket, address.get(), address.length), "bind");
}

Address name_of(int socket) {
    Address address;
    must(::getsockname(socket, address.get(), &address.length), "getsockname");
    return address;
}

void connect_to(int socket, int other) {
    Address address = name_of(other);
    must(::connect(socket, address.get(), address.length), "connect");
}

void set_no_delay(int socket) {
    const int on = 1;
    must(::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), "TCP_NODELAY");
}

Pair connected_tcp(Descriptor ours, int family) {
    Descriptor listener = open_socket(family, SOCK_STREAM);
    bind_to_loopback(listener.get(), family);
    must(::listen(listener.get(), 1), "listen");
    connect_to(ours.get(), listener.get());
    Descriptor theirs(must(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC), "accept4"));
    set_no_delay(ours.get());
    set_no_delay(theirs.get());
    return Pair{std::move(ours), std::move(theirs)};
}

// Whether bytes of a TCP socket are on their way: their acknowledgement makes room for more.
bool acknowledgements_outstanding(int socket) {
    int unacknowledged = 0;
    int unsent = 0;
    return ::ioctl(socket, SIOCOUTQ, &unacknowledged) == 0 &&
           ::ioctl(socket, SIOCOUTQNSD, &unsent) == 0 && unacknowledged != unsent;
}

bool try_again() { return errno == EAGAIN || errno == EINTR; }

}  // namespace

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
    if (this != &other) {
        close();
        number_ = other.release();
    }
    return *this;
}

int Descriptor::release() { return std::exchange(number_, -1); }

void Descriptor::close() {
    if (number_ >= 0) {
        ::close(release());
    }
}

Pair tcp_pair(int family) { return connected_tcp(open_socket(family, SOCK_STREAM), family); }

std::optional<Pair> tcp_pair_with_receive_buffer(int bytes) {
    Descriptor ours = open_socket(AF_INET, SOCK_STREAM);
    if (::setsockopt(ours.get(), SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) < 0) {
        return std::nullopt;
    }
    return connected_tcp(std::move(ours), AF_INET);
}

Pair udp_pair(int family) {
    Pair pair{open_socket(family, SOCK_DGRAM), open_socket(family, SOCK_DGRAM)};
    bind_to_loopback(pair.ours.get(), family);
    bind_to_loopback(pair.theirs.get(), family);
    connect_to(pair.ours.get(), pair.theirs.get());
    connect_to(pair.theirs.get(), pair.ours.get());
    return pair;
}

Pair unix_pair(int type) {
    int ends[2];
    must(::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends), "socketpair");
    return Pair{Descriptor(ends[0]), Descriptor(ends[1])};
}

Pair pipe_pair() {
    int ends[2];
    must(::pipe2(ends, O_CLOEXEC), "pipe2");
    return Pair{Descriptor(ends[0]), Descriptor(ends[1])};
}

Descriptor fresh_tcp_socket() { return open_socket(AF_INET, SOCK_STREAM); }

Descriptor udp_to_nobody() {
    Descriptor nobody = open_socket(AF_INET, SOCK_DGRAM);
    bind_to_loopback(nobody.get(), AF_INET);
    Descriptor socket = open_socket(AF_INET, SOCK_DGRAM);
    connect_to(socket.get(), nobody.get());
    return socket;
}

Descriptor ready_eventfd() { return Descriptor(must(::eventfd(1, EFD_CLOEXEC), "eventfd")); }

Descriptor idle_eventfd() { return Descriptor(must(::eventfd(0, EFD_CLOEXEC), "eventfd")); }

int closed_number() {
    Descriptor probe = idle_eventfd();
    // Far from the numbers that other threads get meanwhile.
    const int number = must(::fcntl(probe.get(), F_DUPFD_CLOEXEC, 500), "F_DUPFD");
    ::close(number);
    return number;
}

void write_all(int socket, std::string_view bytes) {
    while (!bytes.empty()) {
        const ssize_t sent = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (sent < 0 && try_again()) {
            wait_until_polled(socket, POLLOUT);
            continue;
        }
        bytes.remove_prefix(static_cast<size_t>(must(sent, "send")));
    }
}

std::string read_exactly(int socket, size_t length) {
    std::string bytes(length, '\0');
    size_t filled = 0;
    while (filled < length) {
        const ssize_t got = ::recv(socket, bytes.data() + filled, length - filled, 0);
        if (got < 0 && try_again()) {
            wait_until_polled(socket, POLLIN);
            continue;
        }
        if (must(got, "recv") == 0) {
            break;
        }
        filled += static_cast<size_t>(got);
    }
    bytes.resize(filled);
    return bytes;
}

std::string read_to_end(int socket) {
    std::string bytes;
    while (true) {
        const std::string chunk = read_exactly(socket, 1 << 16);
        bytes += chunk;
        if (chunk.size() < (1 << 16)) {
            return bytes;
        }
    }
}

std::string read_available(int socket) {
    std::string bytes;
    std::vector<char> chunk(1 << 16);
    while (true) {
        const ssize_t got = ::recv(socket, chunk.data(), chunk.size(), MSG_DONTWAIT);
        if (got <= 0) {
            return bytes;
        }
        bytes.append(chunk.data(), static_cast<size_t>(got));
    }
}

void write_urgent(int socket, char byte) { must(::send(socket, &byte, 1, MSG_OOB), "send OOB"); }

void write_with_descriptor(int socket, std::string_view bytes, int descriptor) {
    iovec part{const_cast<char*>(bytes.data()), bytes.size()};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
    must(::sendmsg(socket, &message, MSG_NOSIGNAL), "sendmsg");
}

size_t fill_send_buffer(int socket) {
    const std::string chunk(1 << 16, 'f');
    size_t filled = 0;
    while (true) {
        // Asked before the send: what is acknowledged between the two makes room that the send
        // finds.
        const bool settled = !acknowledgements_outstanding(socket);
        const ssize_t sent =
            ::send(socket, chunk.data(), chunk.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent >= 0) {
            filled += static_cast<size_t>(sent);
        } else if (settled) {
            return filled;
        } else {
            ::sched_yield();
        }
    }
}

void close_with_reset(Descriptor& socket) {
    const linger now{1, 0};
    must(::setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now), "SO_LINGER");
    socket.close();
}

void half_close(int socket) { must(::shutdown(socket, SHUT_WR), "shutdown"); }

short wait_until_polled(int descriptor, short events) {
    pollfd polled{descriptor, events, 0};
    while (::poll(&polled, 1, -1) < 0) {
        if (errno != EINTR) {
            must(-1, "poll");
        }
    }
    return polled.revents;
}

void wait_until_unread(int socket, size_t bytes) {
    int unread = 0;
    do {
        ::sched_yield();
        must(::ioctl(socket, FIONREAD, &unread), "FIONREAD");
    } while (static_cast<size_t>(unread) < bytes);
}

std::string pattern(size_t length, uint32_t seed) {
    // It repeats after a prime number of bytes: no block of a usual size is lost or doubled unseen.
    constexpr size_t kPeriod_bytes = 65'521;
    std::string bytes(std::min(length, kPeriod_bytes), '\0');
    uint32_t state = seed * 2654435761u + 1;
    std::generate(bytes.begin(), bytes.end(), [&state] {
        state = state * 1664525u + 1013904223u;
        return static_cast<char>(state >> 24);
    });
    bytes.reserve(length);
    while (bytes.size() < length) {
        bytes.append(bytes, 0, std::min(kPeriod_bytes, length - bytes.size()));
    }
    return bytes;
}

}  // namespace cport::test
