// What stats.h asks of the port, and what it says of itself.
#include <algorithm>
#include <cerrno>

#include "runtime/port/port.h"

namespace cport {
namespace {

const char* name_of_engine(uint32_t engine) {
    return engine == COMPLETION_PORT_ENGINE_EPOLL ? "epoll" : "io_uring";
}

const char* text_of_reason(uint32_t reason) {
    switch (reason) {
        case COMPLETION_PORT_ENGINE_REASON_ASKED:
            return "asked for";
        case COMPLETION_PORT_ENGINE_REASON_DEFAULT:
            return "default";
        case COMPLETION_PORT_ENGINE_REASON_TABLE:
            return "best here";
        case COMPLETION_PORT_ENGINE_REASON_NO_KERNEL:
            return "the kernel has no io_uring";
        case COMPLETION_PORT_ENGINE_REASON_DENIED:
            return "io_uring is denied";
        case COMPLETION_PORT_ENGINE_REASON_NO_FEATURE:
            return "io_uring lacks a feature here";
        case COMPLETION_PORT_ENGINE_REASON_NO_MEMORY:
            return "no memory for io_uring";
        case COMPLETION_PORT_ENGINE_REASON_CALLER_DRIVEN:
            return "io_uring is for ports with threads";
        default:
            return "unknown";
    }
}

// Why there is no ring, by what its creation said.
uint32_t reason_of(int error) {
    switch (error) {
        case -ENOSYS:
            return COMPLETION_PORT_ENGINE_REASON_NO_KERNEL;
        case -EPERM:
            return COMPLETION_PORT_ENGINE_REASON_DENIED;
        case -ENOMEM:
        case -EMFILE:
        case -ENFILE:
            return COMPLETION_PORT_ENGINE_REASON_NO_MEMORY;
        default:
            return COMPLETION_PORT_ENGINE_REASON_NO_FEATURE;
    }
}

}  // namespace

int Port::open_workers() {
    for (uint32_t i = 0; i < worker_count_; ++i) {
        const int error = workers_[i].open();
        if (error != 0) return error;
    }
    if (engine_ != COMPLETION_PORT_ENGINE_IO_URING) return 0;
    int error = 0;
    for (uint32_t i = 0; error == 0 && i < worker_count_; ++i) {
        error = workers_[i].open_ring(platform_.rings);
    }
    if (error == 0) return 0;
    // All of them or none.
    for (uint32_t i = 0; i < worker_count_; ++i) workers_[i].give_up_ring();
    engine_ = COMPLETION_PORT_ENGINE_EPOLL;
    engine_reason_ = reason_of(error);
    return 0;
}

void Port::log_created() const {
    log_.write(COMPLETION_PORT_LOG_INFO, "created: engine %s (%s), %u workers%s",
               name_of_engine(engine_), text_of_reason(engine_reason_), worker_count_,
               caller_driven_ ? ", driven by callers" : "");
}

void Port::add_stats_of(uint32_t worker, COMPLETION_PORT_WORKER_STATS& stats) const {
    Worker& its = workers_[worker];
    if (is_current(its)) its.publish();
    its.add_to(stats);
    stats.slots_free =
        stats.operations_max - std::min(stats.operations_max, stats.operations_pending);
}

int Port::worker_stats(uint32_t worker, COMPLETION_PORT_WORKER_STATS& stats) const {
    if (forked()) return -EPERM;
    if (worker >= worker_count_) return -EINVAL;
    add_stats_of(worker, stats);
    return 0;
}

int Port::stats(COMPLETION_PORT_STATS& stats) {
    if (forked()) return -EPERM;
    stats.workers = worker_count_;
    stats.engine = engine_;
    stats.engine_reason = engine_reason_;
    const CompletionQueue::Counts records = results_.counts();
    stats.records_queued = records.pushed;
    stats.records_waiting = records.waiting;
    stats.waiters_running = records.running;
    stats.sockets = placement_.sockets();
    stats.sockets_refused = placement_.refused();
    for (uint32_t i = 0; i < worker_count_; ++i) add_stats_of(i, stats.total);
    return 0;
}

}  // namespace cport
