// The part of the owner that hands operations to the kernel and has them back.
#include "runtime/check.h"
#include "runtime/port/owner.h"

namespace cport {

bool Owner::rides(Socket& socket, Operation& operation) {
    const Direction direction = operation.direction;
    if (!socket.has(with_kernel_flag_of(direction))) return start(socket, operation);
    if (!socket.has(came_back_flag_of(direction))) {
        socket.clear(try_flag_of(direction));
        return true;
    }
    if (have_back(socket, operation) == Step::kCompleted) {
        complete_head(socket, direction);
        return true;
    }
    return start(socket, operation);
}

bool Owner::start(Socket& socket, Operation& operation) {
    const Direction direction = operation.direction;
    platform::RingRequest request{};
    if (!ring_->is_usable() || !transfer_.prepare(socket, operation, request)) return false;
    // After the peer's end many callers close without remove: the number may be another's by now.
    if (direction == Direction::kRead && socket.has(kNeverDrained) && socket.is_registered() &&
        !engine_.still_names(socket)) {
        move_to_renewed(socket, operation);
        return true;
    }
    if (engine_.keep_name(socket) != 0) return false;
    request.name = operation.id();
    if (!ring_->start(request)) return false;
    socket.set(with_kernel_flag_of(direction));
    socket.clear(try_flag_of(direction));
    return true;
}

void Owner::on_result(uint64_t name, int32_t result) {
    Operation* operation = slab_.find(name);
    CPORT_CHECK(operation != nullptr && operation->is(Stage::kWaiting));
    Socket& socket = *operation->socket;
    operation->error = result;
    socket.set(came_back_flag_of(operation->direction) | try_flag_of(operation->direction));
    socket.clear(kWaitedLong);
    make_ready(socket);
}

Step Owner::have_back(Socket& socket, Operation& operation) {
    const Direction direction = operation.direction;
    const int32_t result = operation.error;
    operation.error = 0;
    socket.clear(with_kernel_flag_of(direction) | came_back_flag_of(direction));
    const Step step = transfer_.came_back(socket, operation, result);
    // The kernel says when to wait, not what we know of it.
    socket.set(try_flag_of(direction));
    return step;
}

bool Owner::recall(Socket& socket, Operation& operation) {
    const Direction direction = operation.direction;
    if (direction == Direction::kWatch || !socket.has(with_kernel_flag_of(direction)) ||
        socket.queue(direction).front() != &operation) {
        return false;
    }
    ring_->recall(
        operation.id(), [this](uint64_t name, int32_t result) { on_result(name, result); },
        [&] { return socket.has(came_back_flag_of(direction)); });
    return have_back(socket, operation) == Step::kCompleted;
}

void Owner::recall_all(Socket& socket) {
    for (const Direction direction : {Direction::kRead, Direction::kWrite}) {
        Operation* operation = socket.queue(direction).front();
        if (operation == nullptr || !recall(socket, *operation)) continue;
        socket.queue(direction).pop();
        complete(*operation);
    }
}

}  // namespace cport
