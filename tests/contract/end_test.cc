// Shutdown, the last reference, and what may still be called.
#include <errno.h>

#include <atomic>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "tests/contract/port_fixture.h"
#include "tests/contract/process_facts.h"

namespace cport::test {
namespace {

void ignore_removed(void*, SOCKET_HANDLE) {}

class EndTest : public PortTest {
 protected:
    // One add of every kind, none of which can complete.
    std::vector<Operation*> pending_adds() {
        Pair& tcp = keep(tcp_pair());
        Pair& udp = keep(udp_pair());
        fill_send_buffer(tcp.ours.get());
        return {&receive(tcp.ours.get(), 4),
                &receive(tcp.ours.get(), 4, EPOLLRDHUP),
                &send(tcp.ours.get(), "never"),
                &watch(tcp.ours.get(), EPOLLRDHUP),
                &watch(tcp.ours.get(), EPOLLOUT),
                &receive(udp.ours.get(), 4),
                &watch(keep(pipe_pair()).ours.get(), EPOLLIN),
                &watch(keep(idle_eventfd()).get(), EPOLLIN)};
    }
};
CPORT_ON_EVERY_ENGINE(EndTest);

// Spec: CP-END-1
TEST_P(EndTest, ShutdownEndsEveryPendingAddOnAWorker) {
    const std::vector<Operation*> pending = pending_adds();
    fence();
    ASSERT_EQ(completion_port_shutdown(port()), 0);
    for (Operation* operation : pending) {
        EXPECT_EQ(operation->wait(), closing());
        EXPECT_NE(operation->wait_for(1).thread, ::gettid());
    }
    Pair& late = keep(tcp_pair());
    EXPECT_EQ(operation("?").add(port(), EPOLLIN, late.ours.get()), -ESHUTDOWN);
    EXPECT_EQ(completion_port_shutdown(port()), 0);
    completion_port_remove(port(), late.ours.get());
}

// Spec: CP-END-1
TEST_P(EndTest, ShutdownOfNoPort) { EXPECT_EQ(completion_port_shutdown(nullptr), -EINVAL); }

// Spec: CP-END-1
TEST_P(EndTest, ShutdownFindsAddsThatTheWorkerHasNotSeenYet) {
    Pair& tcp = keep(tcp_pair());
    Operation* unseen = nullptr;
    {
        WorkerHold hold(*this);
        unseen = &receive(tcp.ours.get(), 4);
        ASSERT_EQ(completion_port_shutdown(port()), 0);
    }
    EXPECT_EQ(unseen->wait(), closing());
}

// Spec: CP-END-1
TEST_P(EndTest, ShutdownInsideACallback) {
    const std::vector<Operation*> pending = pending_adds();
    run_on_worker([&] {
        EXPECT_EQ(completion_port_shutdown(port()), 0);
        EXPECT_EQ(completion_port_shutdown(port()), 0);
    });
    for (Operation* operation : pending) {
        EXPECT_EQ(operation->wait(), closing());
    }
}

// Spec: CP-END-2
TEST_P(EndTest, LastReferenceEndsEveryPendingAdd) {
    const std::vector<Operation*> pending = pending_adds();
    end();
    for (Operation* operation : pending) {
        ASSERT_TRUE(operation->completed());
        EXPECT_EQ(operation->wait(), closing());
    }
}

// Spec: CP-END-2
TEST_P(EndTest, LastReferenceFromAnyThread) {
    const std::vector<Operation*> pending = pending_adds();
    std::thread other([&] { end(); });
    other.join();
    for (Operation* operation : pending) {
        EXPECT_TRUE(operation->completed());
    }
}

// Spec: CP-END-2 CP-END-4
TEST_P(EndTest, LastReferenceInsideACallbackOfThePortItself) {
    const std::vector<Operation*> pending = pending_adds();
    Descriptor& ready = keep(ready_eventfd());
    Operation& last = operation();
    Operation& refused = operation();
    last.then([&](const Completion&) {
        COMPLETION_PORT_HANDLE handle = hand_over();
        completion_port_dec_ref(handle);
        // The handle is valid until the last callback has returned.
        EXPECT_EQ(refused.add(handle, EPOLLIN, ready.get()), -ESHUTDOWN);
    });
    ASSERT_EQ(last.add(port(), EPOLLIN, ready.get()), 0);
    EXPECT_EQ(last.wait(), ready_to_read());
    for (Operation* operation : pending) {
        EXPECT_EQ(operation->wait(), closing());
    }
}

// Spec: CP-END-2
TEST_P(EndTest, LastReferenceInsideAnAbandonedCallback) {
    Pair& tcp = keep(tcp_pair());
    Operation& first = operation("?");
    Operation& second = operation("?");
    const auto release = [&](const Completion&) { completion_port_dec_ref(hand_over()); };
    first.then(release);
    ASSERT_EQ(first.add(port(), EPOLLIN, tcp.ours.get()), 0);
    ASSERT_EQ(second.add(port(), EPOLLIN, tcp.ours.get()), 0);
    ASSERT_EQ(completion_port_shutdown(port()), 0);
    EXPECT_EQ(first.wait(), closing());
    EXPECT_EQ(second.wait(), closing());
}

// Spec: CP-END-7
TEST_P(EndTest, TheOnlyReferenceGoesWhileTheAddReturns) {
    const int kRounds = scaled(2'000, 500);
    Descriptor& ready = keep(ready_eventfd());
    for (int i = 0; i < kRounds; ++i) {
        COMPLETION_PORT_HANDLE only = GetParam().create();
        Operation& last = operation();
        last.then([only](const Completion&) { completion_port_dec_ref(only); });
        ASSERT_EQ(last.add(only, EPOLLIN, ready.get()), 0);
        EXPECT_EQ(last.wait(), ready_to_read());
    }
}

// Spec: CP-END-4
TEST_P(EndTest, AbandonedCallbacksMayCallThePort) {
    Pair& tcp = keep(tcp_pair());
    COMPLETION_PORT_HANDLE handle = port();
    std::vector<Operation*> adds;
    for (int i = 0; i < 10; ++i) {
        Operation& add = operation("?");
        add.then([&, handle](const Completion& completion) {
            EXPECT_EQ(completion.outcome, closing());
            EXPECT_EQ(operation("?").add(handle, EPOLLIN, tcp.ours.get()), -ESHUTDOWN);
            completion_port_remove(handle, tcp.ours.get());
            EXPECT_EQ(completion_port_remove_async(handle, tcp.ours.get(), ignore_removed, nullptr),
                      -ESHUTDOWN);
            EXPECT_EQ(completion_port_shutdown(handle), 0);
        });
        ASSERT_EQ(add.add(handle, EPOLLIN, tcp.ours.get()), 0);
        adds.push_back(&add);
    }
    end();
    for (Operation* add : adds) {
        EXPECT_EQ(add->wait(), closing());
    }
}

// Spec: CP-END-1
TEST_P(EndTest, RemoveAfterShutdownReturnsWhenTheSocketIsQuiet) {
    Pair& tcp = keep(tcp_pair());
    Operation& pending = receive(tcp.ours.get(), 4);
    ASSERT_EQ(completion_port_shutdown(port()), 0);
    completion_port_remove(port(), tcp.ours.get());
    EXPECT_TRUE(pending.completed());
    // Also when the workers have ended long ago.
    completion_port_remove(port(), tcp.ours.get());
}

// Spec: CP-END-1
TEST_P(EndTest, WorkersEndAtShutdown) {
    const pid_t worker = [&] {
        pid_t thread = 0;
        run_on_worker([&] { thread = ::gettid(); });
        return thread;
    }();
    ASSERT_EQ(completion_port_shutdown(port()), 0);
    wait_until([&] { return thread_status(worker, "State").empty(); });
    EXPECT_EQ(operation().add(port(), EPOLLIN, keep(ready_eventfd()).get()), -ESHUTDOWN);
}

// Spec: CP-END-2
TEST_P(EndTest, LastReferenceWaitsForTheCallbackThatRuns) {
    Descriptor& ready = keep(ready_eventfd());
    Gate entered;
    std::atomic<pid_t> releaser{0};
    std::atomic<bool> returned{false};
    std::atomic<bool> callback_done{false};
    bool done_at_return = false;
    Operation& busy = operation();
    busy.then([&](const Completion&) {
        entered.open();
        wait_until([&] { return returned || (releaser != 0 && is_asleep(releaser)); });
        callback_done = true;
    });
    ASSERT_EQ(busy.add(port(), EPOLLIN, ready.get()), 0);
    entered.wait();
    std::thread thread([&] {
        releaser = ::gettid();
        end();
        done_at_return = callback_done;
        returned = true;
    });
    thread.join();
    EXPECT_TRUE(done_at_return);
}

}  // namespace
}  // namespace cport::test
