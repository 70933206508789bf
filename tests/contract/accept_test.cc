// Accepting connections, one by one and on and on.
#include <algorithm>
#include <set>
#include <vector>

#include "tests/contract/kinds_fixture.h"

namespace cport::test {
namespace {

class AcceptTest : public KindsTest {
 protected:
    Submission& accept_on(const Listener& listener, uint32_t flags = 0) {
        Submission& submitted = submission();
        auto& accept = submitted.as<COMPLETION_PORT_ACCEPT_OPERATION>(COMPLETION_PORT_KIND_ACCEPT,
                                                                      listener.socket.get());
        accept.common.flags = flags;
        return submitted;
    }
    Submission& submit_accept(const Listener& listener, uint32_t flags = 0) {
        Submission& submitted = accept_on(listener, flags);
        EXPECT_EQ(submitted.submit(port()), 0);
        return submitted;
    }
    static Descriptor accepted(const COMPLETION_PORT_COMPLETION& record) {
        EXPECT_EQ(record.result, COMPLETION_PORT_RESULT_OK);
        return Descriptor(static_cast<int>(record.value));
    }
    static void expect_joined(const Descriptor& client, const Descriptor& server) {
        write_all(client.get(), "hello");
        EXPECT_EQ(read_exactly(server.get(), 5), "hello");
    }
};
CPORT_ON_EVERY_ENGINE(AcceptTest);

// While it lives, the process gets no descriptor. Sanitizers need some to check virtual calls, so
// the test makes none meanwhile.
class NoDescriptors {
 public:
    NoDescriptors() {
        EXPECT_EQ(::getrlimit(RLIMIT_NOFILE, &before_), 0);
        rlimit none = before_;
        none.rlim_cur = static_cast<rlim_t>(idle_eventfd().get());  // the lowest that is free
        EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
    }
    ~NoDescriptors() { EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &before_), 0); }
    NoDescriptors(const NoDescriptors&) = delete;
    NoDescriptors& operator=(const NoDescriptors&) = delete;

 private:
    rlimit before_{};
};

// Spec: CP-ACCEPT-1
TEST_P(AcceptTest, DeliversAConnectionWithItsAddress) {
    for (int family : {AF_INET, AF_UNIX}) {
        const Listener listener = listen_on(family);
        for (bool connects_first : {false, true}) {
            Submission& submitted = submission();
            auto& accept = submitted.as<COMPLETION_PORT_ACCEPT_OPERATION>(
                COMPLETION_PORT_KIND_ACCEPT, listener.socket.get());
            sockaddr_storage address{};
            uint32_t length = sizeof(address);
            accept.address = reinterpret_cast<sockaddr*>(&address);
            accept.address_length = &length;
            accept.accept_flags = connects_first ? SOCK_NONBLOCK : SOCK_CLOEXEC;
            Descriptor client;
            if (connects_first) client = connect_to(listener);
            ASSERT_EQ(submitted.submit(port()), 0);
            if (!connects_first) {
                fence();
                client = connect_to(listener);
            }
            const COMPLETION_PORT_COMPLETION record = submitted.wait_for(1).record;
            const Descriptor server = accepted(record);
            EXPECT_EQ(record.operation, submitted.id());
            EXPECT_EQ(record.kind, static_cast<uint32_t>(COMPLETION_PORT_KIND_ACCEPT));
            EXPECT_EQ(record.flags, 0u);
            EXPECT_EQ(record.buffer, &address);
            EXPECT_EQ(address.ss_family, family);
            EXPECT_EQ(length, family == AF_INET ? sizeof(sockaddr_in) : sizeof(sa_family_t));
            EXPECT_NE(::fcntl(server.get(), F_GETFD) & FD_CLOEXEC, 0);
            EXPECT_EQ((::fcntl(server.get(), F_GETFL) & O_NONBLOCK) != 0, connects_first);
            expect_joined(client, server);
        }
        completion_port_remove(port(), listener.socket.get());
    }
}

