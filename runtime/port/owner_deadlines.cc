// The part of the owner that ends operations before their time: deadlines, timers, cancels.
#include <cerrno>

#include "completionport/operations.h"
#include "runtime/operation/fields.h"
#include "runtime/port/owner.h"

namespace cport {

void Owner::set_deadline(Operation& operation, int64_t deadline_ns) {
    // A removal or the port's end may have ended it already.
    if (operation.is(Stage::kWaiting)) wheel_.insert(operation, deadline_ns);
}

void Owner::accept_timer(Operation& timer) {
    if (ended_ || timer.is(Stage::kCancelled)) {
        abandon(timer);
        return;
    }
    timer.enter(Stage::kWaiting);
    wheel_.insert(timer, timer.amount);
}

Operation* Owner::find_waiting(uint64_t id) const {
    Operation* operation = slab_.find(id);
    return operation != nullptr && operation->is(Stage::kWaiting) ? operation : nullptr;
}

int Owner::cancel(uint64_t id) {
    Operation* operation = slab_.find(id);
    if (operation == nullptr) return -ENOENT;
    Stage under_way = Stage::kUnderWay;
    // Acquire pairs with enter_under_way: a new use of the slot shows in its id.
    if (operation->stage.compare_exchange_strong(
            under_way, Stage::kCancelled, std::memory_order_acquire, std::memory_order_relaxed)) {
        if (operation->id() == id) return 0;
        // A thread that waited has returned the slot meanwhile, and another one has taken it.
        Stage cancelled = Stage::kCancelled;
        operation->stage.compare_exchange_strong(cancelled, Stage::kUnderWay,
                                                 std::memory_order_relaxed);
        return -ENOENT;
    }
    if (!operation->is(Stage::kWaiting)) return operation->is(Stage::kCancelled) ? 0 : -ENOENT;
    cut_off(*operation, ECANCELED);
    return 0;
}

int Owner::move_timer(uint64_t id, int64_t expires_ns) {
    Operation* timer = find_waiting(id);
    if (timer == nullptr) return -ENOENT;
    if (timer->socket != nullptr) return -EINVAL;
    wheel_.remove(*timer);
    timer->amount = expires_ns;
    wheel_.insert(*timer, expires_ns);
    return 0;
}

bool Owner::expire(int64_t now_ns, size_t entries_max) {
    return wheel_.advance(now_ns, entries_max, [this, now_ns](TimerEntry& entry) {
        auto& operation = static_cast<Operation&>(entry);
        if (operation.socket == nullptr) {
            fire(operation, now_ns);
        } else {
            cut_off(operation, ETIMEDOUT);
        }
    });
}

void Owner::fire(Operation& timer, int64_t now_ns) {
    const auto period_ns = static_cast<int64_t>(timer.argument);
    if (period_ns == 0) {
        timer.complete(COMPLETION_PORT_EPOLL_ACTION_INVALID, COMPLETION_PORT_RESULT_OK, 1);
        complete(timer);
        return;
    }
    int error = 0;
    Operation* record = slab_.take_as_owner(error);
    if (record == nullptr) {
        timer.complete(COMPLETION_PORT_EPOLL_ACTION_INVALID, COMPLETION_PORT_RESULT_ERROR, 0,
                       -error);
        complete(timer);
        return;
    }
    // What a busy worker missed is told in one record.
    const int64_t periods = 1 + (now_ns > timer.amount ? (now_ns - timer.amount) / period_ns : 0);
    record->write_more(timer);
    record->complete(COMPLETION_PORT_EPOLL_ACTION_INVALID, COMPLETION_PORT_RESULT_OK, periods);
    completed_.push(record);
    const int64_t passed_ns = (periods - 1) * period_ns;
    const bool within = timer.amount + passed_ns <= COMPLETION_PORT_TIME_MAX_NS - period_ns;
    timer.amount = within ? timer.amount + passed_ns + period_ns : COMPLETION_PORT_TIME_MAX_NS;
    wheel_.insert(timer, timer.amount);
}

void Owner::cut_off(Operation& operation, int error) {
    if (operation.socket == nullptr) {
        Transfer::cut_off(operation, error);
        complete(operation);
        return;
    }
    if (works_on_file(operation)) {
        cut_off_file(operation, error);
        return;
    }
    Socket& socket = *operation.socket;
    const Direction direction = operation.direction;
    if (ring_ != nullptr && recall(socket, operation)) {
        complete_head(socket, direction);
        if (socket.can_advance()) make_ready(socket);
        return;
    }
    OperationQueue& queue = socket.queue(direction);
    const bool was_head = queue.front() == &operation;
    queue.remove(&operation);
    Transfer::cut_off(operation, error);
    complete(operation);
    // The bytes of what is queued behind part of a send would not follow what they belong to.
    if (direction == Direction::kWrite && operation.transferred > 0) {
        while (!queue.empty()) {
            Operation* behind = queue.pop();
            behind->complete(behind->own_action(), COMPLETION_PORT_RESULT_ERROR,
                             behind->kind == TaskKind::kSubmission ? 0 : -1, ECANCELED);
            complete(*behind);
        }
    }
    Operation* next = queue.front();
    if (next == nullptr) return;
    if (was_head && (next->readiness_only() || socket.has(kReadsMayHold))) {
        socket.set(try_flag_of(direction));
    }
    if (socket.can_advance()) make_ready(socket);
}

}  // namespace cport
