#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <latch>
#include <ostream>
#include <string>
#include <thread>
#include <vector>

#include "tests/integration/echo/echo_process.h"
#include "tests/integration/echo/peer.h"

namespace cport::testing {
namespace {

// An echo server for one connection that is wrong on purpose, at one byte: it flips a bit of it,
// ends the connection there, or holds it and what follows until it is told to go on.
class WrongServer {
 public:
    enum class Fault { kFlipBit, kEnd, kHold };

    WrongServer(Fault fault, size_t at) : listening_(listen_on_loopback()) {
        thread_ = std::thread([this, fault, at] { echo(fault, at); });
    }
    WrongServer(const WrongServer&) = delete;
    WrongServer& operator=(const WrongServer&) = delete;
    ~WrongServer() {
        if (!told_.try_wait()) go_on();
        thread_.join();
    }

    [[nodiscard]] const std::string& url() const { return listening_.url; }
    // Once.
    void go_on() { told_.count_down(); }

 private:
    void echo(Fault fault, size_t at) const {
        const echo::Descriptor accepted(
            accept4(listening_.socket.get(), nullptr, nullptr, SOCK_CLOEXEC));
        std::array<char, 4096> chunk{};
        size_t seen = 0;
        ssize_t bytes = 0;
        while ((bytes = recv(accepted.get(), chunk.data(), chunk.size(), 0)) > 0) {
            const auto count = static_cast<size_t>(bytes);
            if (seen <= at && at < seen + count) {
                if (fault == Fault::kEnd) return;
                if (fault == Fault::kHold) told_.wait();
                if (fault == Fault::kFlipBit) {
                    chunk.at(at - seen) = static_cast<char>(chunk.at(at - seen) ^ 1);
                }
            }
            seen += count;
            if (send(accepted.get(), chunk.data(), count, MSG_NOSIGNAL) != bytes) return;
        }
    }

