// Addresses as URLs: tcp://127.0.0.1:8090, tcp://[::1]:8090, tcp://localhost:8090.
#pragma once

#include <sys/socket.h>

#include <string>
#include <vector>

#include "runtime/services/echo/descriptor.h"

namespace cport::programs {

struct Endpoint {
    std::string url;
    std::string host;
    std::string port;
};

struct SocketAddress {
    sockaddr_storage storage{};
    socklen_t length = 0;

    [[nodiscard]] const sockaddr* get() const {
        return reinterpret_cast<const sockaddr*>(&storage);
    }
};

// Throws UsageError.
[[nodiscard]] Endpoint parse_tcp_url(const std::string& text);

// All addresses of a name, in the resolver's order. Throws OperatingError.
[[nodiscard]] std::vector<SocketAddress> resolve(const Endpoint& endpoint);

struct Connected {
    echo::Descriptor socket;
    SocketAddress address;
};

// Connects to the first of a name's addresses that answers; waits. Throws OperatingError.
[[nodiscard]] Connected connect_to(const Endpoint& endpoint);

[[nodiscard]] std::string format_tcp_url(const sockaddr_storage& address);

}  // namespace cport::programs
