#include "tests/integration/echo/peer.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <random>
#include <vector>

#include "runtime/programs/common/network_address.h"

namespace cport::testing {
namespace {

constexpr time_t kGiveUpSeconds = 60;
constexpr size_t kChunkBytes = 65536;

}  // namespace

Peer::Peer(const std::string& url)
    : socket_(programs::connect_to(programs::parse_tcp_url(url)).socket) {
    timeval timeout{};
    timeout.tv_sec = kGiveUpSeconds;
    setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    setsockopt(socket_.get(), SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
}

bool Peer::send(const std::string& bytes) const {
    for (size_t sent = 0; sent < bytes.size();) {
        const ssize_t count =
            ::send(socket_.get(), bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
        if (count <= 0) return false;
        sent += static_cast<size_t>(count);
    }
    return true;
}

std::string Peer::receive(size_t count) const {
    std::string bytes;
    std::vector<char> chunk(kChunkBytes);
    while (bytes.size() < count) {
        const size_t wanted = std::min(chunk.size(), count - bytes.size());
        const ssize_t received = recv(socket_.get(), chunk.data(), wanted, 0);
        if (received <= 0) break;
        bytes.append(chunk.data(), static_cast<size_t>(received));
    }
    return bytes;
}

std::string Peer::receive_all() const { return receive(SIZE_MAX); }

bool Peer::ping() const {
    const std::string message(kPingBytes, '?');
    return send(message) && receive(message.size()) == message;
}

void Peer::half_close() const { EXPECT_EQ(shutdown(socket_.get(), SHUT_WR), 0); }

void Peer::reset() {
    const linger at_once{1, 0};
    EXPECT_EQ(setsockopt(socket_.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)), 0);
    socket_.reset();
}

std::string random_bytes(size_t count, uint32_t seed) {
    std::mt19937 random(seed);
    std::string bytes(count, '\0');
    std::generate(bytes.begin(), bytes.end(), [&] { return static_cast<char>(random() & 0xff); });
    return bytes;
}

Listening listen_on_loopback() {
    Listening result{echo::Descriptor(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), ""};
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(
        bind(result.socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(listen(result.socket.get(), 128), 0);
    sockaddr_storage bound{};
    socklen_t length = sizeof(bound);
    EXPECT_EQ(getsockname(result.socket.get(), reinterpret_cast<sockaddr*>(&bound), &length), 0);
    result.url = programs::format_tcp_url(bound);
    return result;
}

}  // namespace cport::testing
