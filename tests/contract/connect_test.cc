// Connecting: at once, later, in vain, and too late.
#include "tests/contract/kinds_fixture.h"

namespace cport::test {
namespace {

// A listener whose backlog is full does not answer.
struct SilentListener {
    Listener listener = listen_on(AF_INET, 0);
    Descriptor first = connect_to(listener);
};

class ConnectTest : public KindsTest {
 protected:
    Submission& connect_of(int socket, const Listener& listener) {
        Submission& submitted = submission();
        auto& connect =
            submitted.as<COMPLETION_PORT_CONNECT_OPERATION>(COMPLETION_PORT_KIND_CONNECT, socket);
        connect.address = listener.where();
        connect.address_length = listener.length;
        return submitted;
    }
    Submission& submit_connect(int socket, const Listener& listener) {
        Submission& submitted = connect_of(socket, listener);
        EXPECT_EQ(submitted.submit(port()), 0);
        return submitted;
    }
    Descriptor& client_of(int family) { return keep(socket_of_family(family, SOCK_NONBLOCK)); }
};
CPORT_ON_EVERY_ENGINE(ConnectTest);

// Spec: CP-CONNECT-1
TEST_P(ConnectTest, EndsWhenTheConnectionStands) {
    for (int family : {AF_INET, AF_UNIX}) {
        const Listener listener = listen_on(family);
        Descriptor& client = client_of(family);
        const int flags = ::fcntl(client.get(), F_GETFL);
        Submission& connect = submit_connect(client.get(), listener);
        const COMPLETION_PORT_COMPLETION record = connect.wait_for(1).record;
        EXPECT_EQ(ending_of(record), finished(0));
        EXPECT_EQ(record.kind, static_cast<uint32_t>(COMPLETION_PORT_KIND_CONNECT));
        EXPECT_EQ(record.buffer, &listener.address);
        EXPECT_EQ(::fcntl(client.get(), F_GETFL), flags);
        const Descriptor server(::accept(listener.socket.get(), nullptr, nullptr));
        Submission& receive = submit_receive(client.get(), 4);
        write_all(server.get(), "ping");
        EXPECT_EQ(receive.wait(), finished(4));
        EXPECT_EQ(submit_send(client.get(), "pong").wait(), finished(4));
        EXPECT_EQ(read_exactly(server.get(), 4), "pong");
    }
}

// Spec: CP-CONNECT-2
TEST_P(ConnectTest, SendsBehindItGoOutWhenItStands) {
    const Listener listener = listen_on(AF_INET);
    Descriptor& client = client_of(AF_INET);
    Submission& connect = connect_of(client.get(), listener);
    Submission& send = submission("first words").as_send(client.get());
    {
        WorkerHold hold(*this);
        ASSERT_EQ(connect.submit(port()), 0);
        ASSERT_EQ(send.submit(port()), 0);
    }
    EXPECT_EQ(send.wait(), finished(11));
    ASSERT_TRUE(connect.completed());
    EXPECT_LT(connect.wait_for(1).sequence, send.wait_for(1).sequence);
    const Descriptor server(::accept(listener.socket.get(), nullptr, nullptr));
    EXPECT_EQ(read_exactly(server.get(), 11), "first words");
}

// Spec: CP-CONNECT-3
TEST_P(ConnectTest, RefusesBadForms) {
    using Connect = COMPLETION_PORT_CONNECT_OPERATION;
    const Listener listener = listen_on(AF_INET);
    Descriptor& client = client_of(AF_INET);
    auto good = form<Connect>(COMPLETION_PORT_KIND_CONNECT, client.get());
    good.address = listener.where();
    good.address_length = listener.length;
    expect_sockets_only(good);
    EXPECT_EQ(submit_changed(good, [](Connect& c) { c.address = nullptr; }), -EINVAL);
    EXPECT_EQ(submit_changed(good, [](Connect& c) { c.address_length = 1; }), -EINVAL);
    EXPECT_EQ(submit_changed(good, [](Connect& c) { c.address_length = 129; }), -EINVAL);
    EXPECT_EQ(submit_changed(good, [](Connect& c) { c.reserved = 1; }), -EINVAL);
    Descriptor& blocking = keep(socket_of_family(AF_INET));
    EXPECT_EQ(submit_changed(good, [&](Connect& c) { c.common.descriptor = blocking.get(); }),
              -EINVAL);
    EXPECT_EQ(::fcntl(blocking.get(), F_GETFL) & O_NONBLOCK, 0);
    fence();
    EXPECT_LT(::accept(listener.socket.get(), nullptr, nullptr), 0);
}

// Spec: CP-CONNECT-4
TEST_P(ConnectTest, SaysWhyItFailed) {
    Listener gone = listen_on(AF_INET);
    gone.socket.close();
    Descriptor& client = client_of(AF_INET);
    EXPECT_EQ(submit_connect(client.get(), gone).wait(), failed(-ECONNREFUSED));
    // The same socket may try again.
    const Listener there = listen_on(AF_INET);
    EXPECT_EQ(submit_connect(client.get(), there).wait(), finished(0));
    Pair& connected = keep(tcp_pair());
    set_non_blocking(connected.ours.get());
    EXPECT_EQ(submit_connect(connected.ours.get(), there).wait(), failed(-EISCONN));
    Listener gone_unix = listen_on(AF_UNIX);
    gone_unix.socket.close();
    EXPECT_EQ(submit_connect(client_of(AF_UNIX).get(), gone_unix).wait(), failed(-ECONNREFUSED));
}

// Spec: CP-CONNECT-4
TEST_P(ConnectTest, AnAnswerThatComesLaterIsTold) {
    SilentListener silent;
    Descriptor& client = client_of(AF_INET);
    Submission& connect = submit_connect(client.get(), silent.listener);
    fence();
    EXPECT_FALSE(connect.completed());
    // Room in the backlog lets it through when the kernel tries again.
    const Descriptor first(::accept(silent.listener.socket.get(), nullptr, nullptr));
    EXPECT_EQ(connect.wait(), finished(0));
    const Descriptor second(::accept(silent.listener.socket.get(), nullptr, nullptr));
    EXPECT_EQ(submit_send(client.get(), "late").wait(), finished(4));
    EXPECT_EQ(read_exactly(second.get(), 4), "late");
}

// Spec: CP-CONNECT-5
TEST_P(ConnectTest, CancelDeadlineAndRemoveEndIt) {
    SilentListener silent;
    Submission& cancelled = submit_connect(client_of(AF_INET).get(), silent.listener);
    Descriptor& removed_client = client_of(AF_INET);
    Submission& removed = submit_connect(removed_client.get(), silent.listener);
    Submission& late = connect_of(client_of(AF_INET).get(), silent.listener);
    late.with_deadline(static_cast<int64_t>(now_ns() + kSoon_ns));
    ASSERT_EQ(late.submit(port()), 0);
    fence();
    expect_cancelled(cancelled);
    completion_port_remove(port(), removed_client.get());
    EXPECT_EQ(removed.wait(), abandoned(-ECANCELED));
    EXPECT_EQ(late.wait(), failed(-ETIMEDOUT));
}

// Spec: CP-CONNECT-4
TEST_P(ConnectTest, AUnixSocketIsToldOfAFullBacklog) {
    const Listener listener = listen_on(AF_UNIX, 0);
    const Descriptor first = connect_to(listener);
    EXPECT_EQ(submit_connect(client_of(AF_UNIX).get(), listener).wait(), failed(-EAGAIN));
}

}  // namespace
}  // namespace cport::test
