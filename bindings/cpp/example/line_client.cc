#include "line_client.h"

#include <sys/epoll.h>

#include <cerrno>
#include <utility>

namespace example {

LineClient::LineClient(COMPLETION_PORT_HANDLE completion_port, SOCKET_HANDLE socket,
                       std::function<void(std::string_view)> on_line,
                       std::function<void(int)> on_closed)
    : completion_port_(completion_port),
      socket_(socket),
      on_line_(std::move(on_line)),
      on_closed_(std::move(on_closed)) {
    completion_port_inc_ref(completion_port_);
}

LineClient::~LineClient() {
    completion_port_remove(completion_port_, socket_);
    completion_port_dec_ref(completion_port_);
}

int LineClient::start() { return receive_more(); }

int LineClient::send(std::string_view line) {
    // The lock keeps the order of sending_ that of the adds; no callback runs inside the add.
    const std::lock_guard lock(mutex_);
    std::string& bytes = sending_.emplace_back(line);
    bytes += '\n';
    if (bytes.size() > kLineBytesMax + 1) {
        sending_.pop_back();
        return -EMSGSIZE;
    }
    const COMPLETION_PORT_INGRESS_DATA data{
        EPOLLOUT, socket_, on_sent, this, {bytes.data(), static_cast<uint32_t>(bytes.size())}};
    const int error = completion_port_add(completion_port_, &data);
    if (error != 0) sending_.pop_back();
    return error;
}

int LineClient::receive_more() {
    const COMPLETION_PORT_INGRESS_DATA data{
        EPOLLIN, socket_, on_received, this, {received_.data(), kReceiveBytes}};
    return completion_port_add(completion_port_, &data);
}

void LineClient::on_received(void* context, COMPLETION_PORT_EPOLL_ACTION action,
                             COMPLETION_PORT_RESULT result, int32_t amount) {
    const int reason = errno;
    auto& self = *static_cast<LineClient*>(context);
    if (self.closed_) return;
    if (amount > 0 && !self.deliver_lines({self.received_.data(), static_cast<size_t>(amount)})) {
        self.close(EMSGSIZE);
    } else if (result != COMPLETION_PORT_RESULT_OK) {
        self.close(action == COMPLETION_PORT_CLOSING ? ECANCELED : reason);
    } else if (amount == 0) {
        self.close(0);
    } else if (const int error = self.receive_more(); error != 0) {
        self.close(-error);
    }
}

void LineClient::on_sent(void* context, COMPLETION_PORT_EPOLL_ACTION action,
                         COMPLETION_PORT_RESULT result, int32_t) {
    const int reason = errno;
    auto& self = *static_cast<LineClient*>(context);
    {
        const std::lock_guard lock(self.mutex_);
        self.sending_.pop_front();
    }
    if (result != COMPLETION_PORT_RESULT_OK) {
        self.close(action == COMPLETION_PORT_CLOSING ? ECANCELED : reason);
    }
}

bool LineClient::deliver_lines(std::string_view bytes) {
    for (;;) {
        const size_t end = bytes.find('\n');
        unfinished_line_ += bytes.substr(0, end);
        if (unfinished_line_.size() > kLineBytesMax) return false;
        if (end == std::string_view::npos) return true;
        const std::string line = std::exchange(unfinished_line_, {});
        on_line_(line);
        bytes.remove_prefix(end + 1);
    }
}

void LineClient::close(int error) {
    if (!std::exchange(closed_, true)) on_closed_(error);
}

}  // namespace example
