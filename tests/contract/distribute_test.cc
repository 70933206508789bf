// Which workers the connections of an accept go to.
#include <algorithm>
#include <functional>
#include <map>
#include <mutex>
#include <vector>

#include "tests/contract/kinds_fixture.h"

namespace cport::test {
namespace {

constexpr uint32_t kDistributed = COMPLETION_PORT_FLAG_MULTISHOT | COMPLETION_PORT_FLAG_DISTRIBUTE;

// A port of this fixture has as many descriptors on one worker as on the other, but for the
// listener of the test.
class DistributeTest : public KindsTest {
 protected:
    using Sockets = std::map<pid_t, size_t>;  // by the thread where their callbacks run

    static size_t workers() { return GetParam().workers; }

    // Each connection gets a receive in the accept's callback.
    Submission& accept_on(const Listener& listener, uint32_t flags) {
        Submission& accept = submission();
        accept
            .as<COMPLETION_PORT_ACCEPT_OPERATION>(COMPLETION_PORT_KIND_ACCEPT,
                                                  listener.socket.get())
            .common.flags = flags;
        accept.then([this](const COMPLETION_PORT_COMPLETION& record) {
            if (record.result == COMPLETION_PORT_RESULT_OK) take(record);
        });
        EXPECT_EQ(accept.submit(port()), 0);
        return accept;
    }
    void take(const COMPLETION_PORT_COMPLETION& record) {
        Submission& receive = submission("?").as_receive(static_cast<int>(record.value));
        EXPECT_EQ(receive.submit(port()), 0);
        const std::lock_guard lock(mutex_);
        servers_.emplace_back(static_cast<int>(record.value));
        receives_.push_back(&receive);
    }
    void connect(const Listener& listener, size_t connections) {
        for (size_t i = 0; i < connections; ++i) {
            clients_.push_back(connect_to(listener));
            write_all(clients_.back().get(), "!");
        }
    }
    // Of the connections from the first on. Their accept has told of them all.
    Sockets sockets_from(size_t first) {
        Sockets sockets;
        for (size_t i = first; i < connections(); ++i) ++sockets[thread_of(i)];
        return sockets;
    }
    void remove_async(int socket) {
        const auto ignored = [](void*, SOCKET_HANDLE) {};
        EXPECT_EQ(completion_port_remove_async(port(), socket, ignored, nullptr), 0);
    }
    Submission& receive_of(size_t connection) {
        const std::lock_guard lock(mutex_);
        return *receives_[connection];
    }
    pid_t thread_of(size_t connection) { return receive_of(connection).wait_for(1).thread; }
    int number_of(size_t connection) {
        const std::lock_guard lock(mutex_);
        return servers_[connection].get();
    }
    void close_server(size_t connection) {
        const std::lock_guard lock(mutex_);
        servers_[connection].close();
    }
    size_t connections() {
        const std::lock_guard lock(mutex_);
        return receives_.size();
    }
    static std::vector<size_t> sorted(const Sockets& sockets) {
        std::vector<size_t> counts;
        for (const auto& [thread, count] : sockets) counts.push_back(count);
        std::sort(counts.begin(), counts.end());
        return counts;
    }

