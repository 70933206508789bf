#include "tests/contract/port_fixture.h"

#include <utility>

namespace cport::test {

void PortTest::SetUp() {
    port_ = GetParam().create();
    ASSERT_NE(port_, nullptr);
    fence_ = unix_pair();
}

void PortTest::TearDown() {
    end();
    recorder_.expect_each_add_ended_once();
}

void PortTest::end() { completion_port_dec_ref(hand_over()); }

COMPLETION_PORT_HANDLE PortTest::hand_over() { return std::exchange(port_, nullptr); }

Pair& PortTest::keep(Pair pair) { return pairs_.emplace_back(std::move(pair)); }

Descriptor& PortTest::keep(Descriptor descriptor) {
    return descriptors_.emplace_back(std::move(descriptor));
}

Operation& PortTest::receive(int socket, size_t length, uint32_t more_events) {
    Operation& added = operation(std::string(length, '\0'));
    EXPECT_EQ(added.add(port_, EPOLLIN | more_events, socket), 0);
    return added;
}

Operation& PortTest::send(int socket, std::string bytes, uint32_t more_events) {
    Operation& added = operation(std::move(bytes));
    EXPECT_EQ(added.add(port_, EPOLLOUT | more_events, socket), 0);
    return added;
}

Operation& PortTest::watch(int descriptor, uint32_t epoll_op) {
    Operation& added = operation();
    EXPECT_EQ(added.add(port_, epoll_op, descriptor), 0);
    return added;
}

// The kernel reports events first in, first out, and so do the worker's lists. The first add waits
// for a byte; the turn after it shows that the worker knows of it. Then the byte's event follows
// every event of before.
void PortTest::fence() {
    Operation& last = receive(fence_.ours.get(), 1);
    run_on_worker([] {});
    write_all(fence_.theirs.get(), "f");
    EXPECT_EQ(last.wait(), received(1));
}

void PortTest::run_on_worker(std::function<void()> body) {
    Operation& turn = operation();
    turn.then([&body](const Completion&) { body(); });
    ASSERT_EQ(turn.add(port_, EPOLLIN, always_ready_.get()), 0);
    EXPECT_EQ(turn.wait(), ready_to_read());
}

WorkerHold::WorkerHold(COMPLETION_PORT_HANDLE port, Recorder& recorder)
    : holder_(recorder.operation()) {
    Gate held;
    holder_.then([this, &held](const Completion&) {
        held.open();
        released_.wait();
    });
    EXPECT_EQ(holder_.add(port, EPOLLIN, ready_.get()), 0);
    held.wait();
}

WorkerHold::~WorkerHold() {
    release();
    holder_.wait();
}

}  // namespace cport::test
