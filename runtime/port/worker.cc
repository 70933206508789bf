#include "runtime/port/worker.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "runtime/check.h"
#include "runtime/port/worker_homes.h"

namespace cport {
namespace {

constexpr int64_t kSweepPeriod_ns = Worker::kIdleWait_ns;

// Within the library's first-load thread block, so that the look costs one instruction.
[[gnu::tls_model("initial-exec")]] thread_local constinit Worker* current_worker = nullptr;

}  // namespace

Worker::Worker(const platform::Platform& platform, uint32_t number, void* its_port,
               DescriptorTable& table, CompletionQueue& results, const PortOptions& options)
    : port(its_port),
      kernel_(platform.kernel),
      clock_(platform.clock),
      spin_ns_(options.spin_ns),
      idle_wait_ns_(options.idle_wait_ns == 0 ? kIdleWait_ns : options.idle_wait_ns),
      log_(options, number),
      home_(home_of_worker(platform, options, number)),
      slab_(platform.memory, options.operations_max == 0 ? Slab::kSlotsMax : options.operations_max,
            number, &log_, home_),
      engine_(platform.kernel),
      ring_(engine_),
      owner_(static_cast<uint8_t>(number + 1), platform.kernel, engine_, table, slab_, completed_,
             platform.clock.now_ns(), &log_),
      sources_(platform.memory, engine_, completed_),
      results_(results),
      mail_max_(options.mailbox_max) {
    const char* base = options.name_or_default();
    if (options.workers == 1) {
        std::snprintf(name_.data(), name_.size(), "%s", base);
    } else {
        std::snprintf(name_.data(), name_.size(), "%s-%u", base, number);
    }
}

int Worker::open_ring(platform::Rings* rings) {
    const int error = ring_.open(rings);
    if (error == 0) owner_.use(&ring_);
    return error;
}

void Worker::give_up_ring() {
    owner_.use(nullptr);
    ring_.close();
}

Worker::Turn::Turn(Worker& worker) : previous_(current_worker) {
    current_worker = &worker;
    worker.errno_ = &errno;
}

Worker::Turn::~Turn() { current_worker = previous_; }

Worker* Worker::current() { return current_worker; }

bool Worker::reserve_limited_mail() {
    uint32_t reserved = mail_reserved_.load(std::memory_order_relaxed);
    while (reserved < mail_max_) {
        if (mail_reserved_.compare_exchange_weak(reserved, reserved + 1,
                                                 std::memory_order_relaxed)) {
            return true;
        }
    }
    mail_refused_.fetch_add(1, std::memory_order_relaxed);
    return false;
}

bool Worker::post(Task& task) {
    switch (mailbox_.post(&task)) {
        case Mailbox::Posted::kClosed:
            return false;
        case Mailbox::Posted::kQueuedForSleeper:
            engine_.wake();
            return true;
        case Mailbox::Posted::kQueued:
            break;
    }
    return true;
}

void Worker::run() {
    swept_at_ns_ = clock_.now_ns();
    while (step()) wait_for_kernel();
}

void Worker::doze() {
    const bool has_work = longest_sleep_ns() == 0;
    if (mailbox_.fall_asleep() && !has_work) return;
    // Nobody was told of it.
    mailbox_.owe_wake();
    engine_.wake();
}

bool Worker::step() {
    take_mail();
    run_round();
    if (!has_ended()) return true;
    // A thread whose task was run may still be signalling that there is one.
    engine_.await_wakes(mailbox_.wakes_owed());
    return false;
}

bool Worker::has_ended() {
    return ending_ && completed_.empty() && !owner_.removal_waits() && !owner_.has_files_away() &&
           mailbox_.close();
}

void Worker::take_mail() {
    Task* task = mailbox_.take();
    if (task == nullptr) return;
    uint64_t messages = 0;
    const uint64_t slots_before = mail_slots_;
    while (task != nullptr) {
        Task* next = task->next;
        ++messages;
        if (has_slot(task->kind)) ++mail_slots_;
        receive_task(*task);
        task = next;
    }
    give_back_mail(static_cast<uint32_t>(mail_slots_ - slots_before));
    counters_.count_mail(messages);
}

void Worker::receive_task(Task& task) {
    switch (task.kind) {
        case TaskKind::kAdd:
        case TaskKind::kSubmission:
            owner_.arrive(static_cast<Operation&>(task));
            break;
        case TaskKind::kFile:
            owner_.arrive_file(static_cast<Operation&>(task));
            break;
        case TaskKind::kFileDone:
            owner_.file_done(static_cast<Operation&>(task));
            break;
        case TaskKind::kTimer:
            owner_.accept_timer(static_cast<Operation&>(task));
            break;
        case TaskKind::kPost:
            completed_.push(&task);
            break;
        case TaskKind::kCancel: {
            auto& operation = static_cast<Operation&>(task);
            owner_.cancel(operation.argument);
            slab_.release_as_owner(&operation);
            break;
        }
        case TaskKind::kMove: {
            auto& operation = static_cast<Operation&>(task);
            owner_.move_timer(operation.argument, operation.amount);
            slab_.release_as_owner(&operation);
            break;
        }
        case TaskKind::kRemoval:
        case TaskKind::kClosing:
            owner_.end_socket(*static_cast<Operation&>(task).socket, task);
            break;
        case TaskKind::kRemoveWaiter:
            owner_.end_socket(static_cast<RemoveWaiter&>(task).socket, task);
            break;
        case TaskKind::kSocketNotice: {
            auto& socket = static_cast<Socket&>(task);
            // Before the generation is read: a later notice is posted afresh. Pairs with the
            // exchange of the thread that posts.
            socket.notice_posted.exchange(false, std::memory_order_acq_rel);
            owner_.catch_up(socket);
            break;
        }
        case TaskKind::kSource:
        case TaskKind::kSourceNotice:
        case TaskKind::kDetachWaiter:
            receive_source(task);
            break;
        case TaskKind::kPlaceNotice:
            // Its driver looks at the records after every step. Pairs with the exchange of the
            // thread that posts: a later notice is posted afresh.
            static_cast<PlaceNotice&>(task).posted.exchange(false, std::memory_order_acq_rel);
            break;
        case TaskKind::kPortEnd:
            ending_ = true;
            owner_.end_all();
            sources_.end_all();
            break;
    }
}

void Worker::receive_source(Task& task) {
    if (task.kind == TaskKind::kSource) {
        sources_.begin(static_cast<SourceMessage&>(task).source);
    } else if (task.kind == TaskKind::kSourceNotice) {
        sources_.hear(static_cast<Source&>(task));
    } else {
        // Behind the callback that it waits for.
        sources_.hear_detach(static_cast<DetachWaiter&>(task));
        completed_.push(&task);
    }
}

void Worker::run_round() {
    timers_due_ = owner_.has_deadlines() && owner_.expire(clock_.now_ns(), kRoundCompletionsMax);
    if (sources_.has_ready() || sources_.has_polled()) sources_.run_round();
    // What a round leaves, the next one finds.
    counters_.note_run_list(completed_.pushed() - ran_);
    owner_.begin_round();
    run_tasks();
    counters_.count_round();
    publish();
}

void Worker::run_tasks() {
    const uint64_t last = ran_ + kRoundCompletionsMax;
    int steps = 0;
    for (;;) {
        const bool sockets_turn = completed_.empty() || ran_ >= sockets_turn_at_;
        if (sockets_turn && owner_.has_ready()) {
            // Then it is theirs first thing in the next round.
            if (steps == kRoundCompletionsMax || owner_.has_moved_enough()) return;
            ++steps;
            owner_.advance_next();
            sockets_turn_at_ = completed_.pushed();
        } else if (!completed_.empty() && ran_ != last) {
            ++ran_;
            run_completed(*completed_.pop());
        } else {
            return;
        }
    }
}

void Worker::publish() {
    const int64_t at_worker = slab_.held_by_owner() + static_cast<int64_t>(mail_slots_ - queued_);
    counters_.publish(static_cast<uint64_t>(at_worker), owner_.deadlines(), owner_.renewals());
    ring_.publish();
}

void Worker::add_to(COMPLETION_PORT_WORKER_STATS& stats) const {
    counters_.add_to(stats);
    stats.wakes += engine_.wakes();
    stats.mail_refused += mail_refused_.load(std::memory_order_relaxed);
    stats.ring_requests += ring_.requests();
    stats.ring_enters += ring_.enters();
    stats.operations_max += slab_.slots_max();
    stats.slots_allocated += slab_.slots_allocated();
    stats.slots_refused_limit += log_.refused_by_limit();
    stats.slots_refused_memory += log_.refused_for_memory();
}

void Worker::run_completed(Task& task) {
    // Nearly always.
    if (task.kind == TaskKind::kAdd) {
        run_callback(static_cast<Operation&>(task));
    } else if (task.kind == TaskKind::kSubmission) {
        run_record(static_cast<Operation&>(task));
    } else {
        run_other(task);
    }
}

void Worker::run_other(Task& task) {
    switch (task.kind) {
        case TaskKind::kTimer:
        case TaskKind::kPost:
            run_record(static_cast<Operation&>(task));
            break;
        case TaskKind::kRemoval:
            run_removed(static_cast<Operation&>(task));
            break;
        case TaskKind::kClosing:
            run_closing(static_cast<Operation&>(task));
            break;
        case TaskKind::kRemoveWaiter:
            run_waiter(static_cast<RemoveWaiter&>(task));
            break;
        case TaskKind::kSource:
            sources_.run_detached(static_cast<SourceMessage&>(task).source);
            break;
        case TaskKind::kDetachWaiter:
            static_cast<DetachWaiter&>(task).signal(kernel_);
            break;
        case TaskKind::kAdd:
        case TaskKind::kSubmission:
        case TaskKind::kFile:
        case TaskKind::kFileDone:
        case TaskKind::kSourceNotice:
        case TaskKind::kCancel:
        case TaskKind::kMove:
        case TaskKind::kSocketNotice:
        case TaskKind::kPlaceNotice:
        case TaskKind::kPortEnd:
            break;
    }
}

void Worker::count_pooled(const Operation& operation) {
    if (operation.buffer != nullptr) {
        counters_.count_pool_buffer(static_cast<uint64_t>(operation.amount));
    } else if (operation.error == ENOBUFS) {
        counters_.count_pool_drop();
    }
}

void Worker::run_record(Operation& operation) {
    if (operation.record_kind == COMPLETION_PORT_KIND_RECEIVE_POOLED) count_pooled(operation);
    const ON_COMPLETION_PORT_COMPLETION on_record = operation.on_record;
    if (on_record == nullptr) {
        counters_.count_queued(operation.record_kind, operation.result);
        ++queued_;
        // The queue is closed when the workers have ended, so it takes this one.
        CPORT_CHECK(results_.push(operation));
        return;
    }
    COMPLETION_PORT_COMPLETION record;
    operation.write_record(record);
    counters_.count_callback(operation.record_kind, operation.result);
    *errno_ = operation.error;
    slab_.release_as_owner(&operation);
    on_record(record.context, &record);
}

void Worker::run_callback(Operation& operation) {
    const ON_COMPLETION_PORT_EVENT_COMPLETE on_complete = operation.on_complete;
    void* const context = operation.context;
    const COMPLETION_PORT_EPOLL_ACTION action =
        static_cast<COMPLETION_PORT_EPOLL_ACTION>(operation.action);
    const COMPLETION_PORT_RESULT result = static_cast<COMPLETION_PORT_RESULT>(operation.result);
    const auto amount = static_cast<int32_t>(operation.amount);
    counters_.count_callback(0, operation.result);
    *errno_ = operation.error;
    // First, so that an add in the callback finds this slot, still warm.
    slab_.release_as_owner(&operation);
    on_complete(context, action, result, amount);
}

void Worker::run_waiter(RemoveWaiter& waiter) {
    waiter.socket.word.fetch_sub(waiter.counted, std::memory_order_acq_rel);
    waiter.signal(kernel_);
}

void Worker::run_removed(Operation& removal) {
    const ON_COMPLETION_PORT_REMOVED on_removed = removal.on_removed;
    void* const context = removal.context;
    Socket& socket = *removal.socket;
    counters_.count_removed();
    slab_.release_as_owner(&removal);
    socket.word.fetch_and(~SocketWord::kRemoving, std::memory_order_acq_rel);
    on_removed(context, socket.descriptor);
}

void Worker::run_closing(Operation& closing) {
    Socket& socket = *closing.socket;
    // First: from the close on, the number may be another's, who may add to it.
    socket.word.fetch_and(~SocketWord::kRemoving, std::memory_order_acq_rel);
    const int error = kernel_.close(socket.descriptor);
    // Linux has closed the descriptor even where it was interrupted.
    const bool closed = error == 0 || error == -EINTR;
    closing.complete(COMPLETION_PORT_CLOSING,
                     closed ? COMPLETION_PORT_RESULT_OK : COMPLETION_PORT_RESULT_ERROR, 0,
                     closed ? 0 : -error);
    run_record(closing);
}

int64_t Worker::longest_sleep_ns() {
    if (mailbox_.has_mail() || !completed_.empty() || owner_.has_ready() || sources_.has_ready() ||
        timers_due_) {
        return 0;
    }
    if (!owner_.has_deadlines()) return idle_wait_ns_;
    const int64_t left_ns = std::max<int64_t>(owner_.next_deadline_ns() - clock_.now_ns(), 0);
    return idle_wait_ns_ < 0 ? left_ns : std::min(idle_wait_ns_, left_ns);
}

int64_t Worker::spin(int64_t longest_ns) {
    const int64_t start_ns = clock_.now_ns();
    const int64_t span_ns = longest_ns < 0 ? spin_ns_ : std::min(longest_ns, spin_ns_);
    int64_t spent_ns = 0;
    do {
        if (mailbox_.has_mail() || look_at_kernel(0) > 0) return 0;
        if (sources_.has_polled() && sources_bring_work()) return 0;
        spent_ns = clock_.now_ns() - start_ns;
    } while (spent_ns < span_ns);
    return longest_ns < 0 ? longest_ns : std::max<int64_t>(longest_ns - spent_ns, 0);
}

int Worker::look_at_kernel(int64_t timeout_ns) {
    struct EdgeSink {
        Worker& worker;
        void operator()(const Edge& edge) const { worker.on_edge(edge); }
        void announce(const Edge& edge) const { worker.owner_.announce(edge); }
        void announce_again(const Edge& edge) const { worker.owner_.announce_again(edge); }
    };
    const EdgeSink edge_sink{*this};
    const auto result_sink = [this](uint64_t name, int32_t result) {
        owner_.on_result(name, result);
    };
    const int count = ring_.is_open() ? ring_.wait(timeout_ns, edge_sink, result_sink)
                                      : engine_.wait(timeout_ns, edge_sink);
    if (count > 0) {
        counters_.count_batch(count);
    } else if (count < 0 && count != -EINTR) {
        log_.wait_failed(count);
    }
    return count;
}

void Worker::on_edge(const Edge& edge) {
    if (edge.of_source()) [[unlikely]] {
        sources_.on_edge(edge);
    } else {
        owner_.on_edge(edge);
    }
}

bool Worker::sources_bring_work() {
    const bool items = sources_.run_round();
    return items || longest_sleep_ns() == 0;
}

int64_t Worker::sleep_within(int64_t limit_ns) {
    const int64_t longest_ns = longest_sleep_ns();
    if (limit_ns < 0) return longest_ns;
    return longest_ns < 0 ? limit_ns : std::min(longest_ns, limit_ns);
}

void Worker::wait_for_kernel(int64_t limit_ns) {
    int64_t longest_ns = sleep_within(limit_ns);
    const bool spins = spin_ns_ > 0 && longest_ns != 0;
    if (spins) longest_ns = spin(longest_ns);
    if (longest_ns != 0 && sources_.has_polled()) {
        sources_.rest_polled();
        // Their callbacks may have left work, or timers.
        longest_ns = sleep_within(limit_ns);
    }
    if (longest_ns != 0) slab_.rest_as_owner();
    const bool sleeps = longest_ns != 0 && mailbox_.fall_asleep();
    if (sleeps) counters_.count_sleep();
    if (sleeps || !spins) look_at_kernel(sleeps ? longest_ns : 0);
    // Sweeping never causes a wake of its own. A port that never sleeps looks at the clock rarely.
    if (!sleeps && ++rounds_awake_ % kSweepLookRounds != 0) return;
    const int64_t now_ns = clock_.now_ns();
    if (now_ns - swept_at_ns_ < kSweepPeriod_ns) return;
    swept_at_ns_ = now_ns;
    counters_.count_sweep();
    owner_.sweep();
    log_.end_period();
}

}  // namespace cport
