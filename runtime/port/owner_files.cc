// The part of the owner that sends operations on files to the threads which wait for them, and
// hears of their end. Each counts as an add under way of its socket until it is complete: so
// removals wait for it.
#include <cerrno>

#include "runtime/file/file_pool.h"
#include "runtime/file/file_work.h"
#include "runtime/operation/fields.h"
#include "runtime/operation/outcome.h"
#include "runtime/port/owner.h"

namespace cport {

bool Owner::begin_file(Operation& operation) {
    Socket& socket = *operation.socket;
    const bool cancelled = operation.is(Stage::kCancelled);
    const int64_t deadline_ns = operation.amount;
    catch_up(socket);
    operation.enter(Stage::kWaiting);
    if (ended_ || cancelled || operation.socket_generation != socket.generation) {
        Transfer::cut_off(operation, ECANCELED);
        complete_file(operation);
        return false;
    }
    if (operation.length <= file_bytes_left_ && read_file_at_once(kernel_, operation)) {
        file_bytes_left_ -= operation.length;
        succeed_with_bytes(operation);
        return true;
    }
    operation.amount = 0;
    if (deadline_ns != 0) wheel_.insert(operation, deadline_ns);
    socket.set(kFilesAway);
    ++files_away_;
    files_->push(operation);
    return false;
}

void Owner::arrive_file(Operation& operation) {
    if (begin_file(operation)) complete_file(operation);
}

bool Owner::accept_file_inline(Operation& operation) {
    if (!begin_file(operation)) return false;
    operation.enter(Stage::kIdle);
    count_out_file(*operation.socket);
    return true;
}

void Owner::file_done(Operation& operation) {
    --files_away_;
    if (operation.error != 0) {
        fail(operation, operation.error);
    } else {
        succeed_with_bytes(operation);
    }
    complete_file(operation);
}

void Owner::complete_file(Operation& operation) {
    operation.kind = TaskKind::kSubmission;
    complete(operation);
    // Behind its callback.
    count_out_file(*operation.socket);
}

void Owner::count_out_file(Socket& socket) {
    const uint64_t before =
        socket.word.fetch_sub(SocketWord::kPendingOne, std::memory_order_acq_rel);
    if (SocketWord::adds_under_way(before - SocketWord::kPendingOne)) return;
    socket.clear(kFilesAway);
    if (socket.has(kRemovalWaiting)) release_waiting(socket);
}

void Owner::cut_off_file(Operation& operation, int error) {
    if (!files_->withdraw(operation)) return;
    --files_away_;
    Transfer::cut_off(operation, error);
    complete_file(operation);
}

void Owner::withdraw_files(const Socket* socket) {
    TaskList withdrawn;
    files_->withdraw_all(
        [&](const Operation& operation) {
            return socket == nullptr ? owns(*operation.socket) : operation.socket == socket;
        },
        withdrawn);
    while (!withdrawn.empty()) {
        auto& operation = static_cast<Operation&>(*withdrawn.pop());
        --files_away_;
        Transfer::abandon(operation);
        complete_file(operation);
    }
}

}  // namespace cport
