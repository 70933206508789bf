#include "runtime/port/owner.h"

#include <sys/epoll.h>

#include <cerrno>

#include "runtime/operation/remove_waiter.h"

namespace cport {
namespace {

constexpr uint32_t kReadEdges = EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR;
constexpr uint32_t kWriteEdges = EPOLLOUT | EPOLLHUP | EPOLLERR;
constexpr uint32_t kHangupEdges = EPOLLRDHUP | EPOLLHUP | EPOLLERR;
constexpr uint32_t kFreshFlags = kTryRead | kTryWrite | kTryHangup;

uint32_t try_flag_of(Direction direction) {
    switch (direction) {
        case Direction::kRead:
            return kTryRead;
        case Direction::kWrite:
            return kTryWrite;
        case Direction::kHangup:
            break;
    }
    return kTryHangup;
}

OperationQueue& queue_of(Socket& socket, Direction direction) {
    switch (direction) {
        case Direction::kRead:
            return socket.reads;
        case Direction::kWrite:
            return socket.writes;
        case Direction::kHangup:
            break;
    }
    return socket.hangups;
}

Socket& socket_of(Task& task) {
    return task.kind == TaskKind::kRemoveWaiter ? static_cast<RemoveWaiter&>(task).socket
                                                : *static_cast<Operation&>(task).socket;
}

void fail(Operation& operation, int error) {
    operation.complete(operation.own_action(), COMPLETION_PORT_RESULT_ERROR,
                       operation.transferred > 0 ? static_cast<int32_t>(operation.transferred) : -1,
                       error);
}

}  // namespace

void Owner::accept(Operation& operation) {
    Socket& socket = *operation.socket;
    catch_up(socket);
    if (ended_ || operation.socket_generation != socket.generation) {
        Transfer::abandon(operation);
        completed_.push(&operation);
        return;
    }
    enqueue(socket, operation);
}

void Owner::arrive(Operation& operation) {
    Socket& socket = *operation.socket;
    const uint64_t before =
        socket.word.fetch_sub(SocketWord::kPendingOne, std::memory_order_acq_rel);
    accept(operation);
    if (socket.has(kRemovalWaiting) &&
        !SocketWord::adds_under_way(before - SocketWord::kPendingOne)) {
        release_waiting(socket);
    }
}

void Owner::enqueue(Socket& socket, Operation& operation) {
    const uint32_t try_flag = try_flag_of(operation.direction);
    OperationQueue& queue = queue_of(socket, operation.direction);
    if (!queue.empty() && socket.has(kWatched) && !socket.has(try_flag) &&
        !engine_.still_names(socket)) {
        if (!join_renewed(socket, operation)) return;
    }
    // Readiness is asked of the kernel, never answered from an edge of before.
    if (operation.direction == Direction::kHangup ||
        (queue.empty() && operation.readiness_only())) {
        socket.set(try_flag);
    }
    queue.push(&operation);
    if (socket.can_advance()) make_ready(socket);
}

void Owner::catch_up(Socket& socket) {
    const uint32_t generation = SocketWord::generation(socket.word.load(std::memory_order_acquire));
    if (generation == socket.generation) return;
    abandon_all(socket);
    engine_.unwatch(socket);
    socket.flags = (socket.flags & (kReady | kRemovalWaiting)) | kFreshFlags;
    socket.read_error = 0;
    socket.write_error = 0;
    socket.generation = generation;
}

bool Owner::join_renewed(Socket& socket, Operation& operation) {
    if (renew(socket)) {
        operation.socket_generation = socket.generation;
        return true;
    }
    Transfer::abandon(operation);
    completed_.push(&operation);
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
        next = SocketWord::next_generation(word) | (word & SocketWord::kIsSocket);
    } while (!socket.word.compare_exchange_weak(word, next, std::memory_order_acq_rel,
                                                std::memory_order_relaxed));
    catch_up(socket);
    return true;
}

void Owner::abandon_queue(OperationQueue& queue) {
    while (!queue.empty()) {
        Operation* operation = queue.pop();
        Transfer::abandon(*operation);
        completed_.push(operation);
    }
}

void Owner::abandon_all(Socket& socket) {
    abandon_queue(socket.reads);
    abandon_queue(socket.writes);
    abandon_queue(socket.hangups);
}

