// One port's part of the server: its listeners, its connections, and a descriptor by which it is
// told of commands. The port has one worker, and after start only that worker touches a shard;
// other threads use command and the counters.
//
// Whatever a shard has as a part (a connection, a listener, the descriptor for commands) has one
// operation pending, or is inside its callback. To end a part is therefore to end its operation:
// the callback that follows closes it. A shard has ended when it was told to and no part is left.
#pragma once

#include <completionport/buffers.h>
#include <completionport/operations.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <latch>
#include <list>
#include <memory>

#include "runtime/services/echo/connection.h"
#include "runtime/services/echo/counters.h"
#include "runtime/services/echo/descriptor.h"
#include "runtime/services/echo/listener.h"

namespace cport::echo {

inline constexpr uint32_t kBufferBytesMin = 16 * 1024;
// Larger ones are no faster: what is received is sent from a near cache.
inline constexpr uint32_t kBufferBytesMax = 128 * 1024;
// When others hold all of the memory for buffers, a connection gets one of these.
inline constexpr uint32_t kLastBufferBytes = 4096;

enum class Phase : int { kRunning, kStopping, kAborting };

// What all shards of a server share.
struct Common {
    uint32_t connections_max = 0;
    uint64_t idle_timeout_ns = 0;
    uint64_t buffer_bytes_max = 0;  // of each shard
    std::atomic<uint32_t> connections{0};
};

struct BufferPoolDeleter {
    void operator()(COMPLETION_PORT_BUFFER_POOL_HANDLE pool) const {
        completion_port_buffer_pool_destroy(pool);
    }
};
using BufferPool = std::unique_ptr<COMPLETION_PORT_BUFFER_POOL_TAG, BufferPoolDeleter>;

[[nodiscard]] uint64_t monotonic_ns();

class Shard {
 public:
    // `on_ended` is called once, as the last thing that the shard does.
    Shard(COMPLETION_PORT_HANDLE port, Common& common, std::function<void()> on_ended);
    Shard(const Shard&) = delete;
    Shard& operator=(const Shard&) = delete;
    ~Shard();

    [[nodiscard]] int open();
    void add_listener(Descriptor socket);
    // Waits until the worker has started everything. After an error that the port gave to this
    // call itself, the shard never runs and on_ended is not called: *runs says so.
    [[nodiscard]] int start(bool* runs);
    void command(Phase phase);
    [[nodiscard]] const Counters& counters() const { return counters_; }
    [[nodiscard]] uint64_t buffer_bytes() const;

    // For the parts, on the worker. An aborted shard takes no operation: -ECANCELED.
    [[nodiscard]] int submit(const COMPLETION_PORT_OPERATION& operation, uint64_t* id = nullptr);
    // 1: it is done, and has no callback.
    [[nodiscard]] int submit_inline(COMPLETION_PORT_OPERATION& operation, Completion* completed);
    void cancel(uint64_t id) { completion_port_cancel(port_, id); }
    void end_operations(int descriptor) { completion_port_remove(port_, descriptor); }
    void part_begun() { ++parts_; }
    // After it the shard may be gone.
    void part_ended();

    void connect(Descriptor socket);
    void disconnect(std::list<Connection>::iterator connection);
    // Frees the spare descriptor: with it one more connection can be accepted, and refused.
    [[nodiscard]] bool give_spare();

    [[nodiscard]] Phase phase() const { return seen_; }
    [[nodiscard]] Counters& count() { return counters_; }
    [[nodiscard]] COMPLETION_PORT_BUFFER_POOL_HANDLE buffers() { return buffers_.get(); }
    [[nodiscard]] COMPLETION_PORT_BUFFER_POOL_HANDLE last_buffers() { return last_buffers_.get(); }
    [[nodiscard]] uint64_t idle_deadline_ns() const;

 private:
    void on_command(const Completion& completion);
    [[nodiscard]] int listen_to_commands();
    [[nodiscard]] int start_listeners();
    void obey(Phase phase);
    void fill_spare();
    [[nodiscard]] bool have_spare();
    [[nodiscard]] bool reserve_connection();

    COMPLETION_PORT_HANDLE port_;
    Common& common_;
    std::function<void()> on_ended_;
    std::latch begun_{1};
    int begin_status_ = 0;
    bool started_ = false;

    std::atomic<Phase> phase_{Phase::kRunning};
    Phase seen_ = Phase::kRunning;
    Descriptor commands_;
    uint64_t commands_count_ = 0;
    bool hears_commands_ = false;
    // Given up to accept and refuse a connection when the process has no descriptor left.
    Descriptor spare_;

    uint64_t parts_ = 0;
    std::list<Listener> listeners_;
    BufferPool buffers_;
    BufferPool last_buffers_;
    std::list<Connection> connections_;
    alignas(64) Counters counters_;
};

}  // namespace cport::echo
