/* The yardstick: an echo server as one writes it by hand. Level-triggered epoll, one thread, one
 * buffer for all connections. What a peer does not take at once is kept for that peer alone, and
 * nothing more is read from it until it is gone. As "echo_epoll PORT spin" it never sleeps. */
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string_view>
#include <vector>

#include "perf/peers/listener.h"

namespace cport::perf {

namespace {

constexpr int kEventsPerWait = 256;

/* The bytes that a connection's peer has not taken yet. */
struct Backlog {
    std::vector<char> bytes;
    std::size_t sent = 0;
};

class EpollEchoServer {
 public:
    EpollEchoServer(int listener, bool spins)
        : listener_(listener), timeout_ms_(spins ? 0 : -1), epoll_(epoll_create1(EPOLL_CLOEXEC)) {
        sigset_t ending;
        sigemptyset(&ending);
        sigaddset(&ending, SIGTERM);
        sigaddset(&ending, SIGINT);
        sigprocmask(SIG_BLOCK, &ending, nullptr);
        signals_ = signalfd(-1, &ending, SFD_CLOEXEC | SFD_NONBLOCK);
        watch(EPOLL_CTL_ADD, listener_, EPOLLIN);
        watch(EPOLL_CTL_ADD, signals_, EPOLLIN);
    }

    EpollEchoServer(const EpollEchoServer&) = delete;
    EpollEchoServer& operator=(const EpollEchoServer&) = delete;

    ~EpollEchoServer() {
        close(signals_);
        close(epoll_);
    }

    void run() {
        std::array<epoll_event, kEventsPerWait> events;
        for (;;) {
            const int count = epoll_wait(epoll_, events.data(), kEventsPerWait, timeout_ms_);
            for (int i = 0; i < count; ++i) {
                const epoll_event& event = events[static_cast<std::size_t>(i)];
                if (event.data.fd == signals_) {
                    return;
                }
                dispatch(event);
            }
        }
    }

 private:
    void watch(int operation, int descriptor, std::uint32_t interest) {
        epoll_event event{};
        event.events = interest;
        event.data.fd = descriptor;
        epoll_ctl(epoll_, operation, descriptor, &event);
    }

    void dispatch(const epoll_event& event) {
        const int descriptor = event.data.fd;
        if (descriptor == listener_) {
            accept_all();
        } else if (backlogs_[static_cast<std::size_t>(descriptor)] != nullptr) {
            flush(descriptor);
        } else {
            echo(descriptor);
        }
    }

    void accept_all() {
        for (int connection = accept_connection(listener_); connection >= 0;
             connection = accept_connection(listener_)) {
            if (static_cast<std::size_t>(connection) >= backlogs_.size()) {
                backlogs_.resize(static_cast<std::size_t>(connection) + 1);
            }
            watch(EPOLL_CTL_ADD, connection, EPOLLIN);
        }
    }

    void echo(int connection) {
        const ssize_t received = recv(connection, buffer_.data(), buffer_.size(), 0);
        if (received <= 0) {
            if (received == 0 || errno != EAGAIN) {
                close(connection);
            }
            return;
        }
        const auto length = static_cast<std::size_t>(received);
        const ssize_t taken = send(connection, buffer_.data(), length, MSG_NOSIGNAL);
        if (taken == received) {
            return;
        }
        if (taken < 0 && errno != EAGAIN) {
            close(connection);
            return;
        }
        const std::size_t sent = taken < 0 ? 0 : static_cast<std::size_t>(taken);
        auto backlog = std::make_unique<Backlog>();
        backlog->bytes.assign(buffer_.data() + sent, buffer_.data() + length);
        backlogs_[static_cast<std::size_t>(connection)] = std::move(backlog);
        watch(EPOLL_CTL_MOD, connection, EPOLLOUT);
    }

    void flush(int connection) {
        std::unique_ptr<Backlog>& backlog = backlogs_[static_cast<std::size_t>(connection)];
        const ssize_t taken = send(connection, backlog->bytes.data() + backlog->sent,
                                   backlog->bytes.size() - backlog->sent, MSG_NOSIGNAL);
        if (taken < 0) {
            if (errno != EAGAIN) {
                backlog.reset();
                close(connection);
            }
            return;
        }
        backlog->sent += static_cast<std::size_t>(taken);
        if (backlog->sent == backlog->bytes.size()) {
            backlog.reset();
            watch(EPOLL_CTL_MOD, connection, EPOLLIN);
        }
    }

    int listener_;
    int timeout_ms_;
    int epoll_;
    int signals_ = -1;
    std::vector<std::unique_ptr<Backlog>> backlogs_; /* by descriptor */
    std::array<char, kReceiveBytes> buffer_;
};

}  // namespace

}  // namespace cport::perf

int main(int argc, char** argv) {
    const bool spins = argc == 3 && argv[2] == std::string_view("spin");
    const int listener =
        cport::perf::listen_on_loopback(cport::perf::parse_port(spins ? 2 : argc, argv));
    auto server = std::make_unique<cport::perf::EpollEchoServer>(listener, spins);
    cport::perf::announce(listener);
    server->run();
    close(listener);
    return 0;
}
