#include "runtime/services/echo/listener.h"

#include <completionport/connections.h>
#include <completionport/timers.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "runtime/services/echo/shard.h"

namespace cport::echo {
namespace {

constexpr uint64_t kRetryNs = 100'000'000;
// What Linux queues at most, unless it was told otherwise; those that come while we look are new.
constexpr int kQueuedMax = 4096;

}  // namespace

Listener::Listener(Shard& shard, Descriptor socket) : shard_(shard), socket_(std::move(socket)) {}

int Listener::start() {
    const int status = accept();
    if (status == 0) shard_.part_begun();
    return status;
}

int Listener::accept() {
    auto accept = operation_of<COMPLETION_PORT_ACCEPT_OPERATION, &Listener::on_accepted>(
        COMPLETION_PORT_KIND_ACCEPT, socket_.get(), *this);
    accept.common.flags = COMPLETION_PORT_FLAG_MULTISHOT;
    accept.accept_flags = SOCK_NONBLOCK;
    return shard_.submit(accept.common);
}

void Listener::on_accepted(const Completion& completion) {
    if (completion.result == COMPLETION_PORT_RESULT_OK) {
        shard_.connect(Descriptor(static_cast<int>(completion.value)));
    }
    if ((completion.flags & COMPLETION_PORT_COMPLETION_MORE) != 0) return;
    const bool no_descriptor = completion.error == -EMFILE || completion.error == -ENFILE;
    if (!socket_.valid() || completion.result == COMPLETION_PORT_RESULT_ABANDONED) {
        shard_.part_ended();
    } else if (no_descriptor && shard_.give_spare()) {
        accept_or_retry();
    } else {
        shard_.count().accept_failures.add(1);
        retry_later();
    }
}

void Listener::accept_or_retry() {
    if (accept() != 0) retry_later();
}

void Listener::retry_later() {
    auto timer = operation_of<COMPLETION_PORT_TIMER_OPERATION, &Listener::on_retry>(
        COMPLETION_PORT_KIND_TIMER, 0, *this);
    timer.expires_ns = monotonic_ns() + kRetryNs;
    parked_ = shard_.submit(timer.common, &timer_) != 0;
}

void Listener::on_retry(const Completion& completion) {
    timer_ = 0;
    if (completion.result == COMPLETION_PORT_RESULT_OK && socket_.valid()) {
        accept_or_retry();
    } else {
        shard_.part_ended();
    }
}

void Listener::resume_if_parked() {
    if (std::exchange(parked_, false)) accept_or_retry();
}

void Listener::stop() {
    if (!socket_.valid()) return;
    shard_.end_operations(socket_.get());
    if (timer_ != 0) shard_.cancel(timer_);
    for (int i = 0; i < kQueuedMax && shard_.phase() == Phase::kStopping; ++i) {
        Descriptor connection(
            accept4(socket_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
        if (!connection.valid()) break;
        shard_.connect(std::move(connection));
    }
    socket_.reset();
    if (std::exchange(parked_, false)) shard_.part_ended();
}

}  // namespace cport::echo
