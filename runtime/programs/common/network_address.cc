#include "runtime/programs/common/network_address.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>

#include "runtime/programs/common/errors.h"

namespace cport::programs {
namespace {

constexpr std::string_view kScheme = "tcp://";

[[noreturn]] void refuse(const std::string& text) {
    throw UsageError(
        fmt::format("'{}' is not an address: give tcp://HOST:PORT, such as tcp://127.0.0.1:8090, "
                    "tcp://[::1]:8090 or tcp://localhost:8090",
                    text));
}

bool is_port(std::string_view text) {
    uint16_t port = 0;
    const auto result = std::from_chars(text.data(), text.data() + text.size(), port);
    return result.ec == std::errc() && result.ptr == text.data() + text.size();
}

}  // namespace

Endpoint parse_tcp_url(const std::string& text) {
    if (text.compare(0, kScheme.size(), kScheme) != 0) refuse(text);
    const std::string rest = text.substr(kScheme.size());
    const size_t colon = rest.rfind(':');
    if (colon == std::string::npos) refuse(text);
    Endpoint endpoint{text, rest.substr(0, colon), rest.substr(colon + 1)};
    const bool bracketed =
        endpoint.host.size() > 2 && endpoint.host.front() == '[' && endpoint.host.back() == ']';
    if (bracketed) {
        endpoint.host = endpoint.host.substr(1, endpoint.host.size() - 2);
    } else if (endpoint.host.find_first_of(":[]/") != std::string::npos) {
        refuse(text);
    }
    if (endpoint.host.empty() || !is_port(endpoint.port)) refuse(text);
    return endpoint;
}

std::vector<SocketAddress> resolve(const Endpoint& endpoint) {
    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_NUMERICSERV;
    addrinfo* found = nullptr;
    const int error = getaddrinfo(endpoint.host.c_str(), endpoint.port.c_str(), &hints, &found);
    if (error != 0) {
        throw OperatingError(
            fmt::format("cannot resolve {}: {}", endpoint.url,
                        error == EAI_SYSTEM ? error_text(errno) : gai_strerror(error)));
    }
    const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, freeaddrinfo);
    std::vector<SocketAddress> addresses;
    for (const addrinfo* entry = found; entry != nullptr; entry = entry->ai_next) {
        if (entry->ai_family == AF_INET || entry->ai_family == AF_INET6) {
            SocketAddress address;
            std::memcpy(&address.storage, entry->ai_addr, entry->ai_addrlen);
            address.length = entry->ai_addrlen;
            addresses.push_back(address);
        }
    }
    if (addresses.empty()) {
        throw OperatingError(fmt::format("{} has no IPv4 or IPv6 address", endpoint.url));
    }
    return addresses;
}

Connected connect_to(const Endpoint& endpoint) {
    int error = 0;
    for (const SocketAddress& address : resolve(endpoint)) {
        echo::Descriptor attempt(
            socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP));
        if (attempt.valid() && ::connect(attempt.get(), address.get(), address.length) == 0) {
            return {std::move(attempt), address};
        }
        error = errno;
    }
    throw OperatingError(fmt::format("cannot connect to {}: {}", endpoint.url, error_text(error)));
}

std::string format_tcp_url(const sockaddr_storage& address) {
    std::array<char, INET6_ADDRSTRLEN> host{};
    if (address.ss_family == AF_INET6) {
        sockaddr_in6 v6{};
        std::memcpy(&v6, &address, sizeof(v6));
        inet_ntop(AF_INET6, &v6.sin6_addr, host.data(), host.size());
        return fmt::format("tcp://[{}]:{}", host.data(), ntohs(v6.sin6_port));
    }
    sockaddr_in v4{};
    std::memcpy(&v4, &address, sizeof(v4));
    inet_ntop(AF_INET, &v4.sin_addr, host.data(), host.size());
    return fmt::format("tcp://{}:{}", host.data(), ntohs(v4.sin_port));
}

}  // namespace cport::programs
