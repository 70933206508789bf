// Buffered reads.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/contract/port_fixture.h"

namespace cport::test {
namespace {

class ReadTest : public PortTest {
 protected:
    // Reads with one add after another until `length` bytes have come.
    std::string gather(int socket, size_t length) {
        std::string bytes;
        while (bytes.size() < length) {
            Operation& read = receive(socket, 100);
            const Outcome outcome = read.wait();
            if (outcome == spurious_read()) {
                continue;
            }
            if (outcome.result != COMPLETION_PORT_RESULT_OK || outcome.amount <= 0) {
                ADD_FAILURE() << outcome << " after " << bytes.size() << " bytes";
                break;
            }
            bytes += read.bytes();
        }
        return bytes;
    }
};
CPORT_ON_EVERY_ENGINE(ReadTest);

// Spec: CP-READ-1
TEST_P(ReadTest, StreamReadEndsWhenItsBufferIsFull) {
    for (const auto& make : std::vector<std::function<Pair()>>{
             [] { return tcp_pair(AF_INET); }, [] { return tcp_pair(AF_INET6); },
             [] { return unix_pair(SOCK_STREAM); }}) {
        Pair& pair = keep(make());
        Operation& waiting = receive(pair.ours.get(), 4);
        write_all(pair.theirs.get(), "12345678rest");
        EXPECT_EQ(waiting.wait(), received(4));
        EXPECT_EQ(waiting.bytes(), "1234");
        Operation& ready = receive(pair.ours.get(), 4);
        EXPECT_EQ(ready.wait(), received(4));
        EXPECT_EQ(ready.bytes(), "5678");
        EXPECT_EQ(gather(pair.ours.get(), 4), "rest");
    }
}

// Spec: CP-READ-1
TEST_P(ReadTest, StreamReadTakesTheBytesThatAreThereAndThenEnds) {
    Pair& tcp = keep(tcp_pair());
    write_all(tcp.theirs.get(), "one ");
    write_all(tcp.theirs.get(), "two ");
    write_all(tcp.theirs.get(), "three");
    wait_until_unread(tcp.ours.get(), 13);
    Operation& read = receive(tcp.ours.get(), 1000);
    EXPECT_EQ(read.wait(), received(13));
    EXPECT_EQ(read.bytes(), "one two three");
}

// Spec: CP-READ-1
TEST_P(ReadTest, BuffersOfOneByte) {
    Pair& tcp = keep(tcp_pair());
    const std::string bytes = pattern(300);
    write_all(tcp.theirs.get(), bytes);
    std::vector<Operation*> reads;
    for (size_t i = 0; i < bytes.size(); ++i) {
        reads.push_back(&receive(tcp.ours.get(), 1));
    }
    std::string joined;
    for (Operation* read : reads) {
        EXPECT_EQ(read->wait(), received(1));
        joined += read->bytes();
    }
    EXPECT_EQ(joined, bytes);
}

// Spec: CP-READ-2
TEST_P(ReadTest, EndOfStreamIsZeroBytes) {
    Pair& tcp = keep(tcp_pair());
    Operation& waiting = receive(tcp.ours.get(), 10);
    half_close(tcp.theirs.get());
    EXPECT_EQ(waiting.wait(), end_of_stream());
    EXPECT_EQ(waiting.error(), 0);
    EXPECT_EQ(receive(tcp.ours.get(), 10).wait(), end_of_stream());
}

// Spec: CP-READ-2
TEST_P(ReadTest, EndOfStreamIsAHangUpWhereItWasAskedFor) {
    for (int type : {SOCK_STREAM, SOCK_SEQPACKET}) {
        Pair& pair = keep(unix_pair(type));
        Operation& waiting = receive(pair.ours.get(), 10, EPOLLRDHUP);
        half_close(pair.theirs.get());
        EXPECT_EQ(waiting.wait(), hung_up());
        EXPECT_EQ(receive(pair.ours.get(), 10, EPOLLRDHUP).wait(), hung_up());
        EXPECT_EQ(receive(pair.ours.get(), 10).wait(), end_of_stream());
    }
    Pair& tcp = keep(tcp_pair());
    Operation& waiting = receive(tcp.ours.get(), 10, EPOLLRDHUP);
    tcp.theirs.close();
    EXPECT_EQ(waiting.wait(), hung_up());
}

// Spec: CP-READ-3
TEST_P(ReadTest, BytesBeforeTheEndOfTheStreamComeFirst) {
    for (uint32_t hang_up : {0u, uint32_t{EPOLLRDHUP}}) {
        Pair& tcp = keep(tcp_pair());
        const std::string bytes = pattern(50'000);
        write_all(tcp.theirs.get(), bytes);
        tcp.theirs.close();
        wait_until_polled(tcp.ours.get(), POLLRDHUP);
        std::string joined;
        Outcome outcome{};
        do {
            Operation& read = receive(tcp.ours.get(), 7'000, hang_up);
            outcome = read.wait();
            joined += read.bytes();
        } while (outcome.amount > 0);
        EXPECT_EQ(outcome, hang_up != 0 ? hung_up() : end_of_stream());
        EXPECT_EQ(joined, bytes);
    }
}

// Spec: CP-READ-3
TEST_P(ReadTest, BytesBeforeAResetComeFirst) {
    Pair& tcp = keep(tcp_pair());
    const std::string bytes = pattern(20'000);
    write_all(tcp.theirs.get(), bytes);
    wait_until_unread(tcp.ours.get(), bytes.size());
    close_with_reset(tcp.theirs);
    wait_until_polled(tcp.ours.get(), POLLERR);
    std::string joined;
    Outcome outcome{};
    do {
        Operation& read = receive(tcp.ours.get(), 6'000, EPOLLRDHUP);
        outcome = read.wait();
        joined += read.bytes();
    } while (outcome.amount > 0);
    EXPECT_EQ(outcome, read_abandoned());
    EXPECT_EQ(joined, bytes);
}

// Spec: CP-READ-4
TEST_P(ReadTest, OneDatagramForEachAdd) {
    for (const auto& make : std::vector<std::function<Pair()>>{
             [] { return udp_pair(AF_INET); }, [] { return udp_pair(AF_INET6); },
             [] { return unix_pair(SOCK_DGRAM); }, [] { return unix_pair(SOCK_SEQPACKET); }}) {
        Pair& pair = keep(make());
        Operation& first = receive(pair.ours.get(), 100);
        Operation& second = receive(pair.ours.get(), 100);
        write_all(pair.theirs.get(), "alpha");
        write_all(pair.theirs.get(), "be");
        EXPECT_EQ(first.wait(), received(5));
        EXPECT_EQ(first.bytes(), "alpha");
        EXPECT_EQ(second.wait(), received(2));
        EXPECT_EQ(second.bytes(), "be");
    }
}

// Spec: CP-READ-4
TEST_P(ReadTest, EmptyDatagramIsZeroBytes) {
    for (int domain : {AF_INET, AF_UNIX}) {
        Pair& pair = keep(domain == AF_UNIX ? unix_pair(SOCK_DGRAM) : udp_pair(domain));
        Operation& empty = receive(pair.ours.get(), 100);
        Operation& next = receive(pair.ours.get(), 100);
        ASSERT_EQ(::send(pair.theirs.get(), "", 0, 0), 0);
        write_all(pair.theirs.get(), "next");
        EXPECT_EQ(empty.wait(), received(0));
        EXPECT_EQ(next.wait(), received(4));
    }
}

// Spec: CP-READ-5
TEST_P(ReadTest, DatagramLongerThanTheBufferIsAnErrorWithWhatFits) {
    for (const auto& make : std::vector<std::function<Pair()>>{
             [] { return udp_pair(); }, [] { return unix_pair(SOCK_DGRAM); },
             [] { return unix_pair(SOCK_SEQPACKET); }}) {
        Pair& pair = keep(make());
        Operation& small = receive(pair.ours.get(), 4);
        Operation& exact = receive(pair.ours.get(), 4);
        write_all(pair.theirs.get(), "too long");
        write_all(pair.theirs.get(), "fits");
        EXPECT_EQ(small.wait(), read_failed(4));
        EXPECT_EQ(small.error(), EMSGSIZE);
        EXPECT_EQ(small.bytes(), "too ");
        EXPECT_EQ(exact.wait(), received(4));
    }
}

// Spec: CP-READ-6 CP-ENGINE-4
TEST_P(ReadTest, ReadinessWithNothingToReadIsSaidAsSpurious) {
    // A unix stream that holds nothing but an urgent byte is called readable, and recv says EAGAIN.
    Pair& pair = keep(unix_pair());
    Operation& waiting = receive(pair.ours.get(), 10);
    fence();
    write_urgent(pair.theirs.get(), '!');
    if (kernel_holds()) {
        // The kernel waits on; nobody is told of a readiness that proved false.
        fence();
        EXPECT_FALSE(waiting.completed());
        write_all(pair.theirs.get(), "calm");
        EXPECT_EQ(waiting.wait(), received(4));
        return;
    }
    EXPECT_EQ(waiting.wait(), spurious_read());
    EXPECT_EQ(waiting.error(), 0);
    write_all(pair.theirs.get(), "calm");
    EXPECT_EQ(gather(pair.ours.get(), 4), "calm");
}

// Spec: CP-READ-6
TEST_P(ReadTest, AddOnAnEmptySocketDoesNotFire) {
    Pair& tcp = keep(tcp_pair());
    Pair& udp = keep(udp_pair());
    Operation& stream = receive(tcp.ours.get(), 10);
    Operation& datagram = receive(udp.ours.get(), 10);
    // Sending makes the sockets' own write side ready, which is none of the reads' business.
    EXPECT_EQ(send(tcp.ours.get(), "out").wait(), sent(3));
    EXPECT_EQ(send(udp.ours.get(), "out").wait(), sent(3));
    fence();
    EXPECT_FALSE(stream.completed());
    EXPECT_FALSE(datagram.completed());
}

// Spec: CP-READ-7
TEST_P(ReadTest, ResetIsAbandonedWithItsErrno) {
    Pair& tcp = keep(tcp_pair());
    Operation& plain = receive(tcp.ours.get(), 10);
    close_with_reset(tcp.theirs);
    EXPECT_EQ(plain.wait(), read_abandoned());
    EXPECT_EQ(plain.error(), ECONNRESET);
}

// Spec: CP-READ-7
TEST_P(ReadTest, OtherFailuresAreErrorsWithTheirErrno) {
    Descriptor& fresh = keep(fresh_tcp_socket());
    Operation& unconnected = receive(fresh.get(), 10);
    EXPECT_EQ(unconnected.wait(), read_failed());
    EXPECT_EQ(unconnected.error(), ENOTCONN);

    Descriptor& lonely = keep(udp_to_nobody());
    Operation& refused = receive(lonely.get(), 10);
    fence();
    ASSERT_EQ(::send(lonely.get(), "?", 1, 0), 1);
    EXPECT_EQ(refused.wait(), read_failed());
    EXPECT_EQ(refused.error(), ECONNREFUSED);
}

// Spec: CP-READ-8
TEST_P(ReadTest, BytesAfterUrgentDataAreFound) {
    for (bool added_before : {true, false}) {
        Pair& tcp = keep(tcp_pair());
        Operation* early = nullptr;
        if (added_before) {
            early = &receive(tcp.ours.get(), 100);
            fence();
        }
        write_all(tcp.theirs.get(), "abc");
        write_urgent(tcp.theirs.get(), '!');
        write_all(tcp.theirs.get(), "def");
        // The urgent byte is no part of the stream, but it counts as unread until it is passed.
        std::string bytes;
        if (early != nullptr) {
            early->wait();
            bytes = early->bytes();
        } else {
            wait_until_unread(tcp.ours.get(), 3);
        }
        bytes += gather(tcp.ours.get(), 6 - bytes.size());
        EXPECT_EQ(bytes, "abcdef");
    }
}

// Spec: CP-READ-8
TEST_P(ReadTest, BytesAfterPassedDescriptorsAreFound) {
    for (bool added_before : {true, false}) {
        Pair& pair = keep(unix_pair());
        Descriptor& passed = keep(ready_eventfd());
        Operation* early = nullptr;
        if (added_before) {
            early = &receive(pair.ours.get(), 100);
            fence();
        }
        write_with_descriptor(pair.theirs.get(), "first ", passed.get());
        write_all(pair.theirs.get(), "second ");
        write_with_descriptor(pair.theirs.get(), "third", passed.get());
        std::string bytes;
        if (early != nullptr) {
            early->wait();
            bytes = early->bytes();
        }
        bytes += gather(pair.ours.get(), 18 - bytes.size());
        EXPECT_EQ(bytes, "first second third");
    }
}

// Spec: CP-READ-8
TEST_P(ReadTest, BytesThatArriveDuringAShortReadsCallbackAreFound) {
    Pair& tcp = keep(tcp_pair());
    Operation& first = operation(std::string(100, '\0'));
    first.then([&](const Completion&) {
        write_all(tcp.theirs.get(), "late");
        wait_until_unread(tcp.ours.get(), 4);
    });
    ASSERT_EQ(first.add(port(), EPOLLIN, tcp.ours.get()), 0);
    write_all(tcp.theirs.get(), "early");
    EXPECT_EQ(first.wait(), received(5));
    EXPECT_EQ(gather(tcp.ours.get(), 4), "late");
}

// Spec: CP-READ-8 CP-ONCE-1
TEST_P(ReadTest, BytesAfterALongReadThatEndedAtAMebibyteAreFound) {
    constexpr size_t kMebibyte = 1 << 20;
    std::optional<Pair> with_large_buffer = tcp_pair_with_receive_buffer(8 << 20);
    if (!with_large_buffer.has_value()) {
        GTEST_SKIP() << "a receive buffer of 8 MiB needs CAP_NET_ADMIN";
    }
    // Nothing has watched this socket yet.
    Pair& tcp = keep(std::move(*with_large_buffer));
    write_all(tcp.theirs.get(), pattern(kMebibyte));
    wait_until_unread(tcp.ours.get(), kMebibyte);
    EXPECT_EQ(receive(tcp.ours.get(), 2 * kMebibyte).wait(), received(kMebibyte));
    write_all(tcp.theirs.get(), "hello");
    wait_until_unread(tcp.ours.get(), 5);
    Operation& next = receive(tcp.ours.get(), 16);
    fence();
    ASSERT_TRUE(next.completed());
    EXPECT_EQ(next.wait(), received(5));
}

// Spec: CP-READ-9
TEST_P(ReadTest, FlagsOfTheDescriptorStayAndABlockingOneNeverBlocksTheWorker) {
    for (bool nonblocking : {false, true}) {
        Pair& tcp = keep(tcp_pair());
        const int flags = ::fcntl(tcp.ours.get(), F_GETFL);
        const int wanted = nonblocking ? flags | O_NONBLOCK : flags;
        ASSERT_EQ(::fcntl(tcp.ours.get(), F_SETFL, wanted), 0);
        Operation& read = receive(tcp.ours.get(), 10);
        Operation& write = send(tcp.ours.get(), pattern(16 << 20));
        // The worker answers others while both wait.
        fence();
        EXPECT_FALSE(read.completed());
        EXPECT_FALSE(write.completed());
        EXPECT_EQ(::fcntl(tcp.ours.get(), F_GETFL), wanted);
        completion_port_remove(port(), tcp.ours.get());
        EXPECT_EQ(::fcntl(tcp.ours.get(), F_GETFL), wanted);
    }
}

}  // namespace
}  // namespace cport::test
