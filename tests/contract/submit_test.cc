// Receives and sends as operations: their ids, their records, how they share a socket with adds.
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "tests/contract/operations_fixture.h"

namespace cport::test {
namespace {

class SubmitTest : public OperationsTest {};
CPORT_ON_EVERY_ENGINE(SubmitTest);

// Spec: CP-SUBMIT-5
TEST_P(SubmitTest, IdsOfPendingOperationsDiffer) {
    constexpr int kOperations = 2'000;  // more than a chunk of slots
    Pair& tcp = keep(tcp_pair());
    std::set<uint64_t> ids;
    for (int i = 0; i < kOperations; ++i) ids.insert(submit_receive(tcp.ours.get(), 1).id());
    run_on_worker([&] {
        for (int i = 0; i < kOperations; ++i) ids.insert(submit_receive(tcp.ours.get(), 1).id());
    });
    EXPECT_EQ(ids.size(), 2u * kOperations);
    EXPECT_EQ(ids.count(0), 0u);
    completion_port_remove(port(), tcp.ours.get());
}

// Spec: CP-SUBMIT-5
TEST_P(SubmitTest, TheIdIsStoredBeforeTheCallback) {
    const int kRounds = scaled(20'000, 2'000);
    Descriptor& ready = keep(ready_eventfd());
    uint64_t id = 0;
    uint64_t before = 0;
    Submission& poll = submission().as_poll(ready.get(), POLLIN);
    COMPLETION_PORT_OPERATION operation = poll.common();
    COMPLETION_PORT_POLL_OPERATION structure = poll.poll();
    struct Seen {
        uint64_t* id;
        uint64_t stored;
        uint64_t told;
        Gate gate;
    };
    for (int i = 0; i < kRounds; ++i) {
        Seen seen{};
        seen.id = &id;
        id = 0;
        structure.common = operation;
        structure.common.context = &seen;
        structure.common.on_complete = [](void* context, const COMPLETION_PORT_COMPLETION* record) {
            auto* self = static_cast<Seen*>(context);
            self->stored = *self->id;
            self->told = record->operation;
            self->gate.open();
        };
        ASSERT_EQ(completion_port_submit(port(), &structure.common, &id, nullptr), 0);
        seen.gate.wait();
        ASSERT_NE(seen.stored, 0u);
        ASSERT_EQ(seen.stored, seen.told);
        ASSERT_NE(seen.stored, before) << "one use of a slot after the other";
        before = seen.stored;
    }
}

// Spec: CP-SUBMIT-5
TEST_P(SubmitTest, TheIdMayBeLeftOut) {
    Descriptor& ready = keep(ready_eventfd());
    Submission& poll = submission().as_poll(ready.get(), POLLIN);
    ASSERT_EQ(completion_port_submit(port(), &poll.common(), nullptr, nullptr), 0);
    poll.accept(0);
    EXPECT_EQ(poll.wait(), finished(POLLIN));
}

// Spec: CP-SUBMIT-6 CP-SUBMIT-12
TEST_P(SubmitTest, EveryFieldOfARecordIsAsSubmitted) {
    Pair& tcp = keep(tcp_pair());
    Submission& receive = submit_receive(tcp.ours.get(), 16);
    void* const buffer = receive.buffer().data();
    const uint64_t key = receive.key();
    // The structure has been copied.
    receive.receive() = {};
    write_all(tcp.theirs.get(), "hello");
    const Recorded recorded = receive.wait_for(1);
    const COMPLETION_PORT_COMPLETION& record = recorded.record;
    EXPECT_EQ(record.operation, receive.id());
    EXPECT_EQ(record.key, key);
    EXPECT_EQ(record.context, &receive);
    EXPECT_EQ(record.buffer, buffer);
    EXPECT_EQ(record.value, 5);
    EXPECT_EQ(record.error, 0);
    EXPECT_EQ(record.result, COMPLETION_PORT_RESULT_OK);
    EXPECT_EQ(record.kind, static_cast<uint32_t>(COMPLETION_PORT_KIND_RECEIVE));
    EXPECT_EQ(record.flags, 0u);
    EXPECT_EQ(record.reserved, 0u);
    EXPECT_NE(recorded.thread, ::gettid());
    EXPECT_EQ(receive.bytes(), "hello");
}

// Spec: CP-SUBMIT-6
TEST_P(SubmitTest, EveryFieldOfAWaitersRecordIsAsSubmitted) {
    Pair& tcp = keep(tcp_pair());
    Submission& send = submission("bytes").as_send(tcp.ours.get()).for_waiters();
    int tag = 0;
    send.common().key = UINT64_MAX;
    send.common().context = &tag;
    ASSERT_EQ(send.submit(port()), 0);
    COMPLETION_PORT_COMPLETION record;
    std::memset(&record, 0xff, sizeof(record));
    ASSERT_EQ(completion_port_wait(port(), &record, 1, -1), 1);
    EXPECT_EQ(record.operation, send.id());
    EXPECT_EQ(record.key, UINT64_MAX);
    EXPECT_EQ(record.context, &tag);
    EXPECT_EQ(record.buffer, send.buffer().data());
    EXPECT_EQ(ending_of(record), finished(5));
    EXPECT_EQ(record.kind, static_cast<uint32_t>(COMPLETION_PORT_KIND_SEND));
    EXPECT_EQ(record.flags, 0u);
    EXPECT_EQ(record.reserved, 0u);
    EXPECT_EQ(read_exactly(tcp.theirs.get(), 5), "bytes");
}

// Spec: CP-SUBMIT-6
TEST_P(SubmitTest, NoCallbackComesInsideTheSubmission) {
    Descriptor& ready = keep(ready_eventfd());
    run_on_worker([&] {
        Submission& poll = submit_poll(ready.get(), POLLIN);
        EXPECT_FALSE(poll.completed());
    });
}

// Spec: CP-SUBMIT-7 CP-SUBMIT-8
TEST_P(SubmitTest, BytesGoBothWaysOnEveryKindOfSocket) {
    for (Pair* pair :
         {&keep(tcp_pair()), &keep(tcp_pair(AF_INET6)), &keep(udp_pair()), &keep(unix_pair()),
          &keep(unix_pair(SOCK_DGRAM)), &keep(unix_pair(SOCK_SEQPACKET))}) {
        Submission& receive = submit_receive(pair->ours.get(), 64);
        Submission& send = submit_send(pair->theirs.get(), "there");
        EXPECT_EQ(send.wait(), finished(5));
        EXPECT_EQ(receive.wait(), finished(5));
        EXPECT_EQ(receive.bytes(), "there");
    }
}

// Spec: CP-SUBMIT-8
TEST_P(SubmitTest, ASendEndsWhenAllIsSent) {
    Pair& pair = keep(unix_pair());
    const std::string bytes = pattern(4u << 20);
    Submission& send = submit_send(pair.ours.get(), bytes);
    EXPECT_EQ(read_exactly(pair.theirs.get(), bytes.size()), bytes);
    EXPECT_EQ(send.wait(), finished(static_cast<int64_t>(bytes.size())));
}

// Spec: CP-SUBMIT-7
TEST_P(SubmitTest, TheEndOfAStreamIsOkWithNothing) {
    for (Pair* pair : {&keep(tcp_pair()), &keep(unix_pair()), &keep(unix_pair(SOCK_SEQPACKET))}) {
        write_all(pair->theirs.get(), "last");
        pair->theirs.close();
        EXPECT_EQ(submit_receive(pair->ours.get(), 64).wait(), finished(4));
        EXPECT_EQ(submit_receive(pair->ours.get(), 64).wait(), finished(0));
    }
}

// Spec: CP-SUBMIT-7
TEST_P(SubmitTest, AnEmptyDatagramIsOkWithNothing) {
    Pair& udp = keep(udp_pair());
    ASSERT_EQ(::send(udp.theirs.get(), "", 0, 0), 0);
    EXPECT_EQ(submit_receive(udp.ours.get(), 64).wait(), finished(0));
}

// Spec: CP-SUBMIT-9
TEST_P(SubmitTest, ADatagramLongerThanTheBuffer) {
    Pair& udp = keep(udp_pair());
    write_all(udp.theirs.get(), "longer than four");
    Submission& receive = submit_receive(udp.ours.get(), 4);
    EXPECT_EQ(receive.wait(), failed(-EMSGSIZE, 4));
    EXPECT_EQ(receive.bytes(), "long");
}

// Spec: CP-SUBMIT-9
TEST_P(SubmitTest, AResetAbandons) {
    Pair& tcp = keep(tcp_pair());
    Submission& receive = submit_receive(tcp.ours.get(), 64);
    fence();
    close_with_reset(tcp.theirs);
    EXPECT_EQ(receive.wait(), abandoned(-ECONNRESET));
    EXPECT_EQ(submit_send(tcp.ours.get(), "never").wait(), abandoned(-ECONNRESET));
}

// Spec: CP-SUBMIT-9
TEST_P(SubmitTest, ABrokenPipeAbandonsTheSend) {
    Pair& pair = keep(unix_pair());
    pair.theirs.close();
    EXPECT_EQ(submit_send(pair.ours.get(), "never").wait(), abandoned(-EPIPE));
}

// Spec: CP-SUBMIT-9
TEST_P(SubmitTest, OtherFailuresAreErrors) {
    Descriptor& unconnected = keep(fresh_tcp_socket());
    EXPECT_EQ(submit_receive(unconnected.get(), 4).wait(), failed(-ENOTCONN));
    Descriptor& nobody = keep(udp_to_nobody());
    EXPECT_EQ(submit_send(nobody.get(), "x").wait(), finished(1));
    EXPECT_EQ(submit_receive(nobody.get(), 4).wait(), failed(-ECONNREFUSED));
}

// Spec: CP-SUBMIT-10
TEST_P(SubmitTest, ReadsOfBothFormsCompleteInTheOrderOfTheirRequests) {
    Pair& tcp = keep(tcp_pair());
    Submission& first = submit_receive(tcp.ours.get(), 2);
    Operation& second = receive(tcp.ours.get(), 2);
    Submission& third = submit_receive(tcp.ours.get(), 2);
    Operation& fourth = receive(tcp.ours.get(), 2);
    write_all(tcp.theirs.get(), "aabbccdd");
    EXPECT_EQ(fourth.wait(), received(2));
    EXPECT_EQ(first.bytes() + second.bytes() + third.bytes() + fourth.bytes(), "aabbccdd");
    EXPECT_LT(first.wait_for(1).sequence, third.wait_for(1).sequence);
    EXPECT_LT(second.wait_for(1).sequence, fourth.wait_for(1).sequence);
}

// Spec: CP-SUBMIT-10
TEST_P(SubmitTest, WritesOfBothFormsAreSentInTheOrderOfTheirRequests) {
    Pair& pair = keep(unix_pair());
    const std::string large = pattern(1u << 20);
    submit_send(pair.ours.get(), large);
    send(pair.ours.get(), "one");
    submit_send(pair.ours.get(), "two");
    Operation& last = send(pair.ours.get(), "three");
    EXPECT_EQ(read_exactly(pair.theirs.get(), large.size() + 11), large + "onetwothree");
    EXPECT_EQ(last.wait(), sent(5));
}

// Spec: CP-SUBMIT-11
TEST_P(SubmitTest, RemovalEndsWhatIsPending) {
    Pair& tcp = keep(tcp_pair());
    fill_send_buffer(tcp.ours.get());
    Submission& receive = submit_receive(tcp.ours.get(), 4);
    Submission& send = submit_send(tcp.ours.get(), "never");
    Submission& poll = submit_poll(tcp.ours.get(), POLLIN | POLLRDHUP);
    Submission& waited_for = submission("?").as_receive(tcp.ours.get()).for_waiters();
    ASSERT_EQ(waited_for.submit(port()), 0);
    fence();
    completion_port_remove(port(), tcp.ours.get());
    for (Submission* submitted : {&receive, &send, &poll}) {
        ASSERT_TRUE(submitted->completed());
        EXPECT_EQ(submitted->wait(), abandoned(-ECANCELED));
    }
    EXPECT_EQ(ending_of(wait_for_record()), abandoned(-ECANCELED));
}

// Spec: CP-SUBMIT-11
TEST_P(SubmitTest, ShutdownEndsWhatIsPending) {
    Pair& tcp = keep(tcp_pair());
    Submission& receive = submit_receive(tcp.ours.get(), 4);
    Submission& poll = submit_poll(tcp.ours.get(), POLLIN);
    ASSERT_EQ(completion_port_shutdown(port()), 0);
    EXPECT_EQ(receive.wait(), abandoned(-ECANCELED));
    EXPECT_EQ(poll.wait(), abandoned(-ECANCELED));
}

// Spec: CP-SUBMIT-11
TEST_P(SubmitTest, APartialSendThatIsRemovedSaysItsBytes) {
    Pair& pair = keep(unix_pair());
    const std::string bytes = pattern(8u << 20);
    Submission& send = submit_send(pair.ours.get(), bytes);
    wait_until_unread(pair.theirs.get(), 1);
    fence();
    completion_port_remove(port(), pair.ours.get());
    const Ending ending = send.wait();
    EXPECT_EQ(ending, abandoned(-ECANCELED, ending.value));
    const std::string arrived = read_available(pair.theirs.get());
    EXPECT_EQ(static_cast<size_t>(ending.value), arrived.size());
    EXPECT_EQ(bytes.compare(0, arrived.size(), arrived), 0);
}

// Spec: CP-SUBMIT-5 CP-SUBMIT-6
TEST_P(SubmitTest, ManyThreadsSubmitAtOnce) {
    constexpr int kThreads = 4;
    const int kEach = scaled(5'000, 500);
    Descriptor& ready = keep(ready_eventfd());
    std::vector<std::thread> threads;
    std::vector<std::vector<uint64_t>> ids(kThreads);
    for (auto& own : ids) {
        threads.emplace_back([this, &own, &ready, kEach] {
            for (int i = 0; i < kEach; ++i) {
                Submission& poll = submission().as_poll(ready.get(), POLLIN).for_waiters();
                EXPECT_EQ(poll.submit(port()), 0);
                own.push_back(poll.id());
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    // None was waited for meanwhile, so all slots are in use.
    std::set<uint64_t> submitted;
    for (const auto& own : ids) submitted.insert(own.begin(), own.end());
    ASSERT_EQ(submitted.size(), static_cast<size_t>(kThreads * kEach));
    std::set<uint64_t> returned;
    while (returned.size() < submitted.size()) {
        ASSERT_TRUE(returned.insert(wait_for_record().operation).second);
    }
    EXPECT_EQ(returned, submitted);
}

}  // namespace
}  // namespace cport::test
