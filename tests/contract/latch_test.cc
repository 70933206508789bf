// The first fatal error of a stream is kept, those of datagram sockets are not.
#include <errno.h>
#include <poll.h>

#include <string>

#include "tests/contract/port_fixture.h"

namespace cport::test {
namespace {

class LatchTest : public PortTest {
 protected:
    // A stream that holds "hello" and behind it a reset.
    Pair& stream_with_bytes_and_reset() {
        Pair& tcp = keep(tcp_pair());
        write_all(tcp.theirs.get(), "hello");
        wait_until_unread(tcp.ours.get(), 5);
        close_with_reset(tcp.theirs);
        wait_until_polled(tcp.ours.get(), POLLERR);
        return tcp;
    }

    void expect_reset(Operation& operation, const Outcome& outcome) {
        EXPECT_EQ(operation.wait(), outcome);
        EXPECT_EQ(operation.error(), ECONNRESET);
    }
};
CPORT_ON_EVERY_ENGINE(LatchTest);

// Spec: CP-LATCH-1
TEST_P(LatchTest, ResetIsToldToEveryLaterAddAfterTheBytesBeforeIt) {
    Pair& tcp = stream_with_bytes_and_reset();
    EXPECT_EQ(receive(tcp.ours.get(), 10).wait(), received(5));
    for (int i = 0; i < 3; ++i) {
        expect_reset(receive(tcp.ours.get(), 10), read_abandoned());
        expect_reset(receive(tcp.ours.get(), 10, EPOLLRDHUP), read_abandoned());
        expect_reset(send(tcp.ours.get(), "x"), write_abandoned());
    }
}

// Spec: CP-LATCH-1
TEST_P(LatchTest, SendThatConsumedTheErrorDoesNotMakeTheStreamLookComplete) {
    Pair& tcp = stream_with_bytes_and_reset();
    expect_reset(send(tcp.ours.get(), "x"), write_abandoned());
    EXPECT_EQ(receive(tcp.ours.get(), 10).wait(), received(5));
    expect_reset(receive(tcp.ours.get(), 10), read_abandoned());
    expect_reset(receive(tcp.ours.get(), 10), read_abandoned());
}

// Whichever the kernel tells of the reset: the other, where it holds both, hears something else.
// Spec: CP-LATCH-1
TEST_P(LatchTest, ResetEndsEverythingThatWaits) {
    for (const bool reads_first : {true, false}) {
        Pair& tcp = keep(tcp_pair());
        fill_send_buffer(tcp.ours.get());
        Operation* reads[3] = {};
        Operation* writes[3] = {};
        for (int i = 0; i < 3; ++i) {
            if (reads_first) reads[i] = &receive(tcp.ours.get(), 10);
            writes[i] = &send(tcp.ours.get(), "stalled");
            if (!reads_first) reads[i] = &receive(tcp.ours.get(), 10);
        }
        fence();
        close_with_reset(tcp.theirs);
        for (int i = 0; i < 3; ++i) {
            expect_reset(*reads[i], read_abandoned());
            expect_reset(*writes[i], write_abandoned());
        }
    }
}

// Spec: CP-LATCH-2
TEST_P(LatchTest, ErrorOfADatagramSocketIsToldOnce) {
    Descriptor& lonely = keep(udp_to_nobody());
    Operation& waiting = receive(lonely.get(), 10);
    fence();
    EXPECT_EQ(send(lonely.get(), "1").wait(), sent(1));
    EXPECT_EQ(waiting.wait(), read_failed());
    EXPECT_EQ(waiting.error(), ECONNREFUSED);
    // The next operations are tried afresh: the send succeeds, and its refusal is a new error.
    Operation& next = receive(lonely.get(), 10);
    fence();
    EXPECT_FALSE(next.completed());
    EXPECT_EQ(send(lonely.get(), "2").wait(), sent(1));
    EXPECT_EQ(next.wait(), read_failed());
}

// Spec: CP-LATCH-3
TEST_P(LatchTest, RemoveForgetsAKeptError) {
    Pair& tcp = stream_with_bytes_and_reset();
    EXPECT_EQ(receive(tcp.ours.get(), 10).wait(), received(5));
    expect_reset(receive(tcp.ours.get(), 10), read_abandoned());
    completion_port_remove(port(), tcp.ours.get());
    // The kernel told the error once; what it says now is what a new registration hears.
    EXPECT_EQ(receive(tcp.ours.get(), 10).wait(), end_of_stream());
}

}  // namespace
}  // namespace cport::test
