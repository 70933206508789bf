#include "tests/support/simulated_tcp.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace cport::test {

void SimulatedTcp::connect(SimulatedTcp& one, SimulatedTcp& other) {
    one.peer_ = &other;
    other.peer_ = &one;
}

int SimulatedTcp::socket_type() const { return SOCK_STREAM; }
int SimulatedTcp::socket_protocol() const { return IPPROTO_TCP; }

int SimulatedTcp::unread_bytes() const {
    return static_cast<int>(urgent_.value_or(unread_.size()));
}

size_t SimulatedTcp::room() const {
    const size_t used = peer_ == nullptr ? 0 : peer_->in_flight_bytes_;
    return used >= send_bytes_max() ? 0 : send_bytes_max() - used;
}

bool SimulatedTcp::writable() const { return room() >= (send_bytes_max() - room()) / 2; }

uint32_t SimulatedTcp::poll() {
    if (stage_ == Stage::kFresh) return EPOLLOUT | EPOLLWRNORM | EPOLLHUP;
    if (stage_ == Stage::kConnecting) return 0;
    uint32_t found = 0;
    if (closed_ || (receive_shut_ && send_shut_)) found |= EPOLLHUP;
    if (receive_shut_) found |= EPOLLIN | EPOLLRDNORM | EPOLLRDHUP;
    // The urgent byte itself is not counted where it comes next.
    if (unread_.size() >= (urgent_ == size_t{0} ? 2u : 1u)) found |= EPOLLIN | EPOLLRDNORM;
    if (send_shut_ || writable()) {
        found |= EPOLLOUT | EPOLLWRNORM;
    } else {
        no_space_ = true;
    }
    if (urgent_) found |= EPOLLPRI;
    if (error_ != 0) found |= EPOLLERR;
    return found;
}

int SimulatedTcp::take_error() { return -std::exchange(error_, 0); }

int64_t SimulatedTcp::receive(char* buffer, size_t length, int flags) {
    if (perturbation().happens(&SimulatedChances::interrupted)) return -EINTR;
    if (stage_ == Stage::kFresh) return -ENOTCONN;
    size_t copied = 0;
    while (copied < length && !unread_.empty()) {
        if (urgent_ == size_t{0}) {
            if (copied > 0) break;
            // Read past, and so gone.
            urgent_.reset();
            unread_.erase(0, 1);
            continue;
        }
        const size_t count = std::min(length - copied, urgent_.value_or(unread_.size()));
        const size_t taken = std::min(count, unread_.size());
        // MSG_TRUNC throws a stream's bytes away.
        if ((flags & MSG_TRUNC) == 0) std::copy_n(unread_.data(), taken, buffer + copied);
        const bool doubled = perturbation().happens(&SimulatedChances::receives_doubled);
        if (!doubled) {
            unread_.erase(0, taken);
            if (urgent_) *urgent_ -= taken;
        }
        copied += taken;
        if (doubled) break;
    }
    arrive(true);
    if (peer_ != nullptr) peer_->space_freed();
    if (copied > 0) return static_cast<int64_t>(copied);
    // A late segment may have come just now; it makes an edge of its own.
    if (fin_received_) return 0;
    if (error_ != 0) return take_error();
    if (receive_shut_) return 0;
    return closed_ ? -ENOTCONN : -EAGAIN;
}

int64_t SimulatedTcp::send(std::string_view bytes) {
    if (stage_ == Stage::kFresh) return -EPIPE;
    if (stage_ == Stage::kConnecting) return -EAGAIN;
    if (error_ != 0) return take_error();
    if (send_shut_ || closed_) return -EPIPE;
    if (peer_ == nullptr) {
        // Nobody is there any more to take it: the answer is a reset.
        reset();
        return static_cast<int64_t>(bytes.size());
    }
    size_t taken = std::min(bytes.size(), room());
    if (taken < bytes.size()) no_space_ = true;
    if (taken > 0 && perturbation().happens(&SimulatedChances::sends_refused)) {
        no_space_ = true;
        perturbation().later([self = weak_from_this()] {
            const auto alive = std::static_pointer_cast<SimulatedTcp>(self.lock());
            if (alive != nullptr) alive->space_freed();
        });
        return -EAGAIN;
    }
    if (taken == 0) return -EAGAIN;
    if (perturbation().happens(&SimulatedChances::sends_short)) {
        taken = perturbation().part_of(taken);
    }
    peer_->enqueue({std::string(bytes.substr(0, taken))});
    return static_cast<int64_t>(taken);
}

