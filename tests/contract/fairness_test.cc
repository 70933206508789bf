// No socket keeps the worker for itself.
#include <sys/epoll.h>

#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "completionport/operations.h"
#include "tests/contract/port_fixture.h"

namespace cport::test {
namespace {

class FairnessTest : public PortTest {
 protected:
    // In a callback. Not behind one that the kernel did not take at once. How many it took: 0 or 1.
    int send_at_once(int socket, const std::string& bytes) {
        if (waits_to_send_) return 0;
        COMPLETION_PORT_SEND_OPERATION send{};
        COMPLETION_PORT_COMPLETION completion;
        send.common.size = sizeof(send);
        send.common.kind = COMPLETION_PORT_KIND_SEND;
        send.common.descriptor = socket;
        send.common.flags = COMPLETION_PORT_FLAG_INLINE;
        send.common.context = &waits_to_send_;
        send.common.on_complete = [](void* waits, const COMPLETION_PORT_COMPLETION*) {
            *static_cast<bool*>(waits) = false;
        };
        send.buffer = bytes.data();
        send.length = static_cast<uint32_t>(bytes.size());
        const int sent = completion_port_submit(port(), &send.common, nullptr, &completion);
        EXPECT_GE(sent, 0);
        waits_to_send_ = sent == 0;
        return sent;
    }

 private:
    bool waits_to_send_ = false;
};
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

// A callback that posts itself until it is told to stop, or its work has come to its end.
class EndlessPost {
 public:
    EndlessPost(COMPLETION_PORT_HANDLE port, std::function<bool()> work)
        : port_(port), work_(std::move(work)) {}

    void post() { EXPECT_EQ(completion_port_post(port_, 0, 0, again, this), 0); }
    // False: its work has come to its end.
    bool goes_on() { return !ended_.is_open(); }
    void stop() {
        stops_ = true;
        ended_.wait();
    }

 private:
    static void again(void* context, const COMPLETION_PORT_COMPLETION* /*record*/) {
        auto& self = *static_cast<EndlessPost*>(context);
        if (self.work_() && !self.stops_) {
            self.post();
        } else {
            self.ended_.open();
        }
    }

    COMPLETION_PORT_HANDLE const port_;
    const std::function<bool()> work_;
    std::atomic<bool> stops_{false};
    Gate ended_;
};

// Spec: CP-FAIR-6
TEST_P(FairnessTest, CallbackThatPostsItselfDoesNotStarveSockets) {
    Pair& tcp = keep(tcp_pair());
    int posts = 0;
    EndlessPost endless(port(), [&] { return ++posts < 10'000'000; });
    endless.post();
    for (int i = 0; i < 100 && endless.goes_on(); ++i) {
        Operation& read = receive(tcp.ours.get(), 4);
        write_all(tcp.theirs.get(), "ping");
        EXPECT_EQ(read.wait(), received(4));
        EXPECT_EQ(send(tcp.ours.get(), "pong").wait(), sent(4));
    }
    EXPECT_TRUE(endless.goes_on());
    endless.stop();
}

// Spec: CP-FAIR-5
TEST_P(FairnessTest, CallbacksThatSendAMebibyteEachDoNotStarveSockets) {
    constexpr int kDatagrams = 18;
    Pair& udp = keep(udp_pair());  // whose other end drops what is too much
    Pair& tcp = keep(tcp_pair());
    const std::string datagram(60'000, 'd');
    int sends = 0;
    EndlessPost endless(port(), [&] {
        for (int i = 0; i < kDatagrams; ++i) sends += send_at_once(udp.ours.get(), datagram);
        return sends < 10'000 * kDatagrams;
    });
    endless.post();
    for (int i = 0; i < 100 && endless.goes_on(); ++i) {
        Operation& read = receive(tcp.ours.get(), 4);
        write_all(tcp.theirs.get(), "ping");
        EXPECT_EQ(read.wait(), received(4));
    }
    EXPECT_TRUE(endless.goes_on());
    endless.stop();
}

}  // namespace
}  // namespace cport::test
