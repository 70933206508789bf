#include "tests/support/simulated_others.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace cport::test {
namespace {

constexpr uint32_t kWakePipeReader = EPOLLIN | EPOLLRDNORM;
constexpr uint32_t kWakePipeWriter = EPOLLOUT | EPOLLWRNORM;

}  // namespace

void SimulatedDatagrams::connect(SimulatedDatagrams& one, SimulatedDatagrams& other) {
    const auto of = [](SimulatedDatagrams& end) {
        return std::static_pointer_cast<SimulatedDatagrams>(end.shared_from_this());
    };
    one.peer_ = of(other);
    other.peer_ = of(one);
}

int SimulatedDatagrams::socket_type() const { return SOCK_DGRAM; }
int SimulatedDatagrams::socket_protocol() const { return IPPROTO_UDP; }

int SimulatedDatagrams::unread_bytes() const {
    return queue_.empty() ? 0 : static_cast<int>(queue_.front().size());
}

uint32_t SimulatedDatagrams::poll() {
    uint32_t found = EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND;
    if (error_ != 0) found |= EPOLLERR;
    if (!queue_.empty()) found |= EPOLLIN | EPOLLRDNORM;
    return found;
}

int64_t SimulatedDatagrams::receive(char* buffer, size_t length, int flags) {
    if (perturbation().happens(&SimulatedChances::interrupted)) return -EINTR;
    // An error is told before the datagrams that wait.
    if (error_ != 0) return -std::exchange(error_, 0);
    if (queue_.empty()) return -EAGAIN;
    const std::string datagram = queue_.front();
    if (!perturbation().happens(&SimulatedChances::receives_doubled)) {
        queue_.pop_front();
        queued_bytes_ -= datagram.size();
    }
    const size_t copied = std::min(length, datagram.size());
    std::copy_n(datagram.data(), copied, buffer);
    return static_cast<int64_t>((flags & MSG_TRUNC) != 0 ? datagram.size() : copied);
}

int64_t SimulatedDatagrams::send(std::string_view bytes) {
    if (bytes.size() > kDatagramBytesMax) return -EMSGSIZE;
    if (error_ != 0) return -std::exchange(error_, 0);
    // The loopback device gives the sender's memory back at once, which is an edge.
    wake(kWakeWriters);
    const auto peer = peer_.lock();
    if (peer == nullptr || !peer->open_) {
        error_ = ECONNREFUSED;
        wake(kWakeError);
    } else if (peer->queued_bytes_ + bytes.size() <= perturbation().sizes().udp_receive_bytes) {
        peer->queue_.emplace_back(bytes);
        peer->queued_bytes_ += bytes.size();
        peer->wake(kWakeReaders);
    }
    return static_cast<int64_t>(bytes.size());
}

void SimulatedDatagrams::close() { open_ = false; }

SimulatedPipeReader::SimulatedPipeReader(SimulatedPerturbation& perturbation,
                                         std::shared_ptr<SimulatedPipe> pipe)
    : SimulatedFile(perturbation), pipe_(std::move(pipe)) {
    pipe_->reader = this;
}

uint32_t SimulatedPipeReader::poll() {
    uint32_t found = 0;
    if (!pipe_->bytes.empty()) found |= EPOLLIN | EPOLLRDNORM;
    if (pipe_->writer == nullptr) found |= EPOLLHUP;
    return found;
}

int64_t SimulatedPipeReader::read(char* buffer, size_t length) {
    std::string& bytes = pipe_->bytes;
    if (bytes.empty()) return pipe_->writer == nullptr ? 0 : -EAGAIN;
    const bool was_full = bytes.size() >= SimulatedPipe::kBytesMax;
    const size_t count = std::min(length, bytes.size());
    std::copy_n(bytes.data(), count, buffer);
    bytes.erase(0, count);
    if (was_full && pipe_->writer != nullptr) {
        static_cast<SimulatedPipeWriter*>(pipe_->writer)->tell(kWakePipeWriter);
    }
    return static_cast<int64_t>(count);
}

void SimulatedPipeReader::close() {
    pipe_->reader = nullptr;
    if (pipe_->writer != nullptr) {
        static_cast<SimulatedPipeWriter*>(pipe_->writer)->tell(kWakeAny);
    }
}

SimulatedPipeWriter::SimulatedPipeWriter(SimulatedPerturbation& perturbation,
                                         std::shared_ptr<SimulatedPipe> pipe)
    : SimulatedFile(perturbation), pipe_(std::move(pipe)) {
    pipe_->writer = this;
}

uint32_t SimulatedPipeWriter::poll() {
    uint32_t found = 0;
    if (pipe_->bytes.size() < SimulatedPipe::kBytesMax) found |= EPOLLOUT | EPOLLWRNORM;
    if (pipe_->reader == nullptr) found |= EPOLLERR;
    return found;
}

int64_t SimulatedPipeWriter::write(std::string_view bytes) {
    if (pipe_->reader == nullptr) return -EPIPE;
    const size_t room = SimulatedPipe::kBytesMax - pipe_->bytes.size();
    if (room == 0) return -EAGAIN;
    const size_t taken = std::min(room, bytes.size());
    pipe_->bytes.append(bytes.substr(0, taken));
    static_cast<SimulatedPipeReader*>(pipe_->reader)->tell(kWakePipeReader);
    return static_cast<int64_t>(taken);
}

void SimulatedPipeWriter::close() {
    pipe_->writer = nullptr;
    if (pipe_->reader != nullptr) {
        static_cast<SimulatedPipeReader*>(pipe_->reader)->tell(kWakeAny);
    }
}

uint32_t SimulatedEventfd::poll() {
    uint32_t found = 0;
    if (count_ > 0) found |= EPOLLIN;
    if (count_ < UINT64_MAX - 1) found |= EPOLLOUT;
    return found;
}

int64_t SimulatedEventfd::read(char* buffer, size_t length) {
    if (length < sizeof(count_)) return -EINVAL;
    if (count_ == 0) return -EAGAIN;
    std::memcpy(buffer, &count_, sizeof(count_));
    count_ = 0;
    wake(EPOLLOUT);
    return sizeof(count_);
}

int64_t SimulatedEventfd::write(std::string_view bytes) {
    uint64_t added = 0;
    if (bytes.size() < sizeof(added)) return -EINVAL;
    std::memcpy(&added, bytes.data(), sizeof(added));
    if (added == UINT64_MAX) return -EINVAL;
    if (added > UINT64_MAX - 1 - count_) return -EAGAIN;
    count_ += added;
    wake(EPOLLIN);
    return sizeof(added);
}

}  // namespace cport::test
