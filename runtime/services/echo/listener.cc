#include "runtime/services/echo/listener.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <utility>

#include "runtime/services/echo/connection.h"
#include "runtime/services/echo/shard.h"

namespace cport::echo {
namespace {

constexpr int kAcceptsPerRound = 64;
constexpr int kBacklogTaken = 4096;

int set_flag(int socket, int level, int option) {
    const int on = 1;
    return setsockopt(socket, level, option, &on, sizeof(on)) == 0 ? 0 : -errno;
}

// Accepted sockets inherit TCP_NODELAY from the listener, which saves a system call for each.
int bind_socket(const sockaddr* address, socklen_t address_length, bool share_port,
                Descriptor* result) {
    Descriptor listener(
        socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
    if (!listener.valid()) return -errno;
    int status = set_flag(listener.get(), SOL_SOCKET, SO_REUSEADDR);
    if (status == 0 && address->sa_family == AF_INET6) {
        status = set_flag(listener.get(), IPPROTO_IPV6, IPV6_V6ONLY);
    }
    if (status == 0 && share_port) status = set_flag(listener.get(), SOL_SOCKET, SO_REUSEPORT);
    if (status == 0) status = set_flag(listener.get(), IPPROTO_TCP, TCP_NODELAY);
    if (status != 0) return status;
    if (bind(listener.get(), address, address_length) != 0) return -errno;
    *result = std::move(listener);
    return 0;
}

int bind_and_listen(const sockaddr* address, socklen_t address_length, bool share_port,
                    uint32_t backlog, Descriptor* result) {
    Descriptor listener;
    const int status = bind_socket(address, address_length, share_port, &listener);
    if (status != 0) return status;
    const auto length = static_cast<int>(std::min<uint32_t>(backlog, INT_MAX));
    if (listen(listener.get(), length) != 0) return -errno;
    *result = std::move(listener);
    return 0;
}

}  // namespace

int listen_on(const sockaddr* address, socklen_t address_length, uint32_t count, uint32_t backlog,
              std::vector<Descriptor>* sockets, sockaddr_storage* bound) {
    const bool share_port = count > 1;
    if (share_port) {
        // A second server with SO_REUSEPORT would join the first silently and take half of its
        // connections; a socket without it finds out.
        Descriptor probe;
        const int status = bind_and_listen(address, address_length, false, 1, &probe);
        if (status != 0) return status;
    }
    sockaddr_storage chosen{};
    socklen_t chosen_length = sizeof(chosen);
    for (uint32_t i = 0; i < count; ++i) {
        const auto* target = i == 0 ? address : reinterpret_cast<const sockaddr*>(&chosen);
        const socklen_t target_length = i == 0 ? address_length : chosen_length;
        Descriptor listener;
        const int status = bind_and_listen(target, target_length, share_port, backlog, &listener);
        if (status != 0) return status;
        if (i == 0 && getsockname(listener.get(), reinterpret_cast<sockaddr*>(&chosen),
                                  &chosen_length) != 0) {
            return -errno;
        }
        sockets->push_back(std::move(listener));
    }
    *bound = chosen;
    return 0;
}

Listener::Listener(Shard& shard, Descriptor socket) : shard_(shard), socket_(std::move(socket)) {}

int Listener::start() { return wait(); }

int Listener::wait() {
    const int status = shard_.add(socket_.get(), EPOLLIN, on_readable, this, nullptr, 0);
    if (status == 0) state_ = State::kWaiting;
    return status;
}

void Listener::park() {
    state_ = State::kParked;
    shard_.retry_listeners_soon();
}

void Listener::retry() {
    if (state_ == State::kParked) {
        state_ = State::kIdle;
        accept_round();
    }
}

void Listener::take_backlog() {
    Round round = Round::kMore;
    for (int i = 0; i < kBacklogTaken && round == Round::kMore; ++i) round = accept_one();
}

void Listener::end() {
    switch (state_) {
        case State::kWaiting:
            shard_.remove(socket_.get());
            break;
        case State::kIdle:
        case State::kParked:
            shard_.remove(socket_.get());
            socket_.reset();
            break;
        case State::kEnded:
            return;
    }
    state_ = State::kEnded;
}

void Listener::on_readable(void* context, COMPLETION_PORT_EPOLL_ACTION action,
                           COMPLETION_PORT_RESULT /*result*/, int32_t /*amount*/) {
    auto& self = *static_cast<Listener*>(context);
    self.shard_.enter();
    if (self.state_ == State::kEnded || action == COMPLETION_PORT_CLOSING) {
        self.shard_.remove(self.socket_.get());
        self.socket_.reset();
        self.state_ = State::kEnded;
    } else {
        self.state_ = State::kIdle;
        self.accept_round();
    }
    self.shard_.leave();
}

void Listener::accept_round() {
    Round round = Round::kMore;
    for (int i = 0; i < kAcceptsPerRound && round == Round::kMore; ++i) round = accept_one();
    if (round == Round::kShortage || wait() != 0) park();
}

Listener::Round Listener::accept_one() {
    const int number = accept4(socket_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (number < 0) return on_accept_error(errno);
    Descriptor accepted(number);
    if (!shard_.reserve_connection()) {
        shard_.count().refused.add(1);
        return Round::kMore;
    }
    shard_.count().accepted.add(1);
    Connection::open(shard_, std::move(accepted));
    return Round::kMore;
}

Listener::Round Listener::on_accept_error(int error) {
    switch (error) {
        case EAGAIN:
            return Round::kDone;
        case EMFILE:
        case ENFILE:
            return refuse_one();
        // These belong to the one connection that was about to be accepted: accept(2).
        case EINTR:
        case ECONNABORTED:
        case EPROTO:
        case EPERM:
        case ENETDOWN:
        case ENOPROTOOPT:
        case EHOSTDOWN:
        case ENONET:
        case EHOSTUNREACH:
        case EOPNOTSUPP:
        case ENETUNREACH:
        case ETIMEDOUT:
            shard_.count().accept_failures.add(1);
            return Round::kMore;
        default:
            shard_.count().accept_failures.add(1);
            return Round::kShortage;
    }
}

// A connection that stays in the backlog keeps the listener readable, and the worker would spin.
// The spare descriptor makes room to take it and to close it, so that its peer knows.
Listener::Round Listener::refuse_one() {
    shard_.spare().reset();
    const int number = accept4(socket_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    const int error = errno;
    if (number >= 0) {
        Descriptor(number).reset();
        shard_.count().refused.add(1);
    }
    shard_.refill_spare();
    if (number >= 0) return Round::kMore;
    return error == EAGAIN ? Round::kDone : Round::kShortage;
}

}  // namespace cport::echo
