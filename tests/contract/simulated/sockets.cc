// What sockets a test program opens and connects: those of streams and UDP, over loopback and unix,
// are the simulated machine's.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>

#include "tests/contract/simulated/host.h"

CPORT_INTERPOSE(int, socket, int family, int type, int protocol);
CPORT_INTERPOSE(int, socketpair, int family, int type, int protocol, int* ends);
CPORT_INTERPOSE(int, bind, int socket, const struct sockaddr* address, socklen_t length);
CPORT_INTERPOSE(int, listen, int socket, int backlog);
CPORT_INTERPOSE(int, connect, int socket, const struct sockaddr* address, socklen_t length);
CPORT_INTERPOSE(int, accept, int listener, struct sockaddr* address, socklen_t* length);
CPORT_INTERPOSE(int, accept4, int listener, struct sockaddr* address, socklen_t* length, int flags);
CPORT_INTERPOSE(int, getsockname, int socket, struct sockaddr* address, socklen_t* length);
CPORT_INTERPOSE(int, shutdown, int socket, int how);
CPORT_INTERPOSE(int, setsockopt, int socket, int level, int option, const void* value,
                socklen_t length);
CPORT_INTERPOSE(int, getsockopt, int socket, int level, int option, void* value, socklen_t* length);

namespace {

using cport::test::complete;
using cport::test::Ends;
using cport::test::host;
using cport::test::SimulatedNames;
using cport::test::wait_for;
using cport::test::waits;
using cport::test::with_errno;

constexpr int kFlags = SOCK_CLOEXEC | SOCK_NONBLOCK;

// The machine's next: a port of loopback, a name of the kernel's choice.
uint32_t next_name() {
    static std::atomic<uint32_t> last{20'000};
    return ++last;
}

std::string bytes_of(const void* address, size_t length) {
    return {static_cast<const char*>(address), length};
}

// The family is the first that a name says, and all that one says that is no name yet.
sa_family_t family_of(const std::string& name) {
    sa_family_t family = AF_UNSPEC;
    std::memcpy(&family, name.data(), std::min(name.size(), sizeof(family)));
    return family;
}

// A full name in the place of one that leaves its choice to the kernel.
std::string completed(std::string name) {
    struct sockaddr_un unix_name = {};
    switch (family_of(name)) {
        case AF_UNIX: {
            if (name.size() > sizeof(sa_family_t)) return name;
            unix_name.sun_family = AF_UNIX;
            constexpr int kDigits = 5;
            std::snprintf(unix_name.sun_path + 1, kDigits + 1, "%05x", next_name());
            return bytes_of(&unix_name, offsetof(struct sockaddr_un, sun_path) + 1 + kDigits);
        }
        // The port stands at the same place in both.
        case AF_INET:
        case AF_INET6: {
            auto* const port = name.data() + offsetof(struct sockaddr_in, sin_port);
            const uint16_t chosen = htons(static_cast<uint16_t>(next_name()));
            if (port[0] == 0 && port[1] == 0) std::memcpy(port, &chosen, sizeof(chosen));
            return name;
        }
        default:
            return name;
    }
}

// Of a socket of the family that nobody has named.
std::string unnamed(int family) {
    struct sockaddr_in v4 = {};
    v4.sin_family = AF_INET;
    v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct sockaddr_in6 v6 = {};
    v6.sin6_family = AF_INET6;
    v6.sin6_addr = in6addr_loopback;
    const auto unix_family = static_cast<sa_family_t>(AF_UNIX);
    if (family == AF_INET) return bytes_of(&v4, sizeof(v4));
    if (family == AF_INET6) return bytes_of(&v6, sizeof(v6));
    return bytes_of(&unix_family, sizeof(unix_family));
}

std::string name_of(int socket) {
    SimulatedNames names;
    host().names(socket, names);
    return names.own;
}

}  // namespace

int simulated_socket(int family, int type, int protocol) {
    const bool is_inet = family == AF_INET || family == AF_INET6;
    const int kind = type & ~kFlags;
    int opened = 0;
    if (kind == SOCK_STREAM && (is_inet || family == AF_UNIX) && protocol == 0) {
        opened = host().open_stream_socket(is_inet, type & kFlags);
    } else if (kind == SOCK_DGRAM && is_inet && protocol == 0) {
        opened = host().open_datagram_socket(type & kFlags);
    } else {
        return real_socket(family, type, protocol);
    }
    if (opened >= 0) host().name(opened, unnamed(family));
    return with_errno(opened);
}

int simulated_socketpair(int family, int type, int protocol, int* ends) {
    if (family != AF_UNIX || protocol != 0) {
        return real_socketpair(family, type, protocol, ends);
    }
    Ends opened{};
    const int error = host().open_unix_pair(type & ~kFlags, type & kFlags, opened);
    if (error != 0) return with_errno(error);
    ends[0] = opened.ours;
    ends[1] = opened.theirs;
    return 0;
}

int simulated_bind(int socket, const struct sockaddr* address, socklen_t length) {
    if (!host().has(socket)) return real_bind(socket, address, length);
    return with_errno(host().name(socket, completed(bytes_of(address, length))));
}

int simulated_listen(int socket, int backlog) {
    if (!host().has(socket)) return real_listen(socket, backlog);
    const std::string name = name_of(socket);
    if (family_of(name) != AF_UNIX) host().name(socket, completed(name));
    return with_errno(host().listen(socket, backlog));
}

int simulated_connect(int socket, const struct sockaddr* address, socklen_t length) {
    if (!host().has(socket)) return real_connect(socket, address, length);
    const std::string name = name_of(socket);
    if (family_of(name) != AF_UNIX) host().name(socket, completed(name));
    int answer = host().connect(socket, address, length);
    if (answer == -EINPROGRESS && waits(socket)) {
        wait_for(socket, POLLOUT);
        answer = host().connect(socket, address, length);
    }
    return with_errno(answer);
}

int simulated_accept(int listener, struct sockaddr* address, socklen_t* length) {
    return simulated_accept4(listener, address, length, 0);
}

int simulated_accept4(int listener, struct sockaddr* address, socklen_t* length, int flags) {
    if (!host().has(listener)) return real_accept4(listener, address, length, flags);
    return with_errno(complete(listener, POLLIN, 0,
                               [&] { return host().accept(listener, address, length, flags); }));
}

int simulated_getsockname(int socket, struct sockaddr* address, socklen_t* length) {
    if (!host().has(socket)) return real_getsockname(socket, address, length);
    const std::string name = name_of(socket);
    std::memcpy(address, name.data(), std::min<size_t>(name.size(), *length));
    *length = static_cast<socklen_t>(name.size());
    return 0;
}

int simulated_shutdown(int socket, int how) {
    if (!host().has(socket)) return real_shutdown(socket, how);
    return with_errno(host().shutdown(socket, how));
}

int simulated_setsockopt(int socket, int level, int option, const void* value, socklen_t length) {
    if (!host().has(socket)) return real_setsockopt(socket, level, option, value, length);
    if (level == SOL_SOCKET && option == SO_LINGER) {
        return with_errno(host().reset_when_closed(socket));
    }
    // Nobody waits for a full segment here.
    if (level == IPPROTO_TCP && option == TCP_NODELAY) return 0;
    return with_errno(-ENOPROTOOPT);
}

int simulated_getsockopt(int socket, int level, int option, void* value, socklen_t* length) {
    if (!host().has(socket)) return real_getsockopt(socket, level, option, value, length);
    int answer = -ENOPROTOOPT;
    if (level == SOL_SOCKET && option == SO_ERROR) answer = -host().take_socket_error(socket);
    if (level == SOL_SOCKET && option == SO_TYPE) answer = host().socket_type(socket);
    if (answer < 0) return with_errno(answer);
    std::memcpy(value, &answer, sizeof(answer));
    *length = sizeof(answer);
    return 0;
}
