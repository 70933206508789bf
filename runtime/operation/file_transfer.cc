// The part of transfer that sends files.
#include <algorithm>
#include <cerrno>

#include "runtime/operation/fields.h"
#include "runtime/operation/outcome.h"
#include "runtime/operation/transfer.h"

namespace cport {
namespace {

bool concerns_file(int error) {
    return error == EIO || error == EBADF || error == EOVERFLOW || error == ESTALE;
}

}  // namespace

Step Transfer::send_file(Socket& socket, Operation& operation) {
    if (socket.write_error() != 0) {
        fail(operation, socket.write_error());
        return Step::kCompleted;
    }
    const uint32_t chunk = std::min(operation.remaining(), kRoundBytesMax);
    const int64_t count = uninterrupted([&] {
        return kernel_.send_file(socket.descriptor, file_of(operation),
                                 file_offset(operation) + operation.transferred, chunk);
    });
    if (count == 0) {
        succeed_with_bytes(operation);  // the file has ended
        return Step::kCompleted;
    }
    if (count < 0 && concerns_file(static_cast<int>(-count))) {
        // The connection is sound, but what would follow is not what was meant to.
        if (operation.transferred > 0) socket.set_write_error(static_cast<int>(-count));
        fail(operation, static_cast<int>(-count));
        return Step::kCompleted;
    }
    return have_written(socket, operation, count);
}

}  // namespace cport
