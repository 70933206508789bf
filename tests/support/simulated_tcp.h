// One end of a TCP connection. Bytes travel from the sender's buffer, where they are in flight,
// into the receiver's, and may be late.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "tests/support/simulated_file.h"

namespace cport::test {

class SimulatedTcp final : public SimulatedFile {
 public:
    using SimulatedFile::SimulatedFile;
    static void connect(SimulatedTcp& one, SimulatedTcp& other);

    platform::DescriptorKind kind() const override { return platform::DescriptorKind::kSocket; }
    uint32_t poll() override;
    void close() override;
    int socket_type() const override;
    int socket_protocol() const override;
    int at_urgent_mark() const override { return urgent_ == size_t{0} ? 1 : 0; }
    int unread_bytes() const override;
    int64_t receive(char* buffer, size_t length, int flags) override;
    int64_t send(std::string_view bytes) override;
    int shutdown(int how) override;
    int connect_to(const std::weak_ptr<SimulatedListener>& listener) override;
    int take_error() override;
    // It is not connected yet.
    void make_fresh() { stage_ = Stage::kFresh; }
    int send_urgent(char byte) override;
    void make_close_reset() override { close_resets_ = true; }

 private:
    struct Segment {
        std::string bytes;
        bool urgent = false;  // its last byte
        bool fin = false;
    };

    size_t send_bytes_max() const { return perturbation().sizes().tcp_send_bytes; }
    size_t receive_bytes_max() const { return perturbation().sizes().tcp_receive_bytes; }
    // What the peer sent is on its way to this end.
    void enqueue(Segment segment);
    // Lets what is in flight arrive; late ones may have to wait again.
    void arrive(bool may_be_late);
    void arrive_first();
    void take_urgent();
    void finish_if_both_ended();
    void reset();
    // A connection asked for reaches the listener.
    void knock(const std::weak_ptr<SimulatedListener>& listener);
    void knock_later(const std::weak_ptr<SimulatedListener>& listener);
    size_t room() const;
    bool writable() const;
    // The peer's buffer of this end's bytes got room.
    void space_freed();

    // kTold: a connect has said so.
    enum class Stage : uint8_t { kFresh, kConnecting, kFailed, kConnected, kTold };

    Stage stage_ = Stage::kTold;
    SimulatedTcp* peer_ = nullptr;
    std::deque<Segment> in_flight_;  // towards this end
    size_t in_flight_bytes_ = 0;
    std::string unread_;
    std::optional<size_t> urgent_;  // the place of the urgent byte in what is unread
    int error_ = 0;
    bool fin_sent_ = false;
    bool fin_received_ = false;
    bool receive_shut_ = false;
    bool send_shut_ = false;
    bool closed_ = false;  // TCP_CLOSE: the connection is over, whoever ended it
    bool no_space_ = false;
    bool close_resets_ = false;
    bool look_is_planned_ = false;
};

}  // namespace cport::test
