// Adds without a buffer.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <functional>
#include <string>
#include <vector>

#include "tests/contract/port_fixture.h"

namespace cport::test {
namespace {

class ReadinessTest : public PortTest {};
CPORT_ON_EVERY_ENGINE(ReadinessTest);

// Spec: CP-READY-1
TEST_P(ReadinessTest, CompletesWhenPollWouldCallTheDescriptorReady) {
    for (const auto& make : std::vector<std::function<Pair()>>{
             [] { return tcp_pair(); }, [] { return udp_pair(); }, [] { return unix_pair(); },
             [] { return unix_pair(SOCK_DGRAM); }, [] { return unix_pair(SOCK_SEQPACKET); }}) {
        Pair& pair = keep(make());
        EXPECT_EQ(watch(pair.ours.get(), EPOLLOUT).wait(), ready_to_write());
        Operation& readable = watch(pair.ours.get(), EPOLLIN);
        fence();
        EXPECT_FALSE(readable.completed());
        write_all(pair.theirs.get(), "x");
        EXPECT_EQ(readable.wait(), ready_to_read());
        EXPECT_EQ(readable.error(), 0);
        EXPECT_EQ(read_exactly(pair.ours.get(), 1), "x");
    }
}

// Spec: CP-READY-1
TEST_P(ReadinessTest, WritableAfterTheBufferDrained) {
    Pair& tcp = keep(tcp_pair());
    const size_t stuffed = fill_send_buffer(tcp.ours.get());
    Operation& writable = watch(tcp.ours.get(), EPOLLOUT);
    fence();
    EXPECT_FALSE(writable.completed());
    EXPECT_EQ(read_exactly(tcp.theirs.get(), stuffed).size(), stuffed);
    EXPECT_EQ(writable.wait(), ready_to_write());
}

// Spec: CP-READY-1
TEST_P(ReadinessTest, ListenerIsReadableWhenAConnectionWaits) {
    Descriptor& listener = keep(fresh_tcp_socket());
    ASSERT_EQ(::listen(listener.get(), 4), 0);
    Operation& acceptable = watch(listener.get(), EPOLLIN);
    fence();
    EXPECT_FALSE(acceptable.completed());
    sockaddr_storage name{};
    socklen_t length = sizeof name;
    ASSERT_EQ(::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&name), &length), 0);
    Descriptor& client = keep(fresh_tcp_socket());
    ASSERT_EQ(::connect(client.get(), reinterpret_cast<sockaddr*>(&name), length), 0);
    EXPECT_EQ(acceptable.wait(), ready_to_read());
}

// Spec: CP-READY-2
TEST_P(ReadinessTest, IsCheckedLevelWise) {
    Pair& pair = keep(unix_pair());
    Operation& first = watch(pair.ours.get(), EPOLLIN);
    fence();
    write_all(pair.theirs.get(), "0123456789");
    EXPECT_EQ(first.wait(), ready_to_read());
    EXPECT_EQ(read_exactly(pair.ours.get(), 5), "01234");
    EXPECT_EQ(watch(pair.ours.get(), EPOLLIN).wait(), ready_to_read());
    EXPECT_EQ(read_exactly(pair.ours.get(), 5), "56789");
    Operation& empty = watch(pair.ours.get(), EPOLLIN);
    fence();
    EXPECT_FALSE(empty.completed());
}

// Spec: CP-READY-2
TEST_P(ReadinessTest, IsNotAnsweredFromAnEdgeOfBefore) {
    Pair& pair = keep(unix_pair());
    Operation& first = watch(pair.ours.get(), EPOLLIN);
    fence();
    write_all(pair.theirs.get(), "x");
    EXPECT_EQ(first.wait(), ready_to_read());
    // Another edge comes while nobody waits, and its byte is taken by somebody else.
    write_all(pair.theirs.get(), "y");
    fence();
    EXPECT_EQ(read_exactly(pair.ours.get(), 2), "xy");
    Operation& second = watch(pair.ours.get(), EPOLLIN);
    fence();
    EXPECT_FALSE(second.completed());
}

