#include "perf/peers/listener.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace cport::perf {

namespace {

constexpr int kBacklog = 4096;

[[noreturn]] void fail(const char* what) {
    std::fprintf(stderr, "%s: %s\n", what, std::strerror(errno));
    std::exit(1);
}

}  // namespace

std::uint16_t parse_port(int argc, char** argv) {
    char* end = nullptr;
    const unsigned long port = argc == 2 ? std::strtoul(argv[1], &end, 10) : 0;
    if (end == nullptr || end == argv[1] || *end != '\0' || port > UINT16_MAX) {
        std::fprintf(stderr, "usage: %s PORT (0 to 65535; 0 = any free port)\n", argv[0]);
        std::exit(2);
    }
    return static_cast<std::uint16_t>(port);
}

int listen_on_loopback(std::uint16_t port) {
    const int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener < 0) {
        fail("socket");
    }
    const int on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
        fail("bind");
    }
    if (listen(listener, kBacklog) != 0) {
        fail("listen");
    }
    return listener;
}

int accept_connection(int listener) {
    const int connection = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (connection >= 0) {
        const int on = 1;
        setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    }
    return connection;
}

void announce(int listener) {
    sockaddr_in address{};
    socklen_t length = sizeof(address);
    if (getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
        fail("getsockname");
    }
    std::printf("listening on tcp://127.0.0.1:%d\n", ntohs(address.sin_port));
    std::fflush(stdout);
}

}  // namespace cport::perf
