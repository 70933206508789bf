// The part of the owner that drives accepts which go on, and sees to where connections go.
#include "runtime/operation/fields.h"
#include "runtime/operation/outcome.h"
#include "runtime/port/owner.h"
#include "runtime/port/placement.h"

namespace cport {

void Owner::accept_connections(Socket& socket, Operation& operation) {
    for (int i = 0; i < kRoundAcceptsMax; ++i) {
        // First, so that no connection is taken that cannot be told of.
        int error = 0;
        Operation* record = slab_.take_as_owner(error);
        if (record == nullptr) {
            fail_head(socket, operation, -error);
            return;
        }
        const Step step = transfer_.accept(socket, operation);
        if (step == Step::kCompleted && operation.result == COMPLETION_PORT_RESULT_OK) {
            distribute(operation);
            record->write_more(operation);
            record->complete(operation.own_action(), COMPLETION_PORT_RESULT_OK, operation.amount);
            completed_.push(record);
            continue;
        }
        slab_.release_as_owner(record);
        if (step == Step::kCompleted) complete_head(socket, operation.direction);
        if (step == Step::kBlocked) wait_for_edge(socket, operation);
        return;
    }
}

void Owner::distribute(const Operation& accept) {
    if (!accept_distributes(accept) || accept.result != COMPLETION_PORT_RESULT_OK) return;
    if (placement_ != nullptr) placement_->assign_by_load(static_cast<int>(accept.amount));
}

}  // namespace cport
