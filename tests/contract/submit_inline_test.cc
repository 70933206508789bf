// COMPLETION_PORT_FLAG_INLINE: success at once without a callback, and where it changes nothing.
#include <errno.h>
#include <sys/socket.h>

#include <cstring>
#include <string>

#include "tests/contract/operations_fixture.h"

namespace cport::test {
namespace {

class SubmitInlineTest : public OperationsTest {
 protected:
    // A socket that the worker knows: its first use is over.
    Pair& known_pair() {
        Pair& pair = keep(tcp_pair());
        EXPECT_EQ(submit_poll(pair.ours.get(), POLLOUT).wait(), finished(POLLOUT));
        return pair;
    }
};
CPORT_ON_EVERY_ENGINE(SubmitInlineTest);

// Spec: CP-SUBMIT-16
TEST_P(SubmitInlineTest, SuccessAtOnceIsToldByTheReturnValueAlone) {
    Pair& pair = known_pair();
    write_all(pair.theirs.get(), "there");
    Submission& receive = submission("?????").as_receive(pair.ours.get());
    Submission& send = submission("back").as_send(pair.ours.get()).for_waiters();
    run_on_worker([&] {
        COMPLETION_PORT_COMPLETION record;
        std::memset(&record, 0xff, sizeof(record));
        EXPECT_EQ(receive.submit_inline(port(), record), 1);
        EXPECT_NE(receive.id(), 0u);
        EXPECT_EQ(record.operation, receive.id());
        EXPECT_EQ(record.key, receive.key());
        EXPECT_EQ(record.context, &receive);
        EXPECT_EQ(record.buffer, receive.buffer().data());
        EXPECT_EQ(ending_of(record), finished(5));
        EXPECT_EQ(record.kind, static_cast<uint32_t>(COMPLETION_PORT_KIND_RECEIVE));
        EXPECT_EQ(record.flags, 0u);
        EXPECT_EQ(record.reserved, 0u);
        EXPECT_EQ(receive.buffer(), "there");
        // It is over.
        EXPECT_EQ(completion_port_cancel(port(), receive.id()), -ENOENT);
        EXPECT_EQ(send.submit_inline(port(), record), 1);
        EXPECT_EQ(ending_of(record), finished(4));
        EXPECT_EQ(record.kind, static_cast<uint32_t>(COMPLETION_PORT_KIND_SEND));
    });
    EXPECT_EQ(read_exactly(pair.theirs.get(), 4), "back");
    fence();
    EXPECT_FALSE(receive.completed());
    EXPECT_TRUE(records_there().empty());
}

// Spec: CP-SUBMIT-17
TEST_P(SubmitInlineTest, WhatHasToWaitEndsInACallback) {
    Pair& pair = known_pair();
    Submission& receive = submission("?????").as_receive(pair.ours.get());
    COMPLETION_PORT_COMPLETION record{};
    run_on_worker([&] { EXPECT_EQ(receive.submit_inline(port(), record), 0); });
    write_all(pair.theirs.get(), "later");
    EXPECT_EQ(receive.wait(), finished(5));
    EXPECT_EQ(record.operation, 0u);
    // The next one meets what the wait has left behind.
    write_all(pair.theirs.get(), "again");
    fence();
    Submission& next = submit_receive(pair.ours.get(), 5);
    EXPECT_EQ(next.wait(), finished(5));
}

// Spec: CP-SUBMIT-17
TEST_P(SubmitInlineTest, ALargeSendEndsInACallback) {
    Pair& pair = known_pair();
    const std::string bytes = pattern(8u << 20);
    Submission& send = submission(bytes).as_send(pair.ours.get());
    COMPLETION_PORT_COMPLETION record{};
    run_on_worker([&] { EXPECT_EQ(send.submit_inline(port(), record), 0); });
    EXPECT_EQ(read_exactly(pair.theirs.get(), bytes.size()), bytes);
    EXPECT_EQ(send.wait(), finished(static_cast<int64_t>(bytes.size())));
}

// Spec: CP-SUBMIT-17 CP-SUBMIT-10
TEST_P(SubmitInlineTest, ItNeverOvertakesWhatIsQueued) {
    Pair& pair = known_pair();
    Submission& first = submission("ab").as_send(pair.ours.get());
    Submission& second = submission("cd").as_send(pair.ours.get());
    run_on_worker([&] {
        COMPLETION_PORT_COMPLETION record{};
        EXPECT_EQ(first.submit(port()), 0);
        EXPECT_EQ(second.submit_inline(port(), record), 0);
    });
    EXPECT_EQ(second.wait(), finished(2));
    EXPECT_LT(first.wait_for(1).sequence, second.wait_for(1).sequence);
    EXPECT_EQ(read_exactly(pair.theirs.get(), 4), "abcd");
}

// A completion that is still to be told must be told first.
// Spec: CP-SUBMIT-17
TEST_P(SubmitInlineTest, ItNeverOvertakesACompletion) {
    Pair& pair = known_pair();
    Submission& cancelled = submit_receive(pair.ours.get(), 2);
    Submission& next = submission("??").as_receive(pair.ours.get());
    fence();
    run_on_worker([&] {
        COMPLETION_PORT_COMPLETION record{};
        write_all(pair.theirs.get(), "xy");
        EXPECT_EQ(completion_port_cancel(port(), cancelled.id()), 0);
        EXPECT_EQ(next.submit_inline(port(), record), 0);
    });
    EXPECT_EQ(next.wait(), finished(2));
    EXPECT_EQ(cancelled.wait(), abandoned(-ECANCELED));
    EXPECT_LT(cancelled.wait_for(1).sequence, next.wait_for(1).sequence);
}

// Spec: CP-SUBMIT-17
TEST_P(SubmitInlineTest, AFailureEndsInACallback) {
    Pair& pair = known_pair();
    close_with_reset(pair.theirs);
    wait_until_polled(pair.ours.get(), POLLERR);
    Submission& receive = submission("?").as_receive(pair.ours.get());
    Submission& send = submission("never").as_send(pair.ours.get());
    COMPLETION_PORT_COMPLETION record{};
    run_on_worker([&] {
        EXPECT_EQ(receive.submit_inline(port(), record), 0);
        EXPECT_EQ(send.submit_inline(port(), record), 0);
    });
    EXPECT_EQ(receive.wait(), abandoned(-ECONNRESET));
    EXPECT_EQ(send.wait(), abandoned(-ECONNRESET));
    EXPECT_EQ(record.operation, 0u);
}

// Spec: CP-SUBMIT-17
TEST_P(SubmitInlineTest, AFailureOfADatagramEndsInACallback) {
    Pair& udp = keep(udp_pair());
    EXPECT_EQ(submit_poll(udp.ours.get(), POLLOUT).wait(), finished(POLLOUT));
    write_all(udp.theirs.get(), "longer");
    Submission& receive = submission("????").as_receive(udp.ours.get()).for_waiters();
    COMPLETION_PORT_COMPLETION record{};
    run_on_worker([&] { EXPECT_EQ(receive.submit_inline(port(), record), 0); });
    EXPECT_EQ(ending_of(wait_for_record()), failed(-EMSGSIZE, 4));
}

// Spec: CP-SUBMIT-17
TEST_P(SubmitInlineTest, OutsideCallbacksItChangesNothing) {
    Pair& pair = known_pair();
    write_all(pair.theirs.get(), "there");
    Submission& receive = submission("?????").as_receive(pair.ours.get());
    Submission& poll = submission().as_poll(pair.ours.get(), POLLOUT);
    COMPLETION_PORT_COMPLETION record{};
    EXPECT_EQ(receive.submit_inline(port(), record), 0);
    EXPECT_EQ(receive.wait(), finished(5));
    run_on_worker([&] { EXPECT_EQ(poll.submit_inline(port(), record), 0); });
    EXPECT_EQ(poll.wait(), finished(POLLOUT));
    EXPECT_EQ(record.operation, 0u);
}

// Spec: CP-SUBMIT-17
TEST_P(SubmitInlineTest, InACallbackOfAnotherPortItChangesNothing) {
    Pair& pair = known_pair();
    COMPLETION_PORT_HANDLE other = GetParam().create();
    Submission& send = submission("across").as_send(pair.ours.get());
    COMPLETION_PORT_COMPLETION record{};
    run_on_worker([&] { EXPECT_EQ(send.submit_inline(other, record), 0); });
    EXPECT_EQ(send.wait(), finished(6));
    completion_port_dec_ref(other);
}

// Spec: CP-SUBMIT-17
TEST_P(SubmitInlineTest, TheFlagAndTheRecordGoTogether) {
    Pair& pair = known_pair();
    Submission& send = submission("never").as_send(pair.ours.get());
    COMPLETION_PORT_COMPLETION record{};
    EXPECT_EQ(completion_port_submit(port(), &send.common(), nullptr, &record), -EINVAL);
    send.common().flags = COMPLETION_PORT_FLAG_INLINE;
    auto refuse = [&] {
        EXPECT_EQ(completion_port_submit(port(), &send.common(), nullptr, nullptr), -EINVAL);
    };
    refuse();
    run_on_worker(refuse);
    fence();
    EXPECT_EQ(read_available(pair.theirs.get()), "");
}

// Spec: CP-SUBMIT-16
TEST_P(SubmitInlineTest, TheEndOfAStreamIsASuccessToo) {
    Pair& pair = known_pair();
    write_all(pair.theirs.get(), "last");
    pair.theirs.close();
    wait_until_polled(pair.ours.get(), POLLRDHUP);
    // The owner knows of the end: else a short read says that there is nothing more.
    fence();
    Submission& last = submission("????????").as_receive(pair.ours.get());
    Submission& end = submission("????????").as_receive(pair.ours.get());
    run_on_worker([&] {
        COMPLETION_PORT_COMPLETION record{};
        EXPECT_EQ(last.submit_inline(port(), record), 1);
        EXPECT_EQ(ending_of(record), finished(4));
        EXPECT_EQ(end.submit_inline(port(), record), 1);
        EXPECT_EQ(ending_of(record), finished(0));
    });
    fence();
    EXPECT_FALSE(last.completed() || end.completed());
}

}  // namespace
}  // namespace cport::test
