// No socket keeps the worker for itself.
#include <sys/epoll.h>

#include <atomic>
#include <optional>
#include <string>
#include <utility>

#include "tests/contract/port_fixture.h"

namespace cport::test {
namespace {

class FairnessTest : public PortTest {};
// What is promised of the sockets of one worker can be seen only where all belong to it.
INSTANTIATE_TEST_SUITE_P(Engine, FairnessTest, ::testing::ValuesIn(engines_of_one_worker()),
                         engine_name);

// Spec: CP-FAIR-1
TEST_P(FairnessTest, SocketThatIsAlwaysReadyDoesNotStarveOthers) {
    Descriptor& always_ready = keep(ready_eventfd());
    Pair& tcp = keep(tcp_pair());
    std::atomic<bool> enough{false};
    Operation& endless = operation();
    endless.then([&](const Completion&) {
        if (!enough) {
            EXPECT_EQ(endless.add(port(), EPOLLIN, always_ready.get()), 0);
        }
    });
    ASSERT_EQ(endless.add(port(), EPOLLIN, always_ready.get()), 0);
    for (int i = 0; i < 100; ++i) {
        Operation& read = receive(tcp.ours.get(), 4);
        write_all(tcp.theirs.get(), "ping");
        EXPECT_EQ(read.wait(), received(4));
        EXPECT_EQ(send(tcp.ours.get(), "pong").wait(), sent(4));
    }
    EXPECT_GT(endless.callbacks(), 0u);
    enough = true;
    completion_port_remove(port(), always_ready.get());
}

// Spec: CP-FAIR-1
TEST_P(FairnessTest, TransferOfManyMebibytesLetsOthersIn) {
    constexpr size_t kLength = 8 << 20;
    std::optional<Pair> with_large_buffer = tcp_pair_with_receive_buffer(16 << 20);
    if (!with_large_buffer.has_value()) {
        GTEST_SKIP() << "a receive buffer of 16 MiB needs CAP_NET_ADMIN";
    }
    Pair& big = keep(std::move(*with_large_buffer));
    Pair& small = keep(tcp_pair());
    const std::string bytes = pattern(kLength);
    write_all(big.theirs.get(), bytes);
    wait_until_unread(big.ours.get(), kLength);
    write_all(small.theirs.get(), "x");
    Operation* transfer = nullptr;
    Operation* other = nullptr;
    {
        WorkerHold hold(*this);
        transfer = &receive(big.ours.get(), kLength);
        other = &receive(small.ours.get(), 1);
    }
    EXPECT_EQ(transfer->wait(), received(kLength));
    EXPECT_TRUE(transfer->bytes() == bytes);
    EXPECT_EQ(other->wait(), received(1));
    EXPECT_LT(other->wait_for(1).sequence, transfer->wait_for(1).sequence);
}

// Spec: CP-FAIR-1
TEST_P(FairnessTest, HugeSendLetsOthersIn) {
    // The peer reads nothing until the small read has come.
    constexpr size_t kLength = 64 << 20;
    Pair& big = keep(tcp_pair());
    Pair& small = keep(tcp_pair());
    Operation& transfer = send(big.ours.get(), std::string(kLength, 's'));
    write_all(small.theirs.get(), "x");
    EXPECT_EQ(receive(small.ours.get(), 1).wait(), received(1));
    EXPECT_EQ(read_exactly(big.theirs.get(), kLength).size(), kLength);
    EXPECT_EQ(transfer.wait(), sent(kLength));
}

// Spec: CP-FAIR-2
TEST_P(FairnessTest, KernelIsAskedEvery64Completions) {
    constexpr size_t kRoundMax = 64;
    constexpr size_t kStart = 1000;
    Descriptor& always_ready = keep(ready_eventfd());
    Pair& pair = keep(unix_pair());
    Operation& read = receive(pair.ours.get(), 1);
    fence();
    // Completions follow one another without end; the thousandth makes another socket readable.
    size_t completions = 0;
    size_t completions_until_read = 0;
    read.then([&](const Completion&) { completions_until_read = completions - kStart; });
    Gate ended;
    Operation& endless = operation();
    endless.then([&](const Completion&) {
        if (++completions == kStart) {
            write_all(pair.theirs.get(), "x");
        }
        if (completions_until_read == 0 && completions < 100 * kStart) {
            EXPECT_EQ(endless.add(port(), EPOLLIN, always_ready.get()), 0);
        } else {
            ended.open();
        }
    });
    ASSERT_EQ(endless.add(port(), EPOLLIN, always_ready.get()), 0);
    EXPECT_EQ(read.wait(), received(1));
    ended.wait();
    // Up to one round until the kernel is asked, and one until the read's turn has come.
    EXPECT_LE(completions_until_read, 2 * kRoundMax);
}

}  // namespace
}  // namespace cport::test
