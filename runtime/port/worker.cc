#include "runtime/port/worker.h"

#include <cerrno>

namespace cport {
namespace {

constexpr int64_t kSweepPeriod_ns = int64_t{Worker::kIdleWait_ms} * 1'000'000;

// Within the library's first-load thread block, so that the look costs one instruction.
[[gnu::tls_model("initial-exec")]] thread_local constinit Worker* current_worker = nullptr;

}  // namespace

Worker::Worker(const platform::Platform& platform, DescriptorTable& table)
    : kernel_(platform.kernel),
      clock_(platform.clock),
      engine_(platform.kernel),
      owner_(platform.kernel, engine_, table, completed_),
      slab_(platform.memory) {}

Worker* Worker::current() { return current_worker; }

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
    current_worker = this;
    swept_at_ns_ = clock_.now_ns();
    for (;;) {
        take_mail();
        run_round();
        if (has_ended()) break;
        wait_for_kernel();
    }
    // A thread whose task was run may still be signalling that there is one.
    engine_.await_wakes(mailbox_.wakes_owed());
    current_worker = nullptr;
}

bool Worker::has_ended() {
    return ending_ && completed_.empty() && !owner_.removal_waits() && mailbox_.close();
}

void Worker::take_mail() {
    for (Task* task = mailbox_.take(); task != nullptr;) {
        Task* next = task->next;
        receive_task(*task);
        task = next;
    }
}

void Worker::receive_task(Task& task) {
    switch (task.kind) {
        case TaskKind::kOperation:
            owner_.arrive(static_cast<Operation&>(task));
            break;
        case TaskKind::kRemoval:
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
        case TaskKind::kPortEnd:
            ending_ = true;
            owner_.end_all();
            break;
    }
}

void Worker::run_round() {
    int completions = 0;
    int steps = 0;
    for (;;) {
        if (!completed_.empty()) {
            if (completions++ == kRoundCompletionsMax) return;
            run_completed(*completed_.pop());
        } else if (owner_.has_ready() && steps++ < kRoundCompletionsMax) {
            owner_.advance_next();
        } else {
            return;
        }
    }
}

void Worker::run_completed(Task& task) {
    switch (task.kind) {
        case TaskKind::kOperation:
            run_callback(static_cast<Operation&>(task));
            break;
        case TaskKind::kRemoval:
            run_removed(static_cast<Operation&>(task));
            break;
        case TaskKind::kRemoveWaiter:
            run_waiter(static_cast<RemoveWaiter&>(task));
            break;
        case TaskKind::kSocketNotice:
        case TaskKind::kPortEnd:
            break;
    }
}

void Worker::run_callback(Operation& operation) {
    const ON_COMPLETION_PORT_EVENT_COMPLETE on_complete = operation.on_complete;
    void* const context = operation.context;
    const COMPLETION_PORT_EPOLL_ACTION action = operation.action;
    const COMPLETION_PORT_RESULT result = operation.result;
    const int32_t amount = operation.amount;
    errno = operation.error;
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
    slab_.release_as_owner(&removal);
    socket.word.fetch_and(~SocketWord::kRemoving, std::memory_order_acq_rel);
    on_removed(context, socket.descriptor);
}

void Worker::wait_for_kernel() {
    const bool busy = !completed_.empty() || owner_.has_ready();
    const bool sleeps = !busy && mailbox_.fall_asleep();
    engine_.wait(sleeps ? kIdleWait_ms : 0, [this](const Edge& edge) { owner_.on_edge(edge); });
    // Sweeping never causes a wake of its own. A port that never sleeps looks at the clock rarely.
    if (!sleeps && ++rounds_awake_ % kSweepLookRounds != 0) return;
    const int64_t now_ns = clock_.now_ns();
    if (now_ns - swept_at_ns_ < kSweepPeriod_ns) return;
    swept_at_ns_ = now_ns;
    owner_.sweep();
}

}  // namespace cport