    Listening listening_;
    std::latch told_{1};
    std::thread thread_;
};

struct Shape {
    std::vector<std::string> arguments;
    friend std::ostream& operator<<(std::ostream& stream, const Shape& shape) {
        for (const std::string& argument : shape.arguments) stream << argument << ' ';
        return stream;
    }
};

class EchoLoad : public ::testing::TestWithParam<Shape> {};

// Spec: ECHO-LOAD-2, ECHO-LOAD-6
TEST_P(EchoLoad, AgainstACorrectServerNothingDiffers) {
    EchoServerProcess server({"--threads", "2"});
    std::vector<std::string> arguments = GetParam().arguments;
    arguments.insert(arguments.end(), {"--duration", "500ms"});
    const LoadResult result = run_load(server.url(), arguments);
    EXPECT_EQ(result.status, 0) << result.output << result.error;
    EXPECT_EQ(result.figure("failed"), 0) << result.output;
    EXPECT_EQ(result.figure("mismatches"), 0);
    EXPECT_GT(result.figure("messages"), 0);
    EXPECT_GT(result.figure("messages_per_s"), 0);
    EXPECT_GT(result.figure("p50"), 0);
    EXPECT_LE(result.figure("p50"), result.figure("p99_9"));
    EXPECT_LE(result.figure("p99_9"), result.figure("max"));
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, EchoLoad,
    ::testing::Values(Shape{{}}, Shape{{"--depth", "16", "--connections", "8"}},
                      Shape{{"--size", "1", "--depth", "7", "--connections", "3"}},
                      Shape{{"--size", "1MiB", "--depth", "4", "--connections", "2"}},
                      Shape{{"--size", "70001", "--depth", "3", "--threads", "2", "--connections",
                             "5"}},
                      Shape{{"--connections", "64", "--connect-rate", "1000"}},
                      Shape{{"--connections", "10", "--message-rate", "2000", "--depth", "4"}}));

// Spec: ECHO-LOAD-5
TEST(EchoLoadShape, ChannelLifetimeOpensConnectionsAgain) {
    EchoServerProcess server;
    for (const std::vector<std::string>& rate :
         {std::vector<std::string>{}, std::vector<std::string>{"--message-rate", "1000"}}) {
        std::vector<std::string> arguments{"--connections", "4",          "--channel-lifetime",
                                           "50ms",          "--duration", "1s"};
        arguments.insert(arguments.end(), rate.begin(), rate.end());
        const LoadResult result = run_load(server.url(), arguments);
        EXPECT_EQ(result.status, 0) << result.output << result.error;
        EXPECT_GE(result.figure("opened"), 8) << result.output;
    }
}

// Spec: ECHO-LOAD-4
TEST(EchoLoadShape, MessageRateIsKept) {
    EchoServerProcess server;
    const LoadResult result = run_load(server.url(), {"--connections", "10", "--message-rate",
                                                      "500", "--depth", "64", "--duration", "1s"});
    EXPECT_EQ(result.status, 0) << result.output << result.error;
    EXPECT_LE(result.figure("messages_per_s"), 550) << result.output;
}

// With one message in flight, those that become due during the stall cannot be sent. Only a latency
// that counts from the due time sees them: with 200 a second, and a stall of at least a third of
// the run, a tenth of all waited longer than half of the longest wait. Counted from the sending,
// one message would be slow.
// Spec: ECHO-LOAD-4
TEST(EchoLoadShape, AStallShowsInTheLatenciesOfAllMessagesThatWereDue) {
    WrongServer server(WrongServer::Fault::kHold, 0);
    ChildProcess load(echo_command({"load", "--connect", server.url(), "--json", "--message-rate",
                                    "200", "--depth", "1", "--duration", "3s"}));
    // A line a second.
    const std::string progress = load.read_error_line();
    EXPECT_NE(progress.find("1 opened"), std::string::npos) << progress;
    server.go_on();
    LoadResult result;
    result.output = load.read_output();
    result.status = load.wait();
    EXPECT_EQ(result.status, 0) << result.output;
    EXPECT_GT(result.figure("p90"), result.figure("max") / 2) << result.output;
    EXPECT_LE(result.figure("messages"), 220 * result.figure("seconds")) << result.output;
}

class EchoLoadFaults : public ::testing::TestWithParam<size_t> {};

// Spec: ECHO-LOAD-1
TEST_P(EchoLoadFaults, OneWrongByteIsFound) {
    const WrongServer server(WrongServer::Fault::kFlipBit, GetParam());
    const LoadResult result =
        run_load(server.url(), {"--duration", "30s", "--depth", "4", "--size", "100"});
    EXPECT_EQ(result.status, 1);
    EXPECT_EQ(result.figure("mismatches"), 1) << result.output;
    EXPECT_NE(result.output.find("byte " + std::to_string(GetParam()) + " came back as"),
              std::string::npos)
        << result.output;
}

// Spec: ECHO-LOAD-3
TEST_P(EchoLoadFaults, AConnectionThatEndsEarlyIsAFailure) {
    const WrongServer server(WrongServer::Fault::kEnd, GetParam());
    const LoadResult result = run_load(server.url(), {"--duration", "30s", "--depth", "4"});
    EXPECT_EQ(result.status, 1);
    EXPECT_EQ(result.figure("failed"), 1) << result.output;
    EXPECT_EQ(result.figure("mismatches"), 0) << result.output;
}

INSTANTIATE_TEST_SUITE_P(Offsets, EchoLoadFaults, ::testing::Values(0, 1, 4095, 70000));

// Spec: ECHO-LOAD-3
TEST(EchoLoadShape, NobodyListensIsAFailure) {
    std::string url;
    {
        const Listening listening = listen_on_loopback();
        url = listening.url;
    }
    const LoadResult result = run_load(url, {"--connections", "3", "--duration", "30s"});
    EXPECT_EQ(result.status, 1);
    EXPECT_EQ(result.figure("failed"), 3) << result.output;
}

// Spec: ECHO-PIPE-1
TEST(EchoPipe, ReturnsStandardInput) {
    EchoServerProcess server;
    const std::string sent = random_bytes(4 * 1024 * 1024 + 1, 5);
    std::FILE* file = std::tmpfile();
    ASSERT_NE(file, nullptr);
    ASSERT_EQ(std::fwrite(sent.data(), 1, sent.size(), file), sent.size());
    std::rewind(file);
    ChildProcess pipe(echo_command({"pipe", "--connect", server.url()}), fileno(file));
    const std::string received = pipe.read_output();
    EXPECT_EQ(pipe.wait(), 0) << pipe.read_error();
    EXPECT_TRUE(received == sent);
    std::fclose(file);
}

// Spec: ECHO-PIPE-1
TEST(EchoPipe, BytesThatDoNotReturnAreAFailure) {
    const Listening refuses = listen_on_loopback();
    std::FILE* file = std::tmpfile();
    ASSERT_NE(file, nullptr);
    ASSERT_EQ(std::fwrite("hello", 1, 5, file), 5u);
    std::rewind(file);
    ChildProcess pipe(echo_command({"pipe", "--connect", refuses.url}), fileno(file));
    {
        const echo::Descriptor connection(accept(refuses.socket.get(), nullptr, nullptr));
        std::array<char, 16> bytes{};
        while (read(connection.get(), bytes.data(), bytes.size()) > 0) {
        }
    }
    EXPECT_EQ(pipe.wait(), 1);
    EXPECT_NE(pipe.read_error().find("ended after 0 of 5 bytes"), std::string::npos);
    std::fclose(file);
}

// Spec: ECHO-PIPE-1
TEST(EchoPipe, EndsWithTheServerThoughItsInputGoesOn) {
    const Listening ends = listen_on_loopback();
    std::array<int, 2> input{};
    ASSERT_EQ(pipe2(input.data(), O_CLOEXEC), 0);
    const echo::Descriptor reads(input[0]);
    const echo::Descriptor stays_open(input[1]);
    ChildProcess pipe(echo_command({"pipe", "--connect", ends.url}), reads.get());
    { const echo::Descriptor connection(accept(ends.socket.get(), nullptr, nullptr)); }
    EXPECT_EQ(pipe.wait(), 0) << pipe.read_error();
}

}  // namespace
}  // namespace cport::testing
