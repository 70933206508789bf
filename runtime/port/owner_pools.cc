// The part of the owner that drives receives from pools which go on.
#include <sys/epoll.h>

#include "runtime/buffer/buffer_pool.h"
#include "runtime/operation/fields.h"
#include "runtime/operation/outcome.h"
#include "runtime/port/owner.h"

namespace cport {

void Owner::leave_pool(const Operation& operation) { pool_of(operation)->drop(); }

void Owner::receive_buffers(Socket& socket, Operation& operation) {
    int64_t bytes = 0;
    for (int i = 0; i < kRoundBuffersMax && bytes < kRoundBytesMax; ++i) {
        // First, so that no bytes are taken that cannot be told of.
        int error = 0;
        Operation* record = slab_.take_as_owner(error);
        if (record == nullptr) {
            // A slot that is lacking concerns nobody who has nothing to receive.
            int look_error = 0;
            if (transfer_.look(socket, EPOLLIN, look_error) == 0 && look_error == 0) {
                socket.clear(kTryRead);
                wait_for_edge(socket, operation);
                return;
            }
            fail_head(socket, operation, -error);
            return;
        }
        const Step step = transfer_.receive_pooled(socket, operation);
        // What holds no bytes is an empty datagram, or the end.
        const bool goes_on = step == Step::kCompleted &&
                             operation.result == COMPLETION_PORT_RESULT_OK &&
                             (operation.amount > 0 || socket.has(kDatagram));
        if (!goes_on) {
            slab_.release_as_owner(record);
            if (step == Step::kCompleted) complete_head(socket, operation.direction);
            if (step == Step::kBlocked) wait_for_edge(socket, operation);
            return;
        }
        record->write_more(operation);
        record->pool = pool_of(operation);
        record->complete(operation.own_action(), COMPLETION_PORT_RESULT_OK, operation.amount);
        completed_.push(record);
        operation.buffer = nullptr;
        bytes += operation.amount;
        if (!socket.has(kTryRead)) return;
    }
}

}  // namespace cport
