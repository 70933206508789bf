#include "runtime/services/echo/shard.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <new>
#include <utility>

namespace cport::echo {
namespace {

constexpr uint64_t kNsPerSecond = 1'000'000'000;
constexpr uint64_t kBuffersMax = 1 << 20;

BufferPool make_pool(COMPLETION_PORT_HANDLE port, uint32_t bytes_min, uint32_t bytes_max,
                     uint64_t count_max) {
    COMPLETION_PORT_BUFFER_POOL_OPTIONS options{};
    options.size = sizeof(options);
    options.buffer_bytes = bytes_min;
    options.buffer_bytes_max = bytes_max;
    options.bytes_max = std::clamp<uint64_t>(count_max, 1, kBuffersMax) * bytes_min;
    return BufferPool(completion_port_buffer_pool_create(port, &options));
}

}  // namespace

uint64_t monotonic_ns() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<uint64_t>(now.tv_sec) * kNsPerSecond + static_cast<uint64_t>(now.tv_nsec);
}

Shard::Shard(COMPLETION_PORT_HANDLE port, Common& common, std::function<void()> on_ended)
    : port_(port), common_(common), on_ended_(std::move(on_ended)) {
    completion_port_inc_ref(port_);
}

Shard::~Shard() { completion_port_dec_ref(port_); }

int Shard::open() {
    commands_ = Descriptor(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    if (!commands_.valid() || !have_spare()) return -errno;
    buffers_ = make_pool(port_, kBufferBytesMin, kBufferBytesMax,
                         common_.buffer_bytes_max / kBufferBytesMin);
    if (buffers_ == nullptr) return -errno;
    last_buffers_ = make_pool(port_, kLastBufferBytes, kLastBufferBytes, common_.connections_max);
    return last_buffers_ == nullptr ? -errno : 0;
}

void Shard::add_listener(Descriptor socket) { listeners_.emplace_back(*this, std::move(socket)); }

uint64_t Shard::buffer_bytes() const {
    return static_cast<uint64_t>(completion_port_buffer_pool_in_use(buffers_.get()) +
                                 completion_port_buffer_pool_in_use(last_buffers_.get()));
}

int Shard::start(bool* runs) {
    command(Phase::kRunning);
    // The worker's first callback may come before the submission returns.
    hears_commands_ = true;
    part_begun();
    const int status = listen_to_commands();
    *runs = status == 0;
    if (!*runs) return status;
    begun_.wait();
    return begin_status_;
}

void Shard::command(Phase phase) {
    // Pairs with the acquire in on_command. A later, weaker command does not take back a stronger.
    Phase current = phase_.load(std::memory_order_relaxed);
    while (current < phase &&
           !phase_.compare_exchange_weak(current, phase, std::memory_order_release)) {
    }
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t bytes = write(commands_.get(), &one, sizeof(one));
}

int Shard::listen_to_commands() {
    auto receive = operation_of<COMPLETION_PORT_RECEIVE_OPERATION, &Shard::on_command>(
        COMPLETION_PORT_KIND_RECEIVE, commands_.get(), *this);
    receive.buffer = &commands_count_;
    receive.length = sizeof(commands_count_);
    return submit(receive.common);
}

void Shard::on_command(const Completion& completion) {
    hears_commands_ = false;
    // Not OK: the port ends, or this shard has no other part.
    const bool heard = completion.result == COMPLETION_PORT_RESULT_OK;
    obey(heard ? phase_.load(std::memory_order_acquire) : Phase::kAborting);
    if (!std::exchange(started_, true)) {
        begin_status_ = heard ? start_listeners() : -ESHUTDOWN;
        if (begin_status_ != 0) obey(Phase::kAborting);
        begun_.count_down();
    }
    const bool is_last = seen_ == Phase::kStopping && parts_ == 1;
    hears_commands_ = !is_last && listen_to_commands() == 0;
    if (hears_commands_) return;
    // No command would arrive any more.
    obey(Phase::kAborting);
    part_ended();
}

int Shard::start_listeners() {
    if (seen_ != Phase::kRunning) return -ECANCELED;
    for (Listener& listener : listeners_) {
        const int status = listener.start();
        if (status != 0) return status;
    }
    return 0;
}

void Shard::obey(Phase phase) {
    seen_ = std::max(seen_, phase);
    if (seen_ == Phase::kRunning) return;
    for (Listener& listener : listeners_) listener.stop();
    if (seen_ == Phase::kAborting) {
        for (Connection& connection : connections_) connection.stop();
    }
}

void Shard::part_ended() {
    --parts_;
    if (parts_ == 1 && hears_commands_ && seen_ != Phase::kRunning) {
        end_operations(commands_.get());
    } else if (parts_ == 0) {
        // The function outlives the shard, which its own call may free.
        const std::function<void()> on_ended = std::move(on_ended_);
        on_ended();
    }
}

int Shard::submit(const COMPLETION_PORT_OPERATION& operation, uint64_t* id) {
    if (seen_ == Phase::kAborting) return -ECANCELED;
    return completion_port_submit(port_, &operation, id, nullptr);
}

int Shard::submit_inline(COMPLETION_PORT_OPERATION& operation, Completion* completed) {
    if (seen_ == Phase::kAborting) return -ECANCELED;
    operation.flags = COMPLETION_PORT_FLAG_INLINE;
    return completion_port_submit(port_, &operation, nullptr, completed);
}

uint64_t Shard::idle_deadline_ns() const {
    return common_.idle_timeout_ns == 0 ? 0 : monotonic_ns() + common_.idle_timeout_ns;
}

void Shard::connect(Descriptor socket) {
    if (!have_spare() || seen_ == Phase::kAborting || !reserve_connection()) {
        counters_.refused.add(1);
        socket.reset();
        fill_spare();
        return;
    }
    try {
        connections_.emplace_front(*this, std::move(socket));
    } catch (const std::bad_alloc&) {
        // A server out of memory refuses, and goes on.
        common_.connections.fetch_sub(1, std::memory_order_relaxed);
        counters_.accept_failures.add(1);
        return;
    }
    counters_.accepted.add(1);
    counters_.active.add(1);
    part_begun();
    connections_.front().start(connections_.begin());
}

void Shard::disconnect(std::list<Connection>::iterator connection) {
    connections_.erase(connection);
    counters_.active.subtract(1);
    common_.connections.fetch_sub(1, std::memory_order_relaxed);
    // It may want the descriptor's number.
    fill_spare();
    for (Listener& listener : listeners_) listener.resume_if_parked();
    part_ended();
}

bool Shard::give_spare() {
    const bool given = spare_.valid();
    spare_.reset();
    return given;
}

void Shard::fill_spare() {
    if (!spare_.valid()) spare_ = Descriptor(::open("/dev/null", O_RDONLY | O_CLOEXEC));
}

bool Shard::have_spare() {
    fill_spare();
    return spare_.valid();
}

bool Shard::reserve_connection() {
    const bool room =
        common_.connections.fetch_add(1, std::memory_order_relaxed) < common_.connections_max;
    if (!room) common_.connections.fetch_sub(1, std::memory_order_relaxed);
    return room;
}

}  // namespace cport::echo
