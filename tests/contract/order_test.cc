// Exactly one callback for each add, on a worker, in order.
#include <atomic>
#include <string>
#include <vector>

#include "tests/contract/port_fixture.h"
#include "tests/contract/process_facts.h"

namespace cport::test {
namespace {

class OrderTest : public PortTest {};
CPORT_ON_EVERY_ENGINE(OrderTest);

// Spec: CP-ONCE-1
TEST_P(OrderTest, EveryWayToEndAnAddCallsBackOnce) {
    Pair& data = keep(tcp_pair());
    Pair& ended = keep(tcp_pair());
    Pair& reset = keep(tcp_pair());
    Pair& removed = keep(tcp_pair());
    Pair& left = keep(tcp_pair());
    std::vector<Operation*> adds;
    for (Pair* pair : {&data, &ended, &reset, &removed, &left}) {
        for (int i = 0; i < 3; ++i) {
            adds.push_back(&receive(pair->ours.get(), 4));
        }
        adds.push_back(&watch(pair->ours.get(), EPOLLRDHUP));
    }
    write_all(data.theirs.get(), pattern(12));
    half_close(ended.theirs.get());
    close_with_reset(reset.theirs);
    completion_port_remove(port(), removed.ours.get());
    for (size_t i = 0; i < 3; ++i) {
        adds[i]->wait();
        adds[4 + i]->wait();
        adds[8 + i]->wait();
        EXPECT_EQ(adds[12 + i]->wait(), closing());
    }
    end();
    for (Operation* add : adds) {
        EXPECT_EQ(add->callbacks(), 1u);
    }
}

// Spec: CP-ONCE-2
TEST_P(OrderTest, CallbackRunsOnAWorkerAndNotInsideTheAdd) {
    Pair& tcp = keep(tcp_pair());
    write_all(tcp.theirs.get(), "12");
    Operation& outer = operation("?");
    Operation& inner = operation("?");
    bool inside_add = false;
    bool nested = false;
    inner.then([&](const Completion&) { nested = inside_add; });
    outer.then([&](const Completion&) {
        inside_add = true;
        EXPECT_EQ(inner.add(port(), EPOLLIN, tcp.ours.get()), 0);
        inside_add = false;
    });
    ASSERT_EQ(outer.add(port(), EPOLLIN, tcp.ours.get()), 0);
    EXPECT_EQ(inner.wait(), received(1));
    EXPECT_FALSE(nested);
    EXPECT_NE(outer.wait_for(1).thread, ::gettid());
    EXPECT_EQ(outer.wait_for(1).thread, inner.wait_for(1).thread);
}

// Spec: CP-ORDER-1
TEST_P(OrderTest, ReadsCompleteInTheOrderOfTheirAdds) {
    Pair& tcp = keep(tcp_pair());
    const std::string bytes = pattern(1000);
    std::vector<Operation*> reads;
    for (int i = 0; i < 100; ++i) {
        reads.push_back(&receive(tcp.ours.get(), 10));
    }
    write_all(tcp.theirs.get(), bytes);
    std::string joined;
    uint64_t last = 0;
    for (Operation* read : reads) {
        EXPECT_EQ(read->wait(), received(10));
        joined += read->bytes();
        EXPECT_GT(read->wait_for(1).sequence, last);
        last = read->wait_for(1).sequence;
    }
    EXPECT_EQ(joined, bytes);
}

// Spec: CP-ORDER-1
TEST_P(OrderTest, WritesCompleteInTheOrderOfTheirAdds) {
    Pair& tcp = keep(tcp_pair());
    constexpr size_t kLength = 300'000;
    std::string expected;
    std::vector<Operation*> writes;
    for (uint32_t i = 0; i < 20; ++i) {
        const std::string part = pattern(kLength, i);
        expected += part;
        writes.push_back(&send(tcp.ours.get(), part));
    }
    EXPECT_EQ(read_exactly(tcp.theirs.get(), expected.size()), expected);
    uint64_t last = 0;
    for (Operation* write : writes) {
        EXPECT_EQ(write->wait(), sent(kLength));
        EXPECT_GT(write->wait_for(1).sequence, last);
        last = write->wait_for(1).sequence;
    }
}

// Spec: CP-ORDER-1
TEST_P(OrderTest, DirectionsAreIndependent) {
    Pair& tcp = keep(tcp_pair());
    Operation& read = receive(tcp.ours.get(), 8);
    EXPECT_EQ(send(tcp.ours.get(), "overtakes").wait(), sent(9));
    EXPECT_FALSE(read.completed());

    fill_send_buffer(tcp.ours.get());
    Operation& write = send(tcp.ours.get(), "stalled");
    write_all(tcp.theirs.get(), "arrives");
    EXPECT_EQ(read.wait(), received(7));
    EXPECT_FALSE(write.completed());
    completion_port_remove(port(), tcp.ours.get());
    EXPECT_EQ(write.wait(), closing());
}

// Spec: CP-ORDER-2
TEST_P(OrderTest, CallbacksOfOneSocketNeverOverlap) {
    Pair& pair = keep(unix_pair());
    std::atomic<int> running{0};
    std::atomic<int> overlaps{0};
    const auto exclusive = [&](const Completion&) {
        overlaps += running.fetch_add(1) == 0 ? 0 : 1;
        running.fetch_sub(1);
    };
    constexpr int kRounds = 500;
    std::vector<Operation*> adds;
    for (int i = 0; i < kRounds; ++i) {
        adds.push_back(&operation("r").then(exclusive));
        ASSERT_EQ(adds.back()->add(port(), EPOLLIN, pair.ours.get()), 0);
        adds.push_back(&operation("w").then(exclusive));
        ASSERT_EQ(adds.back()->add(port(), EPOLLOUT, pair.ours.get()), 0);
        write_all(pair.theirs.get(), "x");
        read_exactly(pair.theirs.get(), 1);
    }
    for (Operation* add : adds) {
        add->wait();
    }
    EXPECT_EQ(overlaps.load(), 0);
}

// Spec: CP-ORDER-3
TEST_P(OrderTest, ManyAddsWaitInEachDirectionWithoutDisturbingOneAnother) {
    Pair& tcp = keep(tcp_pair());
    const size_t stuffed = fill_send_buffer(tcp.ours.get());
    constexpr size_t kAdds = 1000;
    std::vector<Operation*> reads;
    std::vector<Operation*> writes;
    std::string expected_out;
    for (size_t i = 0; i < kAdds; ++i) {
        reads.push_back(&receive(tcp.ours.get(), 1 + i % 7));
        const std::string part = pattern(1 + i % 11, static_cast<uint32_t>(i));
        expected_out += part;
        writes.push_back(&send(tcp.ours.get(), part));
    }
    fence();
    EXPECT_FALSE(reads.front()->completed());
    EXPECT_FALSE(writes.front()->completed());

    size_t inward = 0;
    for (Operation* read : reads) {
        inward += read->buffer().size();
    }
    const std::string expected_in = pattern(inward, 77);
    write_all(tcp.theirs.get(), expected_in);
    std::string joined;
    for (Operation* read : reads) {
        EXPECT_EQ(read->wait(), received(read->buffer().size()));
        joined += read->bytes();
    }
    EXPECT_EQ(joined, expected_in);

    EXPECT_EQ(read_exactly(tcp.theirs.get(), stuffed).size(), stuffed);
    EXPECT_EQ(read_exactly(tcp.theirs.get(), expected_out.size()), expected_out);
    for (Operation* write : writes) {
        EXPECT_EQ(write->wait(), sent(write->buffer().size()));
    }
}

}  // namespace
}  // namespace cport::test
