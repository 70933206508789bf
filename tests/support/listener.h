// Listening sockets for tests, who connects to them, and descriptors that do not block.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "tests/support/sockets.h"

namespace cport::test {

inline void set_non_blocking(int descriptor) {
    ASSERT_EQ(::fcntl(descriptor, F_SETFL, ::fcntl(descriptor, F_GETFL) | O_NONBLOCK), 0);
}

// A listening socket that does not block, and where it listens.
struct Listener {
    Descriptor socket;
    sockaddr_storage address{};
    socklen_t length = sizeof(address);

    const sockaddr* where() const { return reinterpret_cast<const sockaddr*>(&address); }
};

// `family` is AF_INET or AF_UNIX.
inline Listener listen_on(int family, int backlog = 256) {
    Listener listener;
    listener.socket = Descriptor(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_in loopback{};
    loopback.sin_family = AF_INET;
    loopback.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    // The kernel chooses a name for a unix socket that brings none.
    sockaddr_un nameless{};
    nameless.sun_family = AF_UNIX;
    const bool is_unix = family == AF_UNIX;
    const auto* name = is_unix ? reinterpret_cast<const sockaddr*>(&nameless)
                               : reinterpret_cast<const sockaddr*>(&loopback);
    const socklen_t length = is_unix ? sizeof(sa_family_t) : sizeof(loopback);
    const int descriptor = listener.socket.get();
    EXPECT_EQ(::bind(descriptor, name, length), 0);
    EXPECT_EQ(::listen(descriptor, backlog), 0);
    EXPECT_EQ(
        ::getsockname(descriptor, reinterpret_cast<sockaddr*>(&listener.address), &listener.length),
        0);
    return listener;
}

inline Descriptor socket_of_family(int family, int flags = 0) {
    return Descriptor(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0));
}

inline Descriptor connect_to(const Listener& listener) {
    Descriptor client = socket_of_family(listener.address.ss_family);
    EXPECT_EQ(::connect(client.get(), listener.where(), listener.length), 0);
    return client;
}

}  // namespace cport::test
