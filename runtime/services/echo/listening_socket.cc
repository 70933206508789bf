#include "runtime/services/echo/listening_socket.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <utility>

namespace cport::echo {
namespace {

int set_flag(int socket, int level, int option) {
    const int on = 1;
    return setsockopt(socket, level, option, &on, sizeof(on)) == 0 ? 0 : -errno;
}

// Accepted sockets inherit TCP_NODELAY from the listener, which saves a system call for each.
int bind_socket(const sockaddr* address, socklen_t address_length, bool share_port,
                Descriptor* result) {
    Descriptor listener(
        socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
    if (!listener.valid()) return -errno;
    int status = set_flag(listener.get(), SOL_SOCKET, SO_REUSEADDR);
    if (status == 0 && address->sa_family == AF_INET6) {
        status = set_flag(listener.get(), IPPROTO_IPV6, IPV6_V6ONLY);
    }
    if (status == 0 && share_port) status = set_flag(listener.get(), SOL_SOCKET, SO_REUSEPORT);
    if (status == 0) status = set_flag(listener.get(), IPPROTO_TCP, TCP_NODELAY);
    if (status != 0) return status;
    if (bind(listener.get(), address, address_length) != 0) return -errno;
    *result = std::move(listener);
    return 0;
}

int bind_and_listen(const sockaddr* address, socklen_t address_length, bool share_port,
                    uint32_t backlog, Descriptor* result) {
    Descriptor listener;
    const int status = bind_socket(address, address_length, share_port, &listener);
    if (status != 0) return status;
    const auto length = static_cast<int>(std::min<uint32_t>(backlog, INT_MAX));
    if (listen(listener.get(), length) != 0) return -errno;
    *result = std::move(listener);
    return 0;
}

}  // namespace

int listen_on(const sockaddr* address, socklen_t address_length, uint32_t count, uint32_t backlog,
              std::vector<Descriptor>* sockets, sockaddr_storage* bound) {
    const bool share_port = count > 1;
    if (share_port) {
        // A second server with SO_REUSEPORT would join the first silently and take half of its
        // connections; a socket without it finds out.
        Descriptor probe;
        const int status = bind_and_listen(address, address_length, false, 1, &probe);
        if (status != 0) return status;
    }
    sockaddr_storage chosen{};
    socklen_t chosen_length = sizeof(chosen);
    for (uint32_t i = 0; i < count; ++i) {
        const auto* target = i == 0 ? address : reinterpret_cast<const sockaddr*>(&chosen);
        const socklen_t target_length = i == 0 ? address_length : chosen_length;
        Descriptor listener;
        const int status = bind_and_listen(target, target_length, share_port, backlog, &listener);
        if (status != 0) return status;
        if (i == 0 && getsockname(listener.get(), reinterpret_cast<sockaddr*>(&chosen),
                                  &chosen_length) != 0) {
            return -errno;
        }
        sockets->push_back(std::move(listener));
    }
    *bound = chosen;
    return 0;
}

}  // namespace cport::echo