    std::mutex mutex_;  // callbacks of several accepts fill what follows
    std::vector<Descriptor> servers_;
    std::vector<Submission*> receives_;
    std::vector<Descriptor> clients_;
};
CPORT_ON_EVERY_ENGINE(DistributeTest);

// Spec: CP-ACCEPT-8, CP-ACCEPT-10
TEST_P(DistributeTest, ConnectionsGoToTheWorkersWithTheFewestDescriptors) {
    const Listener listener = listen_on(AF_INET);
    Submission& accept = accept_on(listener, kDistributed);
    connect(listener, 8);
    const pid_t listeners = accept.wait_for(8).thread;
    Sockets sockets = sockets_from(0);
    if (workers() == 1) {
        EXPECT_EQ(sockets, (Sockets{{listeners, 8}}));
    } else {
        // The listener's worker had one more than the others.
        EXPECT_EQ(sorted(sockets), (std::vector<size_t>{2, 3, 3}));
        EXPECT_EQ(sockets[listeners], 2u);
    }
    completion_port_remove(port(), listener.socket.get());
}

// Spec: CP-ACCEPT-8
TEST_P(DistributeTest, WithoutTheFlagTheyStayWithTheAccept) {
    const Listener listener = listen_on(AF_INET);
    Submission& accept = accept_on(listener, COMPLETION_PORT_FLAG_MULTISHOT);
    connect(listener, 8);
    const pid_t listeners = accept.wait_for(8).thread;
    EXPECT_EQ(sockets_from(0), (Sockets{{listeners, 8}}));
    completion_port_remove(port(), listener.socket.get());
}

class DistributeOverWorkersTest : public DistributeTest {};

std::vector<EngineUnderTest> engines_of_three_workers() {
    std::vector<EngineUnderTest> engines;
    for (const EngineUnderTest& engine : kEnginesUnderTest) {
        if (engine.workers == 3) engines.push_back(engine);
    }
    return engines;
}
INSTANTIATE_TEST_SUITE_P(Engine, DistributeOverWorkersTest,
                         ::testing::ValuesIn(engines_of_three_workers()), engine_name);

// Spec: CP-ACCEPT-9
TEST_P(DistributeOverWorkersTest, ARoundsConnectionsFillWhatRemovedOnesLeft) {
    const Listener listener = listen_on(AF_INET);
    Submission& accept = accept_on(listener, kDistributed);
    connect(listener, 11);
    const pid_t listeners = accept.wait_for(11).thread;
    const Sockets before = sockets_from(0);
    // Their numbers stay in use, so that new connections have numbers of their own.
    pid_t poorer = listeners;
    for (size_t i = 0; i < 11; ++i) {
        if (poorer == listeners) poorer = thread_of(i);
        if (thread_of(i) != poorer) continue;
        if (i % 2 == 0) completion_port_remove(port(), number_of(i));
        if (i % 2 == 1) remove_async(number_of(i));
    }
    ASSERT_EQ(before.at(poorer), 4u);
    {
        const WorkerHold hold(*this);
        connect(listener, 7);
    }
    accept.wait_for(18);
    Sockets sockets = sockets_from(11);
    EXPECT_EQ(sockets[poorer], 5u);
    EXPECT_EQ(sorted(sockets), (std::vector<size_t>{1, 1, 5}));
    completion_port_remove(port(), listener.socket.get());
}

// Spec: CP-ACCEPT-8
TEST_P(DistributeTest, ANumberThatHasItsWorkerKeepsIt) {
    const Listener listener = listen_on(AF_INET);
    Submission& accept = accept_on(listener, kDistributed);
    connect(listener, 1);
    accept.wait_for(1);
    const pid_t thread = thread_of(0);
    const int number = number_of(0);
    // It has many more than the others now.
    run_on_worker_of(number, [this] {
        for (int i = 0; i < 6; ++i) watch(keep(idle_eventfd()).get(), EPOLLIN);
    });
    completion_port_remove(port(), number);
    {
        const WorkerHold hold(*this);
        connect(listener, 1);
        close_server(0);
    }
    accept.wait_for(2);
    ASSERT_EQ(number_of(1), number);
    EXPECT_EQ(thread_of(1), thread);
    connect(listener, 1);
    accept.wait_for(3);
    EXPECT_EQ(thread_of(2) == thread, workers() == 1);
    completion_port_remove(port(), listener.socket.get());
}

// Spec: CP-ACCEPT-8
TEST_P(DistributeTest, SingleAcceptsDoItToo) {
    const Listener listener = listen_on(AF_INET);
    Submission& first = accept_on(listener, COMPLETION_PORT_FLAG_DISTRIBUTE);
    connect(listener, 1);
    const pid_t listeners = first.wait_for(1).thread;
    EXPECT_EQ(thread_of(0) == listeners, workers() == 1);
    // Succeeds at once, in a callback of the listener's worker.
    connect(listener, 1);
    wait_until_polled(listener.socket.get(), POLLIN);
    run_on_worker_of(listener.socket.get(), [&] {
        auto accept = form<COMPLETION_PORT_ACCEPT_OPERATION>(COMPLETION_PORT_KIND_ACCEPT,
                                                             listener.socket.get());
        accept.common.flags = COMPLETION_PORT_FLAG_DISTRIBUTE | COMPLETION_PORT_FLAG_INLINE;
        COMPLETION_PORT_COMPLETION record{};
        ASSERT_EQ(completion_port_submit(port(), &accept.common, nullptr, &record), 1);
        take(record);
    });
    ASSERT_EQ(connections(), 2u);
    EXPECT_EQ(thread_of(1) == listeners, workers() == 1);
    EXPECT_EQ(thread_of(1) == thread_of(0), workers() == 1);
    completion_port_remove(port(), listener.socket.get());
}

// Spec: CP-ACCEPT-10
TEST_P(DistributeTest, OtherKindsRefuseTheFlag) {
    Pair pair = unix_pair();
    char byte = 0;
    auto receive =
        form<COMPLETION_PORT_RECEIVE_OPERATION>(COMPLETION_PORT_KIND_RECEIVE, pair.ours.get());
    receive.buffer = &byte;
    receive.length = 1;
    receive.common.flags = COMPLETION_PORT_FLAG_DISTRIBUTE;
    EXPECT_EQ(submit(receive), -EINVAL);
    auto close = form<COMPLETION_PORT_CLOSE_OPERATION>(COMPLETION_PORT_KIND_CLOSE, pair.ours.get());
    close.common.flags = COMPLETION_PORT_FLAG_DISTRIBUTE;
    EXPECT_EQ(submit(close), -EINVAL);
    fence();
}

// At the other's address.
Listener listen_sharing(const Listener& other) {
    Listener listener;
    listener.socket = socket_of_family(AF_INET, SOCK_NONBLOCK);
    const int descriptor = listener.socket.get();
    const int on = 1;
    EXPECT_EQ(::setsockopt(descriptor, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)), 0);
    EXPECT_EQ(::bind(descriptor, other.where(), other.length), 0);
    EXPECT_EQ(::listen(descriptor, 256), 0);
    auto* address = reinterpret_cast<sockaddr*>(&listener.address);
    EXPECT_EQ(::getsockname(descriptor, address, &listener.length), 0);
    return listener;
}

// Spec: CP-WORKERS-11
TEST_P(DistributeTest, ListenersThatShareAnAddressServeOneWorkerEach) {
    Listener any;
    reinterpret_cast<sockaddr_in&>(any.address) = {
        .sin_family = AF_INET, .sin_port = 0, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_zero = {}};
    any.length = sizeof(sockaddr_in);
    std::vector<Listener> listeners;
    std::vector<Submission*> accepts;
    for (size_t i = 0; i < workers(); ++i) {
        listeners.push_back(listen_sharing(i == 0 ? any : listeners[0]));
    }
    accepts.reserve(listeners.size());
    for (const Listener& listener : listeners) {
        accepts.push_back(&accept_on(listener, COMPLETION_PORT_FLAG_MULTISHOT));
    }
    // The kernel chooses whose a connection is: until each has had one.
    const auto all_have_one = [&] {
        return std::all_of(accepts.begin(), accepts.end(), std::mem_fn(&Submission::completed));
    };
    while (!all_have_one()) {
        connect(listeners[0], 1);
        fence();
    }
    Sockets accepted;
    for (Submission* accept : accepts) {
        accepted[accept->wait_for(1).thread] += accept->records();
    }
    EXPECT_EQ(accepted.size(), workers());
    EXPECT_EQ(sockets_from(0), accepted);
    for (const Listener& listener : listeners) {
        completion_port_remove(port(), listener.socket.get());
    }
}

}  // namespace
}  // namespace cport::test