// Spec: CP-ACCEPT-2
TEST_P(AcceptTest, RefusesBadForms) {
    using Accept = COMPLETION_PORT_ACCEPT_OPERATION;
    const Listener listener = listen_on(AF_INET);
    const auto good = form<Accept>(COMPLETION_PORT_KIND_ACCEPT, listener.socket.get());
    expect_sockets_only(good);
    sockaddr_storage address{};
    uint32_t length = sizeof(address);
    EXPECT_EQ(submit_changed(good, [&](Accept& a) { a.address_length = &length; }), -EINVAL);
    const auto with_address = [&](Accept& a) { a.address = reinterpret_cast<sockaddr*>(&address); };
    EXPECT_EQ(submit_changed(good, with_address), -EINVAL);
    EXPECT_EQ(submit_changed(good,
                             [&](Accept& a) {
                                 with_address(a);
                                 a.address_length = &length;
                                 a.common.flags = COMPLETION_PORT_FLAG_MULTISHOT;
                             }),
              -EINVAL);
    EXPECT_EQ(submit_changed(good, [](Accept& a) { a.accept_flags = SOCK_STREAM; }), -EINVAL);
    EXPECT_EQ(submit_changed(good, [](Accept& a) { a.reserved = 1; }), -EINVAL);
    Accept both = good;
    both.common.flags = COMPLETION_PORT_FLAG_MULTISHOT | COMPLETION_PORT_FLAG_INLINE;
    COMPLETION_PORT_COMPLETION record{};
    EXPECT_EQ(completion_port_submit(port(), &both.common, nullptr, &record), -EINVAL);
    // The flag is of accepts alone.
    auto receive = form<COMPLETION_PORT_RECEIVE_OPERATION>(COMPLETION_PORT_KIND_RECEIVE,
                                                           listener.socket.get());
    receive.common.flags = COMPLETION_PORT_FLAG_MULTISHOT;
    receive.buffer = &address;
    receive.length = 1;
    EXPECT_EQ(submit(receive), -EINVAL);
    fence();
}

// Spec: CP-ACCEPT-2
TEST_P(AcceptTest, RefusesAListenerThatBlocksAndLeavesItAsItIs) {
    const Listener listener = listen_on(AF_INET);
    const int flags = ::fcntl(listener.socket.get(), F_GETFL) & ~O_NONBLOCK;
    ASSERT_EQ(::fcntl(listener.socket.get(), F_SETFL, flags), 0);
    EXPECT_EQ(submit(form<COMPLETION_PORT_ACCEPT_OPERATION>(COMPLETION_PORT_KIND_ACCEPT,
                                                            listener.socket.get())),
              -EINVAL);
    EXPECT_EQ(::fcntl(listener.socket.get(), F_GETFL), flags);
    const Listener other = listen_on(AF_INET);
    const int other_flags = ::fcntl(other.socket.get(), F_GETFL);
    const Descriptor client = connect_to(other);
    const Descriptor server = accepted(submit_accept(other).wait_for(1).record);
    EXPECT_EQ(::fcntl(other.socket.get(), F_GETFL), other_flags);
    completion_port_remove(port(), other.socket.get());
}

// Spec: CP-ACCEPT-3
TEST_P(AcceptTest, SeveralWaitInTheirOrder) {
    for (int family : {AF_INET, AF_UNIX}) {
        const Listener listener = listen_on(family);
        Submission& first = submit_accept(listener);
        Submission& second = submit_accept(listener);
        Submission& third = submit_accept(listener);
        fence();
        expect_cancelled(second);
        const Descriptor one = connect_to(listener);
        const Descriptor server_one = accepted(first.wait_for(1).record);
        EXPECT_FALSE(third.completed());
        const Descriptor two = connect_to(listener);
        const Descriptor server_two = accepted(third.wait_for(1).record);
        expect_joined(one, server_one);
        expect_joined(two, server_two);
        completion_port_remove(port(), listener.socket.get());
    }
}

// Spec: CP-ACCEPT-4
TEST_P(AcceptTest, GoesOnWithMoreUntilItIsCancelled) {
    constexpr size_t kConnections = 150;  // more than a round's
    for (int family : {AF_INET, AF_UNIX}) {
        const Listener listener = listen_on(family);
        std::vector<Descriptor> clients;
        for (size_t i = 0; i < kConnections / 2; ++i) clients.push_back(connect_to(listener));
        Submission& going_on = submit_accept(listener, COMPLETION_PORT_FLAG_MULTISHOT);
        while (clients.size() < kConnections) clients.push_back(connect_to(listener));
        std::vector<Descriptor> servers;
        for (size_t i = 1; i <= kConnections; ++i) {
            const COMPLETION_PORT_COMPLETION record = going_on.wait_for(i).record;
            EXPECT_EQ(record.flags, uint32_t{COMPLETION_PORT_COMPLETION_MORE});
            EXPECT_EQ(record.operation, going_on.id());
            EXPECT_EQ(record.key, going_on.key());
            servers.push_back(accepted(record));
        }
        fence();
        EXPECT_EQ(going_on.records(), kConnections);
        EXPECT_EQ(completion_port_cancel(port(), going_on.id()), 0);
        const COMPLETION_PORT_COMPLETION last = going_on.wait_for_last().record;
        EXPECT_EQ(ending_of(last), abandoned(-ECANCELED));
        EXPECT_EQ(going_on.records(), kConnections + 1);
        for (size_t i = 0; i < kConnections; ++i) expect_joined(clients[i], servers[i]);
        completion_port_remove(port(), listener.socket.get());
    }
}

