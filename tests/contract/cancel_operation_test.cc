// completion_port_cancel: wherever the operation is in its queue, and whoever asks.
#include <errno.h>

#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "tests/contract/operations_fixture.h"

namespace cport::test {
namespace {

class CancelOperationTest : public OperationsTest {
 protected:
    // Both from the owner and from here.
    void cancel_pending(Submission& pending, bool on_worker) {
        auto cancel = [&] { EXPECT_EQ(completion_port_cancel(port(), pending.id()), 0); };
        on_worker ? run_on_worker(cancel) : cancel();
    }
    // More than the socket takes at once.
    static std::string large() { return pattern(4u << 20); }
};
CPORT_ON_EVERY_ENGINE(CancelOperationTest);

// Spec: CP-CANCEL-1 CP-CANCEL-3
TEST_P(CancelOperationTest, AReadAtTheHeadInTheMiddleAndAtTheTail) {
    for (const bool on_worker : {false, true}) {
        Pair& tcp = keep(tcp_pair());
        std::vector<Submission*> reads;
        for (int i = 0; i < 5; ++i) reads.push_back(&submit_receive(tcp.ours.get(), 2));
        fence();
        for (size_t i : {size_t{0}, size_t{2}, size_t{4}}) {
            cancel_pending(*reads[i], on_worker);
            EXPECT_EQ(reads[i]->wait(), abandoned(-ECANCELED));
        }
        write_all(tcp.theirs.get(), "aabbcc");
        EXPECT_EQ(reads[1]->wait(), finished(2));
        EXPECT_EQ(reads[3]->wait(), finished(2));
        EXPECT_EQ(reads[1]->bytes() + reads[3]->bytes(), "aabb");
        // The queue has its end where it should.
        EXPECT_EQ(submit_receive(tcp.ours.get(), 2).wait(), finished(2));
    }
}

// Spec: CP-CANCEL-1
TEST_P(CancelOperationTest, AWriteInTheMiddleAndAtTheTail) {
    for (const bool on_worker : {false, true}) {
        Pair& pair = keep(unix_pair());
        const std::string bytes = large();
        Submission& first = submit_send(pair.ours.get(), bytes);
        Submission& second = submit_send(pair.ours.get(), "second");
        Submission& third = submit_send(pair.ours.get(), "third");
        Submission& fourth = submit_send(pair.ours.get(), "fourth");
        fence();
        cancel_pending(second, on_worker);
        cancel_pending(fourth, on_worker);
        EXPECT_EQ(second.wait(), abandoned(-ECANCELED));
        EXPECT_EQ(fourth.wait(), abandoned(-ECANCELED));
        Submission& fifth = submit_send(pair.ours.get(), "fifth");
        EXPECT_EQ(read_exactly(pair.theirs.get(), bytes.size() + 10), bytes + "thirdfifth");
        EXPECT_EQ(first.wait(), finished(static_cast<int64_t>(bytes.size())));
        EXPECT_EQ(third.wait(), finished(5));
        EXPECT_EQ(fifth.wait(), finished(5));
    }
}

// Spec: CP-CANCEL-1
TEST_P(CancelOperationTest, AWriteAtTheHeadThatSentNothing) {
    for (const bool on_worker : {false, true}) {
        Pair& pair = keep(unix_pair());
        const size_t filled = fill_send_buffer(pair.ours.get());
        Submission& head = submit_send(pair.ours.get(), "head");
        Submission& next = submit_send(pair.ours.get(), "next");
        fence();
        cancel_pending(head, on_worker);
        EXPECT_EQ(head.wait(), abandoned(-ECANCELED));
        read_exactly(pair.theirs.get(), filled);
        EXPECT_EQ(next.wait(), finished(4));
        EXPECT_EQ(read_exactly(pair.theirs.get(), 4), "next");
    }
}

// Spec: CP-CANCEL-1
TEST_P(CancelOperationTest, PollsWhereverTheyAre) {
    for (const bool on_worker : {false, true}) {
        Pair& tcp = keep(tcp_pair());
        std::vector<Submission*> polls;
        for (int i = 0; i < 5; ++i) polls.push_back(&submit_poll(tcp.ours.get(), POLLIN));
        fence();
        for (size_t i : {size_t{0}, size_t{2}, size_t{4}}) {
            cancel_pending(*polls[i], on_worker);
            EXPECT_EQ(polls[i]->wait(), abandoned(-ECANCELED));
        }
        write_all(tcp.theirs.get(), "x");
        EXPECT_EQ(polls[1]->wait(), finished(POLLIN));
        EXPECT_EQ(polls[3]->wait(), finished(POLLIN));
    }
}

// Spec: CP-CANCEL-1
TEST_P(CancelOperationTest, AllOfAQueue) {
    Pair& tcp = keep(tcp_pair());
    std::vector<Submission*> reads;
    for (int i = 0; i < 3; ++i) reads.push_back(&submit_receive(tcp.ours.get(), 2));
    fence();
    for (size_t i : {size_t{2}, size_t{0}, size_t{1}}) cancel_pending(*reads[i], false);
    for (Submission* read : reads) EXPECT_EQ(read->wait(), abandoned(-ECANCELED));
    Submission& later = submit_receive(tcp.ours.get(), 2);
    write_all(tcp.theirs.get(), "xy");
    EXPECT_EQ(later.wait(), finished(2));
}

// A readiness add is behind the cancelled read: it must be looked at afresh.
// Spec: CP-CANCEL-1
TEST_P(CancelOperationTest, AReadinessAddBehindACancelledRead) {
    Pair& pair = keep(unix_pair());
    Submission& head = submit_receive(pair.ours.get(), 2);
    Operation& ready = watch(pair.ours.get(), EPOLLIN);
    fence();
    run_on_worker([&] {
        EXPECT_EQ(completion_port_cancel(port(), head.id()), 0);
        write_all(pair.theirs.get(), "x");
    });
    EXPECT_EQ(ready.wait(), ready_to_read());
    EXPECT_EQ(head.wait(), abandoned(-ECANCELED));
}

// Spec: CP-CANCEL-1
TEST_P(CancelOperationTest, OneThatAWaiterGets) {
    Pair& tcp = keep(tcp_pair());
    Submission& receive = submission("??").as_receive(tcp.ours.get()).for_waiters();
    ASSERT_EQ(receive.submit(port()), 0);
    EXPECT_EQ(completion_port_cancel(port(), receive.id()), 0);
    const COMPLETION_PORT_COMPLETION record = wait_for_record();
    EXPECT_EQ(record.operation, receive.id());
    EXPECT_EQ(ending_of(record), abandoned(-ECANCELED));
}

// Spec: CP-CANCEL-2
TEST_P(CancelOperationTest, WhatIsRefused) {
    EXPECT_EQ(completion_port_cancel(nullptr, 1), -EINVAL);
    Pair& tcp = keep(tcp_pair());
    Submission& pending = submit_receive(tcp.ours.get(), 2);
    fence();
    const uint64_t id = pending.id();
    const uint64_t other_uses = uint64_t{1} << 32;
    auto refuse = [&] {
        EXPECT_EQ(completion_port_cancel(port(), 0), -EINVAL);
        for (uint64_t garbage :
             {id + other_uses, id - other_uses, id + 100'000, uint64_t{UINT32_MAX}, other_uses,
              uint64_t{UINT64_MAX}, uint64_t{1} << 63, other_uses | UINT32_MAX}) {
            EXPECT_EQ(completion_port_cancel(port(), garbage), -ENOENT) << garbage;
        }
    };
    refuse();
    run_on_worker(refuse);
    fence();
    EXPECT_FALSE(pending.completed());
    ASSERT_EQ(completion_port_shutdown(port()), 0);
    EXPECT_EQ(completion_port_cancel(port(), id), -ESHUTDOWN);
}

// Spec: CP-CANCEL-3
TEST_P(CancelOperationTest, AFinishedOneIsUnknownToTheOwner) {
    Descriptor& ready = keep(ready_eventfd());
    Submission& poll = submit_poll(ready.get(), POLLIN);
    EXPECT_EQ(poll.wait(), finished(POLLIN));
    auto refuse = [&] { EXPECT_EQ(completion_port_cancel(port(), poll.id()), -ENOENT); };
    run_on_worker(refuse);
    refuse();  // its slot was given back before its callback
    // One whose record waits for a waiter.
    Submission& recorded = submission().as_poll(ready.get(), POLLIN).for_waiters();
    ASSERT_EQ(recorded.submit(port()), 0);
    fence();
    run_on_worker([&] { EXPECT_EQ(completion_port_cancel(port(), recorded.id()), -ENOENT); });
    const int from_elsewhere = completion_port_cancel(port(), recorded.id());
    EXPECT_TRUE(from_elsewhere == 0 || from_elsewhere == -ENOENT);
    EXPECT_EQ(ending_of(wait_for_record()), finished(POLLIN));
    fence();
    EXPECT_TRUE(records_there().empty());
}

// Spec: CP-CANCEL-3
TEST_P(CancelOperationTest, InItsOwnCallback) {
    Descriptor& ready = keep(ready_eventfd());
    Submission& poll = submission().as_poll(ready.get(), POLLIN);
    poll.then([this](const COMPLETION_PORT_COMPLETION& record) {
        EXPECT_EQ(completion_port_cancel(port(), record.operation), -ENOENT);
    });
    ASSERT_EQ(poll.submit(port()), 0);
    EXPECT_EQ(poll.wait(), finished(POLLIN));
}

// Spec: CP-CANCEL-3
TEST_P(CancelOperationTest, ACallbackCancelsWhatItHasJustSubmitted) {
    Pair& tcp = keep(tcp_pair());
    write_all(tcp.theirs.get(), "here");
    wait_until_unread(tcp.ours.get(), 4);
    Submission& receive = submission("????").as_receive(tcp.ours.get());
    run_on_worker([&] {
        EXPECT_EQ(receive.submit(port()), 0);
        EXPECT_EQ(completion_port_cancel(port(), receive.id()), 0);
        EXPECT_EQ(completion_port_cancel(port(), receive.id()), -ENOENT);
        EXPECT_FALSE(receive.completed());
    });
    EXPECT_EQ(receive.wait(), abandoned(-ECANCELED));
    EXPECT_EQ(submit_receive(tcp.ours.get(), 4).wait(), finished(4));
}

// It is still on its way to the owner, so it has not completed.
// Spec: CP-CANCEL-3
TEST_P(CancelOperationTest, ACallbackCancelsWhatAnotherThreadHasJustSubmitted) {
    Pair& tcp = keep(tcp_pair());
    Submission& receive = submission("????").as_receive(tcp.ours.get());
    run_on_worker([&] {
        std::thread other([&] { EXPECT_EQ(receive.submit(port()), 0); });
        other.join();
        EXPECT_EQ(completion_port_cancel(port(), receive.id()), 0);
    });
    fence();
    ASSERT_TRUE(receive.completed());
    EXPECT_EQ(receive.wait(), abandoned(-ECANCELED));
}

// Spec: CP-CANCEL-4
TEST_P(CancelOperationTest, AThreadCancelsWhatItHasJustSubmitted) {
    Pair& tcp = keep(tcp_pair());
    std::vector<Submission*> reads;
    {
        WorkerHold hold(*this);
        for (int i = 0; i < 3; ++i) {
            reads.push_back(&submit_receive(tcp.ours.get(), 4));
            EXPECT_EQ(completion_port_cancel(port(), reads.back()->id()), 0);
            EXPECT_EQ(completion_port_cancel(port(), reads.back()->id()), 0);
        }
    }
    for (Submission* read : reads) EXPECT_EQ(read->wait(), abandoned(-ECANCELED));
}

// Spec: CP-CANCEL-4
TEST_P(CancelOperationTest, AfterARemoval) {
    Pair& tcp = keep(tcp_pair());
    Submission& receive = submit_receive(tcp.ours.get(), 4);
    fence();
    run_on_worker([&] {
        completion_port_remove(port(), tcp.ours.get());
        EXPECT_EQ(completion_port_cancel(port(), receive.id()), -ENOENT);
    });
    EXPECT_EQ(receive.wait(), abandoned(-ECANCELED));
    EXPECT_EQ(completion_port_cancel(port(), receive.id()), -ENOENT);
}

// Spec: CP-CANCEL-5
TEST_P(CancelOperationTest, APartialSendFailsWhatIsQueuedBehindIt) {
    for (const bool on_worker : {false, true}) {
        Pair& pair = keep(unix_pair());
        const std::string bytes = large();
        Submission& partial = submit_send(pair.ours.get(), bytes);
        Submission& behind = submit_send(pair.ours.get(), "behind");
        Operation& add_behind = send(pair.ours.get(), "add");
        Submission& input = submit_receive(pair.ours.get(), 4);
        wait_until_unread(pair.theirs.get(), 1);
        fence();
        cancel_pending(partial, on_worker);
        const Ending ending = partial.wait();
        EXPECT_EQ(ending, abandoned(-ECANCELED, ending.value));
        EXPECT_GT(ending.value, 0);
        EXPECT_EQ(behind.wait(), failed(-ECANCELED));
        EXPECT_EQ(add_behind.wait(), write_failed());
        EXPECT_EQ(add_behind.error(), ECANCELED);
        const std::string arrived = read_available(pair.theirs.get());
        EXPECT_EQ(arrived, bytes.substr(0, static_cast<size_t>(ending.value)));
        // The other direction, and what is sent from now on, go on.
        write_all(pair.theirs.get(), "four");
        EXPECT_EQ(input.wait(), finished(4));
        EXPECT_EQ(submit_send(pair.ours.get(), "afresh").wait(), finished(6));
        EXPECT_EQ(read_exactly(pair.theirs.get(), 6), "afresh");
    }
}

}  // namespace
}  // namespace cport::test
