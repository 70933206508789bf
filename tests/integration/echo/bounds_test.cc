#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "tests/integration/echo/echo_process.h"
#include "tests/integration/echo/peer.h"

namespace cport::testing {
namespace {

constexpr size_t kFloodingPeers = 50;
constexpr uint64_t kLargestBufferKiB = 256;
constexpr uint64_t kSlackKiB = 16 * 1024;
// A socket that does not become writable for so long is stalled: its peer's queue is full.
constexpr int kStalledMs = 500;
constexpr std::chrono::seconds kGiveUp{60};

// Sends on all until none takes a byte any more.
void flood_until_all_stall(const std::vector<Peer>& peers) {
    const std::string bytes = random_bytes(65536, 3);
    std::vector<pollfd> polled;
    std::transform(peers.begin(), peers.end(), std::back_inserter(polled), [](const Peer& peer) {
        return pollfd{peer.descriptor(), POLLOUT, 0};
    });
    while (poll(polled.data(), polled.size(), kStalledMs) > 0) {
        for (const pollfd& entry : polled) {
            if ((entry.revents & (POLLERR | POLLHUP)) != 0) {
                FAIL() << "the server gave a peer up";
            }
            if ((entry.revents & POLLOUT) != 0) {
                [[maybe_unused]] const ssize_t sent =
                    send(entry.fd, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
            }
        }
    }
}

// Whether a new connection is served; a refused one ends, or is reset, without an echo.
bool serves_new(const EchoServerProcess& server) {
    const Peer peer(server.url());
    return peer.ping();
}

void expect_serves_new_soon(const EchoServerProcess& server) {
    const auto deadline = std::chrono::steady_clock::now() + kGiveUp;
    bool served = false;
    while (!served && std::chrono::steady_clock::now() < deadline) served = serves_new(server);
    EXPECT_TRUE(served);
}

// Spec: ECHO-BOUND-1, ECHO-BOUND-2
TEST(EchoBounds, FloodingPeersStallAndMemoryStaysBounded) {
    EchoServerProcess server;
    const Peer bystander(server.url());
    ASSERT_TRUE(bystander.ping());
    const uint64_t before_kib = server.resident_ki_b();
    std::vector<Peer> peers;
    for (size_t i = 0; i < kFloodingPeers; ++i) {
        peers.emplace_back(server.url());
        // Small queues in the kernel keep the test itself small.
        const int bytes = 65536;
        setsockopt(peers.back().descriptor(), SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
        setsockopt(peers.back().descriptor(), SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    }
    flood_until_all_stall(peers);
    EXPECT_TRUE(bystander.ping());
    const uint64_t after_kib = server.resident_ki_b();
    EXPECT_LE(after_kib, before_kib + kFloodingPeers * kLargestBufferKiB + kSlackKiB);
    EXPECT_TRUE(serves_new(server));
}

// Spec: ECHO-BOUND-3
TEST(EchoBounds, WithoutDescriptorsItRefusesWithoutSpinningAndRecovers) {
    EchoServerProcess server;
    const rlim_t limit = server.descriptor_limit_leaving(4);
    const rlimit few{limit, limit};
    ASSERT_EQ(prlimit(server.process().pid(), RLIMIT_NOFILE, &few, nullptr), 0);
    std::vector<Peer> served;
    bool refused = false;
    while (!refused && served.size() < 64) {
        Peer peer(server.url());
        refused = !peer.ping();
        if (!refused) served.push_back(std::move(peer));
    }
    ASSERT_TRUE(refused);
    ASSERT_GE(served.size(), 1U);
    for (int i = 0; i < 10; ++i) EXPECT_FALSE(serves_new(server));
    // Idle: over half a second the process uses less than a fifth of a processor.
    const uint64_t ticks = server.cpu_ticks();
    pollfd polled{served.front().descriptor(), POLLIN, 0};
    EXPECT_EQ(poll(&polled, 1, 500), 0);
    EXPECT_LT(server.cpu_ticks() - ticks, static_cast<uint64_t>(sysconf(_SC_CLK_TCK)) / 10);
    EXPECT_TRUE(served.front().ping());
    served.pop_back();
    expect_serves_new_soon(server);
}

// Spec: ECHO-BOUND-4
TEST(EchoBounds, BeyondMaxConnectionsItRefuses) {
    EchoServerProcess server({"--max-connections", "2"});
    Peer first(server.url());
    const Peer second(server.url());
    ASSERT_TRUE(first.ping());
    ASSERT_TRUE(second.ping());
    EXPECT_FALSE(serves_new(server));
    EXPECT_TRUE(first.ping());
    first.close();
    expect_serves_new_soon(server);
    EXPECT_TRUE(second.ping());
}

// Spec: ECHO-BOUND-5
TEST(EchoBounds, AnIdleConnectionIsClosed) {
    EchoServerProcess server({"--idle-timeout", "1s"});
    const Peer silent(server.url());
    const Peer once(server.url());
    ASSERT_TRUE(once.ping());
    EXPECT_EQ(silent.receive_all(), "");
    EXPECT_EQ(once.receive_all(), "");
    EXPECT_NE(server.stop().find("2 idle"), std::string::npos);
}

}  // namespace
}  // namespace cport::testing
