#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "tests/integration/echo/echo_process.h"
#include "tests/integration/echo/peer.h"

namespace cport::testing {
namespace {

constexpr int kPings = 100;
constexpr std::chrono::seconds kGiveUp{60};

struct Ended {
    int status;
    std::string output;
    std::string error;
};

Ended run_to_end(const std::vector<std::string>& arguments) {
    ChildProcess child(echo_command(arguments));
    Ended ended{};
    ended.output = child.read_output();
    ended.error = child.read_error();
    ended.status = child.wait();
    return ended;
}

void expect_one_line(const Ended& ended, int status, const std::string& told) {
    EXPECT_EQ(ended.status, status) << ended.error;
    EXPECT_EQ(ended.output, "");
    EXPECT_EQ(std::count(ended.error.begin(), ended.error.end(), '\n'), 1) << ended.error;
    EXPECT_EQ(ended.error.rfind("cport-echo: ", 0), 0U) << ended.error;
    EXPECT_NE(ended.error.find(told), std::string::npos) << ended.error;
}

struct BadUsage {
    std::vector<std::string> arguments;
    std::string told;
    friend std::ostream& operator<<(std::ostream& stream, const BadUsage& usage) {
        for (const std::string& argument : usage.arguments) stream << argument << ' ';
        return stream;
    }
};

class EchoBadUsage : public ::testing::TestWithParam<BadUsage> {};

// Spec: ECHO-CLI-3
TEST_P(EchoBadUsage, SaysWhatIsWrongInOneLine) {
    expect_one_line(run_to_end(GetParam().arguments), 2, GetParam().told);
}

const std::string kUrl = "tcp://127.0.0.1:9";

INSTANTIATE_TEST_SUITE_P(
    Table, EchoBadUsage,
    ::testing::Values(
        BadUsage{{}, "serve, load or pipe"}, BadUsage{{"dance"}, "dance"},
        BadUsage{{"serve", "--bogus"}, "--bogus"}, BadUsage{{"serve", "extra"}, "extra"},
        BadUsage{{"serve", "--listen", "127.0.0.1:80"}, "tcp://HOST:PORT"},
        BadUsage{{"serve", "--listen", "tcp://127.0.0.1"}, "tcp://HOST:PORT"},
        BadUsage{{"serve", "--listen", "tcp://127.0.0.1:65536"}, "tcp://HOST:PORT"},
        BadUsage{{"serve", "--listen", "tcp://127.0.0.1:x"}, "tcp://HOST:PORT"},
        BadUsage{{"serve", "--listen", "tcp://::1:80"}, "tcp://[::1]:8090"},
        BadUsage{{"serve", "--listen", "tcp://:80"}, "tcp://HOST:PORT"},
        BadUsage{{"serve", "--listen"}, "--listen"}, BadUsage{{"serve", "--threads", "0"}, "1 to"},
        BadUsage{{"serve", "--engine", "kqueue"}, "auto, epoll or io_uring"},
        BadUsage{{"serve", "--spin", "1001ms"}, "0s to 1s"},
        BadUsage{{"serve", "--spin", "1"}, "10s"},
        BadUsage{{"serve", "--threads", "1.5"}, "whole number"},
        BadUsage{{"serve", "--threads", "many"}, "whole number"},
        BadUsage{{"serve", "--max-connections", "-1"}, "whole number"},
        BadUsage{{"serve", "--buffers", "0"}, "16KiB to 16GiB"},
        BadUsage{{"serve", "--buffers", "17GiB"}, "16KiB to 16GiB"},
        BadUsage{{"serve", "--drain", "5"}, "10s"}, BadUsage{{"serve", "--drain", "s"}, "10s"},
        BadUsage{{"serve", "--drain", "-5s"}, "10s"}, BadUsage{{"load"}, "--connect"},
        BadUsage{{"load", "--connect", kUrl, "--size", "0"}, "16MiB"},
        BadUsage{{"load", "--connect", kUrl, "--size", "17MiB"}, "16MiB"},
        BadUsage{{"load", "--connect", kUrl, "--size", "1KB"}, "16KiB"},
        BadUsage{{"load", "--connect", kUrl, "--depth", "100000"}, "65536"},
        BadUsage{{"load", "--connect", kUrl, "--message-rate", "0"}, "above 0"},
        BadUsage{{"load", "--connect", kUrl, "--connect-rate", "1/s"}, "above 0"},
        BadUsage{{"load", "--connect", kUrl, "--duration", "forever"}, "10s"},
        BadUsage{{"pipe"}, "--connect"}));

// Spec: ECHO-CLI-2
TEST(EchoCommandLine, APortInUseIsOneLine) {
    EchoServerProcess alone;
    EchoServerProcess sharing({"--threads", "2"});
    for (const std::string& url : {alone.url(), sharing.url()}) {
        for (const char* threads : {"1", "2"}) {
            expect_one_line(run_to_end({"serve", "--listen", url, "--threads", threads}), 1,
                            "cannot listen on " + url + ": Address already in use");
        }
    }
}

// Spec: ECHO-CLI-1
TEST(EchoCommandLine, ListensOnEveryAddressThatIsAskedFor) {
    EchoServerProcess server({"--listen", "tcp://[::1]:0", "--threads", "2"});
    const std::string second = server.process().read_output_line();
    ASSERT_EQ(second.rfind("listening on tcp://[::1]:", 0), 0U) << second;
    EXPECT_TRUE(Peer(server.url()).ping());
    EXPECT_TRUE(Peer(second.substr(std::string("listening on ").size())).ping());
}

// A worker that sleeps whenever it has no work sleeps among a hundred messages, each sent when the
// one before has come back. One that spins is seen not to, unless the test is held up for longer
// than the spin each time.
// Spec: ECHO-CLI-5
TEST(EchoCommandLine, AServerThatSpinsIsNotWokenForAMessage) {
    EchoServerProcess server({"--spin", "1s"});
    const Peer peer(server.url());
    const auto deadline = std::chrono::steady_clock::now() + kGiveUp;
    bool slept = true;
    while (slept && std::chrono::steady_clock::now() < deadline) {
        ASSERT_TRUE(peer.ping());
        const uint64_t before = server.worker_sleeps();
        for (int i = 0; i < kPings; ++i) ASSERT_TRUE(peer.ping());
        slept = server.worker_sleeps() != before;
    }
    EXPECT_FALSE(slept);
}

// Spec: ECHO-BOUND-6
TEST(EchoCommandLine, ConnectionsBeyondTheDescriptorLimitAreRefused) {
    ChildProcess child({"/bin/sh", "-c",
                        "ulimit -n 100; exec \"$0\" serve --listen tcp://127.0.0.1:0 "
                        "--max-connections 100",
                        CPORT_ECHO_PROGRAM});
    Ended ended{};
    ended.output = child.read_output();
    ended.error = child.read_error();
    ended.status = child.wait();
    expect_one_line(ended, 1, "limit of 100 open files");
}

// Spec: ECHO-CLI-4
TEST(EchoCommandLine, HelpTeachesByExamples) {
    for (const char* command : {"serve", "load", "pipe"}) {
        const Ended ended = run_to_end({command, "--help"});
        EXPECT_EQ(ended.status, 0);
        EXPECT_NE(ended.output.find("Example"), std::string::npos) << ended.output;
        EXPECT_NE(ended.output.find(std::string("cport-echo ") + command), std::string::npos);
    }
    EXPECT_EQ(run_to_end({"--help"}).status, 0);
}

}  // namespace
}  // namespace cport::testing
