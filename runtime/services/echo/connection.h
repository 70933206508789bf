// One peer. One operation at a time: receive into a buffer of the shard's pool, send what came,
// give the buffer back, receive again. A connection that waits for its peer's bytes holds no
// buffer; one whose peer does not read stays in the send, holds one, and receives no more.
#pragma once

#include <completionport/buffers.h>

#include <cstdint>
#include <list>

#include "runtime/services/echo/counters.h"
#include "runtime/services/echo/descriptor.h"
#include "runtime/services/echo/operation.h"

namespace cport::echo {

class Shard;

class Connection {
 public:
    Connection(Shard& shard, Descriptor socket);
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;
    ~Connection();

    // Begins to echo; `self` is its place among the shard's connections. It ends by itself.
    void start(std::list<Connection>::iterator self);
    // Ends what is pending, and so the connection.
    void stop();

 private:
    void receive(COMPLETION_PORT_BUFFER_POOL_HANDLE pool);
    void on_received(const Completion& completion);
    void send();
    void on_sent(const Completion& completion);
    void sent(int64_t bytes, int error);
    // What the peer has not acknowledged.
    int64_t unread_bytes() const;
    void fail(int error);
    void close(Counter& reason);

    Shard& shard_;
    Descriptor socket_;
    uint32_t receive_bytes_ = 0;                         // what the next buffer shall hold
    COMPLETION_PORT_BUFFER_POOL_HANDLE pool_ = nullptr;  // that the last receive drew from
    void* buffer_ = nullptr;                             // of that pool, while its bytes are sent
    char* unsent_ = nullptr;
    uint32_t unsent_bytes_ = 0;
    int64_t unread_bytes_ = 0;  // in the kernel when the send began, where there is a time for it
    std::list<Connection>::iterator self_;
};

}  // namespace cport::echo
