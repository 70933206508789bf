#include "tests/support/simulated_listener.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

namespace cport::test {

int SimulatedListener::socket_type() const { return SOCK_STREAM; }
int SimulatedListener::socket_protocol() const { return is_tcp_ ? IPPROTO_TCP : 0; }
int64_t SimulatedListener::receive(char*, size_t, int) { return is_tcp_ ? -ENOTCONN : -EINVAL; }
int64_t SimulatedListener::send(std::string_view) { return is_tcp_ ? -EPIPE : -ENOTCONN; }

uint32_t SimulatedListener::poll() {
    return waiting_.empty() ? 0u : static_cast<uint32_t>(EPOLLIN | EPOLLRDNORM);
}

void SimulatedListener::push(std::shared_ptr<SimulatedFile> end) {
    waiting_.push_back(std::move(end));
    wake(kWakeReaders);
}

int SimulatedListener::accept_end(std::shared_ptr<SimulatedFile>& end) {
    if (perturbation().happens(&SimulatedChances::interrupted)) return -EINTR;
    if (waiting_.empty()) return -EAGAIN;
    if (perturbation().happens(&SimulatedChances::connections_aborted)) return -ECONNABORTED;
    end = std::move(waiting_.front());
    waiting_.pop_front();
    // Some of them may have given up.
    while (has_room() && !knocking_.empty()) {
        const std::function<void()> knock = std::move(knocking_.front());
        knocking_.pop_front();
        knock();
    }
    if (!perturbation().happens(&SimulatedChances::connections_lost)) return 0;
    std::exchange(end, nullptr)->close();
    return -EAGAIN;
}

void SimulatedListener::close() {
    open_ = false;
    for (const auto& end : std::exchange(waiting_, {})) {
        end->make_close_reset();
        end->close();
    }
    // Who knocks now finds nobody.
    for (const auto& knock : std::exchange(knocking_, {})) knock();
}

}  // namespace cport::test
