// completion_port_remove.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <limits>
#include <string>
#include <thread>

#include "tests/contract/port_fixture.h"
#include "tests/contract/process_facts.h"

namespace cport::test {
namespace {

class RemoveTest : public PortTest {};
CPORT_ON_EVERY_ENGINE(RemoveTest);

// Spec: CP-REMOVE-1
TEST_P(RemoveTest, EveryPendingAddIsAbandoned) {
    Pair& tcp = keep(tcp_pair());
    fill_send_buffer(tcp.ours.get());
    Operation* pending[] = {
        &receive(tcp.ours.get(), 4),     &receive(tcp.ours.get(), 4, EPOLLRDHUP),
        &watch(tcp.ours.get(), EPOLLIN), &watch(tcp.ours.get(), EPOLLRDHUP),
        &send(tcp.ours.get(), "never"),  &send(tcp.ours.get(), "never"),
        &watch(tcp.ours.get(), EPOLLOUT)};
    fence();
    completion_port_remove(port(), tcp.ours.get());
    for (Operation* operation : pending) {
        ASSERT_TRUE(operation->completed());
        EXPECT_EQ(operation->wait(), closing());
    }
}

// Spec: CP-REMOVE-1
TEST_P(RemoveTest, PartialSendSaysItsBytes) {
    Pair& tcp = keep(tcp_pair());
    const std::string bytes = pattern(32 << 20);
    Operation& write = send(tcp.ours.get(), bytes);
    Operation& behind = send(tcp.ours.get(), "behind");
    wait_until_unread(tcp.theirs.get(), 1);
    fence();
    completion_port_remove(port(), tcp.ours.get());
    const Outcome outcome = write.wait();
    ASSERT_GT(outcome.amount, 0);
    EXPECT_EQ(outcome, closing(outcome.amount));
    EXPECT_EQ(behind.wait(), closing());
    half_close(tcp.ours.get());
    const std::string got = read_to_end(tcp.theirs.get());
    EXPECT_EQ(got.size(), static_cast<size_t>(outcome.amount));
    EXPECT_TRUE(got == bytes.substr(0, got.size()));
}

// Spec: CP-REMOVE-1
TEST_P(RemoveTest, BytesThatWereReceivedAreNotDropped) {
    // Reads that are already full when the removal comes end OK with what they took.
    Pair& pair = keep(unix_pair());
    write_all(pair.theirs.get(), "12");
    Operation& full = operation("?");
    Operation& behind = operation("?");
    Operation& third = operation("?");
    full.then([&](const Completion&) { completion_port_remove(port(), pair.ours.get()); });
    {
        WorkerHold hold(*this);
        ASSERT_EQ(full.add(port(), EPOLLIN, pair.ours.get()), 0);
        ASSERT_EQ(behind.add(port(), EPOLLIN, pair.ours.get()), 0);
        ASSERT_EQ(third.add(port(), EPOLLIN, pair.ours.get()), 0);
    }
    EXPECT_EQ(full.wait(), received(1));
    EXPECT_EQ(third.wait(), closing());
    const std::string rest = read_available(pair.ours.get());
    if (behind.wait() == received(1)) {
        EXPECT_EQ(behind.bytes(), "2");
        EXPECT_EQ(rest, "");
    } else {
        EXPECT_EQ(behind.wait(), closing());
        EXPECT_EQ(rest, "2");
    }
}

// Spec: CP-REMOVE-2
TEST_P(RemoveTest, ReturnsOutsideCallbacksWhenNoCallbackRunsAnyMore) {
    Pair& tcp = keep(tcp_pair());
    Gate entered;
    std::atomic<pid_t> remover{0};
    std::atomic<bool> returned{false};
    std::atomic<bool> callback_done{false};
    bool done_at_return = false;
    Operation& busy = operation("?");
    busy.then([&](const Completion&) {
        entered.open();
        wait_until([&] { return returned || (remover != 0 && is_asleep(remover)); });
        callback_done = true;
    });
    ASSERT_EQ(busy.add(port(), EPOLLIN, tcp.ours.get()), 0);
    Operation& pending = receive(tcp.ours.get(), 4);
    write_all(tcp.theirs.get(), "x");
    entered.wait();
    std::thread thread([&] {
        remover = ::gettid();
        completion_port_remove(port(), tcp.ours.get());
        done_at_return = callback_done && pending.completed();
        returned = true;
    });
    thread.join();
    EXPECT_TRUE(done_at_return);
    EXPECT_EQ(pending.wait(), closing());
}

// Spec: CP-REMOVE-2
TEST_P(RemoveTest, CallbacksCannotAddAgainWhileAThreadWaitsForTheLastOne) {
    Pair& tcp = keep(tcp_pair());
    Gate entered;
    std::atomic<pid_t> remover{0};
    Operation& again = operation("?");
    Operation& busy = operation("?");
    busy.then([&](const Completion&) {
        entered.open();
        wait_until([&] { return remover != 0 && is_asleep(remover); });
        EXPECT_EQ(again.add(port(), EPOLLIN, tcp.ours.get()), -ECANCELED);
    });
    Operation& pending = operation("?");
    pending.then([&](const Completion&) {
        EXPECT_EQ(again.add(port(), EPOLLIN, tcp.ours.get()), -ECANCELED);
    });
    ASSERT_EQ(busy.add(port(), EPOLLIN, tcp.ours.get()), 0);
    ASSERT_EQ(pending.add(port(), EPOLLIN, tcp.ours.get()), 0);
    write_all(tcp.theirs.get(), "1");
    entered.wait();
    std::thread thread([&] {
        remover = ::gettid();
        completion_port_remove(port(), tcp.ours.get());
    });
    thread.join();
    EXPECT_EQ(pending.wait(), closing());
    write_all(tcp.theirs.get(), "2");
    fence();
    EXPECT_FALSE(again.completed());
    // Nobody waits any more.
    run_on_worker_of(tcp.ours.get(),
                     [&] { EXPECT_EQ(again.add(port(), EPOLLIN, tcp.ours.get()), 0); });
    EXPECT_EQ(again.wait(), received(1));
    EXPECT_EQ(again.bytes(), "2");
}

// Spec: CP-REMOVE-3
TEST_P(RemoveTest, OnTheOwnerTheNumberMayBeReusedInTheSameCallback) {
    Pair first = tcp_pair();
    Pair& second = keep(tcp_pair());
    const int number = first.ours.get();
    Operation& trigger = operation("?");
    Operation& old = operation(std::string(8, '\0'));
    Operation& fresh = operation(std::string(8, '\0'));
    trigger.then([&](const Completion&) {
        completion_port_remove(port(), number);
        EXPECT_EQ(::dup3(second.ours.get(), number, O_CLOEXEC), number);
        EXPECT_EQ(fresh.add(port(), EPOLLIN, number), 0);
        EXPECT_FALSE(old.completed());
    });
    ASSERT_EQ(trigger.add(port(), EPOLLIN, number), 0);
    ASSERT_EQ(old.add(port(), EPOLLIN, number), 0);
    fence();
    write_all(first.theirs.get(), "1");
    EXPECT_EQ(trigger.wait(), received(1));
    EXPECT_EQ(old.wait(), closing());
    fence();
    EXPECT_FALSE(fresh.completed());
    write_all(second.theirs.get(), "fresh");
    EXPECT_EQ(fresh.wait(), received(5));
    EXPECT_EQ(fresh.bytes(), "fresh");
    completion_port_remove(port(), number);
}

// Spec: CP-REMOVE-3
TEST_P(RemoveTest, InsideTheSocketsOwnCallbackAndInsideAnAbandonedOne) {
    Pair& tcp = keep(tcp_pair());
    Operation& first = operation("?");
    Operation& second = operation("?");
    first.then([&](const Completion&) { completion_port_remove(port(), tcp.ours.get()); });
    second.then([&](const Completion&) { completion_port_remove(port(), tcp.ours.get()); });
    ASSERT_EQ(first.add(port(), EPOLLIN, tcp.ours.get()), 0);
    ASSERT_EQ(second.add(port(), EPOLLIN, tcp.ours.get()), 0);
    write_all(tcp.theirs.get(), "1");
    EXPECT_EQ(first.wait(), received(1));
    EXPECT_EQ(second.wait(), closing());
}

// Spec: CP-REMOVE-4
TEST_P(RemoveTest, InsideAnotherPortsCallbackItReturnsAtOnce) {
    COMPLETION_PORT_HANDLE another = GetParam().create();
    ASSERT_NE(another, nullptr);
    Pair& tcp = keep(tcp_pair());
    // The socket's callback ends only after remove has returned.
    Gate entered;
    Gate returned;
    Operation& busy = operation("?");
    busy.then([&](const Completion&) {
        entered.open();
        returned.wait();
    });
    Operation& pending = operation("?");
    ASSERT_EQ(busy.add(another, EPOLLIN, tcp.ours.get()), 0);
    ASSERT_EQ(pending.add(another, EPOLLIN, tcp.ours.get()), 0);
    write_all(tcp.theirs.get(), "x");
    entered.wait();
    run_on_worker([&] {
        completion_port_remove(another, tcp.ours.get());
        returned.open();
    });
    EXPECT_EQ(busy.wait(), received(1));
    EXPECT_EQ(pending.wait(), closing());
    completion_port_dec_ref(another);
}

// Spec: CP-REMOVE-4
TEST_P(RemoveTest, TwoPortsRemoveFromOneAnotherAtTheSameTime) {
    COMPLETION_PORT_HANDLE another = GetParam().create();
    ASSERT_NE(another, nullptr);
    Pair& mine = keep(tcp_pair());
    Pair& its = keep(tcp_pair());
    Operation& on_mine = receive(mine.ours.get(), 4);
    Operation& on_its = operation("?");
    ASSERT_EQ(on_its.add(another, EPOLLIN, its.ours.get()), 0);
    Gate in_mine;
    Gate in_its;
    Descriptor& ready = keep(ready_eventfd());
    Operation& crossing = operation();
    crossing.then([&](const Completion&) {
        in_its.open();
        in_mine.wait();
        completion_port_remove(port(), mine.ours.get());
    });
    ASSERT_EQ(crossing.add(another, EPOLLIN, ready.get()), 0);
    run_on_worker([&] {
        in_mine.open();
        in_its.wait();
        completion_port_remove(another, its.ours.get());
    });
    EXPECT_EQ(on_mine.wait(), closing());
    EXPECT_EQ(on_its.wait(), closing());
    completion_port_dec_ref(another);
}

// Spec: CP-REMOVE-5
TEST_P(RemoveTest, NothingToRemove) {
    Pair& tcp = keep(tcp_pair());
    completion_port_remove(nullptr, tcp.ours.get());
    completion_port_remove(port(), INVALID_SOCKET);
    completion_port_remove(port(), std::numeric_limits<int>::min());
    completion_port_remove(port(), std::numeric_limits<int>::max());
    completion_port_remove(port(), closed_number());
    completion_port_remove(port(), tcp.ours.get());
    Operation& read = receive(tcp.ours.get(), 4);
    completion_port_remove(port(), tcp.ours.get());
    completion_port_remove(port(), tcp.ours.get());
    EXPECT_EQ(read.wait(), closing());
    run_on_worker([&] {
        completion_port_remove(port(), tcp.ours.get());
        completion_port_remove(port(), INVALID_SOCKET);
    });
}

// Spec: CP-REMOVE-6
TEST_P(RemoveTest, RemovedSocketMayBeAddedAgain) {
    Pair& tcp = keep(tcp_pair());
    for (int i = 0; i < 100; ++i) {
        Operation& before = receive(tcp.ours.get(), 4);
        completion_port_remove(port(), tcp.ours.get());
        EXPECT_EQ(before.wait(), closing());
        Operation& after = receive(tcp.ours.get(), 4);
        write_all(tcp.theirs.get(), "data");
        EXPECT_EQ(after.wait(), received(4));
    }
}

// Spec: CP-REMOVE-6
TEST_P(RemoveTest, AbandonedCallbackMayAddAgain) {
    Pair& tcp = keep(tcp_pair());
    Operation& again = operation(std::string(4, '\0'));
    Operation& first = operation(std::string(4, '\0'));
    first.then([&](const Completion& completion) {
        EXPECT_EQ(completion.outcome, closing());
        EXPECT_EQ(again.add(port(), EPOLLIN, tcp.ours.get()), 0);
    });
    ASSERT_EQ(first.add(port(), EPOLLIN, tcp.ours.get()), 0);
    fence();
    run_on_worker_of(tcp.ours.get(), [&] { completion_port_remove(port(), tcp.ours.get()); });
    EXPECT_EQ(first.wait(), closing());
    write_all(tcp.theirs.get(), "data");
    EXPECT_EQ(again.wait(), received(4));
}

// Spec: CP-REMOVE-2 CP-REMOVE-6
TEST_P(RemoveTest, ManyThreadsRemoveTheSameSocket) {
    Pair& tcp = keep(tcp_pair());
    const int kRounds = scaled(200, 50);
    for (int i = 0; i < kRounds; ++i) {
        Operation& pending = receive(tcp.ours.get(), 4);
        std::thread threads[4];
        for (std::thread& thread : threads) {
            thread = std::thread([&] {
                completion_port_remove(port(), tcp.ours.get());
                EXPECT_TRUE(pending.completed());
            });
        }
        for (std::thread& thread : threads) {
            thread.join();
        }
        EXPECT_EQ(pending.wait(), closing());
    }
}

}  // namespace
}  // namespace cport::test
