#include "runtime/programs/cport_echo/load_channel.h"

#include <completionport/connections.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "runtime/programs/common/errors.h"
#include "runtime/programs/cport_echo/load_worker.h"

namespace cport::programs {
namespace {

constexpr uint64_t kReceiveBytesMin = 4096;
// Far from each other, so that no two of a run's connections send the same stream.
constexpr uint64_t kStreamStride = 40'503;
constexpr uint64_t kReopenStride = 12'289;

// The operation was ended by remove, or by the end of the port.
bool is_abandoned(const echo::Completion& completion) { return completion.error == -ECANCELED; }

}  // namespace

LoadChannel::LoadChannel(LoadWorker& worker, uint32_t index)
    : worker_(worker),
      index_(index),
      size_bytes_(worker.run().options.size_bytes),
      depth_(worker.run().options.depth),
      stream_start_(index * kStreamStride),
      due_ns_(depth_),
      receive_buffer_(
          std::clamp<uint64_t>(size_bytes_ * depth_, kReceiveBytesMin, Pattern::kWindowBytes)) {}

void LoadChannel::open() {
    state_ = State::kConnecting;
    finishing_ = false;
    stream_start_ += kReopenStride;
    released_ = completed_ = sent_bytes_ = received_bytes_ = 0;
    const int family = worker_.run().address.storage.ss_family;
    socket_ =
        echo::Descriptor(socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
    if (!socket_.valid()) {
        fail_with("cannot make a socket", errno);
        return;
    }
    const int on = 1;
    setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    connect();
}

void LoadChannel::connect() {
    const SocketAddress& address = worker_.run().address;
    auto connect =
        echo::operation_of<COMPLETION_PORT_CONNECT_OPERATION, &LoadChannel::on_connected>(
            COMPLETION_PORT_KIND_CONNECT, socket_.get(), *this);
    connect.address = address.get();
    connect.address_length = address.length;
    const int status = worker_.submit(connect.common);
    if (status != 0) fail_with("the port refused the connection", -status);
}

void LoadChannel::on_connected(const echo::Completion& completion) {
    if (is_abandoned(completion) || state_ != State::kConnecting) return;
    if (completion.error != 0) {
        fail_with("cannot connect", -completion.error);
    } else {
        connected();
    }
}

void LoadChannel::connected() {
    state_ = State::kOpen;
    opened_ns_ = monotonic_ns();
    const int64_t interval_ns = worker_.message_interval_ns();
    const uint32_t connections = worker_.run().options.connections;
    // Open loop: the connections' messages are spread evenly over an interval.
    next_due_ns_ = opened_ns_ + interval_ns / connections * (index_ % connections);
    worker_.on_opened(*this);
    if (worker_.phase() == LoadPhase::kFinishing) finishing_ = true;
    release(opened_ns_);
    receive();
    end_if_done();
}

void LoadChannel::on_due(int64_t now_ns) {
    scheduled_ = false;
    if (state_ == State::kOpen) {
        release(now_ns);
        end_if_done();
    }
}

void LoadChannel::finish() {
    finishing_ = true;
    end_if_done();
}

// Lets as many messages go as depth and schedule allow.
void LoadChannel::release(int64_t now_ns) {
    const int64_t interval_ns = worker_.message_interval_ns();
    const int64_t lifetime_ns = worker_.run().options.channel_lifetime_ns;
    if (lifetime_ns != 0 && now_ns - opened_ns_ >= lifetime_ns) finishing_ = true;
    while (!finishing_ && in_flight() < depth_ && (interval_ns == 0 || next_due_ns_ <= now_ns)) {
        due_ns_[released_ % depth_] = interval_ns == 0 ? now_ns : next_due_ns_;
        next_due_ns_ += interval_ns;
        ++released_;
    }
    send();
    // With all its messages in flight a late channel goes on when one comes back.
    if (interval_ns != 0 && !finishing_ && !scheduled_ && next_due_ns_ > now_ns) {
        scheduled_ = true;
        worker_.schedule(next_due_ns_, *this);
    }
}

void LoadChannel::send() {
    const uint64_t waiting = released_ * size_bytes_ - sent_bytes_;
    if (sending_ || waiting == 0 || state_ != State::kOpen) return;
    const auto length = static_cast<uint32_t>(std::min<uint64_t>(waiting, Pattern::kWindowBytes));
    auto send = echo::operation_of<COMPLETION_PORT_SEND_OPERATION, &LoadChannel::on_sent>(
        COMPLETION_PORT_KIND_SEND, socket_.get(), *this);
    send.buffer = worker_.run().pattern.at(stream_start_ + sent_bytes_);
    send.length = length;
    const int status = worker_.submit(send.common);
    if (status != 0) {
        fail_with("the port refused a send", -status);
        return;
    }
    sending_ = true;
    sent_bytes_ += length;
}

void LoadChannel::on_sent(const echo::Completion& completion) {
    sending_ = false;
    if (is_abandoned(completion) || state_ == State::kClosed) return;
    if (completion.error != 0) {
        fail_with("cannot send", -completion.error);
        return;
    }
    send();
    end_if_done();
}

void LoadChannel::receive() {
    if (state_ == State::kClosed) return;
    auto receive = echo::operation_of<COMPLETION_PORT_RECEIVE_OPERATION, &LoadChannel::on_received>(
        COMPLETION_PORT_KIND_RECEIVE, socket_.get(), *this);
    receive.buffer = receive_buffer_.data();
    receive.length = static_cast<uint32_t>(receive_buffer_.size());
    const int status = worker_.submit(receive.common);
    if (status != 0) fail_with("the port refused a receive", -status);
}

void LoadChannel::on_received(const echo::Completion& completion) {
    if (is_abandoned(completion) || state_ == State::kClosed) return;
    if (completion.error != 0) {
        fail_with("cannot receive", -completion.error);
    } else if (completion.value == 0) {
        ended();
    } else {
        received(static_cast<uint32_t>(completion.value));
        receive();
    }
}

void LoadChannel::received(uint32_t amount) {
    if (!compare(amount)) return;
    received_bytes_ += amount;
    worker_.count_bytes(amount);
    const int64_t now_ns = monotonic_ns();
    complete(now_ns);
    if (state_ == State::kOpen) release(now_ns);
    end_if_done();
}

bool LoadChannel::compare(uint32_t amount) {
    if (received_bytes_ + amount > sent_bytes_) {
        fail(fmt::format("{} bytes came back, {} were sent", received_bytes_ + amount, sent_bytes_),
             true);
        return false;
    }
    const std::byte* expected = worker_.run().pattern.at(stream_start_ + received_bytes_);
    if (std::memcmp(receive_buffer_.data(), expected, amount) == 0) return true;
    const auto* received = receive_buffer_.data();
    const auto offset = std::mismatch(received, received + amount, expected).first - received;
    fail(fmt::format("byte {} came back as {:#04x}, {:#04x} was sent",
                     received_bytes_ + static_cast<uint64_t>(offset),
                     static_cast<unsigned>(received[offset]),
                     static_cast<unsigned>(expected[offset])),
         true);
    return false;
}

void LoadChannel::complete(int64_t now_ns) {
    const uint64_t returned = received_bytes_ / size_bytes_;
    for (; completed_ < returned; ++completed_) {
        worker_.count_message(now_ns - due_ns_[completed_ % depth_]);
    }
}

void LoadChannel::end_if_done() {
    if (state_ == State::kOpen && finishing_ && !sending_ && in_flight() == 0) {
        state_ = State::kHalfClosed;
        shutdown(socket_.get(), SHUT_WR);
    }
}

void LoadChannel::ended() {
    if (state_ != State::kHalfClosed) {
        fail(
            fmt::format("the server ended the connection with {} messages in flight", in_flight()));
        return;
    }
    state_ = State::kClosed;
    worker_.remove(socket_.get());
    socket_.reset();
    worker_.on_closed(*this);
}

void LoadChannel::fail(const std::string& reason, bool mismatch) {
    const bool connecting = state_ == State::kConnecting;
    state_ = State::kClosed;
    if (socket_.valid()) {
        worker_.remove(socket_.get());
        socket_.reset();
    }
    worker_.on_failed(*this, {connecting, mismatch, reason});
}

void LoadChannel::fail_with(const char* what, int error) {
    fail(fmt::format("{}: {}", what, error_text(error)));
}

}  // namespace cport::programs
