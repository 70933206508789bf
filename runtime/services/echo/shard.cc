#include "runtime/services/echo/shard.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "runtime/services/echo/connection.h"
#include "runtime/services/echo/listener.h"

namespace cport::echo {
namespace {

constexpr int64_t kListenerRetryNs = 100'000'000;
constexpr uint32_t kRetriesPerSweep = 10;

// Empties an eventfd or a timerfd; that it was empty already is no error.
void drain(const Descriptor& descriptor) {
    uint64_t count = 0;
    [[maybe_unused]] const ssize_t bytes = read(descriptor.get(), &count, sizeof(count));
}

}  // namespace

Shard::Shard(COMPLETION_PORT_HANDLE port, Common& common, std::function<void()> on_ended)
    : port_(port), common_(common), on_ended_(std::move(on_ended)) {
    completion_port_inc_ref(port_);
}

Shard::~Shard() { completion_port_dec_ref(port_); }

int Shard::open() {
    control_ = Descriptor(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    if (!control_.valid()) return -errno;
    timer_ = Descriptor(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
    if (!timer_.valid()) return -errno;
    spare_ = Descriptor(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    return spare_.valid() ? 0 : -errno;
}

void Shard::add_listener(Descriptor socket) {
    listeners_.push_back(std::make_unique<Listener>(*this, std::move(socket)));
}

int Shard::start(bool* runs) {
    *runs = false;
    command(Phase::kRunning);
    const int status = add_control();
    if (status != 0) return status;
    *runs = true;
    begun_.wait();
    return begin_status_;
}

void Shard::command(Phase phase) {
    // Pairs with the acquire in obey. A later, weaker command does not take back a stronger one.
    Phase current = phase_.load(std::memory_order_relaxed);
    while (current < phase &&
           !phase_.compare_exchange_weak(current, phase, std::memory_order_release)) {
    }
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t bytes = write(control_.get(), &one, sizeof(one));
}

int Shard::add(int descriptor, int operation, ON_COMPLETION_PORT_EVENT_COMPLETE callback,
               void* context, void* buffer, uint32_t length) {
    COMPLETION_PORT_INGRESS_DATA data{};
    data.epoll_op = operation;
    data.socket = descriptor;
    data.event_callback = callback;
    data.event_callback_ctx = context;
    data.buffer_data.buffer = buffer;
    data.buffer_data.length = length;
    // Counted first: the add of start runs on another thread than its callback.
    ++adds_pending_;
    const int status = completion_port_add(port_, &data);
    if (status != 0) --adds_pending_;
    return status;
}

void Shard::leave() {
    if (seen_ == Phase::kRunning || ended_) return;
    if (connections_ == nullptr) end_everything();
    if (adds_pending_ == 0) {
        ended_ = true;
        // The function outlives the shard, which its own call may free.
        const std::function<void()> on_ended = std::move(on_ended_);
        on_ended();
    }
}

int Shard::add_control() {
    control_pending_ = true;
    const int status = add(control_.get(), EPOLLIN, on_control, this, nullptr, 0);
    if (status != 0) control_pending_ = false;
    return status;
}

int Shard::add_timer() {
    const int status = add(timer_.get(), EPOLLIN, on_timer, this, nullptr, 0);
    timer_pending_ = status == 0;
    return status;
}

void Shard::on_control(void* context, COMPLETION_PORT_EPOLL_ACTION action,
                       COMPLETION_PORT_RESULT result, int32_t /*amount*/) {
    auto& self = *static_cast<Shard*>(context);
    self.enter();
    self.control_pending_ = false;
    if (result != COMPLETION_PORT_RESULT_OK) {
        // The port ends, or this shard removed its own descriptor at its end.
        self.seen_ = Phase::kAborting;
        if (!self.started_) {
            self.started_ = true;
            self.begin_status_ = action == COMPLETION_PORT_CLOSING ? -ESHUTDOWN : -EIO;
            self.begun_.count_down();
        }
        self.obey();
        self.leave();
        return;
    }
    drain(self.control_);
    if (!self.started_) self.begin();
    self.obey();
    if ((self.seen_ == Phase::kRunning || self.connections_ != nullptr) &&
        self.add_control() != 0) {
        // Without it no command would arrive any more.
        self.seen_ = Phase::kAborting;
        self.obey();
    }
    self.leave();
}

void Shard::begin() {
    started_ = true;
    begin_status_ = add_timer();
    for (const auto& listener : listeners_) {
        if (begin_status_ == 0) begin_status_ = listener->start();
    }
    if (begin_status_ != 0) seen_ = Phase::kAborting;
    begun_.count_down();
}

void Shard::obey() {
    const Phase wanted = phase_.load(std::memory_order_acquire);
    if (wanted > seen_) seen_ = wanted;
    if (seen_ == Phase::kRunning) return;
    for (const auto& listener : listeners_) {
        if (seen_ == Phase::kStopping) listener->take_backlog();
        listener->end();
    }
    if (seen_ == Phase::kAborting) {
        for (Connection* connection = connections_; connection != nullptr;
             connection = connection->next()) {
            connection->end(CloseReason::kStopped);
        }
    }
}

// Listeners were told already; what is left are the shard's own two descriptors.
void Shard::end_everything() {
    if (control_pending_) {
        control_pending_ = false;
        remove(control_.get());
    }
    if (timer_pending_) {
        timer_pending_ = false;
        remove(timer_.get());
    }
}

void Shard::on_timer(void* context, COMPLETION_PORT_EPOLL_ACTION /*action*/,
                     COMPLETION_PORT_RESULT result, int32_t /*amount*/) {
    auto& self = *static_cast<Shard*>(context);
    self.enter();
    self.timer_pending_ = false;
    if (result == COMPLETION_PORT_RESULT_OK) {
        drain(self.timer_);
        const bool retry = std::exchange(self.retry_soon_, false);
        self.retries_ = retry ? self.retries_ + 1 : 0;
        if (self.seen_ == Phase::kRunning) {
            for (const auto& listener : self.listeners_) listener->retry();
        }
        if (self.retries_ % kRetriesPerSweep == 0) self.sweep();
        self.keep_timer();
    }
    self.leave();
}

// An add that fails, for want of memory, is tried again when a connection ends.
void Shard::keep_timer() {
    const bool needed = seen_ == Phase::kRunning || connections_ != nullptr;
    if (!timer_pending_ && needed && add_timer() == 0) set_timer();
}

void Shard::set_timer() {
    itimerspec when{};
    if (retry_soon_) {
        when.it_value.tv_nsec = kListenerRetryNs;
    } else if (connections_ != nullptr) {
        when.it_value.tv_sec = 1;
    }
    timerfd_settime(timer_.get(), 0, &when, nullptr);
}

void Shard::retry_listeners_soon() {
    if (!retry_soon_) {
        retry_soon_ = true;
        set_timer();
    }
}

void Shard::sweep() {
    ++tick_s_;
    refill_spare();
    for (Connection* connection = connections_; connection != nullptr;
         connection = connection->next()) {
        connection->sweep(common_.idle_timeout_s);
    }
}

void Shard::refill_spare() {
    if (!spare_.valid()) spare_ = Descriptor(::open("/dev/null", O_RDONLY | O_CLOEXEC));
}

bool Shard::reserve_connection() {
    if (common_.connections.fetch_add(1, std::memory_order_relaxed) < common_.connections_max) {
        return true;
    }
    unreserve_connection();
    return false;
}

void Shard::unreserve_connection() { common_.connections.fetch_sub(1, std::memory_order_relaxed); }

void Shard::link(Connection& connection) {
    const bool first = connections_ == nullptr;
    connection.link_before(connections_);
    connections_ = &connection;
    counters_.active.add(1);
    if (first) set_timer();
}

void Shard::unlink(Connection& connection) {
    if (connections_ == &connection) connections_ = connection.next();
    connection.unlink();
    counters_.active.subtract(1);
    unreserve_connection();
    refill_spare();
    keep_timer();
}

}  // namespace cport::echo