int SimulatedTcp::send_urgent(char byte) {
    if (error_ != 0) return take_error();
    if (send_shut_ || closed_) return -EPIPE;
    if (peer_ == nullptr) {
        reset();
        return 1;
    }
    if (room() == 0) return -EAGAIN;
    peer_->enqueue({std::string(1, byte), true});
    return 1;
}

void SimulatedTcp::enqueue(Segment segment) {
    in_flight_bytes_ += segment.bytes.size();
    in_flight_.push_back(std::move(segment));
    arrive(true);
}

void SimulatedTcp::arrive(bool may_be_late) {
    while (!in_flight_.empty()) {
        const Segment& next = in_flight_.front();
        if (!next.fin && unread_.size() >= receive_bytes_max()) return;
        if (may_be_late && perturbation().happens(&SimulatedChances::segments_late)) {
            if (look_is_planned_) return;
            look_is_planned_ = true;
            perturbation().later([self = weak_from_this()] {
                const auto alive = std::static_pointer_cast<SimulatedTcp>(self.lock());
                if (alive == nullptr) return;
                alive->look_is_planned_ = false;
                alive->arrive_first();
                alive->arrive(true);
            });
            return;
        }
        arrive_first();
    }
}

void SimulatedTcp::arrive_first() {
    if (in_flight_.empty()) return;
    Segment& next = in_flight_.front();
    if (next.fin) {
        in_flight_.pop_front();
        receive_shut_ = true;
        fin_received_ = true;
        wake(kWakeAny);
        finish_if_both_ended();
        return;
    }
    size_t count = std::min(next.bytes.size(), receive_bytes_max() - unread_.size());
    if (count == 0) return;
    if (!next.urgent && perturbation().happens(&SimulatedChances::segments_late)) {
        count = perturbation().part_of(count);
    }
    if (next.urgent) take_urgent();
    unread_.append(next.bytes, 0, count);
    in_flight_bytes_ -= count;
    if (count == next.bytes.size()) {
        in_flight_.pop_front();
    } else {
        next.bytes.erase(0, count);
    }
    wake(kWakeReaders);
    if (peer_ != nullptr) peer_->space_freed();
}

void SimulatedTcp::take_urgent() {
    // The one before becomes an ordinary byte, unless it would be read next: then it is dropped.
    if (urgent_ == size_t{0}) unread_.erase(0, 1);
    urgent_ = unread_.size();
}

void SimulatedTcp::space_freed() {
    if (!no_space_ || !writable()) return;
    no_space_ = false;
    wake(kWakeWriters);
}

void SimulatedTcp::finish_if_both_ended() {
    if (!fin_sent_ || !fin_received_) return;
    const bool peer_has_ours = peer_ == nullptr || peer_->fin_received_;
    if (!peer_has_ours || closed_) return;
    closed_ = receive_shut_ = send_shut_ = true;
    wake(kWakeAny);
    if (peer_ != nullptr) peer_->finish_if_both_ended();
}

int SimulatedTcp::shutdown(int how) {
    if (closed_ || stage_ == Stage::kFresh) {
        wake(kWakeAny);
        return -ENOTCONN;
    }
    const bool sends_fin = how != SHUT_RD && !fin_sent_;
    if (how != SHUT_WR) receive_shut_ = true;
    if (how != SHUT_RD) send_shut_ = true;
    if (sends_fin) {
        fin_sent_ = true;
        // The peer hears of it before this end's watchers do.
        if (peer_ != nullptr) peer_->enqueue({"", false, true});
        finish_if_both_ended();
    }
    wake(kWakeAny);
    return 0;
}

void SimulatedTcp::reset() {
    if (closed_) return;
    error_ = fin_received_ && !fin_sent_ ? EPIPE : ECONNRESET;
    closed_ = receive_shut_ = send_shut_ = true;
    in_flight_.clear();
    in_flight_bytes_ = 0;
    wake(kWakeAny);
    wake(kWakeError);
}

void SimulatedTcp::close() {
    SimulatedTcp* peer = std::exchange(peer_, nullptr);
    // What knocks late knocks no more.
    if (stage_ == Stage::kConnecting) closed_ = true;
    if (peer == nullptr) return;
    const bool bytes_unread = !unread_.empty() || in_flight_bytes_ > 0;
    if (!closed_ && (bytes_unread || close_resets_)) {
        peer->peer_ = nullptr;
        peer->reset();
        return;
    }
    if (!fin_sent_ && !closed_) {
        fin_sent_ = true;
        peer->peer_ = nullptr;
        peer->enqueue({"", false, true});
    }
    peer->peer_ = nullptr;
    peer->finish_if_both_ended();
}

}  // namespace cport::test
