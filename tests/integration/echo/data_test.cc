#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <chrono>
#include <string>
#include <thread>

#include "tests/integration/echo/echo_process.h"
#include "tests/integration/echo/peer.h"

namespace cport::testing {
namespace {

constexpr size_t kLongStreamBytes = 16 * 1024 * 1024;
// So that looking does not keep a processor from the server.
constexpr int kBetweenLooksMs = 50;
constexpr std::chrono::seconds kGiveUp{60};

class EchoData : public ::testing::TestWithParam<const char*> {};

// Spec: ECHO-DATA-1, ECHO-CLI-1
TEST_P(EchoData, SixteenMebibytesAndHalfCloseComeBackComplete) {
    EchoServerProcess server({}, GetParam());
    const Peer peer(server.url());
    const std::string sent = random_bytes(kLongStreamBytes, 1);
    bool all_sent = false;
    std::thread sender([&] {
        all_sent = peer.send(sent);
        peer.half_close();
    });
    const std::string received = peer.receive_all();
    sender.join();
    EXPECT_TRUE(all_sent);
    EXPECT_EQ(received.size(), sent.size());
    EXPECT_TRUE(received == sent);
}

// Spec: ECHO-DATA-1
TEST_P(EchoData, SmallMessagesAndHalfCloseComeBackComplete) {
    EchoServerProcess server({"--threads", "2"}, GetParam());
    for (uint32_t seed = 0; seed < 32; ++seed) {
        const Peer peer(server.url());
        const std::string sent = random_bytes(1 + seed * 997, seed);
        ASSERT_TRUE(peer.send(sent));
        peer.half_close();
        ASSERT_TRUE(peer.receive_all() == sent) << seed;
    }
}

INSTANTIATE_TEST_SUITE_P(Families, EchoData,
                         ::testing::Values("tcp://127.0.0.1:0", "tcp://[::1]:0"));

// Spec: ECHO-DATA-2
TEST(EchoIdle, AConnectionThatHasCaughtUpHoldsNoBufferAndIsEchoedAgain) {
    EchoServerProcess server;
    const Peer peer(server.url());
    const auto deadline = std::chrono::steady_clock::now() + kGiveUp;
    const std::string bytes = random_bytes(65536, 5);
    size_t sent = 0;
    // It does not read, so that at last the server holds what it cannot send.
    while (count_of("bytes of buffers", server.counts()) == 0) {
        ASSERT_LT(std::chrono::steady_clock::now(), deadline) << "it holds nothing";
        ssize_t count = 0;
        while ((count = send(peer.descriptor(), bytes.data(), bytes.size(),
                             MSG_DONTWAIT | MSG_NOSIGNAL)) > 0) {
            sent += static_cast<size_t>(count);
        }
    }
    ASSERT_EQ(peer.receive(sent).size(), sent);
    pollfd polled{peer.descriptor(), POLLIN, 0};
    while (count_of("bytes of buffers", server.counts()) != 0) {
        ASSERT_LT(std::chrono::steady_clock::now(), deadline) << "it keeps its buffer";
        ASSERT_EQ(poll(&polled, 1, kBetweenLooksMs), 0);
    }
    EXPECT_TRUE(peer.ping());
    EXPECT_TRUE(peer.ping());
}

// Spec: ECHO-DATA-3
TEST(EchoReset, APeersResetHarmsNoOtherConnection) {
    EchoServerProcess server;
    const Peer bystander(server.url());
    ASSERT_TRUE(bystander.ping());
    const std::string flood = random_bytes(kLongStreamBytes, 2);
    for (int i = 0; i < 10; ++i) {
        Peer peer(server.url());
        // The server is in the middle of sending back what is never read.
        for (size_t sent = 0; sent < flood.size();) {
            const ssize_t count = send(peer.descriptor(), flood.data() + sent, flood.size() - sent,
                                       MSG_NOSIGNAL | MSG_DONTWAIT);
            if (count <= 0) break;
            sent += static_cast<size_t>(count);
        }
        peer.reset();
        ASSERT_TRUE(bystander.ping());
    }
    const Peer later(server.url());
    EXPECT_TRUE(later.ping());
}

}  // namespace
}  // namespace cport::testing