// Spec: CP-READY-3
TEST_P(ReadinessTest, LeavesThePendingErrorToItsUser) {
    Pair& tcp = keep(tcp_pair());
    Operation& readable = watch(tcp.ours.get(), EPOLLIN);
    Operation& hang_up = watch(tcp.ours.get(), EPOLLRDHUP);
    fence();
    close_with_reset(tcp.theirs);
    EXPECT_EQ(readable.wait(), ready_to_read());
    EXPECT_EQ(hang_up.wait(), hung_up());
    EXPECT_EQ(watch(tcp.ours.get(), EPOLLOUT).wait(), ready_to_write());
    fence();
    int error = 0;
    socklen_t length = sizeof error;
    ASSERT_EQ(::getsockopt(tcp.ours.get(), SOL_SOCKET, SO_ERROR, &error, &length), 0);
    EXPECT_EQ(error, ECONNRESET);
}

// Spec: CP-READY-4
TEST_P(ReadinessTest, HangUpAloneFiresWhenThePeerEndedItsSide) {
    for (bool closed : {false, true}) {
        Pair& tcp = keep(tcp_pair());
        Operation& waiting = watch(tcp.ours.get(), EPOLLRDHUP);
        fence();
        EXPECT_FALSE(waiting.completed());
        if (closed) {
            tcp.theirs.close();
        } else {
            half_close(tcp.theirs.get());
        }
        EXPECT_EQ(waiting.wait(), hung_up());
        EXPECT_EQ(watch(tcp.ours.get(), EPOLLRDHUP).wait(), hung_up());
    }
}

// Spec: CP-READY-4
TEST_P(ReadinessTest, HangUpAloneDoesNotFireForAFreshSocket) {
    // The kernel says OUT|HUP of a socket that was never connected.
    Descriptor& fresh = keep(fresh_tcp_socket());
    Operation& hang_up = watch(fresh.get(), EPOLLRDHUP);
    fence();
    EXPECT_FALSE(hang_up.completed());
}

// Spec: CP-READY-5
TEST_P(ReadinessTest, PipesAreWatchedAndTheirHangUpsComplete) {
    Pair& pipe = keep(pipe_pair());
    Operation& readable = watch(pipe.ours.get(), EPOLLIN);
    fence();
    EXPECT_FALSE(readable.completed());
    EXPECT_EQ(watch(pipe.theirs.get(), EPOLLOUT).wait(), ready_to_write());
    ASSERT_EQ(::write(pipe.theirs.get(), "x", 1), 1);
    EXPECT_EQ(readable.wait(), ready_to_read());
    char byte = 0;
    ASSERT_EQ(::read(pipe.ours.get(), &byte, 1), 1);

    Operation& ended = watch(pipe.ours.get(), EPOLLIN);
    fence();
    EXPECT_FALSE(ended.completed());
    completion_port_remove(port(), pipe.theirs.get());
    pipe.theirs.close();
    EXPECT_EQ(ended.wait(), ready_to_read());
}

// Spec: CP-READY-5
TEST_P(ReadinessTest, FullPipeWhoseReaderWentAwayCompletes) {
    Pair& pipe = keep(pipe_pair());
    ASSERT_EQ(::fcntl(pipe.theirs.get(), F_SETFL, O_WRONLY | O_NONBLOCK), 0);
    const std::string chunk(1 << 16, 'p');
    while (::write(pipe.theirs.get(), chunk.data(), chunk.size()) > 0) {
    }
    Operation& writable = watch(pipe.theirs.get(), EPOLLOUT);
    fence();
    EXPECT_FALSE(writable.completed());
    pipe.ours.close();
    EXPECT_EQ(writable.wait(), ready_to_write());
}

// Spec: CP-READY-5
TEST_P(ReadinessTest, EventfdAndTimerfd) {
    Descriptor& event = keep(idle_eventfd());
    Operation& signalled = watch(event.get(), EPOLLIN);
    fence();
    EXPECT_FALSE(signalled.completed());
    const uint64_t one = 1;
    ASSERT_EQ(::write(event.get(), &one, sizeof one), ssize_t{sizeof one});
    EXPECT_EQ(signalled.wait(), ready_to_read());

    Descriptor& timer = keep(Descriptor(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC)));
    ASSERT_GE(timer.get(), 0);
    Operation& expired = watch(timer.get(), EPOLLIN);
    fence();
    EXPECT_FALSE(expired.completed());
    const itimerspec soon{{0, 0}, {0, 1}};
    ASSERT_EQ(::timerfd_settime(timer.get(), 0, &soon, nullptr), 0);
    EXPECT_EQ(expired.wait(), ready_to_read());
}

