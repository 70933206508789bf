#include "tests/contract/port_fixture.h"

#include <completionport/operations.h>
#include <completionport/stats.h>
#include <poll.h>
#include <unistd.h>

#include <set>
#include <utility>

namespace cport::test {

void PortTest::SetUp() {
    port_ = GetParam().create();
    ASSERT_NE(port_, nullptr);
    anchors_.resize(GetParam().workers);
    if (anchors_.size() > 1) anchor_each_worker();
}

// Numbers that the port has not met go to its workers in turn; what is added in a callback stays
// with its worker.
void PortTest::anchor_each_worker() {
    std::set<pid_t> threads;
    for (Anchor& anchor : anchors_) {
        Operation& bound = operation("?");
        run_on(anchor, [&] {
            threads.insert(::gettid());
            EXPECT_EQ(bound.add(port_, EPOLLIN, anchor.fence.ours.get()), 0);
        });
        write_all(anchor.fence.theirs.get(), "b");
        EXPECT_EQ(bound.wait(), received(1));
    }
    ASSERT_EQ(threads.size(), anchors_.size());
}

void PortTest::TearDown() {
    end();
    recorder_.expect_each_add_ended_once();
}

bool PortTest::kernel_holds() const {
    COMPLETION_PORT_STATS stats{};
    stats.size = sizeof(stats);
    EXPECT_EQ(completion_port_stats(port_, &stats), 0);
    return stats.engine == COMPLETION_PORT_ENGINE_IO_URING;
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

// A callback of one worker may have sent a message to another, which was fenced before.
void PortTest::fence() {
    for (size_t round = 0; round < (anchors_.size() > 1 ? 2 : 1); ++round) {
        for (const Anchor& anchor : anchors_) fence(anchor);
    }
}

// The kernel reports events first in, first out, and so do the worker's lists. The first add waits
// for a byte; the turn after it shows that the worker knows of it. Then the byte's event follows
// every event of before.
void PortTest::fence(const Anchor& anchor) {
    Operation& last = receive(anchor.fence.ours.get(), 1);
    run_on(anchor, [] {});
    write_all(anchor.fence.theirs.get(), "f");
    EXPECT_EQ(last.wait(), received(1));
}

void PortTest::run_on(const Anchor& anchor, const std::function<void()>& body) {
    Operation& turn = operation();
    turn.then([&body](const Completion&) { body(); });
    ASSERT_EQ(turn.add(port_, EPOLLIN, anchor.always_ready.get()), 0);
    EXPECT_EQ(turn.wait(), ready_to_read());
}

void PortTest::run_on_worker(std::function<void()> body) { run_on(anchors_.front(), body); }

// A poll joins no queue, and its end, by cancel if not by an event, is a callback of the socket.
void PortTest::run_on_worker_of(int socket, const std::function<void()>& body) {
    if (anchors_.size() == 1) return run_on(anchors_.front(), body);
    struct Turn {
        const std::function<void()>& body;
        Gate done;
    } turn{body, {}};
    COMPLETION_PORT_POLL_OPERATION poll{};
    poll.common.size = sizeof(poll);
    poll.common.kind = COMPLETION_PORT_KIND_POLL;
    poll.common.descriptor = socket;
    poll.common.on_complete = [](void* context, const COMPLETION_PORT_COMPLETION*) {
        auto* its_turn = static_cast<Turn*>(context);
        its_turn->body();
        its_turn->done.open();
    };
    poll.common.context = &turn;
    poll.events = POLLPRI;
    uint64_t id = 0;
    ASSERT_EQ(completion_port_submit(port_, &poll.common, &id, nullptr), 0);
    completion_port_cancel(port_, id);
    turn.done.wait();
}

WorkerHold::WorkerHold(PortTest& test) {
    for (const PortTest::Anchor& anchor : test.anchors_) {
        Gate held;
        Operation& holder = test.operation();
        holder.then([this, &held](const Completion&) {
            held.open();
            released_.wait();
        });
        EXPECT_EQ(holder.add(test.port(), EPOLLIN, anchor.always_ready.get()), 0);
        held.wait();
        holders_.push_back(&holder);
    }
}

WorkerHold::~WorkerHold() {
    release();
    for (Operation* holder : holders_) holder->wait();
}

}  // namespace cport::test
