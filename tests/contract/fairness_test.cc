// No socket keeps the worker for itself.
#include <sys/epoll.h>

#include <algorithm>
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
    // In a callback. Not behind one that the kernel did not take at once.
    void send_at_once(int socket, const std::string& bytes) {
        if (waits_to_send_) return;
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
        if (enough) return;
        const int added = endless.add(port(), EPOLLIN, always_ready.get());
        // Refused where the remove has begun since.
        EXPECT_TRUE(added == 0 || enough) << added;
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

// A callback that does its work and posts itself, as long as the work says so. Meanwhile a socket
// gets a byte whenever it has read the one before. All of it is one thread's: the count of posts
// that a byte waits for does not depend on the load of the machine.
class EndlessPost {
 public:
    static constexpr uint64_t kReads = 20;
    static constexpr uint64_t kPostsMax = 10'000;

    EndlessPost(COMPLETION_PORT_HANDLE port, Operation& read, const Pair& pair,
                std::function<void()> work)
        : port_(port), pair_(pair), work_(std::move(work)) {
        read.then([this, &read](const Completion& completion) {
            if (completion.outcome != received(1)) return;
            most_posts_ = std::max(most_posts_, posts_);
            there_ = false;
            if (++reads_ == kReads) return;
            EXPECT_EQ(read.add(port_, EPOLLIN, pair_.ours.get()), 0);
        });
        EXPECT_EQ(read.add(port_, EPOLLIN, pair_.ours.get()), 0);
    }

    void run() {
        post();
        ended_.wait();
        completion_port_remove(port_, pair_.ours.get());
    }
    uint64_t reads() const { return reads_; }
    uint64_t most_posts() const { return most_posts_; }

 private:
    void post() { EXPECT_EQ(completion_port_post(port_, 0, 0, on_post, this), 0); }
    static void on_post(void* context, const COMPLETION_PORT_COMPLETION* /*record*/) {
        auto& self = *static_cast<EndlessPost*>(context);
        self.work_();
        if (self.reads_ == kReads || self.posts_ == kPostsMax) {
            self.ended_.open();
            return;
        }
        ++self.posts_;
        if (!self.there_) {
            self.there_ = true;
            self.posts_ = 0;
            write_all(self.pair_.theirs.get(), "x");
        }
        self.post();
    }

    COMPLETION_PORT_HANDLE const port_;
    const Pair& pair_;
    const std::function<void()> work_;
    uint64_t posts_ = 0;  // since the byte came
    uint64_t most_posts_ = 0;
    uint64_t reads_ = 0;
    bool there_ = false;
    Gate ended_;
};

// The kernel is asked once in a round of 64 completions, and then it is the socket's turn; on a
// ring it begins to receive by then, and ends a round later.
constexpr uint64_t kPostsBeforeRead = 2 * 64;

// Spec: CP-FAIR-6
TEST_P(FairnessTest, CallbackThatPostsItselfDoesNotStarveSockets) {
    EndlessPost endless(port(), operation("?"), keep(unix_pair()), [] {});
    endless.run();
    EXPECT_EQ(endless.reads(), EndlessPost::kReads);
    EXPECT_LE(endless.most_posts(), kPostsBeforeRead);
}

// Spec: CP-FAIR-5
TEST_P(FairnessTest, CallbacksThatSendAMebibyteEachDoNotStarveSockets) {
    constexpr int kDatagrams = 18;
    Pair& udp = keep(udp_pair());  // whose other end drops what is too much
    const std::string datagram(60'000, 'd');
    EndlessPost endless(port(), operation("?"), keep(unix_pair()), [&] {
        for (int i = 0; i < kDatagrams; ++i) send_at_once(udp.ours.get(), datagram);
    });
    endless.run();
    // The last send may still borrow the datagram.
    completion_port_remove(port(), udp.ours.get());
    EXPECT_EQ(endless.reads(), EndlessPost::kReads);
    EXPECT_LE(endless.most_posts(), kPostsBeforeRead);
}

}  // namespace
}  // namespace cport::test