void Owner::end_socket(Socket& socket, Task& last) {
    catch_up(socket);
    // An add that was accepted before is on its way: its callback comes first.
    const bool pending = SocketWord::adds_under_way(socket.word.load(std::memory_order_acquire));
    if (socket.has(kRemovalWaiting) || (pending && last.kind == TaskKind::kRemoval)) {
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
    table_.for_each(0, [this](Socket& socket) {
        abandon_all(socket);
        return true;
    });
}

void Owner::on_edge(const Edge& edge) {
    Socket* socket = table_.find(edge.descriptor);
    if (socket == nullptr || socket->generation != edge.generation) return;
    if ((edge.events & kReadEdges) != 0) socket->set(kTryRead);
    if ((edge.events & kWriteEdges) != 0) socket->set(kTryWrite);
    if ((edge.events & kHangupEdges) != 0) socket->set(kTryHangup);
    if ((edge.events & (kHangupEdges | EPOLLPRI)) != 0) socket->set(kNeverDrained);
    if ((edge.events & EPOLLIN) != 0) {
        // The bytes that made this edge may have been taken by a read that did not wait for it.
        if (!socket->has(kReadSinceEdge)) socket->set(kUnexplained);
        socket->clear(kReadSinceEdge);
    }
    socket->clear(kWaitedLong);
    if (socket->can_advance()) make_ready(*socket);
}

void Owner::make_ready(Socket& socket) {
    if (socket.has(kReady)) return;
    socket.set(kReady);
    socket.next_ready = nullptr;
    (ready_head_ == nullptr ? ready_head_ : ready_tail_->next_ready) = &socket;
    ready_tail_ = &socket;
}

void Owner::advance_next() {
    Socket& socket = *ready_head_;
    ready_head_ = socket.next_ready;
    socket.clear(kReady);
    if (!socket.reads.empty()) advance(socket, socket.reads, kTryRead);
    if (!socket.writes.empty()) advance(socket, socket.writes, kTryWrite);
    if (!socket.hangups.empty()) advance_hangups(socket);
    if (socket.can_advance()) make_ready(socket);
}

void Owner::advance(Socket& socket, OperationQueue& queue, uint32_t try_flag) {
    if (!socket.has(try_flag)) return;
    Operation* operation = queue.front();
    // poll(2) calls devices ready that epoll refuses; only epoll knows what can be waited for.
    if (!socket.is_socket() && !socket.has(kWatched)) {
        const int error = engine_.watch(socket, operation->direction == Direction::kWrite);
        if (error != 0) {
            fail(*operation, -error);
            complete_head(socket, queue, try_flag);
            return;
        }
    }
    switch (transfer_.advance(socket, *operation)) {
        case Step::kCompleted:
            complete_head(socket, queue, try_flag);
            break;
        case Step::kBlocked:
            wait_for_edge(socket, queue, *operation);
            break;
        case Step::kPaused:
            break;
    }
}

void Owner::complete_head(Socket& socket, OperationQueue& queue, uint32_t try_flag) {
    Operation* operation = queue.pop();
    completed_.push(operation);
    Operation* next = queue.front();
    if (next != nullptr && next->readiness_only()) socket.set(try_flag);
    // The number was closed without remove: what is known of it is no longer true. A send that
    // fails makes the reads try: of the same descriptor only.
    const bool closed = operation->error == EBADF || operation->error == ENOTSOCK;
    const bool reads_try = operation->direction == Direction::kWrite && operation->error != 0 &&
                           !socket.reads.empty() && socket.has(kWatched);
    if (closed || (reads_try && !engine_.still_names(socket))) renew(socket);
}

void Owner::wait_for_edge(Socket& socket, OperationQueue& queue, Operation& operation) {
    const bool reads = operation.direction == Direction::kRead;
    // After the peer's end many callers close without remove: the number may be another's by now.
    const bool reused =
        reads && socket.has(kWatched) && socket.has(kNeverDrained) && !engine_.still_names(socket);
    const int error = reused ? -ENOENT : engine_.watch(socket, !reads);
    if (error == 0) return;
    if (error == -ENOENT) {
        // The number was closed and reused; this operation has just met the new descriptor.
        queue.pop();
        if (join_renewed(socket, operation)) enqueue(socket, operation);
        return;
    }
    // No edge will come: the next operation must try for itself.
    const uint32_t try_flag = try_flag_of(operation.direction);
    socket.set(try_flag);
    fail(operation, -error);
    complete_head(socket, queue, try_flag);
}

void Owner::advance_hangups(Socket& socket) {
    if (!socket.has(kTryHangup)) return;
    socket.clear(kTryHangup);
    // Before the look, so that no edge falls between.
    int error = -engine_.watch(socket, false);
    const bool ended = error == 0 && transfer_.peer_ended(socket, error);
    if (error == 0 && !ended) return;
    while (!socket.hangups.empty()) {
        Operation* operation = socket.hangups.pop();
        if (error != 0) {
            fail(*operation, error);
        } else {
            operation->complete(COMPLETION_PORT_EPOLL_EPOLLRDHUP, COMPLETION_PORT_RESULT_ABANDONED,
                                -1);
        }
        completed_.push(operation);
    }
    if (error == EBADF) renew(socket);
}

void Owner::sweep() {
    int looked_at = 0;
    int asked = 0;
    sweep_from_ = table_.for_each(sweep_from_, [&](Socket& socket) {
        if (!socket.waits() || !socket.has(kWatched)) {
            socket.clear(kWaitedLong);
        } else if (!socket.has(kWaitedLong)) {
            socket.set(kWaitedLong);
        } else {
            ++asked;
            if (!engine_.still_names(socket)) renew(socket);
        }
        return ++looked_at < kSweepSocketsMax && asked < kSweepQuestionsMax;
    });
}

}  // namespace cport
