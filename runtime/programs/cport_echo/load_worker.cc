#include "runtime/programs/cport_echo/load_worker.h"

#include <fmt/format.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <cerrno>
#include <limits>

#include "runtime/programs/common/errors.h"

namespace cport::programs {
namespace {

constexpr int64_t kNsPerSecond = 1'000'000'000;
// Connects under way at a time: more would overflow a server's backlog and wait for a
// retransmission.
constexpr uint32_t kConnectingMax = 64;
constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

}  // namespace

LoadWorker::LoadWorker(LoadRun& run, uint32_t first_channel, uint32_t channels)
    : run_(run), timer_(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)) {
    if (!timer_.valid()) {
        throw OperatingError(fmt::format("cannot make a timer: {}", error_text(errno)));
    }
    const LoadOptions& options = run.options;
    if (options.connect_rate > 0) {
        connect_interval_ns_ =
            static_cast<int64_t>(1e9 * options.connections / (options.connect_rate * channels));
    }
    if (options.message_rate > 0) {
        message_interval_ns_ = std::max<int64_t>(
            static_cast<int64_t>(1e9 * options.connections / options.message_rate), 1);
    }
    channels_.reserve(channels);
    for (uint32_t i = 0; i < channels; ++i) {
        channels_.push_back(std::make_unique<LoadChannel>(*this, first_channel + i));
        to_open_.push_back(channels_.back().get());
    }
}

void LoadWorker::start() {
    listen_to_timer();
    control_.signal();
    listen_to_control();
}

void LoadWorker::stop() {
    port_.release();
    for (const auto& channel : channels_) {
        if (channel->unfinished()) {
            increase(failed_, 1);
            if (first_failure_.empty()) {
                first_failure_ = fmt::format("connection {}: {} messages did not come back in time",
                                             channel->index(), channel->in_flight());
            }
        }
    }
}

// Without its two sources a worker is deaf. Receiving needs memory only, so that is what is out.
template <auto member>
void LoadWorker::listen_to(int descriptor, uint64_t& count) {
    auto receive = echo::operation_of<COMPLETION_PORT_RECEIVE_OPERATION, member>(
        COMPLETION_PORT_KIND_RECEIVE, descriptor, *this);
    receive.buffer = &count;
    receive.length = sizeof(count);
    const int status = submit(receive.common);
    if (status != 0 && status != -ESHUTDOWN && first_failure_.empty()) {
        first_failure_ = fmt::format("the port refused a timer: {}", error_text(-status));
    }
}

void LoadWorker::listen_to_control() {
    listen_to<&LoadWorker::on_control>(control_.descriptor(), control_count_);
}

void LoadWorker::listen_to_timer() { listen_to<&LoadWorker::on_timer>(timer_.get(), timer_count_); }

void LoadWorker::on_control(const echo::Completion& completion) {
    if (completion.result != COMPLETION_PORT_RESULT_OK) return;
    follow_phase();
    open_some();
    set_timer();
    listen_to_control();
}

void LoadWorker::on_timer(const echo::Completion& completion) {
    if (completion.result != COMPLETION_PORT_RESULT_OK) return;
    timer_at_ns_ = 0;
    serve_due();
    open_some();
    set_timer();
    listen_to_timer();
}

void LoadWorker::follow_phase() {
    // Pairs with the release of the main thread.
    const LoadPhase wanted = run_.phase.load(std::memory_order_acquire);
    if (wanted == phase_) return;
    phase_ = wanted;
    if (phase_ == LoadPhase::kMeasuring) {
        messages_.store(0, std::memory_order_relaxed);
        bytes_.store(0, std::memory_order_relaxed);
        latency_.clear();
        return;
    }
    for (LoadChannel* channel : to_open_) {
        tried(*channel);
        lost();
    }
    to_open_.clear();
    for (const auto& channel : channels_) channel->finish();
}

void LoadWorker::open_some() {
    const int64_t now_ns = monotonic_ns();
    if (next_open_ns_ == 0) next_open_ns_ = now_ns;
    while (!to_open_.empty() && connecting_ < kConnectingMax && next_open_ns_ <= now_ns) {
        LoadChannel* channel = to_open_.front();
        to_open_.pop_front();
        ++connecting_;
        next_open_ns_ += connect_interval_ns_;
        channel->open();
    }
}

void LoadWorker::schedule(int64_t due_ns, LoadChannel& channel) {
    due_.push({due_ns, &channel});
    set_timer();
}

void LoadWorker::serve_due() {
    const int64_t now_ns = monotonic_ns();
    // Channels put themselves back while this runs, with later times than now.
    while (!due_.empty() && due_.top().at_ns <= now_ns) {
        LoadChannel* channel = due_.top().channel;
        due_.pop();
        channel->on_due(now_ns);
    }
}

void LoadWorker::set_timer() {
    int64_t at_ns = due_.empty() ? kNever : due_.top().at_ns;
    if (!to_open_.empty() && connecting_ < kConnectingMax) at_ns = std::min(at_ns, next_open_ns_);
    // An earlier expiry that is no longer wanted costs one wake, less than setting it anew each
    // time.
    if (at_ns == kNever || (timer_at_ns_ != 0 && timer_at_ns_ <= at_ns)) return;
    timer_at_ns_ = at_ns;
    itimerspec when{};
    when.it_value.tv_sec = at_ns / kNsPerSecond;
    when.it_value.tv_nsec = at_ns % kNsPerSecond;
    timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &when, nullptr);
}

void LoadWorker::count_message(int64_t latency_ns) {
    if (phase_ == LoadPhase::kMeasuring) {
        increase(messages_, 1);
        latency_.record(latency_ns);
    }
}

void LoadWorker::count_bytes(uint64_t bytes) {
    if (phase_ == LoadPhase::kMeasuring) increase(bytes_, bytes);
}

void LoadWorker::on_opened(LoadChannel& channel) {
    increase(opened_, 1);
    --connecting_;
    tried(channel);
    open_some();
    set_timer();
}

void LoadWorker::on_closed(LoadChannel& channel) {
    if (phase_ == LoadPhase::kFinishing) {
        lost();
        return;
    }
    to_open_.push_back(&channel);
    open_some();
    set_timer();
}

void LoadWorker::on_failed(LoadChannel& channel, const Failure& failure) {
    increase(failed_, 1);
    mismatches_ += failure.mismatch ? 1 : 0;
    if (first_failure_.empty()) {
        first_failure_ = fmt::format("connection {}: {}", channel.index(), failure.reason);
    }
    if (failure.connecting) {
        --connecting_;
        tried(channel);
        // The next one opens from a callback of its own: this may be the loop that opens.
        control_.signal();
    }
    lost();
}

void LoadWorker::tried(LoadChannel& channel) {
    if (!channel.tried()) {
        channel.set_tried();
        if (run_.channels_untried.fetch_sub(1, std::memory_order_acq_rel) == 1) {
            run_.wakeup.signal();
        }
    }
}

void LoadWorker::lost() {
    if (run_.channels_alive.fetch_sub(1, std::memory_order_acq_rel) == 1) run_.wakeup.signal();
}

}  // namespace cport::programs
