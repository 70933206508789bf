// Counts what the process allocates while a port works.
#include <atomic>
#include <cstddef>

#include "tests/contract/port_fixture.h"
#include "tests/contract/process_facts.h"
#include "tests/integration/core/allocation_count.h"

namespace cport::test {
namespace {

class AllocationsTest : public PortTest {};
CPORT_ON_EVERY_ENGINE(AllocationsTest);

// A byte that goes round between two sockets: each hop is a receive and a send.
struct Player {
    COMPLETION_PORT_HANDLE port = nullptr;
    COMPLETION_PORT_INGRESS_DATA receive{};
    COMPLETION_PORT_INGRESS_DATA send{};
    char byte = 0;
    std::atomic<size_t>* dispatches = nullptr;
    size_t stop_at = 0;
    Gate* stopped = nullptr;

    void prepare(COMPLETION_PORT_HANDLE on_port, int socket) {
        port = on_port;
        receive.socket = send.socket = socket;
        receive.epoll_op = EPOLLIN;
        send.epoll_op = EPOLLOUT;
        receive.event_callback = &Player::on_received;
        send.event_callback = &Player::on_sent;
        receive.event_callback_ctx = send.event_callback_ctx = this;
        receive.buffer_data = send.buffer_data = {&byte, 1};
    }

    bool count(COMPLETION_PORT_RESULT result) {
        if (result != COMPLETION_PORT_RESULT_OK) {
            return false;
        }
        if (dispatches->fetch_add(1) + 1 >= stop_at) {
            stopped->open();
            return false;
        }
        return true;
    }
    static void on_received(void* context, COMPLETION_PORT_EPOLL_ACTION,
                            COMPLETION_PORT_RESULT result, int32_t) {
        auto* player = static_cast<Player*>(context);
        if (player->count(result)) {
            completion_port_add(player->port, &player->send);
        }
    }
    static void on_sent(void* context, COMPLETION_PORT_EPOLL_ACTION, COMPLETION_PORT_RESULT result,
                        int32_t) {
        auto* player = static_cast<Player*>(context);
        if (player->count(result)) {
            completion_port_add(player->port, &player->receive);
        }
    }
};

// Spec: CP-COST-1
TEST_P(AllocationsTest, SteadyStateDispatchAllocatesNothing) {
    constexpr size_t kWarmUp = 10'000;
    const size_t kDispatches = scaled(1'000'000, 100'000);
    Pair& pair = keep(unix_pair());
    size_t allocated[2] = {};
    size_t mappings[2] = {};
    const size_t rounds[2] = {kWarmUp, kDispatches};
    for (int i = 0; i < 2; ++i) {
        std::atomic<size_t> dispatches{0};
        Gate stopped;
        Player left;
        Player right;
        left.prepare(port(), pair.ours.get());
        right.prepare(port(), pair.theirs.get());
        left.dispatches = right.dispatches = &dispatches;
        left.stop_at = right.stop_at = rounds[i];
        left.stopped = right.stopped = &stopped;
        const size_t before = allocation_count();
        ASSERT_EQ(completion_port_add(port(), &right.receive), 0);
        ASSERT_EQ(completion_port_add(port(), &left.send), 0);
        stopped.wait();
        allocated[i] = allocation_count() - before;
        completion_port_remove(port(), pair.ours.get());
        completion_port_remove(port(), pair.theirs.get());
        read_available(pair.ours.get());
        read_available(pair.theirs.get());
        mappings[i] = mapping_count();
    }
    EXPECT_EQ(allocated[1], 0u);
    // A sanitizer maps memory of its own whenever it likes.
    if (!kSanitized) {
        EXPECT_LE(mappings[1], mappings[0]);
    }
}

// Spec: CP-COST-1
TEST_P(AllocationsTest, ReadinessDispatchAllocatesNothing) {
    const size_t kDispatches = scaled(1'000'000, 100'000);
    Descriptor& ready = keep(ready_eventfd());
    Operation& endless = operation();
    struct Loop {
        COMPLETION_PORT_HANDLE port;
        COMPLETION_PORT_INGRESS_DATA add;
        size_t left;
        Gate done;
    } loop{};
    loop.port = port();
    loop.left = kDispatches;
    loop.add.epoll_op = EPOLLIN;
    loop.add.socket = ready.get();
    loop.add.event_callback_ctx = &loop;
    loop.add.event_callback = [](void* context, COMPLETION_PORT_EPOLL_ACTION,
                                 COMPLETION_PORT_RESULT, int32_t) {
        auto* self = static_cast<Loop*>(context);
        if (--self->left == 0 || completion_port_add(self->port, &self->add) != 0) {
            self->done.open();
        }
    };
    // Once before the count, so that the slot and the descriptor's record exist.
    ASSERT_EQ(endless.add(port(), EPOLLIN, ready.get()), 0);
    endless.wait();
    const size_t before = allocation_count();
    ASSERT_EQ(completion_port_add(port(), &loop.add), 0);
    loop.done.wait();
    EXPECT_EQ(allocation_count() - before, 0u);
    EXPECT_EQ(loop.left, 0u);
}

// Spec: CP-REMOVE-7
TEST_P(AllocationsTest, RemoveAllocatesNothing) {
    Pair& tcp = keep(tcp_pair());
    Operation& pending = receive(tcp.ours.get(), 4);
    fence();
    size_t before = allocation_count();
    completion_port_remove(port(), tcp.ours.get());
    // Nor does the worker: the recorder's own list takes at most one step for the callback.
    EXPECT_LE(allocation_count() - before, 1u);
    EXPECT_EQ(pending.wait(), closing());
    before = allocation_count();
    completion_port_remove(port(), tcp.ours.get());
    EXPECT_EQ(allocation_count() - before, 0u);
}

}  // namespace
}  // namespace cport::test
