// completion_port_remove_async.
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "tests/contract/port_fixture.h"

namespace cport::test {
namespace {

// Waits for on_removed, and may do something inside it.
class Removal {
 public:
    using Hook = std::function<void(SOCKET_HANDLE)>;

    explicit Removal(Hook hook = {}) : hook_(std::move(hook)) {}

    int ask(COMPLETION_PORT_HANDLE port, int socket) {
        return completion_port_remove_async(port, socket, &Removal::on_removed, this);
    }
    void wait() { done_.wait(); }
    bool done() { return done_.is_open(); }
    int calls() const { return calls_; }
    int socket() const { return socket_; }

 private:
    static void on_removed(void* context, SOCKET_HANDLE socket) {
        auto* removal = static_cast<Removal*>(context);
        ++removal->calls_;
        removal->socket_ = socket;
        if (removal->hook_) {
            removal->hook_(socket);
        }
        removal->done_.open();
    }

    Hook hook_;
    Gate done_;
    std::atomic<int> calls_{0};
    std::atomic<int> socket_{-1};
};

class RemoveAsyncTest : public PortTest {};
CPORT_ON_EVERY_ENGINE(RemoveAsyncTest);

// Spec: CP-RMASYNC-1
TEST_P(RemoveAsyncTest, OnRemovedIsTheSocketsLastCallback) {
    Pair& tcp = keep(tcp_pair());
    fill_send_buffer(tcp.ours.get());
    std::vector<Operation*> pending;
    for (int i = 0; i < 10; ++i) {
        pending.push_back(&receive(tcp.ours.get(), 4));
        pending.push_back(&send(tcp.ours.get(), "never"));
    }
    fence();
    bool all_ended = true;
    Removal removal([&](SOCKET_HANDLE) {
        for (Operation* operation : pending) {
            all_ended = all_ended && operation->completed();
        }
    });
    ASSERT_EQ(removal.ask(port(), tcp.ours.get()), 0);
    removal.wait();
    EXPECT_TRUE(all_ended);
    EXPECT_EQ(removal.socket(), tcp.ours.get());
    for (Operation* operation : pending) {
        EXPECT_EQ(operation->wait(), closing());
    }
    write_all(tcp.theirs.get(), "late");
    fence();
    EXPECT_EQ(removal.calls(), 1);
}

// Spec: CP-RMASYNC-1
TEST_P(RemoveAsyncTest, NeverWaitsForARunningCallback) {
    Pair& tcp = keep(tcp_pair());
    Gate entered;
    Gate asked;
    Operation& busy = operation("?");
    busy.then([&](const Completion&) {
        entered.open();
        asked.wait();
    });
    ASSERT_EQ(busy.add(port(), EPOLLIN, tcp.ours.get()), 0);
    write_all(tcp.theirs.get(), "x");
    entered.wait();
    bool ended_before = false;
    Removal removal([&](SOCKET_HANDLE) { ended_before = busy.completed(); });
    ASSERT_EQ(removal.ask(port(), tcp.ours.get()), 0);
    EXPECT_FALSE(removal.done());
    asked.open();
    removal.wait();
    EXPECT_TRUE(ended_before);
}

// Spec: CP-RMASYNC-1
TEST_P(RemoveAsyncTest, InsideTheSocketsOwnCallback) {
    Pair& tcp = keep(tcp_pair());
    Operation& pending = operation("?");
    bool ended_before = false;
    Operation& first = operation("?");
    Removal removal(
        [&](SOCKET_HANDLE) { ended_before = first.completed() && pending.completed(); });
    first.then([&](const Completion&) {
        EXPECT_EQ(removal.ask(port(), tcp.ours.get()), 0);
        EXPECT_FALSE(removal.done());
        EXPECT_EQ(operation("?").add(port(), EPOLLIN, tcp.ours.get()), -ECANCELED);
    });
    ASSERT_EQ(first.add(port(), EPOLLIN, tcp.ours.get()), 0);
    ASSERT_EQ(pending.add(port(), EPOLLIN, tcp.ours.get()), 0);
    write_all(tcp.theirs.get(), "1");
    removal.wait();
    EXPECT_TRUE(ended_before);
    EXPECT_EQ(pending.wait(), closing());
}

// Spec: CP-RMASYNC-2
TEST_P(RemoveAsyncTest, AddsAndASecondRemovalAreRefusedMeanwhile) {
    Pair& tcp = keep(tcp_pair());
    Operation& pending = receive(tcp.ours.get(), 4);
    fence();
    Removal removal;
    Removal second;
    {
        WorkerHold hold(*this);
        ASSERT_EQ(removal.ask(port(), tcp.ours.get()), 0);
        EXPECT_EQ(operation("?").add(port(), EPOLLIN, tcp.ours.get()), -ECANCELED);
        EXPECT_EQ(operation("?").add(port(), EPOLLOUT, tcp.ours.get()), -ECANCELED);
        EXPECT_EQ(operation().add(port(), EPOLLRDHUP, tcp.ours.get()), -ECANCELED);
        EXPECT_EQ(second.ask(port(), tcp.ours.get()), -EALREADY);
        // Other sockets are not concerned.
        Pair& other = keep(tcp_pair());
        EXPECT_EQ(operation("?").add(port(), EPOLLIN, other.ours.get()), 0);
    }
    removal.wait();
    EXPECT_EQ(pending.wait(), closing());
    write_all(tcp.theirs.get(), "open");
    EXPECT_EQ(receive(tcp.ours.get(), 4).wait(), received(4));
    fence();
    EXPECT_EQ(second.calls(), 0);
}

// Spec: CP-RMASYNC-2
TEST_P(RemoveAsyncTest, AbandonedCallbacksMayNotAddEither) {
    Pair& tcp = keep(tcp_pair());
    int refused = 0;
    Operation& again = operation("?");
    Operation& pending = operation("?");
    Removal second;
    pending.then([&](const Completion& completion) {
        EXPECT_EQ(completion.outcome, closing());
        refused = again.add(port(), EPOLLIN, tcp.ours.get());
        EXPECT_EQ(second.ask(port(), tcp.ours.get()), -EALREADY);
    });
    ASSERT_EQ(pending.add(port(), EPOLLIN, tcp.ours.get()), 0);
    Removal removal;
    ASSERT_EQ(removal.ask(port(), tcp.ours.get()), 0);
    removal.wait();
    EXPECT_EQ(refused, -ECANCELED);
}

// Spec: CP-RMASYNC-3
TEST_P(RemoveAsyncTest, OnRemovedMayCloseTheNumberReuseItAndAddItAgain) {
    Pair& first = keep(tcp_pair());
    Pair& second = keep(tcp_pair());
    const int number = first.ours.get();
    Operation& old = receive(number, 8);
    Operation& fresh = operation(std::string(8, '\0'));
    Removal removal([&](SOCKET_HANDLE socket) {
        EXPECT_EQ(::dup3(second.ours.get(), socket, O_CLOEXEC), socket);
        EXPECT_EQ(fresh.add(port(), EPOLLIN, socket), 0);
    });
    ASSERT_EQ(removal.ask(port(), number), 0);
    removal.wait();
    EXPECT_EQ(old.wait(), closing());
    write_all(second.theirs.get(), "fresh");
    EXPECT_EQ(fresh.wait(), received(5));
    EXPECT_EQ(fresh.bytes(), "fresh");
    completion_port_remove(port(), number);
}

// Spec: CP-RMASYNC-3
TEST_P(RemoveAsyncTest, OnRemovedMayRemoveAgain) {
    Pair& tcp = keep(tcp_pair());
    Removal second;
    Removal removal([&](SOCKET_HANDLE socket) {
        EXPECT_EQ(second.ask(port(), socket), 0);
        EXPECT_FALSE(second.done());
    });
    ASSERT_EQ(removal.ask(port(), tcp.ours.get()), 0);
    second.wait();
    EXPECT_EQ(removal.calls(), 1);
}

// Spec: CP-RMASYNC-4
TEST_P(RemoveAsyncTest, Refusals) {
    const auto never = [](void*, SOCKET_HANDLE) { ADD_FAILURE() << "refused, and yet called"; };
    Pair& tcp = keep(tcp_pair());
    const int socket = tcp.ours.get();
    EXPECT_EQ(completion_port_remove_async(nullptr, socket, never, nullptr), -EINVAL);
    EXPECT_EQ(completion_port_remove_async(port(), socket, nullptr, nullptr), -EINVAL);
    EXPECT_EQ(completion_port_remove_async(port(), -1, never, nullptr), -EBADF);
    EXPECT_EQ(completion_port_remove_async(port(), std::numeric_limits<int>::min(), never, nullptr),
              -EBADF);
    Operation& pending = receive(socket, 4);
    fence();
    EXPECT_FALSE(pending.completed());
    ASSERT_EQ(completion_port_shutdown(port()), 0);
    EXPECT_EQ(completion_port_remove_async(port(), socket, never, nullptr), -ESHUTDOWN);
}

// Spec: CP-RMASYNC-4
TEST_P(RemoveAsyncTest, SocketWithoutAdds) {
    Pair& tcp = keep(tcp_pair());
    Removal removal;
    ASSERT_EQ(removal.ask(port(), tcp.ours.get()), 0);
    removal.wait();
    EXPECT_EQ(removal.socket(), tcp.ours.get());
    write_all(tcp.theirs.get(), "open");
    EXPECT_EQ(receive(tcp.ours.get(), 4).wait(), received(4));
}

// Spec: CP-RMASYNC-1
TEST_P(RemoveAsyncTest, BesideABlockingRemoveOfTheSameSocket) {
    Pair& tcp = keep(tcp_pair());
    const int kRounds = scaled(500, 100);
    for (int i = 0; i < kRounds; ++i) {
        Operation& pending = receive(tcp.ours.get(), 4);
        Removal removal;
        std::thread remover([&] { completion_port_remove(port(), tcp.ours.get()); });
        ASSERT_EQ(removal.ask(port(), tcp.ours.get()), 0);
        removal.wait();
        remover.join();
        EXPECT_EQ(pending.wait(), closing());
        EXPECT_EQ(removal.calls(), 1);
    }
}

// Spec: CP-RMASYNC-1 CP-END-6
TEST_P(RemoveAsyncTest, AcceptedRemovalIsToldEvenWhenThePortEnds) {
    Pair& tcp = keep(tcp_pair());
    Operation& pending = receive(tcp.ours.get(), 4);
    fence();
    Removal removal;
    {
        WorkerHold hold(*this);
        ASSERT_EQ(removal.ask(port(), tcp.ours.get()), 0);
        ASSERT_EQ(completion_port_shutdown(port()), 0);
    }
    removal.wait();
    end();
    EXPECT_EQ(pending.wait(), closing());
    EXPECT_EQ(removal.calls(), 1);
}

}  // namespace
}  // namespace cport::test
