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

int SimulatedUnix::socket_type() const { return SOCK_STREAM; }

int SimulatedUnix::unread_bytes() const {
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

int64_t SimulatedUnix::receive(char* buffer, size_t length, int) {
    if (perturbation().happens(&SimulatedChances::interrupted)) return -EINTR;
    if (fresh_) return -EINVAL;
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

int64_t SimulatedUnix::send(std::string_view bytes) {
    if (fresh_) return -ENOTCONN;
    if (send_shut_ || peer_ == nullptr || peer_->receive_shut_) return -EPIPE;
    if (error_ != 0) return take_error();
    if (sent_unread_ >= kSendBytesMax) return -EAGAIN;
    if (perturbation().happens(&SimulatedChances::sends_refused)) {
        // A reader that made room just now has its edge on the way.
        perturbation().later([self = weak_from_this()] {
            const auto alive = std::static_pointer_cast<SimulatedUnix>(self.lock());
            if (alive != nullptr && alive->writable()) alive->wake(kWakeWriters);
        });
        if (writable()) return -EAGAIN;
    }
    size_t taken = std::min(bytes.size(), kSendBytesMax - sent_unread_);
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
