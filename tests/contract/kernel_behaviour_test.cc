// What the kernel does that a reader of the manual would not expect: one test for each.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>

#include "tests/contract/port_fixture.h"

namespace cport::test {
namespace {

class KernelBehaviourTest : public PortTest {};
CPORT_ON_EVERY_ENGINE(KernelBehaviourTest);

// Spec: CP-READY-2
TEST_P(KernelBehaviourTest, EdgeTriggeredRestOfTheBytesMakesNoEvent) {
    Pair& tcp = keep(tcp_pair());
    Operation& read = receive(tcp.ours.get(), 5);
    fence();
    write_all(tcp.theirs.get(), "0123456789");
    EXPECT_EQ(read.wait(), received(5));
    Operation& rest = receive(tcp.ours.get(), 5);
    EXPECT_EQ(rest.wait(), received(5));
    EXPECT_EQ(rest.bytes(), "56789");
}

// Spec: CP-READ-8
TEST_P(KernelBehaviourTest, UrgentDataMakesAShortReadThatLeavesBytes) {
    Pair& tcp = keep(tcp_pair());
    Operation& read = receive(tcp.ours.get(), 100);
    fence();
    {
        WorkerHold hold(*this);
        write_all(tcp.theirs.get(), "before");
        write_urgent(tcp.theirs.get(), '!');
        write_all(tcp.theirs.get(), "behind");
        wait_until_polled(tcp.ours.get(), POLLPRI);
    }
    EXPECT_EQ(read.wait(), received(6));
    Operation& rest = receive(tcp.ours.get(), 100);
    EXPECT_EQ(rest.wait(), received(6));
    EXPECT_EQ(rest.bytes(), "behind");
}

// Spec: CP-READ-8
TEST_P(KernelBehaviourTest, PassedDescriptorsMakeAShortReadThatLeavesBytes) {
    Pair& pair = keep(unix_pair());
    Operation& read = receive(pair.ours.get(), 100);
    fence();
    {
        WorkerHold hold(*this);
        write_with_descriptor(pair.theirs.get(), "with", pair.theirs.get());
        write_all(pair.theirs.get(), "without");
    }
    EXPECT_EQ(read.wait(), received(4));
    EXPECT_EQ(receive(pair.ours.get(), 100).wait(), received(7));
}

// Spec: CP-STALE-1 CP-ENGINE-4
TEST_P(KernelBehaviourTest, GhostEventsPersistWhileADuplicateIsOpen) {
    Pair& tcp = keep(tcp_pair());
    const int number = tcp.ours.get();
    Descriptor duplicate(::fcntl(number, F_DUPFD_CLOEXEC, 0));
    ASSERT_GE(duplicate.get(), 0);
    Operation& pending = receive(number, 16);
    fence();
    tcp.ours.close();
    // The registration outlives the number: its event finds a closed descriptor.
    write_all(tcp.theirs.get(), "ghost");
    fence();
    completion_port_remove(port(), number);
    const Outcome outcome = pending.wait();
    if (kernel_holds()) {
        // The receive is of what the number named when it began.
        EXPECT_EQ(outcome, received(5));
        EXPECT_EQ(pending.bytes(), "ghost");
        return;
    }
    EXPECT_TRUE(outcome == closing() || outcome == read_failed()) << outcome;
    EXPECT_EQ(read_exactly(duplicate.get(), 5), "ghost");
}

// Spec: CP-READ-3 CP-LATCH-1
TEST_P(KernelBehaviourTest, DataThenResetReadsFiveThenResetAndThenACleanEnd) {
    Pair& tcp = keep(tcp_pair());
    write_all(tcp.theirs.get(), "hello");
    wait_until_unread(tcp.ours.get(), 5);
    close_with_reset(tcp.theirs);
    wait_until_polled(tcp.ours.get(), POLLERR);
    EXPECT_EQ(receive(tcp.ours.get(), 16).wait(), received(5));
    EXPECT_EQ(receive(tcp.ours.get(), 16).wait(), read_abandoned());
    EXPECT_EQ(receive(tcp.ours.get(), 16).wait(), read_abandoned());
}

// Spec: CP-LATCH-1
TEST_P(KernelBehaviourTest, FailingSendTakesTheErrorFromTheReads) {
    Pair& tcp = keep(tcp_pair());
    write_all(tcp.theirs.get(), "hello");
    wait_until_unread(tcp.ours.get(), 5);
    close_with_reset(tcp.theirs);
    wait_until_polled(tcp.ours.get(), POLLERR);
    EXPECT_EQ(send(tcp.ours.get(), "x").wait(), write_abandoned());
    EXPECT_EQ(receive(tcp.ours.get(), 16).wait(), received(5));
    Operation& after = receive(tcp.ours.get(), 16);
    EXPECT_EQ(after.wait(), read_abandoned());
    EXPECT_EQ(after.error(), ECONNRESET);
}

// Spec: CP-READY-7
TEST_P(KernelBehaviourTest, FreshTcpSocketReportsOutAndHangUp) {
    Descriptor& fresh = keep(fresh_tcp_socket());
    ASSERT_EQ(wait_until_polled(fresh.get(), POLLOUT), POLLOUT | POLLHUP);
    Operation& hang_up = watch(fresh.get(), EPOLLRDHUP);
    EXPECT_EQ(watch(fresh.get(), EPOLLOUT).wait(), ready_to_write());
    fence();
    EXPECT_FALSE(hang_up.completed());
}

// Spec: CP-STALE-2
TEST_P(KernelBehaviourTest, ModSaysNoEntryForAReusedNumberEvenWithADuplicateAlive) {
    Pair& old_pair = keep(tcp_pair());
    Pair& new_pair = keep(tcp_pair());
    const int number = old_pair.ours.get();
    Descriptor duplicate(::fcntl(number, F_DUPFD_CLOEXEC, 0));
    Operation& old_read = receive(number, 16);
    fence();
    old_pair.ours.close();
    ASSERT_EQ(::dup3(new_pair.ours.get(), number, O_CLOEXEC), number);
    Operation& new_read = receive(number, 16);
    EXPECT_EQ(old_read.wait(), closing());
    write_all(new_pair.theirs.get(), "new");
    EXPECT_EQ(new_read.wait(), received(3));
    completion_port_remove(port(), number);
    Descriptor reused(number);
}

// Spec: CP-WRITE-5
TEST_P(KernelBehaviourTest, ReadingGoesOnAfterBrokenPipe) {
    // A unix peer that reads no more breaks our writes, and still sends.
    Pair& pair = keep(unix_pair());
    ASSERT_EQ(::shutdown(pair.theirs.get(), SHUT_RD), 0);
    Operation& write = send(pair.ours.get(), "x");
    EXPECT_EQ(write.wait(), write_abandoned());
    EXPECT_EQ(write.error(), EPIPE);
    write_all(pair.theirs.get(), "still talking");
    EXPECT_EQ(receive(pair.ours.get(), 100).wait(), received(13));

    Pair& tcp = keep(tcp_pair());
    half_close(tcp.ours.get());
    EXPECT_EQ(send(tcp.ours.get(), "x").wait(), write_abandoned());
    write_all(tcp.theirs.get(), "answer");
    EXPECT_EQ(receive(tcp.ours.get(), 100).wait(), received(6));
}

// Spec: CP-LATCH-2
TEST_P(KernelBehaviourTest, RefusalOfADatagramIsTransient) {
    Descriptor& lonely = keep(udp_to_nobody());
    for (int i = 0; i < 3; ++i) {
        Operation& read = receive(lonely.get(), 16);
        EXPECT_EQ(send(lonely.get(), "?").wait(), sent(1));
        EXPECT_EQ(read.wait(), read_failed());
        EXPECT_EQ(read.error(), ECONNREFUSED);
    }
}

// Spec: CP-BAD-11
TEST_P(KernelBehaviourTest, PollCallsTheNullDeviceReadyAndEpollRefusesIt) {
    Descriptor& null_device = keep(Descriptor(::open("/dev/null", O_RDWR | O_CLOEXEC)));
    ASSERT_EQ(wait_until_polled(null_device.get(), POLLIN), POLLIN);
    Operation& refused = watch(null_device.get(), EPOLLIN);
    EXPECT_EQ(refused.wait(), read_failed());
    EXPECT_EQ(refused.error(), EPERM);
}

}  // namespace
}  // namespace cport::test