// Spec: CP-ACCEPT-5
TEST_P(AcceptTest, EndsWhereNoDescriptorIsLeftAndLosesNoConnection) {
    for (uint32_t flags : {0u, uint32_t{COMPLETION_PORT_FLAG_MULTISHOT}}) {
        const Listener listener = listen_on(AF_INET);
        const Descriptor client = connect_to(listener);
        Ending ending{};
        {
            WorkerHold hold(*this);
            Submission& starved = submit_accept(listener, flags);
            const NoDescriptors none;
            hold.release();
            ending = starved.wait();
        }
        EXPECT_EQ(ending, failed(-EMFILE));
        const Descriptor server = accepted(submit_accept(listener).wait_for(1).record);
        expect_joined(client, server);
        completion_port_remove(port(), listener.socket.get());
    }
}

// Spec: CP-ACCEPT-5
TEST_P(AcceptTest, FailsOnASocketThatDoesNotListen) {
    Descriptor& idle = keep(socket_of_family(AF_INET, SOCK_NONBLOCK));
    Submission& submitted = submission();
    submitted.as<COMPLETION_PORT_ACCEPT_OPERATION>(COMPLETION_PORT_KIND_ACCEPT, idle.get());
    ASSERT_EQ(submitted.submit(port()), 0);
    EXPECT_EQ(submitted.wait(), failed(-EINVAL));
}

// Spec: CP-ACCEPT-6
TEST_P(AcceptTest, ADeadlineEndsItAndTheNextGetsTheConnection) {
    for (uint32_t flags : {0u, uint32_t{COMPLETION_PORT_FLAG_MULTISHOT}}) {
        const Listener listener = listen_on(AF_UNIX);
        Submission& late = accept_on(listener, flags);
        late.with_deadline(static_cast<int64_t>(now_ns() + kSoon_ns));
        ASSERT_EQ(late.submit(port()), 0);
        EXPECT_EQ(late.wait(), failed(-ETIMEDOUT));
        const Descriptor client = connect_to(listener);
        const Descriptor server = accepted(submit_accept(listener).wait_for(1).record);
        expect_joined(client, server);
        completion_port_remove(port(), listener.socket.get());
    }
}

// Spec: CP-ACCEPT-7
TEST_P(AcceptTest, RemoveAndCancelLoseNoConnection) {
    const int rounds = scaled(300, 60);
    for (int i = 0; i < rounds; ++i) {
        const Listener listener = listen_on(AF_UNIX);
        const uint32_t flags = i % 2 == 0 ? 0 : uint32_t{COMPLETION_PORT_FLAG_MULTISHOT};
        Submission& accept = submit_accept(listener, flags);
        const Descriptor client = connect_to(listener);
        if (i % 4 < 2) {
            completion_port_remove(port(), listener.socket.get());
        } else {
            completion_port_cancel(port(), accept.id());
        }
        Descriptor server;
        if (flags != 0) {
            EXPECT_EQ(ending_of(accept.wait_for_last().record), abandoned(-ECANCELED));
            if (accept.records() == 2) server = accepted(accept.wait_for(1).record);
        } else if (accept.wait().result == COMPLETION_PORT_RESULT_OK) {
            server = accepted(accept.wait_for(1).record);
        }
        if (server.get() < 0)
            server = Descriptor(::accept(listener.socket.get(), nullptr, nullptr));
        ASSERT_GE(server.get(), 0) << "the connection of round " << i << " is lost";
        expect_joined(client, server);
        completion_port_remove(port(), listener.socket.get());
    }
}

// Spec: CP-ACCEPT-7
TEST_P(AcceptTest, AConnectionThatNobodyIsToldOfIsClosedWithThePort) {
    const Listener listener = listen_on(AF_INET);
    Submission& one = accept_on(listener).for_waiters();
    Submission& going_on = accept_on(listener, COMPLETION_PORT_FLAG_MULTISHOT).for_waiters();
    const Descriptor first = connect_to(listener);
    const Descriptor second = connect_to(listener);
    ASSERT_EQ(one.submit(port()), 0);
    ASSERT_EQ(going_on.submit(port()), 0);
    fence();
    // Both have been accepted: none is left to whoever asks now.
    EXPECT_LT(::accept(listener.socket.get(), nullptr, nullptr), 0);
    end();
    EXPECT_EQ(read_to_end(first.get()), "");
    EXPECT_EQ(read_to_end(second.get()), "");
}

// Spec: CP-ACCEPT-1
TEST_P(AcceptTest, SucceedsInline) {
    const Listener listener = listen_on(AF_INET);
    Submission& accept = accept_on(listener);
    const Descriptor client = connect_to(listener);
    // The worker has to know the listener.
    EXPECT_EQ(submit_poll(listener.socket.get(), POLLIN).wait(), finished(POLLIN));
    COMPLETION_PORT_COMPLETION record{};
    run_on_worker_of(listener.socket.get(),
                     [&] { EXPECT_EQ(accept.submit_inline(port(), record), 1); });
    const Descriptor server = accepted(record);
    expect_joined(client, server);
    completion_port_remove(port(), listener.socket.get());
}

}  // namespace
}  // namespace cport::test
