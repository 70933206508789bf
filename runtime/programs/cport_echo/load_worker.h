// One completion port's share of a load: its channels, the pace at which they open, and, in an
// open loop, the times at which their messages are due. After start, everything here belongs to
// the port's worker, except kick and the live figures; after stop, to the caller again.
#pragma once

#include <completionport/operations.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <queue>
#include <string>
#include <vector>

#include "runtime/programs/common/latency_histogram.h"
#include "runtime/programs/common/network_address.h"
#include "runtime/programs/common/port.h"
#include "runtime/programs/common/signals.h"
#include "runtime/programs/cport_echo/commands.h"
#include "runtime/programs/cport_echo/load_channel.h"
#include "runtime/programs/cport_echo/pattern.h"
#include "runtime/services/echo/descriptor.h"
#include "runtime/services/echo/operation.h"

namespace cport::programs {

enum class LoadPhase : int { kOpening, kMeasuring, kFinishing };

// What all workers of a run share.
struct LoadRun {
    explicit LoadRun(const LoadOptions& asked) : options(asked) {}

    const LoadOptions& options;
    SocketAddress address;
    Pattern pattern;
    Wakeup wakeup;  // signalled when one of the two counts below reaches 0
    std::atomic<LoadPhase> phase{LoadPhase::kOpening};
    std::atomic<uint32_t> channels_untried{0};
    std::atomic<uint32_t> channels_alive{0};
};

class LoadWorker {
 public:
    struct Failure {
        bool connecting;
        bool mismatch;
        std::string reason;
    };

    // Throws OperatingError.
    LoadWorker(LoadRun& run, uint32_t first_channel, uint32_t channels);
    LoadWorker(const LoadWorker&) = delete;
    LoadWorker& operator=(const LoadWorker&) = delete;
    // Callbacks end before what they use.
    ~LoadWorker() { port_.release(); }

    void start();
    // The run's phase has changed. Any thread.
    void kick() { control_.signal(); }
    // Ends the port. Channels that had not finished count as failed.
    void stop();

    // Live figures, for any thread; exact after stop.
    [[nodiscard]] uint64_t messages() const { return load(messages_); }
    [[nodiscard]] uint64_t bytes() const { return load(bytes_); }
    [[nodiscard]] uint64_t opened() const { return load(opened_); }
    [[nodiscard]] uint64_t failed() const { return load(failed_); }
    // After stop.
    [[nodiscard]] uint64_t mismatches() const { return mismatches_; }
    [[nodiscard]] const std::string& first_failure() const { return first_failure_; }
    [[nodiscard]] const LatencyHistogram& latency() const { return latency_; }

    // For channels, on the worker.
    [[nodiscard]] const LoadRun& run() const { return run_; }
    [[nodiscard]] int submit(const COMPLETION_PORT_OPERATION& operation) {
        return completion_port_submit(port_.get(), &operation, nullptr, nullptr);
    }
    void remove(int descriptor) { completion_port_remove(port_.get(), descriptor); }
    [[nodiscard]] LoadPhase phase() const { return phase_; }
    [[nodiscard]] int64_t message_interval_ns() const { return message_interval_ns_; }
    void schedule(int64_t due_ns, LoadChannel& channel);
    void count_message(int64_t latency_ns);
    void count_bytes(uint64_t bytes);
    void on_opened(LoadChannel& channel);
    void on_closed(LoadChannel& channel);
    void on_failed(LoadChannel& channel, const Failure& failure);

 private:
    struct Due {
        int64_t at_ns;
        LoadChannel* channel;
        bool operator>(const Due& other) const { return at_ns > other.at_ns; }
    };

    static uint64_t load(const std::atomic<uint64_t>& value) {
        return value.load(std::memory_order_relaxed);
    }
    // One writer, so a load and a store do.
    static void increase(std::atomic<uint64_t>& value, uint64_t amount) {
        value.store(load(value) + amount, std::memory_order_relaxed);
    }
    void on_control(const echo::Completion& completion);
    void on_timer(const echo::Completion& completion);
    void listen_to_control();
    void listen_to_timer();
    template <auto member>
    void listen_to(int descriptor, uint64_t& count);
    void follow_phase();
    void open_some();
    void serve_due();
    void set_timer();
    void tried(LoadChannel& channel);
    void lost();

    LoadRun& run_;
    Port port_;
    Wakeup control_;
    uint64_t control_count_ = 0;
    // Not a timer of the port: a millisecond is much in the latencies that are measured here.
    echo::Descriptor timer_;
    uint64_t timer_count_ = 0;
    LoadPhase phase_ = LoadPhase::kOpening;
    int64_t connect_interval_ns_ = 0;
    int64_t message_interval_ns_ = 0;
    int64_t next_open_ns_ = 0;
    int64_t timer_at_ns_ = 0;
    uint32_t connecting_ = 0;

    std::vector<std::unique_ptr<LoadChannel>> channels_;
    std::deque<LoadChannel*> to_open_;
    std::priority_queue<Due, std::vector<Due>, std::greater<>> due_;

    std::atomic<uint64_t> messages_{0};
    std::atomic<uint64_t> bytes_{0};
    std::atomic<uint64_t> opened_{0};
    std::atomic<uint64_t> failed_{0};
    uint64_t mismatches_ = 0;
    std::string first_failure_;
    LatencyHistogram latency_;
};

}  // namespace cport::programs
