// Buffered writes.
#include <errno.h>
#include <poll.h>
#include <signal.h>

#include <cstdlib>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "tests/contract/port_fixture.h"
#include "tests/contract/process_facts.h"

namespace cport::test {
namespace {

class WriteTest : public PortTest {};
CPORT_ON_EVERY_ENGINE(WriteTest);

// Spec: CP-WRITE-1
TEST_P(WriteTest, SmallSendOnEveryKindOfSocket) {
    for (const auto& make : std::vector<std::function<Pair()>>{
             [] { return tcp_pair(AF_INET); }, [] { return tcp_pair(AF_INET6); },
             [] { return udp_pair(AF_INET); }, [] { return udp_pair(AF_INET6); },
             [] { return unix_pair(SOCK_STREAM); }, [] { return unix_pair(SOCK_DGRAM); },
             [] { return unix_pair(SOCK_SEQPACKET); }}) {
        Pair& pair = keep(make());
        EXPECT_EQ(send(pair.ours.get(), "hello").wait(), sent(5));
        EXPECT_EQ(read_exactly(pair.theirs.get(), 5), "hello");
        EXPECT_EQ(send(pair.ours.get(), "again", EPOLLRDHUP).wait(), sent(5));
        EXPECT_EQ(read_exactly(pair.theirs.get(), 5), "again");
    }
}

// Spec: CP-WRITE-1
TEST_P(WriteTest, HugeSendToASlowReaderCompletesOnceWithItsWholeLength) {
    Pair& tcp = keep(tcp_pair());
    const std::string bytes = pattern(64 << 20);
    Operation& write = send(tcp.ours.get(), bytes);
    // The reader takes a step only when the worker has come to rest over the step before.
    std::string got;
    size_t steps = 0;
    while (got.size() < bytes.size()) {
        if (steps++ % 16 == 0) {
            fence();
        }
        got += read_exactly(tcp.theirs.get(), std::min<size_t>(1 << 20, bytes.size() - got.size()));
    }
    EXPECT_EQ(write.wait(), sent(bytes.size()));
    EXPECT_TRUE(got == bytes);
}

// Spec: CP-WRITE-1
TEST_P(WriteTest, StalledDatagramsAreAllSent) {
    Pair& pair = keep(unix_pair(SOCK_DGRAM));
    std::vector<Operation*> writes;
    for (uint32_t i = 0; i < 200; ++i) {
        writes.push_back(&send(pair.ours.get(), pattern(1000, i)));
    }
    for (uint32_t i = 0; i < 200; ++i) {
        EXPECT_EQ(read_exactly(pair.theirs.get(), 1000), pattern(1000, i));
    }
    for (Operation* write : writes) {
        EXPECT_EQ(write->wait(), sent(1000));
    }
}

// Spec: CP-WRITE-2
TEST_P(WriteTest, ResetInTheMiddleGivesTheBytesSentBeforeIt) {
    Pair& tcp = keep(tcp_pair());
    Operation& write = send(tcp.ours.get(), pattern(64 << 20));
    wait_until_unread(tcp.theirs.get(), 1);
    fence();
    EXPECT_FALSE(write.completed());
    close_with_reset(tcp.theirs);
    const Outcome outcome = write.wait();
    EXPECT_EQ(outcome, write_abandoned(outcome.amount));
    EXPECT_GT(outcome.amount, 0);
    EXPECT_LT(outcome.amount, 64 << 20);
    EXPECT_EQ(write.error(), ECONNRESET);
}

// Spec: CP-WRITE-2
TEST_P(WriteTest, ResetBeforeTheFirstByteGivesNone) {
    Pair& tcp = keep(tcp_pair());
    fill_send_buffer(tcp.ours.get());
    Operation& write = send(tcp.ours.get(), "never");
    fence();
    close_with_reset(tcp.theirs);
    EXPECT_EQ(write.wait(), write_abandoned());
    EXPECT_EQ(write.error(), ECONNRESET);
}

// Spec: CP-WRITE-2
TEST_P(WriteTest, OtherFailuresAreErrorsWithTheirErrno) {
    Pair& udp = keep(udp_pair());
    Operation& huge = send(udp.ours.get(), std::string(70'000, 'x'));
    EXPECT_EQ(huge.wait(), write_failed());
    EXPECT_EQ(huge.error(), EMSGSIZE);
    EXPECT_EQ(send(udp.ours.get(), "small").wait(), sent(5));
}

// Spec: CP-WRITE-3
TEST_P(WriteTest, BrokenPipeIsAbandonedAndRaisesNoSignal) {
    for (const auto& make : std::vector<std::function<Pair()>>{[] { return tcp_pair(); },
                                                               [] { return unix_pair(); }}) {
        Pair& pair = keep(make());
        half_close(pair.ours.get());
        Operation& write = send(pair.ours.get(), "x");
        EXPECT_EQ(write.wait(), write_abandoned());
        EXPECT_EQ(write.error(), EPIPE);
        // Neither delivered, which would have killed this process, nor left pending on the worker.
        for (const char* field : {"SigPnd", "ShdPnd"}) {
            const std::string pending = thread_status(write.wait_for(1).thread, field);
            EXPECT_EQ(std::strtoull(pending.c_str(), nullptr, 16) >> (SIGPIPE - 1) & 1, 0u);
        }
    }
}

// Spec: CP-WRITE-4
TEST_P(WriteTest, WritingGoesOnAfterThePeersHalfClose) {
    Pair& tcp = keep(tcp_pair());
    half_close(tcp.theirs.get());
    EXPECT_EQ(receive(tcp.ours.get(), 10, EPOLLRDHUP).wait(), hung_up());
    EXPECT_EQ(send(tcp.ours.get(), "after", EPOLLRDHUP).wait(), sent(5));
    EXPECT_EQ(send(tcp.ours.get(), "more").wait(), sent(4));
    EXPECT_EQ(read_exactly(tcp.theirs.get(), 9), "aftermore");
}

// Spec: CP-WRITE-4
TEST_P(WriteTest, HalfCloseDoesNotEndAStalledSend) {
    Pair& tcp = keep(tcp_pair());
    const std::string bytes = pattern(16 << 20);
    Operation& write = send(tcp.ours.get(), bytes, EPOLLRDHUP);
    fence();
    half_close(tcp.theirs.get());
    EXPECT_EQ(receive(tcp.ours.get(), 1).wait(), end_of_stream());
    fence();
    EXPECT_FALSE(write.completed());
    EXPECT_TRUE(read_exactly(tcp.theirs.get(), bytes.size()) == bytes);
    EXPECT_EQ(write.wait(), sent(bytes.size()));
}

// Spec: CP-WRITE-5
TEST_P(WriteTest, BrokenPipeLatchesWritesOnly) {
    for (const auto& make : std::vector<std::function<Pair()>>{[] { return tcp_pair(); },
                                                               [] { return unix_pair(); }}) {
        Pair& pair = keep(make());
        Operation& before = receive(pair.ours.get(), 5);
        half_close(pair.ours.get());
        EXPECT_EQ(send(pair.ours.get(), "x").wait(), write_abandoned());
        Operation& again = send(pair.ours.get(), "x");
        EXPECT_EQ(again.wait(), write_abandoned());
        EXPECT_EQ(again.error(), EPIPE);
        write_all(pair.theirs.get(), "stillalive");
        EXPECT_EQ(before.wait(), received(5));
        EXPECT_EQ(receive(pair.ours.get(), 5).wait(), received(5));
        half_close(pair.theirs.get());
        EXPECT_EQ(receive(pair.ours.get(), 5).wait(), end_of_stream());
    }
}

}  // namespace
}  // namespace cport::test
