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
constexpr uint64_t kLargestBufferBytes = 1024 * 1024;
// What the bystanders' connections hold.
constexpr uint64_t kSmallBuffersBytes = 64 * 1024;
constexpr uint64_t kLastBufferBytes = 4096;
constexpr uint64_t kSlackKiB = 16 * 1024;
constexpr std::chrono::seconds kGiveUp{60};

// Sends what every writable peer takes; whether there was one.
bool flood(std::vector<pollfd>& polled, const std::string& bytes) {
    if (poll(polled.data(), polled.size(), 0) == 0) return false;
    for (const pollfd& entry : polled) {
        EXPECT_EQ(entry.revents & (POLLERR | POLLHUP), 0) << "the server gave a peer up";
        if ((entry.revents & POLLOUT) != 0) {
            [[maybe_unused]] const ssize_t sent =
                send(entry.fd, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        }
    }
    return true;
}

std::vector<Peer> connect_flooding_peers(const EchoServerProcess& server) {
    std::vector<Peer> peers;
    for (size_t i = 0; i < kFloodingPeers; ++i) {
        peers.emplace_back(server.url());
        // Small queues in the kernel keep the test itself small.
        const int bytes = 65536;
        setsockopt(peers.back().descriptor(), SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
        setsockopt(peers.back().descriptor(), SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    }
    return peers;
}

// Sends on all until none takes a byte, and the server, in a round that served the bystander, took
// none from them either: before a worker comes to the bystander it has looked at every peer that
// had something to read.
void flood_until_all_stall(EchoServerProcess& server, const Peer& bystander,
                           const std::vector<Peer>& peers, uint64_t resident_kib_max) {
    const std::string bytes = random_bytes(65536, 3);
    std::vector<pollfd> polled;
    std::transform(peers.begin(), peers.end(), std::back_inserter(polled), [](const Peer& peer) {
        return pollfd{peer.descriptor(), POLLOUT, 0};
    });
    const auto deadline = std::chrono::steady_clock::now() + kGiveUp;
    uint64_t received = 0;
    bool stalled = false;
    while (!stalled && !::testing::Test::HasFailure()) {
        ASSERT_LT(std::chrono::steady_clock::now(), deadline) << "the peers do not stall";
        const bool taken = flood(polled, bytes);
        ASSERT_TRUE(bystander.ping());
        const uint64_t before = received;
        received = count_of("bytes received", server.counts());
        if (!taken && received == before + Peer::kPingBytes) {
            // The bystander goes before the others, so that its answer proves nothing of them.
            server.expect_falls_asleep();
            stalled =
                !flood(polled, bytes) && count_of("bytes received", server.counts()) == received;
        }
        ASSERT_LE(server.resident_kib(), resident_kib_max);
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
    const uint64_t before_kib = server.resident_kib();
    const std::vector<Peer> peers = connect_flooding_peers(server);
    const uint64_t buffers_max = kFloodingPeers * kLargestBufferBytes + kSmallBuffersBytes;
    flood_until_all_stall(server, bystander, peers, before_kib + buffers_max / 1024 + kSlackKiB);
    EXPECT_LE(count_of("bytes of buffers", server.counts()), buffers_max);
    EXPECT_TRUE(serves_new(server));
}

// Spec: ECHO-BOUND-7
TEST(EchoBounds, PeersThatHoldAllBuffersKeepNobodyFromBeingServed) {
    constexpr uint64_t kBuffersBytes = 64 * 1024;
    EchoServerProcess server({"--buffers", "64KiB"});
    const Peer bystander(server.url());
    ASSERT_TRUE(bystander.ping());
    const std::vector<Peer> peers = connect_flooding_peers(server);
    flood_until_all_stall(server, bystander, peers, UINT64_MAX);
    const uint64_t held = count_of("bytes of buffers", server.counts());
    EXPECT_GT(held, kBuffersBytes);
    EXPECT_LE(held, kBuffersBytes + kFloodingPeers * kLastBufferBytes);
    EXPECT_TRUE(serves_new(server));
    for (const Peer& peer : peers) EXPECT_EQ(peer.receive(4 * kLastBufferBytes).size(), 16384U);
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
    server.expect_falls_asleep();
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

// Sends what the peer takes meanwhile. Whether all of the bytes came.
bool receive_while_sending(const Peer& peer, size_t count, const std::string& bytes) {
    std::string received(65536, ' ');
    while (count > 0) {
        pollfd polled{peer.descriptor(), POLLIN | POLLOUT, 0};
        poll(&polled, 1, -1);
        if ((polled.revents & POLLOUT) != 0) {
            [[maybe_unused]] const ssize_t sent =
                send(peer.descriptor(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        }
        if ((polled.revents & POLLIN) == 0) continue;
        const ssize_t got = recv(peer.descriptor(), received.data(),
                                 std::min(received.size(), count), MSG_DONTWAIT);
        if (got <= 0) return false;
        count -= static_cast<size_t>(got);
    }
    return true;
}

// Spec: ECHO-BOUND-5
TEST(EchoBounds, ASlowReaderThatReadsOnIsNotIdle) {
    // Its idle connections tell when a second has passed.
    EchoServerProcess clock({"--idle-timeout", "1s"});
    EchoServerProcess server({"--idle-timeout", "3s"});
    const Peer slow(server.url());
    const int small = 65536;
    setsockopt(slow.descriptor(), SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    const std::string bytes = random_bytes(1024 * 1024, 4);
    for (int second = 0; second < 8; ++second) {
        ASSERT_TRUE(receive_while_sending(slow, 256 * 1024, bytes)) << "second " << second;
        EXPECT_EQ(Peer(clock.url()).receive_all(), "");
    }
}

}  // namespace
}  // namespace cport::testing