// Spec: CP-READY-5
TEST_P(ReadinessTest, TerminalAndItsHangUp) {
    Descriptor& master = keep(Descriptor(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)));
    if (master.get() < 0) GTEST_SKIP() << "no pseudo-terminals here: /dev/pts is not mounted";
    ASSERT_EQ(::grantpt(master.get()), 0);
    ASSERT_EQ(::unlockpt(master.get()), 0);
    char name[128] = {};
    ASSERT_EQ(::ptsname_r(master.get(), name, sizeof name), 0);
    Descriptor terminal(::open(name, O_RDWR | O_NOCTTY | O_CLOEXEC));
    ASSERT_GE(terminal.get(), 0);

    EXPECT_EQ(watch(terminal.get(), EPOLLOUT).wait(), ready_to_write());
    Operation& typed = watch(terminal.get(), EPOLLIN);
    fence();
    EXPECT_FALSE(typed.completed());
    ASSERT_EQ(::write(master.get(), "line\n", 5), 5);
    EXPECT_EQ(typed.wait(), ready_to_read());
    completion_port_remove(port(), terminal.get());

    Operation& left = watch(master.get(), EPOLLIN);
    // The echo of the line is there to read; after it the master waits.
    EXPECT_EQ(left.wait(), ready_to_read());
    char echo[64];
    ASSERT_GT(::read(master.get(), echo, sizeof echo), 0);
    Operation& hang_up = watch(master.get(), EPOLLIN);
    fence();
    EXPECT_FALSE(hang_up.completed());
    terminal.close();
    EXPECT_EQ(hang_up.wait(), ready_to_read());
}

// Spec: CP-READY-6
TEST_P(ReadinessTest, BytesFirstAndThenTheHangUp) {
    Pair& tcp = keep(tcp_pair());
    write_all(tcp.theirs.get(), "12345");
    half_close(tcp.theirs.get());
    wait_until_polled(tcp.ours.get(), POLLRDHUP);
    EXPECT_EQ(watch(tcp.ours.get(), EPOLLIN | EPOLLRDHUP).wait(), ready_to_read());
    EXPECT_EQ(read_exactly(tcp.ours.get(), 3), "123");
    EXPECT_EQ(watch(tcp.ours.get(), EPOLLIN | EPOLLRDHUP).wait(), ready_to_read());
    EXPECT_EQ(read_exactly(tcp.ours.get(), 2), "45");
    EXPECT_EQ(watch(tcp.ours.get(), EPOLLIN | EPOLLRDHUP).wait(), hung_up());
    EXPECT_EQ(watch(tcp.ours.get(), EPOLLIN).wait(), ready_to_read());
}

// Spec: CP-READY-6
TEST_P(ReadinessTest, BytesBehindTheUrgentMarkComeBeforeTheHangUp) {
    Pair& tcp = keep(tcp_pair());
    write_all(tcp.theirs.get(), "abc");
    write_urgent(tcp.theirs.get(), '!');
    write_all(tcp.theirs.get(), "def");
    half_close(tcp.theirs.get());
    wait_until_polled(tcp.ours.get(), POLLRDHUP);
    // A read stops at the mark, and there the kernel counts no unread bytes.
    EXPECT_EQ(read_exactly(tcp.ours.get(), 3), "abc");
    int unread = -1;
    ASSERT_EQ(::ioctl(tcp.ours.get(), FIONREAD, &unread), 0);
    EXPECT_EQ(unread, 0);
    EXPECT_EQ(watch(tcp.ours.get(), EPOLLIN | EPOLLRDHUP).wait(), ready_to_read());
    EXPECT_EQ(read_exactly(tcp.ours.get(), 3), "def");
    EXPECT_EQ(watch(tcp.ours.get(), EPOLLIN | EPOLLRDHUP).wait(), hung_up());
}

// Spec: CP-READY-7
TEST_P(ReadinessTest, HangUpOrErrorAloneCompletesWhatWaits) {
    // A fresh socket is OUT|HUP: a buffered read hears what recv says, a readiness add that it is
    // so.
    Descriptor& fresh = keep(fresh_tcp_socket());
    EXPECT_EQ(watch(fresh.get(), EPOLLIN).wait(), ready_to_read());
    EXPECT_EQ(watch(fresh.get(), EPOLLOUT).wait(), ready_to_write());

    Pair& reset = keep(tcp_pair());
    fill_send_buffer(reset.ours.get());
    Operation& writable = watch(reset.ours.get(), EPOLLOUT);
    Operation& write = send(reset.ours.get(), "x");
    fence();
    close_with_reset(reset.theirs);
    EXPECT_EQ(writable.wait(), ready_to_write());
    EXPECT_EQ(write.wait(), write_abandoned());
}

}  // namespace
}  // namespace cport::test
