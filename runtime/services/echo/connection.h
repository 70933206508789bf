// One peer. One operation at a time: wait for bytes, receive, send what was received, receive
// again. A peer that does not read keeps its connection in the send, and so costs one buffer and
// no more.
//
// A waiting connection holds no buffer. Once bytes come it receives into a buffer, which it keeps
// as long as it is active: then an echo is one receive, one send, and no allocation.
#pragma once

#include <completionport/completion_port.h>

#include <cstdint>
#include <optional>

#include "runtime/services/echo/buffer_pool.h"
#include "runtime/services/echo/descriptor.h"

namespace cport::echo {

class Shard;

enum class CloseReason { kPeerEnded, kError, kIdle, kStopped };

class Connection {
 public:
    // Takes a connection that Shard::reserve_connection made room for. It frees itself at its end.
    static void open(Shard& shard, Descriptor socket);
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    // From other callbacks of the shard: the connection's pending operation ends, then it closes.
    void end(CloseReason reason);
    // Once a second: closes a connection without progress, takes the buffer of an inactive one.
    void sweep(uint32_t idle_timeout_s);

    [[nodiscard]] Connection* next() const { return next_; }
    void link_before(Connection* first);
    void unlink();

 private:
    enum class Step { kWaiting, kReceiving, kSending };

    Connection(Shard& shard, Descriptor socket);
    ~Connection();

    static void on_event(void* context, COMPLETION_PORT_EPOLL_ACTION action,
                         COMPLETION_PORT_RESULT result, int32_t amount);
    void advance(COMPLETION_PORT_EPOLL_ACTION action, COMPLETION_PORT_RESULT result,
                 int32_t amount);
    void wait();
    void receive();
    void received(int32_t amount);
    void send(uint32_t bytes);
    void sent();
    void fit_buffer();
    void submit(Step step, int operation, void* buffer, uint32_t length);
    void close(CloseReason reason);

    Shard& shard_;
    Descriptor socket_;
    Step step_ = Step::kWaiting;
    bool buffer_recalled_ = false;
    std::optional<CloseReason> ending_;
    Buffer buffer_;
    uint32_t bytes_held_ = 0;
    uint32_t small_receives_ = 0;
    uint32_t active_tick_s_;
    Connection* previous_ = nullptr;
    Connection* next_ = nullptr;
};

}  // namespace cport::echo
