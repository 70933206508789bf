// Polls as operations: every event, level-wise, on every kind of descriptor, beside all else.
#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "tests/contract/operations_fixture.h"

namespace cport::test {
namespace {

class PollOperationTest : public OperationsTest {
 protected:
    // In a callback of the owner.
    Submission& submit_poll_on_worker(int descriptor, uint32_t events) {
        Submission& poll = submission().as_poll(descriptor, events);
        run_on_worker([&] { EXPECT_EQ(poll.submit(port()), 0); });
        return poll;
    }
    // A poll whose time has come has been reported when this returns.
    void expect_reported(Submission& poll, int64_t events) {
        fence();
        ASSERT_TRUE(poll.completed());
        EXPECT_EQ(poll.wait(), finished(events));
    }
};
CPORT_ON_EVERY_ENGINE(PollOperationTest);

// Spec: CP-SUBMIT-18
TEST_P(PollOperationTest, EachEventThatHoldsAlready) {
    Pair& tcp = keep(tcp_pair());
    EXPECT_EQ(submit_poll(tcp.ours.get(), POLLOUT).wait(), finished(POLLOUT));
    write_all(tcp.theirs.get(), "x");
    wait_until_unread(tcp.ours.get(), 1);
    EXPECT_EQ(submit_poll(tcp.ours.get(), POLLIN).wait(), finished(POLLIN));
    EXPECT_EQ(submit_poll(tcp.ours.get(), POLLIN | POLLOUT).wait(), finished(POLLIN | POLLOUT));
    EXPECT_EQ(submit_poll(tcp.ours.get(), POLLPRI | POLLOUT).wait(), finished(POLLOUT));
    write_urgent(tcp.theirs.get(), '!');
    wait_until_polled(tcp.ours.get(), POLLPRI);
    EXPECT_EQ(submit_poll(tcp.ours.get(), POLLPRI).wait(), finished(POLLPRI));
    half_close(tcp.theirs.get());
    wait_until_polled(tcp.ours.get(), POLLRDHUP);
    EXPECT_EQ(submit_poll(tcp.ours.get(), POLLRDHUP).wait(), finished(POLLRDHUP));
}

// Spec: CP-SUBMIT-18
TEST_P(PollOperationTest, EachEventThatComesLater) {
    Pair& tcp = keep(tcp_pair());
    Submission& input = submit_poll(tcp.ours.get(), POLLIN);
    Submission& urgent = submit_poll(tcp.ours.get(), POLLPRI);
    Submission& end = submit_poll(tcp.ours.get(), POLLRDHUP);
    fence();
    EXPECT_FALSE(input.completed() || urgent.completed() || end.completed());
    write_all(tcp.theirs.get(), "x");
    EXPECT_EQ(input.wait(), finished(POLLIN));
    fence();
    EXPECT_FALSE(urgent.completed() || end.completed());
    write_urgent(tcp.theirs.get(), '!');
    EXPECT_EQ(urgent.wait(), finished(POLLPRI));
    fence();
    EXPECT_FALSE(end.completed());
    half_close(tcp.theirs.get());
    EXPECT_EQ(end.wait(), finished(POLLRDHUP));
}

// Spec: CP-SUBMIT-18
TEST_P(PollOperationTest, RoomToSendThatComesLater) {
    for (Pair* pair : {&keep(tcp_pair()), &keep(unix_pair())}) {
        const size_t filled = fill_send_buffer(pair->ours.get());
        Submission& poll = submit_poll(pair->ours.get(), POLLOUT);
        fence();
        EXPECT_FALSE(poll.completed());
        read_exactly(pair->theirs.get(), filled);
        EXPECT_EQ(poll.wait(), finished(POLLOUT));
    }
}

// Spec: CP-SUBMIT-18
TEST_P(PollOperationTest, ErrorsAndHangUpsAreReportedUnasked) {
    Pair& pipe = keep(pipe_pair());
    Submission& reader = submit_poll(pipe.ours.get(), POLLPRI);
    fence();
    EXPECT_FALSE(reader.completed());
    pipe.theirs.close();
    EXPECT_EQ(reader.wait(), finished(POLLHUP));

    Pair& other = keep(pipe_pair());
    Submission& writer = submit_poll(other.theirs.get(), POLLPRI);
    other.ours.close();
    EXPECT_EQ(writer.wait(), finished(POLLERR));

    Pair& tcp = keep(tcp_pair());
    Submission& reset = submit_poll(tcp.ours.get(), POLLPRI);
    fence();
    close_with_reset(tcp.theirs);
    EXPECT_EQ(reset.wait().value & (POLLERR | POLLHUP), POLLERR | POLLHUP);

    // As poll(2) says of a socket that was never connected.
    Descriptor& fresh = keep(fresh_tcp_socket());
    EXPECT_EQ(submit_poll(fresh.get(), POLLIN).wait(), finished(POLLHUP));
}

// Spec: CP-SUBMIT-19
TEST_P(PollOperationTest, ItIsLevelWise) {
    Pair& tcp = keep(tcp_pair());
    write_all(tcp.theirs.get(), "0123456789");
    wait_until_unread(tcp.ours.get(), 10);
    EXPECT_EQ(submit_poll(tcp.ours.get(), POLLIN).wait(), finished(POLLIN));
    EXPECT_EQ(read_exactly(tcp.ours.get(), 5), "01234");
    EXPECT_EQ(submit_poll(tcp.ours.get(), POLLIN).wait(), finished(POLLIN));
    EXPECT_EQ(submit_poll_on_worker(tcp.ours.get(), POLLIN).wait(), finished(POLLIN));
    EXPECT_EQ(read_exactly(tcp.ours.get(), 5), "56789");
    Submission& none = submit_poll(tcp.ours.get(), POLLIN);
    fence();
    EXPECT_FALSE(none.completed());
}

// The socket has been used by operations of other kinds, so that a callback's poll is its first.
// Spec: CP-SUBMIT-19
TEST_P(PollOperationTest, ACallbacksFirstPollHearsOfLaterInput) {
    Pair& tcp = keep(tcp_pair());
    EXPECT_EQ(submit_send(tcp.ours.get(), "used").wait(), finished(4));
    Submission& poll = submit_poll_on_worker(tcp.ours.get(), POLLIN);
    fence();
    EXPECT_FALSE(poll.completed());
    write_all(tcp.theirs.get(), "x");
    expect_reported(poll, POLLIN);
}

// Spec: CP-SUBMIT-19
TEST_P(PollOperationTest, ACallbacksFirstPollHearsOfLaterRoom) {
    Pair& tcp = keep(tcp_pair());
    EXPECT_EQ(submit_send(tcp.ours.get(), "used").wait(), finished(4));
    const size_t filled = fill_send_buffer(tcp.ours.get());
    Submission& poll = submit_poll_on_worker(tcp.ours.get(), POLLOUT);
    fence();
    EXPECT_FALSE(poll.completed());
    read_exactly(tcp.theirs.get(), filled + 4);
    wait_until_polled(tcp.ours.get(), POLLOUT);
    expect_reported(poll, POLLOUT);
}

// Spec: CP-SUBMIT-19
TEST_P(PollOperationTest, SeveralPollsOfOneSocket) {
    Pair& tcp = keep(tcp_pair());
    std::vector<Submission*> input;
    for (int i = 0; i < 3; ++i) input.push_back(&submit_poll(tcp.ours.get(), POLLIN));
    Submission& end = submit_poll(tcp.ours.get(), POLLRDHUP);
    Submission& either = submit_poll(tcp.ours.get(), POLLIN | POLLPRI | POLLRDHUP);
    Operation& watch_end = watch(tcp.ours.get(), EPOLLRDHUP);
    // What holds at once overtakes what waits.
    EXPECT_EQ(submit_poll(tcp.ours.get(), POLLOUT).wait(), finished(POLLOUT));
    write_all(tcp.theirs.get(), "x");
    for (Submission* poll : input) EXPECT_EQ(poll->wait(), finished(POLLIN));
    EXPECT_EQ(either.wait(), finished(POLLIN));
    fence();
    EXPECT_FALSE(end.completed() || watch_end.completed());
    tcp.theirs.close();
    EXPECT_EQ(end.wait(), finished(POLLRDHUP));
    EXPECT_EQ(watch_end.wait(), hung_up());
}

// Whether the poll or the receive comes first, neither misses what is there for it.
// Spec: CP-SUBMIT-19
TEST_P(PollOperationTest, BesideAPendingReceive) {
    Pair& tcp = keep(tcp_pair());
    Submission& receive = submit_receive(tcp.ours.get(), 4);
    Submission& poll = submit_poll(tcp.ours.get(), POLLIN);
    fence();
    EXPECT_FALSE(poll.completed());
    // The receive takes four bytes; the rest is the poll's.
    write_all(tcp.theirs.get(), "four and more");
    EXPECT_EQ(receive.wait(), finished(4));
    expect_reported(poll, POLLIN);
    EXPECT_EQ(submit_receive(tcp.ours.get(), 9).wait(), finished(9));

    // What a receive took all of is nothing to report; what comes after it is.
    Submission& taker = submit_receive(tcp.ours.get(), 16);
    Submission& later = submit_poll(tcp.ours.get(), POLLIN);
    fence();
    write_all(tcp.theirs.get(), "all");
    EXPECT_EQ(taker.wait(), finished(3));
    write_all(tcp.theirs.get(), "more");
    wait_until_unread(tcp.ours.get(), 4);
    expect_reported(later, POLLIN);
}

// Spec: CP-SUBMIT-19
TEST_P(PollOperationTest, BesideAStalledSend) {
    Pair& pair = keep(unix_pair());
    const std::string bytes = pattern(4u << 20);
    Submission& send = submit_send(pair.ours.get(), bytes);
    Submission& input = submit_poll(pair.ours.get(), POLLIN);
    fence();
    EXPECT_FALSE(send.completed() || input.completed());
    write_all(pair.theirs.get(), "x");
    EXPECT_EQ(input.wait(), finished(POLLIN));
    EXPECT_EQ(read_exactly(pair.theirs.get(), bytes.size()), bytes);
    EXPECT_EQ(send.wait(), finished(static_cast<int64_t>(bytes.size())));
}

// Spec: CP-SUBMIT-20
TEST_P(PollOperationTest, PipesAndEventfds) {
    Pair& pipe = keep(pipe_pair());
    Submission& reader = submit_poll(pipe.ours.get(), POLLIN);
    fence();
    EXPECT_FALSE(reader.completed());
    ASSERT_EQ(::write(pipe.theirs.get(), "x", 1), 1);
    EXPECT_EQ(reader.wait(), finished(POLLIN));
    EXPECT_EQ(submit_poll(pipe.theirs.get(), POLLOUT).wait(), finished(POLLOUT));

    Descriptor& event = keep(idle_eventfd());
    Submission& poll = submit_poll(event.get(), POLLIN);
    Submission& again = submit_poll(event.get(), POLLIN);
    fence();
    EXPECT_FALSE(poll.completed());
    ASSERT_EQ(::eventfd_write(event.get(), 1), 0);
    EXPECT_EQ(poll.wait(), finished(POLLIN));
    EXPECT_EQ(again.wait(), finished(POLLIN));
    EXPECT_EQ(submit_poll(event.get(), POLLIN | POLLOUT).wait(), finished(POLLIN | POLLOUT));
}

// Spec: CP-SUBMIT-20
TEST_P(PollOperationTest, AListeningSocket) {
    Descriptor& listener = keep(fresh_tcp_socket());
    ASSERT_EQ(::listen(listener.get(), 4), 0);  // at a port that the kernel chooses
    Submission& poll = submit_poll(listener.get(), POLLIN);
    fence();
    EXPECT_FALSE(poll.completed());
    struct sockaddr_storage address {};
    socklen_t length = sizeof(address);
    auto* name = reinterpret_cast<struct sockaddr*>(&address);
    ASSERT_EQ(::getsockname(listener.get(), name, &length), 0);
    Descriptor& client = keep(fresh_tcp_socket());
    ASSERT_EQ(::connect(client.get(), name, length), 0);
    EXPECT_EQ(poll.wait(), finished(POLLIN));
}

// Spec: CP-SUBMIT-20
TEST_P(PollOperationTest, WhatEpollRefusesOnlyLater) {
    Descriptor& null = keep(Descriptor(::open("/dev/null", O_RDWR | O_CLOEXEC)));
    EXPECT_EQ(submit_poll(null.get(), POLLIN).wait(), failed(-EPERM));
    EXPECT_EQ(submit_poll_on_worker(null.get(), POLLOUT).wait(), failed(-EPERM));
}

// Spec: CP-SUBMIT-18 CP-SUBMIT-6
TEST_P(PollOperationTest, EveryFieldOfItsRecord) {
    Descriptor& event = keep(ready_eventfd());
    Submission& poll = submit_poll(event.get(), POLLIN);
    const COMPLETION_PORT_COMPLETION record = poll.wait_for(1).record;
    EXPECT_EQ(record.operation, poll.id());
    EXPECT_EQ(record.key, poll.key());
    EXPECT_EQ(record.context, &poll);
    EXPECT_EQ(record.buffer, nullptr);
    EXPECT_EQ(ending_of(record), finished(POLLIN));
    EXPECT_EQ(record.kind, static_cast<uint32_t>(COMPLETION_PORT_KIND_POLL));
    EXPECT_EQ(record.flags, 0u);
    EXPECT_EQ(record.reserved, 0u);
}

// Spec: CP-SUBMIT-21
TEST_P(PollOperationTest, ANumberThatWasReusedBehindAPendingReceive) {
    Pair& first = keep(tcp_pair());
    Pair& second = keep(tcp_pair());
    Submission& pending = submit_receive(first.ours.get(), 4);
    fence();
    ASSERT_GE(::dup2(second.ours.get(), first.ours.get()), 0);
    Submission& poll = submit_poll(first.ours.get(), POLLOUT);
    const Ending ending = poll.wait();
    EXPECT_TRUE(ending == finished(POLLOUT) || ending == abandoned(-ECANCELED)) << ending;
    EXPECT_EQ(submit_poll(first.ours.get(), POLLOUT).wait(), finished(POLLOUT));
    completion_port_remove(port(), first.ours.get());
    EXPECT_EQ(pending.wait(), abandoned(-ECANCELED));
}

// Spec: CP-SUBMIT-21
TEST_P(PollOperationTest, ANumberThatWasReusedBehindAPendingPoll) {
    Pair& first = keep(tcp_pair());
    Pair& second = keep(tcp_pair());
    Submission& pending = submit_poll(first.ours.get(), POLLIN);
    fence();
    ASSERT_GE(::dup2(second.ours.get(), first.ours.get()), 0);
    Submission& poll = submit_poll(first.ours.get(), POLLOUT);
    EXPECT_EQ(poll.wait(), finished(POLLOUT));
    EXPECT_EQ(pending.wait(), abandoned(-ECANCELED));
}

}  // namespace
}  // namespace cport::test
