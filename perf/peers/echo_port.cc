/* The smallest echo server over the completion port: what the port itself costs, without the
 * service around it. One buffer a connection, one receive, one send of what came, again. */
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <memory>

#include "completionport/completion_port.h"
#include "perf/peers/listener.h"

namespace cport::perf {

namespace {

/* Accepts in one callback before others have their turn. */
constexpr int kAcceptsPerCallback = 64;

class Connection {
 public:
    Connection(COMPLETION_PORT_HANDLE port, int descriptor)
        : port_(port), descriptor_(descriptor), buffer_(std::make_unique<char[]>(kReceiveBytes)) {}

    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    ~Connection() {
        completion_port_remove(port_, descriptor_);
        close(descriptor_);
    }

    /* The connection lives in its one pending add. */
    static void start(std::unique_ptr<Connection> self) {
        add(self.release(), EPOLLIN, kReceiveBytes);
    }

 private:
    static void add(Connection* connection, int direction, std::size_t length) {
        COMPLETION_PORT_INGRESS_DATA data{};
        data.epoll_op = direction;
        data.socket = connection->descriptor_;
        data.event_callback = direction == EPOLLIN ? on_received : on_sent;
        data.event_callback_ctx = connection;
        data.buffer_data.buffer = connection->buffer_.get();
        data.buffer_data.length = static_cast<std::uint32_t>(length);
        if (completion_port_add(connection->port_, &data) != 0) {
            delete connection;
        }
    }

    static void on_received(void* context, COMPLETION_PORT_EPOLL_ACTION /*action*/,
                            COMPLETION_PORT_RESULT result, std::int32_t amount) {
        auto* connection = static_cast<Connection*>(context);
        if (result != COMPLETION_PORT_RESULT_OK || amount == 0) {
            delete connection;
        } else if (amount < 0) {
            add(connection, EPOLLIN, kReceiveBytes);
        } else {
            add(connection, EPOLLOUT, static_cast<std::size_t>(amount));
        }
    }

    static void on_sent(void* context, COMPLETION_PORT_EPOLL_ACTION /*action*/,
                        COMPLETION_PORT_RESULT result, std::int32_t /*amount*/) {
        auto* connection = static_cast<Connection*>(context);
        if (result != COMPLETION_PORT_RESULT_OK) {
            delete connection;
        } else {
            add(connection, EPOLLIN, kReceiveBytes);
        }
    }

    COMPLETION_PORT_HANDLE port_;
    int descriptor_;
    std::unique_ptr<char[]> buffer_;
};

struct Listener {
    COMPLETION_PORT_HANDLE port;
    int descriptor;
};

void on_acceptable(void* context, COMPLETION_PORT_EPOLL_ACTION action,
                   COMPLETION_PORT_RESULT result, std::int32_t amount);

int add_accept(Listener* listener) {
    COMPLETION_PORT_INGRESS_DATA data{};
    data.epoll_op = EPOLLIN;
    data.socket = listener->descriptor;
    data.event_callback = on_acceptable;
    data.event_callback_ctx = listener;
    return completion_port_add(listener->port, &data);
}

void on_acceptable(void* context, COMPLETION_PORT_EPOLL_ACTION /*action*/,
                   COMPLETION_PORT_RESULT result, std::int32_t /*amount*/) {
    if (result != COMPLETION_PORT_RESULT_OK) {
        return;
    }
    auto* listener = static_cast<Listener*>(context);
    for (int i = 0; i < kAcceptsPerCallback; ++i) {
        const int descriptor = accept_connection(listener->descriptor);
        if (descriptor < 0) {
            break;
        }
        Connection::start(std::make_unique<Connection>(listener->port, descriptor));
    }
    if (add_accept(listener) != 0) {
        std::fprintf(stderr, "the listener could not be added again\n");
    }
}

}  // namespace

}  // namespace cport::perf

int main(int argc, char** argv) {
    using namespace cport::perf;
    const std::uint16_t number = parse_port(argc, argv);
    sigset_t ending;
    sigemptyset(&ending);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGINT);
    sigprocmask(SIG_BLOCK, &ending, nullptr);

    Listener listener{completion_port_create(), listen_on_loopback(number)};
    if (listener.port == nullptr || add_accept(&listener) != 0) {
        std::fprintf(stderr, "the port could not be made\n");
        return 1;
    }
    announce(listener.descriptor);
    int received = 0;
    sigwait(&ending, &received);
    completion_port_dec_ref(listener.port);
    close(listener.descriptor);
    return 0;
}
