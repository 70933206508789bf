// Every kind of operation, again and again, through callbacks and through completion_port_wait:
// nothing in the process allocates meanwhile.
#include <completionport/connections.h>
#include <completionport/messages.h>
#include <completionport/timers.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "tests/contract/port_fixture.h"
#include "tests/integration/core/allocation_count.h"
#include "tests/support/listener.h"

namespace cport::test {
namespace {

using Record = COMPLETION_PORT_COMPLETION;

constexpr size_t kMessageBytes = 8;
constexpr int64_t kHour_ns = 3'600'000'000'000;

uint64_t in_ns(int64_t delay_ns) {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<uint64_t>(now.tv_sec * 1'000'000'000 + now.tv_nsec + delay_ns);
}

// One operation that is submitted again from each of its records, until its rounds are over.
class Again {
 public:
    static constexpr uint32_t kPost = COMPLETION_PORT_KIND_POST;

    void prepare(COMPLETION_PORT_HANDLE port, uint32_t kind, int descriptor, bool to_callback) {
        port_ = port;
        kind_ = kind;
        any_ = {};
        any_.common.kind = kind;
        any_.common.descriptor = descriptor;
        any_.common.context = this;
        any_.common.on_complete = to_callback ? on_complete : nullptr;
        piece_ = {bytes_.data(), bytes_.size()};
        message_ = {};
        message_.msg_iov = &piece_;
        message_.msg_iovlen = 1;
        fill_in();
    }
    void with_deadline() { any_.common.deadline_ns = in_ns(kHour_ns); }

    bool start(size_t rounds) {
        done_.store(false);
        left_ = rounds;
        return submit() == 0;
    }
    void wait() { done_.wait(false); }
    bool done() const { return done_.load(); }
    size_t left() const { return left_; }

    // By the callback, or by the thread that waits.
    void take(const Record& record) {
        const bool ok = record.result == COMPLETION_PORT_RESULT_OK;
        if (ok && kind_ == COMPLETION_PORT_KIND_ACCEPT) ::close(static_cast<int>(record.value));
        if (ok && --left_ != 0 && submit() == 0) return;
        done_.store(true);
        done_.notify_all();
    }

 private:
    static void on_complete(void* context, const Record* record) {
        static_cast<Again*>(context)->take(*record);
    }

    void fill_in() {
        switch (kind_) {
            case COMPLETION_PORT_KIND_RECEIVE:
                any_.common.size = sizeof(any_.receive);
                any_.receive.buffer = bytes_.data();
                any_.receive.length = kMessageBytes;
                break;
            case COMPLETION_PORT_KIND_SEND:
                any_.common.size = sizeof(any_.send);
                any_.send.buffer = bytes_.data();
                any_.send.length = kMessageBytes;
                break;
            case COMPLETION_PORT_KIND_POLL:
                any_.common.size = sizeof(any_.poll);
                any_.poll.events = EPOLLIN;
                break;
            case COMPLETION_PORT_KIND_TIMER:
                any_.common.size = sizeof(any_.timer);
                break;
            case COMPLETION_PORT_KIND_RECEIVE_VECTOR:
            case COMPLETION_PORT_KIND_SEND_VECTOR:
                any_.common.size = sizeof(any_.vector);
                any_.vector.vectors = &piece_;
                any_.vector.count = 1;
                break;
            case COMPLETION_PORT_KIND_RECEIVE_MESSAGE:
            case COMPLETION_PORT_KIND_SEND_MESSAGE:
                any_.common.size = sizeof(any_.message);
                any_.message.message = &message_;
                break;
            default:
                any_.common.size = sizeof(any_.accept);
        }
    }
    int submit() {
        if (kind_ == kPost) {
            return completion_port_post(port_, 0, 1, any_.common.on_complete, this);
        }
        if (kind_ == COMPLETION_PORT_KIND_TIMER) return submit_timer();
        return completion_port_submit(port_, &any_.common, nullptr, nullptr);
    }
    // A thread that rests between the two calls finds its time passed, and takes another.
    int submit_timer() {
        int result = -ETIMEDOUT;
        while (result == -ETIMEDOUT) {
            any_.timer.expires_ns = in_ns(1'000'000);
            result = completion_port_submit(port_, &any_.common, nullptr, nullptr);
        }
        return result;
    }

    COMPLETION_PORT_HANDLE port_ = nullptr;
    uint32_t kind_ = 0;
    union {
        COMPLETION_PORT_OPERATION common;
        COMPLETION_PORT_RECEIVE_OPERATION receive;
        COMPLETION_PORT_SEND_OPERATION send;
        COMPLETION_PORT_POLL_OPERATION poll;
        COMPLETION_PORT_TIMER_OPERATION timer;
        COMPLETION_PORT_ACCEPT_OPERATION accept;
        COMPLETION_PORT_RECEIVE_VECTOR_OPERATION vector;
        COMPLETION_PORT_RECEIVE_MESSAGE_OPERATION message;
    } any_{};
    std::array<char, kMessageBytes> bytes_{};
    iovec piece_{};
    msghdr message_{};
    size_t left_ = 0;
    std::atomic<bool> done_{false};
};

class KindsAllocationsTest : public PortTest {
 protected:
    static constexpr int kWarmUp = 2'000;
    static int rounds() { return scaled(100'000, 20'000); }

    // Runs `count` operations beside each other to their end, once to warm up and once counted.
    template <size_t kCount>
    void expect_none(std::array<Again, kCount>& loops, bool to_callback, size_t rounds_each,
                     void (*beside)(void*, size_t) = nullptr, void* context = nullptr) {
        for (const size_t each : {std::min<size_t>(kWarmUp, rounds_each), rounds_each}) {
            const size_t before = allocation_count();
            for (Again& loop : loops) ASSERT_TRUE(loop.start(each));
            if (beside != nullptr) beside(context, each);
            if (!to_callback) take_records(loops.data(), kCount);
            for (Again& loop : loops) loop.wait();
            const size_t allocated = allocation_count() - before;
            for (Again& loop : loops) ASSERT_EQ(loop.left(), 0u);
            if (each == rounds_each) {
                EXPECT_EQ(allocated, 0u);
            }
        }
    }
    void take_records(const Again* loops, size_t count) {
        std::array<Record, 32> records;
        const auto all_done = [&] {
            for (size_t i = 0; i < count; ++i) {
                if (!loops[i].done()) return false;
            }
            return true;
        };
        while (!all_done()) {
            const int taken = completion_port_wait(port(), records.data(), records.size(), -1);
            ASSERT_GT(taken, 0);
            for (size_t i = 0; i < static_cast<size_t>(taken); ++i) {
                static_cast<Again*>(records[i].context)->take(records[i]);
            }
        }
    }
    // What one end sends the other receives.
    void expect_none_in_traffic(const Pair& pair, uint32_t receive, uint32_t send,
                                bool with_deadline = false) {
        for (const bool to_callback : {true, false}) {
            std::array<Again, 2> loops;
            loops[0].prepare(port(), receive, pair.ours.get(), to_callback);
            loops[1].prepare(port(), send, pair.theirs.get(), to_callback);
            if (with_deadline) {
                for (Again& loop : loops) loop.with_deadline();
            }
            expect_none(loops, to_callback, static_cast<size_t>(rounds()));
        }
    }
};
CPORT_ON_EVERY_ENGINE(KindsAllocationsTest);

// Spec: CP-COST-1
TEST_P(KindsAllocationsTest, ReceivesAndSendsAllocateNothing) {
    expect_none_in_traffic(keep(unix_pair()), COMPLETION_PORT_KIND_RECEIVE,
                           COMPLETION_PORT_KIND_SEND);
    expect_none_in_traffic(keep(unix_pair()), COMPLETION_PORT_KIND_RECEIVE,
                           COMPLETION_PORT_KIND_SEND, true);
}

// Spec: CP-COST-1
TEST_P(KindsAllocationsTest, VectorsMessagesAndPipesAllocateNothing) {
    expect_none_in_traffic(keep(unix_pair()), COMPLETION_PORT_KIND_RECEIVE_VECTOR,
                           COMPLETION_PORT_KIND_SEND_VECTOR);
    expect_none_in_traffic(keep(unix_pair(SOCK_SEQPACKET)), COMPLETION_PORT_KIND_RECEIVE_MESSAGE,
                           COMPLETION_PORT_KIND_SEND_MESSAGE);
    expect_none_in_traffic(keep(pipe_pair()), COMPLETION_PORT_KIND_RECEIVE,
                           COMPLETION_PORT_KIND_SEND);
}

// Spec: CP-COST-1
TEST_P(KindsAllocationsTest, PollsPostsAndTimersAllocateNothing) {
    constexpr size_t kBeside = 400;
    const int ready = keep(ready_eventfd()).get();
    for (const bool to_callback : {true, false}) {
        std::array<Again, 1> poll;
        poll[0].prepare(port(), COMPLETION_PORT_KIND_POLL, ready, to_callback);
        expect_none(poll, to_callback, static_cast<size_t>(rounds()));
        std::array<Again, 1> post;
        post[0].prepare(port(), Again::kPost, 0, to_callback);
        expect_none(post, to_callback, static_cast<size_t>(rounds()));
        // Each takes its millisecond, so many run beside each other.
        std::array<Again, kBeside> timers;
        for (Again& timer : timers) {
            timer.prepare(port(), COMPLETION_PORT_KIND_TIMER, 0, to_callback);
        }
        expect_none(timers, to_callback, static_cast<size_t>(rounds()) / kBeside);
    }
}

// Spec: CP-COST-1
TEST_P(KindsAllocationsTest, AcceptsAllocateNothing) {
    Listener listener = listen_on(AF_UNIX);
    const int number = keep(std::move(listener.socket)).get();
    const auto connect_many = [](void* context, size_t count) {
        const auto& where = *static_cast<const Listener*>(context);
        for (size_t i = 0; i < count; ++i) {
            const Descriptor client = socket_of_family(AF_UNIX);
            ASSERT_EQ(::connect(client.get(), where.where(), where.length), 0);
        }
    };
    std::array<Again, 1> accept;
    accept[0].prepare(port(), COMPLETION_PORT_KIND_ACCEPT, number, true);
    expect_none(accept, true, static_cast<size_t>(rounds()), connect_many, &listener);
}

// Spec: CP-COST-1
TEST_P(KindsAllocationsTest, CancelsAndMovesAllocateNothing) {
    struct Cancelled {
        std::atomic<int> count{0};
        static void on_complete(void* context, const Record*) {
            auto& cancelled = *static_cast<Cancelled*>(context);
            cancelled.count.fetch_add(1);
            cancelled.count.notify_all();
        }
    } cancelled;
    COMPLETION_PORT_TIMER_OPERATION timer{};
    timer.common.size = sizeof(timer);
    timer.common.kind = COMPLETION_PORT_KIND_TIMER;
    timer.common.on_complete = Cancelled::on_complete;
    timer.common.context = &cancelled;
    timer.expires_ns = in_ns(kHour_ns);
    const int rounds_max = rounds();
    size_t before = 0;
    for (int i = 0; i < rounds_max; ++i) {
        if (i == kWarmUp) before = allocation_count();
        uint64_t id = 0;
        ASSERT_EQ(completion_port_submit(port(), &timer.common, &id, nullptr), 0);
        ASSERT_EQ(completion_port_timer_move(port(), id, timer.expires_ns + 1), 0);
        ASSERT_EQ(completion_port_cancel(port(), id), 0);
        cancelled.count.wait(i);
    }
    EXPECT_EQ(allocation_count() - before, 0u);
    EXPECT_EQ(cancelled.count.load(), rounds_max);
}

}  // namespace
}  // namespace cport::test
