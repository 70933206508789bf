// One port's part of the server: its listeners, its connections, and the two descriptors by which
// it is told of commands and time. The port has one worker, and after start only that worker
// touches a shard; other threads use command and the counters.
//
// Whatever a shard owns has exactly one add pending, or is inside its callback. To end a thing is
// therefore to remove it: the callback that follows closes it. A shard has ended when it was told
// to and no add is pending.
#pragma once

#include <completionport/completion_port.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <latch>
#include <memory>
#include <vector>

#include "runtime/services/echo/buffer_pool.h"
#include "runtime/services/echo/counters.h"
#include "runtime/services/echo/descriptor.h"

namespace cport::echo {

class Connection;
class Listener;

enum class Phase : int { kRunning, kStopping, kAborting };

// What all shards of a server share.
struct Common {
    uint32_t connections_max = 0;
    uint32_t idle_timeout_s = 0;
    std::atomic<uint32_t> connections{0};
};

class Shard {
 public:
    // `on_ended` is called once, as the last thing that the shard does.
    Shard(COMPLETION_PORT_HANDLE port, Common& common, std::function<void()> on_ended);
    Shard(const Shard&) = delete;
    Shard& operator=(const Shard&) = delete;
    ~Shard();

    [[nodiscard]] int open();
    void add_listener(Descriptor socket);
    // Waits until the worker has added everything. After an error that the port's add gave to this
    // call itself, the shard never runs and on_ended is not called: *runs says so.
    [[nodiscard]] int start(bool* runs);
    void command(Phase phase);
    [[nodiscard]] const Counters& counters() const { return counters_; }

    // For the parts, on the worker.
    [[nodiscard]] int add(int descriptor, int operation, ON_COMPLETION_PORT_EVENT_COMPLETE callback,
                          void* context, void* buffer, uint32_t length);
    void remove(int descriptor) { completion_port_remove(port_, descriptor); }
    // Around each callback. After leave the shard may be gone.
    void enter() { --adds_pending_; }
    void leave();

    [[nodiscard]] bool reserve_connection();
    void unreserve_connection();
    void link(Connection& connection);
    void unlink(Connection& connection);
    void retry_listeners_soon();

    [[nodiscard]] Counters& count() { return counters_; }
    [[nodiscard]] BufferPool& buffers() { return buffers_; }
    [[nodiscard]] Descriptor& spare() { return spare_; }
    void refill_spare();
    [[nodiscard]] Phase phase() const { return seen_; }
    // Seconds, in which idleness is counted; stands still while there is no connection.
    [[nodiscard]] uint32_t tick_s() const { return tick_s_; }

 private:
    static void on_control(void* context, COMPLETION_PORT_EPOLL_ACTION action,
                           COMPLETION_PORT_RESULT result, int32_t amount);
    static void on_timer(void* context, COMPLETION_PORT_EPOLL_ACTION action,
                         COMPLETION_PORT_RESULT result, int32_t amount);
    [[nodiscard]] int add_control();
    [[nodiscard]] int add_timer();
    void begin();
    void obey();
    void end_everything();
    void keep_timer();
    void set_timer();
    void sweep();

    COMPLETION_PORT_HANDLE port_;
    Common& common_;
    std::function<void()> on_ended_;
    std::latch begun_{1};
    int begin_status_ = 0;
    bool started_ = false;

    std::atomic<Phase> phase_{Phase::kRunning};
    Phase seen_ = Phase::kRunning;
    Descriptor control_;
    Descriptor timer_;
    // Given up to accept and refuse a connection when the process has no descriptor left.
    Descriptor spare_;
    bool control_pending_ = false;
    bool timer_pending_ = false;
    bool retry_soon_ = false;
    bool ended_ = false;

    std::vector<std::unique_ptr<Listener>> listeners_;
    Connection* connections_ = nullptr;
    uint64_t adds_pending_ = 0;
    uint32_t tick_s_ = 0;
    uint32_t retries_ = 0;
    alignas(64) Counters counters_;
    BufferPool buffers_{counters_.buffer_bytes};
};

}  // namespace cport::echo
