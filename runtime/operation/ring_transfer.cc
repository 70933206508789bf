// Receives and sends that the kernel holds, so that it is not asked twice.
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "runtime/operation/transfer.h"

namespace cport {

using platform::RingRequest;

uint32_t Transfer::chunk_of(const Socket& socket, const Operation& operation) {
    return socket.has(kStream) ? std::min(operation.remaining(), kRoundBytesMax)
                               : operation.remaining();
}

bool Transfer::prepare(Socket& socket, const Operation& operation, RingRequest& request) {
    const bool reads = operation.direction == Direction::kRead;
    if (operation.record_kind > COMPLETION_PORT_KIND_SEND || operation.readiness_only() ||
        !socket.is_socket()) {
        return false;
    }
    // A receive that has bytes does not wait for more.
    if (reads && operation.transferred > 0) return false;
    // Errors that were kept are told first.
    if ((reads ? socket.read_error : socket.write_error()) != 0) return false;
    if (!socket.has(kTypeKnown) && learn_type(socket) != 0) return false;
    request.what = reads ? RingRequest::What::kReceive : RingRequest::What::kSend;
    request.expects_to_wait = reads && socket.has(kDrained);
    request.descriptor = socket.descriptor;
    request.buffer = operation.buffer + operation.transferred;
    request.length = chunk_of(socket, operation);
    request.flags = socket.has(kStream) ? 0 : MSG_TRUNC;
    return true;
}

Step Transfer::came_back(Socket& socket, Operation& operation, int32_t result) {
    if (begins_again(result)) return Step::kPaused;
    if (operation.direction == Direction::kWrite) {
        // The kernel tells a reset once. Where a receive heard of it, this send was told EPIPE.
        const bool is_known = result == -EPIPE && socket.write_error() != 0;
        return have_written(socket, operation, is_known ? -socket.write_error() : result);
    }
    if (!socket.has(kStream)) return have_read_message(socket, operation, result);
    const uint32_t chunk = chunk_of(socket, operation);
    // Nothing but speed depends on it.
    result >= 0 && static_cast<uint32_t>(result) < chunk ? socket.set(kDrained)
                                                         : socket.clear(kDrained);
    // Whoever finds the end most often closes the descriptor next.
    if (result <= 0) socket.set(kNeverDrained);
    return have_read(socket, operation, result, chunk);
}

}  // namespace cport
