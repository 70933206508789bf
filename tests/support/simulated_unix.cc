#include "tests/support/simulated_unix.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace cport::test {

void SimulatedUnix::connect(SimulatedUnix& one, SimulatedUnix& other) {
    one.peer_ = &other;
    other.peer_ = &one;
}

int SimulatedUnix::socket_type() const { return type_; }

int SimulatedUnix::unread_bytes() const {
    if (type_ == SOCK_DGRAM) {
        return messages_.empty() ? 0 : static_cast<int>(messages_.front().size());
    }
    size_t bytes = 0;
    for (const std::string& message : messages_) bytes += message.size();
    return static_cast<int>(bytes - first_offset_);
}

uint32_t SimulatedUnix::poll() {
    uint32_t found = 0;
    if (error_ != 0) found |= EPOLLERR;
    if (fresh_ || (receive_shut_ && send_shut_)) found |= EPOLLHUP;
    if (receive_shut_) found |= EPOLLRDHUP | EPOLLIN | EPOLLRDNORM;
    if (!messages_.empty()) found |= EPOLLIN | EPOLLRDNORM;
    if (writable()) found |= EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND;
    return found;
}

int SimulatedUnix::take_error() { return -std::exchange(error_, 0); }

void SimulatedUnix::read_to_its_end(size_t message_bytes) {
    if (peer_ == nullptr) return;
    peer_->sent_unread_ -= message_bytes;
    if (peer_->writable()) peer_->wake(kWakeWriters);
}

int64_t SimulatedUnix::receive(char* buffer, size_t length, int flags) {
    if (perturbation().happens(&SimulatedChances::interrupted)) return -EINTR;
    if (fresh_) return -EINVAL;
    if (has_messages()) return receive_message(buffer, length, flags);
    size_t copied = 0;
    while (copied < length && !messages_.empty()) {
        if (copied > 0 && perturbation().happens(&SimulatedChances::reads_short)) break;
        const std::string& message = messages_.front();
        const size_t count = std::min(length - copied, message.size() - first_offset_);
        std::copy_n(message.data() + first_offset_, count, buffer + copied);
        copied += count;
        if (perturbation().happens(&SimulatedChances::receives_doubled)) break;
        first_offset_ += count;
        if (first_offset_ < message.size()) break;
        const size_t message_bytes = message.size();
        messages_.pop_front();
        first_offset_ = 0;
        read_to_its_end(message_bytes);
    }
    if (copied > 0) return static_cast<int64_t>(copied);
    if (error_ != 0) return take_error();
    return receive_shut_ ? 0 : -EAGAIN;
}

int64_t SimulatedUnix::receive_message(char* buffer, size_t length, int flags) {
    if (!messages_.empty()) {
        const std::string message = std::move(messages_.front());
        messages_.pop_front();
        read_to_its_end(message.size());
        const size_t copied = std::min(length, message.size());
        std::copy_n(message.data(), copied, buffer);
        return static_cast<int64_t>((flags & MSG_TRUNC) != 0 ? message.size() : copied);
    }
    if (error_ != 0) return take_error();
    return receive_shut_ && type_ == SOCK_SEQPACKET ? 0 : -EAGAIN;
}

int64_t SimulatedUnix::send_message(std::string_view bytes) {
    // Linux keeps a part for itself.
    constexpr size_t kOverhead_bytes = 32;
    if (bytes.size() > send_bytes_max() - kOverhead_bytes) return -EMSGSIZE;
    if (sent_unread_ >= send_bytes_max() || peer_->queue_is_full()) return -EAGAIN;
    sent_unread_ += bytes.size();
    peer_->messages_.emplace_back(bytes);
    peer_->wake(kWakeReaders);
    return static_cast<int64_t>(bytes.size());
}

int64_t SimulatedUnix::send(std::string_view bytes) {
    if (fresh_) return -ENOTCONN;
    if (peer_ == nullptr && type_ == SOCK_DGRAM) {
        return std::exchange(told_of_end_, true) ? -ENOTCONN : -ECONNREFUSED;
    }
    if (send_shut_ || peer_ == nullptr || peer_->receive_shut_) return -EPIPE;
    if (error_ != 0) return take_error();
    if (has_messages()) return send_message(bytes);
    if (sent_unread_ >= send_bytes_max()) return -EAGAIN;
    if (perturbation().happens(&SimulatedChances::sends_refused)) {
        // A reader that made room just now has its edge on the way.
        perturbation().later([self = weak_from_this()] {
            const auto alive = std::static_pointer_cast<SimulatedUnix>(self.lock());
            if (alive != nullptr && alive->writable()) alive->wake(kWakeWriters);
        });
        if (writable()) return -EAGAIN;
    }
    size_t taken = std::min(bytes.size(), send_bytes_max() - sent_unread_);
    if (perturbation().happens(&SimulatedChances::sends_short)) {
        taken = perturbation().part_of(taken);
    }
    sent_unread_ += taken;
    peer_->messages_.emplace_back(bytes.substr(0, taken));
    peer_->wake(kWakeReaders);
    return static_cast<int64_t>(taken);
}

int SimulatedUnix::shutdown(int how) {
    const bool reads = how != SHUT_WR;
    const bool writes = how != SHUT_RD;
    receive_shut_ |= reads;
    send_shut_ |= writes;
    wake(kWakeAny);
    if (peer_ == nullptr) return 0;
    peer_->send_shut_ |= reads;
    peer_->receive_shut_ |= writes;
    peer_->wake(kWakeAny);
    return 0;
}

void SimulatedUnix::close() {
    SimulatedUnix* peer = std::exchange(peer_, nullptr);
    if (peer == nullptr) return;
    peer->peer_ = nullptr;
    if (type_ == SOCK_DGRAM) return;
    peer->receive_shut_ = peer->send_shut_ = true;
    if (!messages_.empty()) peer->error_ = ECONNRESET;
    peer->wake(kWakeAny);
    for (const std::string& message : messages_) {
        peer->sent_unread_ -= message.size();
        if (peer->writable()) peer->wake(kWakeWriters);
    }
    messages_.clear();
}

}  // namespace cport::test
