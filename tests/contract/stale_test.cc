// Descriptors that were closed before they were removed, and events that come too late.
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>

#include "tests/contract/port_fixture.h"

namespace cport::test {
namespace {

class StaleTest : public PortTest {
 protected:
    // Closes `pair.ours` without remove, and gives its number to `next.ours`.
    void reuse_number(Pair& pair, Pair& next) {
        const int number = pair.ours.get();
        const int moved = next.ours.get();
        pair.ours.close();
        ASSERT_EQ(::dup3(moved, number, O_CLOEXEC), number);
        next.ours = Descriptor(number);
    }
};
CPORT_ON_EVERY_ENGINE(StaleTest);

// Spec: CP-STALE-1 CP-STALE-2
TEST_P(StaleTest, EventsOfTheNewDescriptorNeverReachAContextOfBefore) {
    Pair& old_pair = keep(tcp_pair());
    Pair& new_pair = keep(tcp_pair());
    Operation& old_read = receive(old_pair.ours.get(), 16);
    Operation& old_watch = watch(old_pair.ours.get(), EPOLLRDHUP);
    fence();
    reuse_number(old_pair, new_pair);
    write_all(new_pair.theirs.get(), "new");
    fence();
    EXPECT_FALSE(old_read.completed());
    Operation& new_read = receive(new_pair.ours.get(), 16);
    EXPECT_EQ(new_read.wait(), received(3));
    EXPECT_EQ(new_read.bytes(), "new");
    EXPECT_EQ(old_read.wait(), closing());
    completion_port_remove(port(), new_pair.ours.get());
    EXPECT_EQ(old_watch.wait(), closing());
}

// Spec: CP-STALE-2
TEST_P(StaleTest, AddThatJoinsWaitsForTheNewDescriptorsBytes) {
    Pair& old_pair = keep(tcp_pair());
    Pair& new_pair = keep(tcp_pair());
    Operation& old_read = receive(old_pair.ours.get(), 16);
    fence();
    reuse_number(old_pair, new_pair);
    Operation& new_read = receive(new_pair.ours.get(), 16);
    EXPECT_EQ(old_read.wait(), closing());
    fence();
    EXPECT_FALSE(new_read.completed());
    write_all(new_pair.theirs.get(), "new");
    EXPECT_EQ(new_read.wait(), received(3));
}

// Spec: CP-STALE-2
TEST_P(StaleTest, WritesOfBeforeAreNotSentToTheNewDescriptor) {
    Pair& old_pair = keep(tcp_pair());
    Pair& new_pair = keep(tcp_pair());
    fill_send_buffer(old_pair.ours.get());
    Operation& old_write = send(old_pair.ours.get(), "secret");
    fence();
    reuse_number(old_pair, new_pair);
    EXPECT_EQ(send(new_pair.ours.get(), "public").wait(), sent(6));
    EXPECT_EQ(old_write.wait(), closing());
    half_close(new_pair.ours.get());
    EXPECT_EQ(read_to_end(new_pair.theirs.get()), "public");
}

// Spec: CP-STALE-1
TEST_P(StaleTest, AFailedSendGivesAReadOfBeforeNothingOfTheNewDescriptor) {
    Pair& old_pair = keep(tcp_pair());
    Pair& new_pair = keep(tcp_pair());
    Operation& old_read = receive(old_pair.ours.get(), 16);
    fence();
    reuse_number(old_pair, new_pair);
    write_all(new_pair.theirs.get(), "secret");
    wait_until_unread(new_pair.ours.get(), 6);
    close_with_reset(new_pair.theirs);
    wait_until_polled(new_pair.ours.get(), POLLERR);
    EXPECT_EQ(send(new_pair.ours.get(), "more").wait(), write_abandoned());
    EXPECT_EQ(old_read.wait(), closing());
    EXPECT_EQ(old_read.bytes(), "");
}

// Spec: CP-STALE-2
TEST_P(StaleTest, NumberReusedWhileNothingWaitedIsNoticedByTheSweepAtTheLatest) {
    Pair& old_pair = keep(tcp_pair());
    Operation& old_read = receive(old_pair.ours.get(), 16);
    fence();
    write_all(old_pair.theirs.get(), "old");
    EXPECT_EQ(old_read.wait(), received(3));
    // The port has registered the number; the kernel forgets it with the descriptor.
    Pair& new_pair = keep(tcp_pair());
    reuse_number(old_pair, new_pair);
    Operation& new_read = receive(new_pair.ours.get(), 16);
    fence();
    EXPECT_FALSE(new_read.completed());
    write_all(new_pair.theirs.get(), "new");
    const Outcome outcome = new_read.wait();
    if (outcome == received(3)) {
        EXPECT_EQ(new_read.bytes(), "new");
        return;
    }
    // Nobody can tell this add from one of before; abandoned, it lost no bytes, and the next one
    // works.
    EXPECT_EQ(outcome, closing());
    Operation& next = receive(new_pair.ours.get(), 16);
    EXPECT_EQ(next.wait(), received(3));
    EXPECT_EQ(next.bytes(), "new");
}

// Spec: CP-STALE-2
TEST_P(StaleTest, NumberReusedAfterThePeersEndWorksFromTheFirstAdd) {
    // What a careless server does: read 0, close, accept.
    Pair& old_pair = keep(tcp_pair());
    Operation& old_read = receive(old_pair.ours.get(), 16);
    fence();
    half_close(old_pair.theirs.get());
    EXPECT_EQ(old_read.wait(), received(0));
    Pair& new_pair = keep(tcp_pair());
    reuse_number(old_pair, new_pair);
    Operation& new_read = receive(new_pair.ours.get(), 16);
    fence();
    EXPECT_FALSE(new_read.completed());
    write_all(new_pair.theirs.get(), "new");
    EXPECT_EQ(new_read.wait(), received(3));
    EXPECT_EQ(new_read.bytes(), "new");
}

// Spec: CP-STALE-4
TEST_P(StaleTest, AnAddThatTheWorkerHasNotTriedGoesToWhatTheNumberNamesThen) {
    Pair& old_pair = keep(tcp_pair());
    Pair& new_pair = keep(tcp_pair());
    Operation* read = nullptr;
    {
        WorkerHold hold(*this);
        read = &receive(old_pair.ours.get(), 16);
        reuse_number(old_pair, new_pair);
    }
    write_all(new_pair.theirs.get(), "new");
    EXPECT_EQ(read->wait(), received(3));
}

// Spec: CP-STALE-1
TEST_P(StaleTest, GhostEventsOfADuplicateDoNotMoveBytesBetweenDescriptors) {
    Pair& old_pair = keep(tcp_pair());
    Pair& new_pair = keep(tcp_pair());
    // The duplicate keeps the old registration alive in the kernel after the number is gone.
    Descriptor duplicate(::fcntl(old_pair.ours.get(), F_DUPFD_CLOEXEC, 0));
    ASSERT_GE(duplicate.get(), 0);
    Operation& old_read = receive(old_pair.ours.get(), 16);
    fence();
    reuse_number(old_pair, new_pair);
    Operation& new_read = receive(new_pair.ours.get(), 16);
    EXPECT_EQ(old_read.wait(), closing());
    write_all(old_pair.theirs.get(), "ghost");
    fence();
    EXPECT_FALSE(new_read.completed());
    write_all(new_pair.theirs.get(), "new");
    EXPECT_EQ(new_read.wait(), received(3));
    EXPECT_EQ(new_read.bytes(), "new");
}

// Spec: CP-STALE-2
TEST_P(StaleTest, RemoveAfterTheCloseStillEndsWhatWaits) {
    Pair& tcp = keep(tcp_pair());
    const int number = tcp.ours.get();
    Operation& pending = receive(number, 16);
    fence();
    tcp.ours.close();
    completion_port_remove(port(), number);
    EXPECT_EQ(pending.wait(), closing());
}

// Spec: CP-STALE-2
TEST_P(StaleTest, ManyClosesWithAReceivePendingLeaveNothingWaiting) {
    // Each round closes without remove and gets the same number again.
    const auto expect_ended = [this](const Outcome& outcome) {
        // A kernel that holds the receive holds its descriptor too, whose peer goes as well. It may
        // also be handed the receive when the number is closed already.
        const bool held = kernel_holds() && (outcome == received(0) || outcome == read_failed());
        EXPECT_TRUE(held || outcome == closing()) << outcome;
    };
    const int kRounds = scaled(20'000, 2'000);
    const int number = closed_number();
    Operation* before = nullptr;
    for (int i = 0; i < kRounds; ++i) {
        Pair pair = unix_pair();
        ASSERT_EQ(::dup3(pair.ours.get(), number, O_CLOEXEC), number);
        pair.ours = Descriptor(number);
        Operation& read = receive(number, 4);
        if (before != nullptr) {
            expect_ended(before->wait());
        }
        before = &read;
        // The port has met the descriptor before it goes: the kernel has the receive, or the worker
        // has tried it.
        if (kernel_holds()) {
            fence();
        } else {
            run_on_worker([] {});
        }
        pair.ours.close();
    }
    completion_port_remove(port(), number);
    expect_ended(before->wait());
}

// On its owner a remove has taken effect when it returns; elsewhere the number is not yet free.
class StaleEventsTest : public PortTest {};
INSTANTIATE_TEST_SUITE_P(Engine, StaleEventsTest, ::testing::ValuesIn(engines_of_one_worker()),
                         engine_name);

// Spec: CP-STALE-3
TEST_P(StaleEventsTest, EventsFetchedForARemovedSocketAreDropped) {
    constexpr int kRounds = 200;
    for (int i = 0; i < kRounds; ++i) {
        Pair& first = keep(unix_pair());
        Pair& second = keep(unix_pair());
        Pair next = unix_pair();
        const int number = second.ours.get();
        Operation& killer = operation("?");
        Operation& victim = operation("?");
        Operation& heir = operation("?");
        killer.then([&](const Completion&) {
            completion_port_remove(port(), number);
            EXPECT_EQ(::dup3(next.ours.get(), number, O_CLOEXEC), number);
            EXPECT_EQ(heir.add(port(), EPOLLIN, number), 0);
        });
        ASSERT_EQ(killer.add(port(), EPOLLIN, first.ours.get()), 0);
        ASSERT_EQ(victim.add(port(), EPOLLIN, number), 0);
        fence();
        {
            WorkerHold hold(*this);
            write_all(first.theirs.get(), "1");
            write_all(second.theirs.get(), "2");
        }
        killer.wait();
        const Outcome outcome = victim.wait();
        EXPECT_TRUE(outcome == closing() || outcome == received(1)) << outcome;
        fence();
        EXPECT_FALSE(heir.completed());
        write_all(next.theirs.get(), "3");
        EXPECT_EQ(heir.wait(), received(1));
        EXPECT_EQ(heir.bytes(), "3");
        completion_port_remove(port(), number);
        completion_port_remove(port(), first.ours.get());
        first = Pair{};
        second = Pair{};
    }
}

}  // namespace
}  // namespace cport::test
