#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <string>
#include <thread>

#include "runtime/programs/common/errors.h"
#include "tests/integration/echo/echo_process.h"
#include "tests/integration/echo/peer.h"

namespace cport::testing {
namespace {

constexpr size_t kBytes = 1024 * 1024;
constexpr std::chrono::seconds kGiveUp{60};

// The server has heard the signal once nobody listens. A connection that meets a listener while it
// closes is reset; that is no refusal yet.
void wait_until_refused(const std::string& url) {
    const auto deadline = std::chrono::steady_clock::now() + kGiveUp;
    bool refused = false;
    while (!refused && std::chrono::steady_clock::now() < deadline) {
        try {
            const Peer peer(url);
        } catch (const programs::OperatingError& error) {
            refused = std::string(error.what()).find("refused") != std::string::npos;
        }
    }
    EXPECT_TRUE(refused) << "still listening";
}

class EchoStop : public ::testing::TestWithParam<int> {};

// Spec: ECHO-STOP-1, ECHO-STOP-4
TEST_P(EchoStop, OpenConnectionsFinishWithoutLoss) {
    EchoServerProcess server({"--threads", "2", "--drain", "60s"});
    const Peer peer(server.url());
    const std::string sent = random_bytes(2 * kBytes, 4);
    bool all_sent = false;
    std::thread sender([&] {
        all_sent = peer.send(sent.substr(0, kBytes));
        server.process().signal(GetParam());
        wait_until_refused(server.url());
        all_sent = all_sent && peer.send(sent.substr(kBytes));
        peer.half_close();
    });
    const std::string received = peer.receive_all();
    sender.join();
    EXPECT_TRUE(all_sent);
    EXPECT_TRUE(received == sent);
    const std::string counts = server.process().read_output();
    EXPECT_EQ(server.process().wait(), 0);
    const std::string bytes = std::to_string(2 * kBytes);
    EXPECT_EQ(counts.rfind("stopped: ", 0), 0U) << counts;
    EXPECT_NE(counts.find(bytes + " bytes received, " + bytes + " bytes sent\n"), std::string::npos)
        << counts;
}

// Spec: ECHO-STOP-1
TEST_P(EchoStop, ALoadThatRunsOnTheServerEndsWithoutLoss) {
    EchoServerProcess server({"--drain", "60s"});
    ChildProcess load(echo_command({"load", "--connect", server.url(), "--connections", "20",
                                    "--depth", "8", "--size", "1KiB", "--duration", "2s"}));
    // A line a second: messages are on their way.
    EXPECT_NE(load.read_error_line().find("20 opened"), std::string::npos);
    server.process().signal(GetParam());
    wait_until_refused(server.url());
    const std::string table = load.read_output();
    EXPECT_EQ(load.wait(), 0) << table;
    EXPECT_NE(table.find("failed 0; mismatches 0"), std::string::npos) << table;
    EXPECT_EQ(server.process().wait(), 0);
}

INSTANTIATE_TEST_SUITE_P(Signals, EchoStop, ::testing::Values(SIGINT, SIGTERM));

// Spec: ECHO-STOP-2
TEST(EchoStopNow, AfterTheDrainTimeTheRestIsClosed) {
    EchoServerProcess server({"--drain", "100ms"});
    const Peer idle(server.url());
    ASSERT_TRUE(idle.ping());
    EXPECT_NE(server.stop().find("1 by stop"), std::string::npos);
    EXPECT_EQ(idle.receive_all(), "");
}

// Spec: ECHO-STOP-3
TEST(EchoStopNow, ASecondSignalClosesAtOnce) {
    EchoServerProcess server({"--drain", "1h", "--threads", "2"});
    const Peer idle(server.url());
    const Peer waiting(server.url());
    ASSERT_TRUE(idle.ping());
    server.process().signal(SIGTERM);
    wait_until_refused(server.url());
    EXPECT_TRUE(idle.ping());
    EXPECT_TRUE(waiting.ping());
    // A connection that asked whether the server still listens may not have gone yet.
    while (server.counts().find(" 2 open") == std::string::npos) {
    }
    const std::string last_words = server.stop();
    EXPECT_NE(last_words.find("2 by stop"), std::string::npos) << last_words;
    EXPECT_EQ(idle.receive_all(), "");
}

// Spec: ECHO-STOP-4
TEST(EchoStopNow, Usr1PrintsTheCounts) {
    EchoServerProcess server;
    const Peer peer(server.url());
    ASSERT_TRUE(peer.ping());
    server.process().signal(SIGUSR1);
    const std::string line = server.process().read_output_line();
    EXPECT_EQ(line.rfind("running: 1 connections accepted, 1 open", 0), 0U) << line;
}

// Spec: ECHO-STOP-4
TEST(EchoStopNow, WithoutAReaderOfItsOutputItGoesOn) {
    EchoServerProcess server;
    const Peer peer(server.url());
    server.process().close_output();
    server.process().signal(SIGUSR1);
    // Taken by the main thread before TERM is, and the end prints too.
    EXPECT_TRUE(peer.ping());
    server.process().signal(SIGTERM);
    peer.half_close();
    EXPECT_EQ(peer.receive_all(), "");
    EXPECT_EQ(server.process().wait(), 0);
}

}  // namespace
}  // namespace cport::testing
