// Ending a direction of a connection, in its turn.
#include "tests/contract/kinds_fixture.h"

namespace cport::test {
namespace {

class ShutdownOperationTest : public KindsTest {
 protected:
    Submission& shutdown_of(int socket, uint32_t how) {
        Submission& submitted = submission();
        submitted.as<COMPLETION_PORT_SHUTDOWN_OPERATION>(COMPLETION_PORT_KIND_SHUTDOWN, socket)
            .how = how;
        return submitted;
    }
    Submission& submit_shutdown(int socket, uint32_t how) {
        Submission& submitted = shutdown_of(socket, how);
        EXPECT_EQ(submitted.submit(port()), 0);
        return submitted;
    }
    std::vector<Pair*> pairs() { return {&keep(tcp_pair()), &keep(unix_pair())}; }
};
CPORT_ON_EVERY_ENGINE(ShutdownOperationTest);

// Spec: CP-SHUTDOWN-1
TEST_P(ShutdownOperationTest, OfWritingComesAfterWhatWasSentBefore) {
    const std::string bytes = pattern(8u << 20);
    for (uint32_t how : {uint32_t{SHUT_WR}, uint32_t{SHUT_RDWR}}) {
        for (Pair* pair : pairs()) {
            Submission& send = submit_send(pair->ours.get(), bytes);
            Submission& shutdown = submit_shutdown(pair->ours.get(), how);
            Submission& behind = submit_send(pair->ours.get(), "x");
            fence();
            EXPECT_FALSE(shutdown.completed());
            EXPECT_EQ(read_to_end(pair->theirs.get()), bytes);
            EXPECT_EQ(send.wait(), finished(static_cast<int64_t>(bytes.size())));
            const COMPLETION_PORT_COMPLETION record = shutdown.wait_for(1).record;
            EXPECT_EQ(ending_of(record), finished(0));
            EXPECT_EQ(record.kind, static_cast<uint32_t>(COMPLETION_PORT_KIND_SHUTDOWN));
            EXPECT_EQ(record.buffer, nullptr);
            EXPECT_EQ(behind.wait(), abandoned(-EPIPE));
        }
    }
}

// Spec: CP-SHUTDOWN-1
TEST_P(ShutdownOperationTest, OfWritingLeavesReading) {
    for (Pair* pair : pairs()) {
        EXPECT_EQ(submit_shutdown(pair->ours.get(), SHUT_WR).wait(), finished(0));
        EXPECT_EQ(read_to_end(pair->theirs.get()), "");
        Submission& receive = submit_receive(pair->ours.get(), 5);
        fence();
        write_all(pair->theirs.get(), "still");
        EXPECT_EQ(receive.wait(), finished(5));
    }
}

// Spec: CP-SHUTDOWN-2
TEST_P(ShutdownOperationTest, OfReadingIsDoneAtOnceAndEndsWhatReads) {
    for (Pair* pair : pairs()) {
        fill_send_buffer(pair->ours.get());
        Submission& blocked = submit_send(pair->ours.get(), pattern(1u << 20));
        Submission& receive = submit_receive(pair->ours.get(), 5);
        Submission& poll = submit_poll(pair->ours.get(), POLLPRI);
        fence();
        EXPECT_EQ(submit_shutdown(pair->ours.get(), SHUT_RD).wait(), finished(0));
        EXPECT_EQ(receive.wait(), finished(0));
        fence();
        EXPECT_FALSE(blocked.completed());
        EXPECT_FALSE(poll.completed());
        completion_port_remove(port(), pair->ours.get());
    }
}

// Spec: CP-SHUTDOWN-2
TEST_P(ShutdownOperationTest, OfReadingLeavesWhatHasCome) {
    Pair& pair = keep(tcp_pair());
    write_all(pair.theirs.get(), "there");
    wait_until_unread(pair.ours.get(), 5);
    EXPECT_EQ(submit_shutdown(pair.ours.get(), SHUT_RD).wait(), finished(0));
    Submission& receive = submit_receive(pair.ours.get(), 5);
    EXPECT_EQ(receive.wait(), finished(5));
    EXPECT_EQ(receive.buffer(), "there");
}

// Spec: CP-SHUTDOWN-3
TEST_P(ShutdownOperationTest, RefusesBadForms) {
    using Shutdown = COMPLETION_PORT_SHUTDOWN_OPERATION;
    Pair& pair = keep(tcp_pair());
    const auto good = form<Shutdown>(COMPLETION_PORT_KIND_SHUTDOWN, pair.ours.get());
    expect_sockets_only(good);
    EXPECT_EQ(submit_changed(good, [](Shutdown& s) { s.how = 3; }), -EINVAL);
    EXPECT_EQ(submit_changed(good, [](Shutdown& s) { s.reserved = 1; }), -EINVAL);
    fence();
    EXPECT_EQ(submit_send(pair.ours.get(), "open").wait(), finished(4));
}

// Spec: CP-SHUTDOWN-4
TEST_P(ShutdownOperationTest, SaysThatThereIsNoConnection) {
    for (uint32_t how : {uint32_t{SHUT_RD}, uint32_t{SHUT_WR}}) {
        Descriptor& fresh = keep(fresh_tcp_socket());
        EXPECT_EQ(submit_shutdown(fresh.get(), how).wait(), failed(-ENOTCONN));
    }
}

// Spec: CP-SHUTDOWN-5
TEST_P(ShutdownOperationTest, CancelDeadlineAndRemoveLeaveTheConnectionOpen) {
    for (Pair* pair : pairs()) {
        const size_t filled = fill_send_buffer(pair->ours.get());
        Submission& send = submit_send(pair->ours.get(), "rest");
        Submission& cancelled = submit_shutdown(pair->ours.get(), SHUT_WR);
        Submission& late = shutdown_of(pair->ours.get(), SHUT_WR);
        late.with_deadline(static_cast<int64_t>(now_ns() + kSoon_ns));
        ASSERT_EQ(late.submit(port()), 0);
        fence();
        expect_cancelled(cancelled);
        EXPECT_EQ(late.wait(), failed(-ETIMEDOUT));
        EXPECT_EQ(read_exactly(pair->theirs.get(), filled + 4).size(), filled + 4);
        EXPECT_EQ(send.wait(), finished(4));
        fill_send_buffer(pair->ours.get());
        submit_send(pair->ours.get(), "x");
        Submission& removed = submit_shutdown(pair->ours.get(), SHUT_WR);
        completion_port_remove(port(), pair->ours.get());
        EXPECT_EQ(removed.wait(), abandoned(-ECANCELED));
        read_available(pair->theirs.get());
        write_all(pair->ours.get(), "open");
    }
}

}  // namespace
}  // namespace cport::test
