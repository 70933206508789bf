#include "runtime/port/owner.h"

#include <sys/epoll.h>

#include <cerrno>

#include "runtime/operation/fields.h"
#include "runtime/operation/remove_waiter.h"

namespace cport {
namespace {

constexpr uint32_t kReadEdges = EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR;
constexpr uint32_t kWriteEdges = EPOLLOUT | EPOLLHUP | EPOLLERR;
constexpr uint32_t kHangupEdges = EPOLLRDHUP | EPOLLHUP | EPOLLERR;
constexpr uint32_t kFreshFlags = kTryRead | kTryWrite | kTryWatch;

Socket& socket_of(Task& task) {
    return task.kind == TaskKind::kRemoveWaiter ? static_cast<RemoveWaiter&>(task).socket
                                                : *static_cast<Operation&>(task).socket;
}

}  // namespace

void Owner::accept_late(Operation& operation) {
    Socket& socket = *operation.socket;
    catch_up(socket);
    if (ended_ || operation.socket_generation != socket.generation) {
        abandon(operation);
        return;
    }
    enqueue(socket, operation);
}

void Owner::arrive(Operation& operation) {
    Socket& socket = *operation.socket;
    const uint64_t before =
        socket.word.fetch_sub(SocketWord::kPendingOne, std::memory_order_acq_rel);
    const bool cancelled = operation.is(Stage::kCancelled);
    const int64_t deadline_ns = operation.kind == TaskKind::kSubmission ? operation.amount : 0;
    accept_late(operation);
    if (cancelled && operation.is(Stage::kWaiting)) {
        cut_off(operation, ECANCELED);
    } else if (deadline_ns != 0) {
        set_deadline(operation, deadline_ns);
    }
    if (socket.has(kRemovalWaiting) &&
        !SocketWord::adds_under_way(before - SocketWord::kPendingOne)) {
        release_waiting(socket);
    }
}

void Owner::enqueue(Socket& socket, Operation& operation) {
    const uint32_t try_flag = try_flag_of(operation.direction);
    OperationQueue& queue = socket.queue(operation.direction);
    if (!queue.empty() && socket.is_registered() && !socket.has(try_flag) &&
        !engine_.still_names(socket)) {
        if (!join_renewed(socket, operation)) return;
    }
    // Readiness is asked of the kernel, never answered from an edge of before.
    const bool asks_afresh = operation.readiness_only() || socket.has(kReadsMayHold);
    if (operation.direction == Direction::kWatch || (queue.empty() && asks_afresh)) {
        socket.set(try_flag);
    }
    operation.enter(Stage::kWaiting);
    queue.push(&operation);
    if (socket.can_advance()) make_ready(socket);
}

void Owner::begin_generation(Socket& socket, uint32_t generation) {
    abandon_all(socket);
    engine_.unwatch(socket);
    socket.clear(~(uint32_t{kRemovalWaiting} | kFilesAway));
    socket.set(kFreshFlags);
    socket.read_error = 0;
    socket.set_write_error(0);
    socket.generation = generation;
}

bool Owner::join_renewed(Socket& socket, Operation& operation) {
    if (renew(socket)) {
        operation.socket_generation = socket.generation;
        return true;
    }
    abandon(operation);
    return false;
}

bool Owner::renew(Socket& socket) {
    uint64_t word = socket.word.load(std::memory_order_relaxed);
    uint64_t next = 0;
    do {
        if (SocketWord::generation(word) != socket.generation) {
            catch_up(socket);
            return false;
        }
        // What was accepted for the new descriptor already is most likely of the same kind.
        next = SocketWord::next_generation(word) |
               (word & (SocketWord::kIsSocket | SocketWord::kLive));
    } while (!socket.word.compare_exchange_weak(word, next, std::memory_order_acq_rel,
                                                std::memory_order_relaxed));
    ++renewals_;
    catch_up(socket);
    return true;
}

void Owner::abandon_queue(OperationQueue& queue) {
    while (!queue.empty()) {
        abandon(*queue.pop());
    }
}

void Owner::abandon_all(Socket& socket) {
    if (ring_ != nullptr) recall_all(socket);
    for (OperationQueue& queue : socket.queues) abandon_queue(queue);
    if (socket.has(kFilesAway)) withdraw_files(&socket);
}

void Owner::end_socket(Socket& socket, Task& last) {
    catch_up(socket);
    // An add that was accepted before is on its way: its callback comes first. A thread in remove
    // waits for those that are with the threads for files.
    const bool pending = SocketWord::adds_under_way(socket.word.load(std::memory_order_acquire));
    const bool waits = pending && (last.kind != TaskKind::kRemoveWaiter || socket.has(kFilesAway));
    if (socket.has(kRemovalWaiting) || waits) {
        socket.set(kRemovalWaiting);
        waiting_.push(&last);
    } else {
        completed_.push(&last);
    }
}

void Owner::release_waiting(Socket& socket) {
    socket.clear(kRemovalWaiting);
    TaskList others;
    while (!waiting_.empty()) {
        Task* task = waiting_.pop();
        (&socket_of(*task) == &socket ? completed_ : others).push(task);
    }
    while (!others.empty()) waiting_.push(others.pop());
}

void Owner::end_all() {
    ended_ = true;
    // Once for all sockets.
    if (files_away_ != 0) withdraw_files(nullptr);
    table_.for_each(0, [this](Socket& socket) {
        if (owns(socket)) abandon_all(socket);
        return true;
    });
    // The timers are left, and the deadlines of what a thread for files has begun.
    while (!wheel_.empty()) {
        wheel_.advance(INT64_MAX, SIZE_MAX, [this](TimerEntry& entry) {
            auto& operation = static_cast<Operation&>(entry);
            if (!works_on_file(operation)) abandon(operation);
        });
    }
}

void Owner::on_edge(const Edge& edge) {
    Socket* socket = table_.find(edge.descriptor);
    if (socket == nullptr || !owns(*socket) || socket->generation != edge.generation) return;
    if ((edge.events & kReadEdges) != 0) socket->set(kTryRead);
    if ((edge.events & kWriteEdges) != 0) socket->set(kTryWrite);
    if ((edge.events & kHangupEdges) != 0 || socket->has(kWatchesAll)) socket->set(kTryWatch);
    if ((edge.events & (kHangupEdges | EPOLLPRI)) != 0) socket->set(kNeverDrained);
    if ((edge.events & EPOLLIN) != 0) {
        // The bytes that made this edge may have been taken by a read that did not wait for it.
        if (!socket->has(kReadSinceEdge)) socket->set(kUnexplained);
        socket->clear(kReadSinceEdge);
    }
    socket->clear(kWaitedLong);
    if (socket->can_advance()) make_ready(*socket);
}

inline void Owner::advance(Socket& socket, Direction direction) {
    if (!socket.has(try_flag_of(direction))) return;
    Operation& operation = socket.queue(direction).head();
    if (ring_ != nullptr && rides(socket, operation)) return;
    // poll(2) calls devices ready that epoll refuses; only epoll knows what can be waited for.
    if (!socket.has(kStream | kWatched) && !socket.is_socket()) [[unlikely]] {
        const int error = watch(socket, direction == Direction::kWrite);
        if (error != 0) {
            fail_head(socket, operation, -error);
            return;
        }
    }
    const Step step = transfer_.advance(socket, operation, direction);
    if (step == Step::kCompleted) [[likely]] {
        completed_.push(settle_head(socket, direction));
    } else {
        leave_waiting(socket, operation, step);
    }
}

void Owner::advance_next() {
    const uint64_t moved_before = transfer_.bytes_moved();
    Socket& socket = ready_.take(moved_before);
    if (Socket* next = ready_.likely_next(); next != nullptr) fetch_context(*next);
    const uint32_t generation = socket.generation;
    if (!socket.queue(Direction::kRead).empty()) advance(socket, Direction::kRead);
    if (!socket.queue(Direction::kWrite).empty()) advance(socket, Direction::kWrite);
    if (!socket.queue(Direction::kWatch).empty()) advance_watches(socket);
    const uint64_t moved = transfer_.bytes_moved() - moved_before;
    // A turn that moved nothing says nothing, nor does one of the number's former user.
    if (moved > 0 && socket.generation == generation) {
        moved >= kSparseBytesMax ? socket.set(kBulk) : socket.clear(kBulk);
    }
    if (socket.can_advance()) make_ready(socket, Turn::kAnother);
}

void Owner::leave_waiting(Socket& socket, Operation& operation, Step step) {
    switch (step) {
        case Step::kBlocked:
            wait_for_edge(socket, operation);
            break;
        case Step::kAccepting:
            accept_connections(socket, operation);
            break;
        case Step::kReceiving:
            receive_buffers(socket, operation);
            break;
        case Step::kCompleted:
        case Step::kPaused:
            break;
    }
}

void Owner::complete(Operation& operation) {
    operation.enter(Stage::kIdle);
    if (operation.is_set()) wheel_.remove(operation);
    if (operation.record_kind == COMPLETION_PORT_KIND_RECEIVE_POOLED) leave_pool(operation);
    completed_.push(&operation);
}

void Owner::abandon(Operation& operation) {
    Transfer::abandon(operation);
    complete(operation);
}

void Owner::complete_head(Socket& socket, Direction direction) {
    completed_.push(settle_head(socket, direction));
}

void Owner::fail_head(Socket& socket, Operation& operation, int error) {
    fail(operation, error);
    complete_head(socket, operation.direction);
}

void Owner::heed_failure(Socket& socket, const Operation& operation) {
    const bool wrote = operation.direction == Direction::kWrite;
    // Nothing follows part of a send, nor a connect that the kernel has begun.
    const bool begun =
        operation.transferred > 0 || (operation.record_kind == COMPLETION_PORT_KIND_CONNECT &&
                                      operation.watch_events == kConnectBegun);
    const bool breaks_off = wrote && begun && socket.has(kStream);
    if (breaks_off && socket.write_error() == 0) socket.set_write_error(operation.error);
    // The number was closed without remove: what is known of it is no longer true. A send that
    // fails makes the reads try: of the same descriptor only.
    const bool closed = tells_closed(socket, operation);
    const bool reads_try =
        wrote && !socket.queue(Direction::kRead).empty() && socket.is_registered();
    if (closed || (reads_try && !engine_.still_names(socket))) renew(socket);
}

bool Owner::tells_closed(Socket& socket, const Operation& operation) {
    if (operation.error == ENOTSOCK) return true;
    if (operation.error != EBADF) return false;
    // Of files, EBADF also says that they were opened for the other direction.
    if (operation.record_kind <= COMPLETION_PORT_KIND_SEND && socket.is_socket()) return true;
    int error = 0;
    transfer_.look(socket, 0, error);
    return error == EBADF;
}

bool Owner::accept_inline(Operation& operation) {
    Socket& socket = *operation.socket;
    const Direction direction = operation.direction;
    catch_up(socket);
    // Nothing may overtake what was completed before and is still to be told.
    const bool first = completed_.empty() && !ended_ && socket.is_socket() &&
                       operation.socket_generation == socket.generation &&
                       direction != Direction::kWatch && socket.queue(direction).empty() &&
                       socket.has(try_flag_of(direction));
    if (!first) {
        accept(operation);
        return false;
    }
    operation.enter(Stage::kWaiting);
    socket.queue(direction).push_first(&operation);
    const uint64_t moved_before = transfer_.bytes_moved();
    const Step step = transfer_.advance(socket, operation, direction);
    if (transfer_.bytes_moved() - moved_before >= kSparseBytesMax) socket.set(kBulk);
    switch (step) {
        case Step::kCompleted:
            settle_head(socket, direction);
            if (operation.result == COMPLETION_PORT_RESULT_OK) return true;
            completed_.push(&operation);
            break;
        case Step::kBlocked:
            wait_for_edge(socket, operation);
            break;
        case Step::kAccepting:
        case Step::kReceiving:
        case Step::kPaused:
            make_ready(socket);
            break;
    }
    return false;
}

int Owner::watch(Socket& socket, bool output) {
    const int error = engine_.watch(socket, output);
    if ((error == -ENOSPC || error == -ENOMEM) && log_ != nullptr) [[unlikely]] {
        log_->watch_failed(socket.descriptor, error);
    }
    return error;
}

void Owner::wait_for_edge(Socket& socket, Operation& operation) {
    const Direction direction = operation.direction;
    if (ring_ != nullptr && start(socket, operation)) return;
    const bool reads = operation.direction == Direction::kRead;
    // After the peer's end many callers close without remove: the number may be another's by now.
    const bool reused =
        reads && socket.has(kWatched) && socket.has(kNeverDrained) && !engine_.still_names(socket);
    const int error = reused ? -ENOENT : watch(socket, !reads);
    if (error == 0) return;
    if (error == -ENOENT) {
        // The number was closed and reused; this operation has just met the new descriptor.
        move_to_renewed(socket, operation);
        return;
    }
    // No edge will come: the next operation must try for itself.
    socket.set(try_flag_of(direction));
    fail_head(socket, operation, -error);
}

void Owner::move_to_renewed(Socket& socket, Operation& operation) {
    socket.queue(operation.direction).pop();
    operation.enter(Stage::kIdle);
    if (join_renewed(socket, operation)) enqueue(socket, operation);
}

void Owner::advance_watches(Socket& socket) {
    if (!socket.has(kTryWatch)) return;
    socket.clear(kTryWatch);
    OperationQueue& watches = socket.queue(Direction::kWatch);
    OperationQueue waiting;
    uint32_t events = EPOLLRDHUP;
    while (!watches.empty()) {
        Operation* operation = watches.pop();
        if (operation->record_kind == COMPLETION_PORT_KIND_SHUTDOWN) {
            transfer_.advance(socket, *operation, Direction::kWatch);
            complete(*operation);
            continue;
        }
        events |= operation->watch_events;
        waiting.push(operation);
    }
    if (waiting.empty()) return;
    // Before the look, so that no edge falls between.
    int error = -watch(socket, (events & EPOLLOUT) != 0);
    if (error == ENOENT) {
        // The number was closed and reused. Who watches what cannot be told apart.
        watches = waiting;
        renew(socket);
        return;
    }
    const uint32_t found = error == 0 ? transfer_.look(socket, events, error) : 0;
    while (!waiting.empty()) {
        Operation* operation = waiting.pop();
        if (error != 0) fail(*operation, error);
        if (error != 0 || Transfer::watched_for(socket, *operation, found)) {
            complete(*operation);
        } else {
            watches.push(operation);
        }
    }
    events == EPOLLRDHUP || watches.empty() ? socket.clear(kWatchesAll) : socket.set(kWatchesAll);
    if (error == EBADF) renew(socket);
}

void Owner::sweep() {
    int looked_at = 0;
    int asked = 0;
    sweep_from_ = table_.for_each(sweep_from_, [&](Socket& socket) {
        if (!owns(socket)) return true;
        if (!socket.waits() || !socket.is_registered()) {
            socket.clear(kWaitedLong);
        } else if (!socket.has(kWaitedLong)) {
            socket.set(kWaitedLong);
        } else {
            ++asked;
            if (!engine_.still_names(socket) && renew(socket) && log_ != nullptr) {
                log_->found_closed(socket.descriptor);
            }
        }
        return ++looked_at < kSweepSocketsMax && asked < kSweepQuestionsMax;
    });
}

}  // namespace cport
