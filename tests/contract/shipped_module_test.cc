// What broke in an earlier completion port over epoll that many programs use: one test for each.
#include <fcntl.h>

#include <string>
#include <vector>

#include "tests/contract/port_fixture.h"
#include "tests/contract/process_facts.h"

namespace cport::test {
namespace {

class ShippedModuleTest : public PortTest {};
CPORT_ON_EVERY_ENGINE(ShippedModuleTest);

// There: a double free on any send that met back-pressure, its entry freed after its callback.
// Spec: CP-ONCE-1 CP-WRITE-1
TEST_P(ShippedModuleTest, LevelTriggeredSendUnderBackPressureCompletesOnce) {
    Pair& tcp = keep(tcp_pair());
    const std::string bytes = pattern(8 << 20);
    std::vector<Operation*> writes;
    for (int i = 0; i < 4; ++i) {
        writes.push_back(&send(tcp.ours.get(), bytes));
    }
    for (Operation* write : writes) {
        EXPECT_TRUE(read_exactly(tcp.theirs.get(), bytes.size()) == bytes);
        EXPECT_EQ(write->wait(), sent(bytes.size()));
    }
    fence();
    for (Operation* write : writes) {
        EXPECT_EQ(write->callbacks(), 1u);
    }
}

// There: the second add overwrote the first, which never fired.
// Spec: CP-ORDER-3
TEST_P(ShippedModuleTest, InThenOutOnOneDescriptorBothFire) {
    Pair& tcp = keep(tcp_pair());
    Operation& read = receive(tcp.ours.get(), 16);
    Operation& write = send(tcp.ours.get(), "out");
    EXPECT_EQ(write.wait(), sent(3));
    write_all(tcp.theirs.get(), "in");
    EXPECT_EQ(read.wait(), received(2));
}

// There: ABANDONED with 0 bytes, the five lost.
// Spec: CP-READ-3
TEST_P(ShippedModuleTest, FiveBytesThenFin) {
    Pair& tcp = keep(tcp_pair());
    Operation& first = receive(tcp.ours.get(), 100, EPOLLRDHUP);
    Operation& second = receive(tcp.ours.get(), 100, EPOLLRDHUP);
    {
        WorkerHold hold(*this);
        write_all(tcp.theirs.get(), "hello");
        tcp.theirs.close();
    }
    EXPECT_EQ(first.wait(), received(5));
    EXPECT_EQ(first.bytes(), "hello");
    EXPECT_EQ(second.wait(), hung_up());
}

// There: a deadlock on itself.
// Spec: CP-REMOVE-3
TEST_P(ShippedModuleTest, RemoveInsideTheSocketsOwnCallback) {
    Pair& tcp = keep(tcp_pair());
    Operation& read = operation("?");
    read.then([&](const Completion&) { completion_port_remove(port(), tcp.ours.get()); });
    ASSERT_EQ(read.add(port(), EPOLLIN, tcp.ours.get()), 0);
    write_all(tcp.theirs.get(), "x");
    EXPECT_EQ(read.wait(), received(1));
}

// There: a deadlock, since callbacks and waits happened under the lock of the list.
// Spec: CP-REMOVE-2 CP-ONCE-2
TEST_P(ShippedModuleTest, SocketRemovedWhileItsCallbackAddsAnother) {
    Pair& a = keep(tcp_pair());
    Pair& b = keep(tcp_pair());
    Gate entered;
    Operation& on_b = operation("?");
    Operation& on_a = operation("?");
    std::atomic<bool> removing{false};
    on_a.then([&](const Completion&) {
        entered.open();
        wait_until([&] { return removing.load(); });
        EXPECT_EQ(on_b.add(port(), EPOLLIN, b.ours.get()), 0);
    });
    ASSERT_EQ(on_a.add(port(), EPOLLIN, a.ours.get()), 0);
    write_all(a.theirs.get(), "x");
    entered.wait();
    removing = true;
    completion_port_remove(port(), a.ours.get());
    EXPECT_TRUE(on_a.completed());
    write_all(b.theirs.get(), "y");
    EXPECT_EQ(on_b.wait(), received(1));
}

// There: the worker joined itself, and was freed while it ran.
// Spec: CP-REF-3 CP-END-2
TEST_P(ShippedModuleTest, LastReferenceInsideACallback) {
    Pair& tcp = keep(tcp_pair());
    Operation& read = operation("?");
    read.then([&](const Completion&) { completion_port_dec_ref(hand_over()); });
    Operation& pending = operation("?");
    ASSERT_EQ(read.add(port(), EPOLLIN, tcp.ours.get()), 0);
    ASSERT_EQ(pending.add(port(), EPOLLIN, tcp.ours.get()), 0);
    write_all(tcp.theirs.get(), "x");
    EXPECT_EQ(read.wait(), received(1));
    EXPECT_EQ(pending.wait(), closing());
}

// There: 1.95 s, and pending operations got no callback.
// Spec: CP-END-2 CP-END-3
TEST_P(ShippedModuleTest, LastReferenceWithAnIdleWorkerAndPendingOperations) {
    Pair& tcp = keep(tcp_pair());
    Operation& pending = receive(tcp.ours.get(), 4);
    pid_t worker = 0;
    run_on_worker([&] { worker = ::gettid(); });
    wait_until([&] { return is_asleep(worker); });
    end();
    ASSERT_TRUE(pending.completed());
    EXPECT_EQ(pending.wait(), closing());
}

// There: entries leaked, and each connection took longer than the one before.
// Spec: CP-ONCE-1 CP-REMOVE-1
TEST_P(ShippedModuleTest, ManyConnectionsClosedWithAReceivePending) {
    const int kConnections = scaled(20'000, 2'000);
    size_t resident = 0;
    std::string byte(1, '\0');
    std::atomic<int> ended{0};
    COMPLETION_PORT_INGRESS_DATA ingress{};
    ingress.epoll_op = EPOLLIN;
    ingress.event_callback = [](void* context, COMPLETION_PORT_EPOLL_ACTION action,
                                COMPLETION_PORT_RESULT, int32_t) {
        EXPECT_EQ(action, COMPLETION_PORT_CLOSING);
        ++*static_cast<std::atomic<int>*>(context);
    };
    ingress.event_callback_ctx = &ended;
    ingress.buffer_data = {byte.data(), 1};
    for (int i = 0; i < kConnections; ++i) {
        const Pair connection = unix_pair();
        ingress.socket = connection.ours.get();
        ASSERT_EQ(completion_port_add(port(), &ingress), 0);
        completion_port_remove(port(), connection.ours.get());
        ASSERT_EQ(ended.load(), i + 1);
        if (i == kConnections / 10) {
            resident = resident_kib();
        }
    }
    if (!kSanitized) {
        EXPECT_LE(resident_kib(), resident + 1024);
    }
}

// There: the number was free for others while the worker still used it.
// Spec: CP-REF-2
TEST_P(ShippedModuleTest, DescriptorsAreClosedOnlyWhenTheWorkerHasEnded) {
    const std::set<int> before = open_descriptors();
    COMPLETION_PORT_HANDLE another = GetParam().create();
    ASSERT_NE(another, nullptr);
    const std::set<int> with_port = open_descriptors();
    Pair& tcp = keep(tcp_pair());
    std::set<int> inside;
    Operation& last = operation("?");
    last.then([&](const Completion& completion) {
        EXPECT_EQ(completion.outcome, closing());
        inside = open_descriptors();
    });
    ASSERT_EQ(last.add(another, EPOLLIN, tcp.ours.get()), 0);
    completion_port_dec_ref(another);
    for (int descriptor : with_port) {
        EXPECT_TRUE(inside.contains(descriptor)) << descriptor;
    }
    for (int descriptor : open_descriptors()) {
        EXPECT_TRUE(before.contains(descriptor) || descriptor == tcp.ours.get() ||
                    descriptor == tcp.theirs.get())
            << descriptor;
    }
}

// There: the context of before was called.
// Spec: CP-STALE-1
TEST_P(ShippedModuleTest, DescriptorClosedWithoutRemoveAndItsNumberReused) {
    Pair old_pair = tcp_pair();
    Pair& new_pair = keep(tcp_pair());
    const int number = old_pair.ours.get();
    Operation& old_read = receive(number, 16);
    fence();
    old_pair.ours.close();
    ASSERT_EQ(::dup3(new_pair.ours.get(), number, O_CLOEXEC), number);
    write_all(new_pair.theirs.get(), "new");
    fence();
    EXPECT_FALSE(old_read.completed());
    completion_port_remove(port(), number);
    EXPECT_EQ(old_read.wait(), closing());
    EXPECT_EQ(receive(number, 16).wait(), received(3));
    completion_port_remove(port(), number);
    Descriptor reused(number);
}

}  // namespace
}  // namespace cport::test
