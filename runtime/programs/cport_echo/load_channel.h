// One connection of the load generator: keeps up to `depth` messages in flight, compares what comes
// back, and times each message from the moment at which it was due.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/services/echo/descriptor.h"
#include "runtime/services/echo/operation.h"

namespace cport::programs {

class LoadWorker;

class LoadChannel {
 public:
    LoadChannel(LoadWorker& worker, uint32_t index);
    LoadChannel(const LoadChannel&) = delete;
    LoadChannel& operator=(const LoadChannel&) = delete;

    void open();
    // Open loop: the time of a message has come.
    void on_due(int64_t now_ns);
    // No new messages; the connection ends when those in flight are back.
    void finish();

    [[nodiscard]] bool unfinished() const { return state_ != State::kClosed; }
    // Whether its first attempt to connect has ended, one way or the other.
    [[nodiscard]] bool tried() const { return tried_; }
    void set_tried() { tried_ = true; }
    [[nodiscard]] uint64_t in_flight() const { return released_ - completed_; }
    [[nodiscard]] uint32_t index() const { return index_; }

 private:
    enum class State { kClosed, kConnecting, kOpen, kHalfClosed };

    void connect();
    void on_connected(const echo::Completion& completion);
    void on_sent(const echo::Completion& completion);
    void on_received(const echo::Completion& completion);
    void connected();
    void received(uint32_t amount);
    void ended();
    [[nodiscard]] bool compare(uint32_t amount);
    void complete(int64_t now_ns);
    void release(int64_t now_ns);
    void send();
    void receive();
    void end_if_done();
    void fail(const std::string& reason, bool mismatch = false);
    void fail_with(const char* what, int error);

    LoadWorker& worker_;
    const uint32_t index_;
    const uint64_t size_bytes_;
    const uint64_t depth_;
    State state_ = State::kClosed;
    bool tried_ = false;
    bool finishing_ = false;
    bool sending_ = false;
    bool scheduled_ = false;
    echo::Descriptor socket_;
    uint64_t stream_start_;
    uint64_t released_ = 0;   // messages that may be sent
    uint64_t completed_ = 0;  // messages that came back
    uint64_t sent_bytes_ = 0;
    uint64_t received_bytes_ = 0;
    int64_t opened_ns_ = 0;
    int64_t next_due_ns_ = 0;
    std::vector<int64_t> due_ns_;  // of the messages in flight, by number modulo depth
    std::vector<std::byte> receive_buffer_;
};

}  // namespace cport::programs
