// One end of a pair of unix sockets. Each send is a message of its own in the receiver's queue,
// counted against the sender until it was read to its end. A stream runs through their borders;
// datagrams and packets come one by one, and only so many wait.
#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>

#include "tests/support/simulated_file.h"

namespace cport::test {

class SimulatedUnix final : public SimulatedFile {
 public:
    static constexpr size_t kMessagesMax = 10;

    using SimulatedFile::SimulatedFile;
    static void connect(SimulatedUnix& one, SimulatedUnix& other);
    // Before anything else; without, it is a stream.
    void set_type(int type) { type_ = type; }

    platform::DescriptorKind kind() const override { return platform::DescriptorKind::kSocket; }
    uint32_t poll() override;
    void close() override;
    int socket_type() const override;
    int socket_protocol() const override { return 0; }
    int at_urgent_mark() const override { return 0; }
    int unread_bytes() const override;
    int64_t receive(char* buffer, size_t length, int flags) override;
    int64_t send(std::string_view bytes) override;
    int shutdown(int how) override;
    int connect_to(const std::weak_ptr<SimulatedListener>& listener) override;
    int take_error() override;
    // It is not connected yet.
    void make_fresh() { fresh_ = true; }

 private:
    size_t send_bytes_max() const { return perturbation().sizes().unix_send_bytes; }
    bool has_messages() const { return type_ != SOCK_STREAM; }
    bool queue_is_full() const { return has_messages() && messages_.size() > kMessagesMax; }
    bool writable() const {
        return 4 * sent_unread_ <= send_bytes_max() &&
               (peer_ == nullptr || !peer_->queue_is_full());
    }
    int64_t receive_message(char* buffer, size_t length, int flags);
    int64_t send_message(std::string_view bytes);
    void read_to_its_end(size_t message_bytes);

    int type_ = SOCK_STREAM;
    bool fresh_ = false;
    SimulatedUnix* peer_ = nullptr;
    std::deque<std::string> messages_;
    size_t first_offset_ = 0;  // what was read of the first message
    size_t sent_unread_ = 0;   // bytes of this end's in the peer's queue
    int error_ = 0;
    bool told_of_end_ = false;  // of datagrams: that its peer is gone
    bool receive_shut_ = false;
    bool send_shut_ = false;
};

}  // namespace cport::test
