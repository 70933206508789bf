// What completions.h, operations.h and timers.h ask of the port.
#include <cerrno>

#include "runtime/port/port.h"
#include "runtime/port/port_templates.h"

namespace cport {

int Port::check_time(int64_t time_ns) {
    return time_ns < platform_.clock.now_ns() ? -ETIMEDOUT : 0;
}

int Port::submit(const SubmitRequest& request, uint64_t* id,
                 COMPLETION_PORT_COMPLETION* completed) {
    int error = refusal();
    if (error == 0 && request.deadline_ns != 0) error = check_time(request.deadline_ns);
    if (error != 0) return error;
    Worker* owner = nullptr;
    Socket* socket = find_or_create(request.descriptor, owner, error);
    if (socket == nullptr) return error;
    if (request.non_blocking) error = check_non_blocking(request);
    if (error != 0) return error;
    Worker& worker = *owner;
    if (!is_current(worker)) return add_from_elsewhere(worker, *socket, request, id);
    Operation* operation = accept_as_owner(worker, *socket, request, error);
    if (operation == nullptr) return error;
    if (id != nullptr) *id = operation->id();
    Owner& sockets = worker.owner();
    const bool told_inline = request.inline_success && sockets.accept_inline(*operation);
    if (told_inline) {
        operation->write_record(*completed);
        worker.counters().count_inline(operation->record_kind);
        worker.slab().release_as_owner(operation);
        return 1;
    }
    if (!request.inline_success) sockets.accept(*operation);
    if (request.deadline_ns != 0) sockets.set_deadline(*operation, request.deadline_ns);
    return 0;
}

int Port::start_timer(const SubmitRequest& request, uint64_t* id) {
    int error = refusal();
    if (error == 0) error = check_time(request.deadline_ns);
    if (error != 0) return error;
    Worker& worker = worker_for_caller();
    const bool owner = is_current(worker);
    Operation* timer = take_slot(worker, owner, error);
    if (timer == nullptr) return error;
    timer->kind = TaskKind::kTimer;
    timer->enter_under_way();
    timer->direction = Direction::kWatch;
    timer->error = 0;
    timer->socket = nullptr;
    timer->context = request.context;
    timer->on_record = request.on_complete;
    timer->buffer = nullptr;
    timer->transferred = 0;
    timer->amount = request.deadline_ns;
    timer->key = request.key;
    timer->argument = static_cast<uint64_t>(request.period_ns);
    timer->record_kind = static_cast<uint8_t>(request.record_kind);
    timer->more = false;
    if (id != nullptr) *id = timer->id();
    if (owner) {
        worker.owner().accept_timer(*timer);
        return 0;
    }
    if (worker.post(*timer)) return 0;
    release_mail_slot(worker, timer);
    return -ESHUTDOWN;
}

int Port::move_timer(uint64_t id, int64_t expires_ns) {
    int error = refusal();
    if (error == 0) error = check_time(expires_ns);
    if (error != 0) return error;
    Worker* worker = worker_of(id);
    if (worker == nullptr) return -ENOENT;
    if (is_current(*worker)) {
        // Another thread's timer may still be in the mailbox.
        worker->take_mail();
        return worker->owner().move_timer(id, expires_ns);
    }
    return tell_worker(*worker, TaskKind::kMove, id, expires_ns);
}

Worker* Port::worker_of(uint64_t id) {
    const uint32_t number = Slab::number_of_id(id);
    return number < worker_count_ ? workers_ + number : nullptr;
}

int Port::tell_worker(Worker& worker, TaskKind kind, uint64_t id, int64_t amount) {
    if (worker.slab().find(id) == nullptr) return -ENOENT;
    int error = 0;
    Operation* message = take_mail_slot(worker, error);
    if (message == nullptr) return error;
    message->kind = kind;
    message->argument = id;
    message->amount = amount;
    if (worker.post(*message)) return 0;
    release_mail_slot(worker, message);
    return -ESHUTDOWN;
}

int Port::cancel(uint64_t id) {
    int error = refusal();
    if (error != 0) return error;
    Worker* worker = worker_of(id);
    if (worker == nullptr) return -ENOENT;
    if (is_current(*worker)) return worker->owner().cancel(id);
    return tell_worker(*worker, TaskKind::kCancel, id, 0);
}

int Port::post(uint64_t key, int64_t value, ON_COMPLETION_PORT_COMPLETION on_complete,
               void* context) {
    int error = refusal();
    if (error != 0) return error;
    Worker& worker = worker_for_caller();
    const bool owner = is_current(worker);
    // A thread that drives waits for mail, not for the queue.
    const bool to_queue = !owner && on_complete == nullptr && !caller_driven_;
    Slab& slab = worker.slab();
    Operation* operation = to_queue ? slab.take(error) : take_slot(worker, owner, error);
    if (operation == nullptr) return error;
    operation->kind = TaskKind::kPost;
    operation->record_kind = COMPLETION_PORT_KIND_POST;
    operation->context = context;
    operation->on_record = on_complete;
    operation->buffer = nullptr;
    operation->key = key;
    operation->more = false;
    operation->complete(COMPLETION_PORT_EPOLL_ACTION_INVALID, COMPLETION_PORT_RESULT_OK, value);
    bool posted = true;
    if (owner) {
        worker.complete(*operation);
    } else {
        posted = to_queue ? results_.push(*operation) : worker.post(*operation);
    }
    if (posted) return 0;
    to_queue ? slab.release(operation) : release_slot(worker, operation, owner);
    return -ESHUTDOWN;
}

}  // namespace cport
