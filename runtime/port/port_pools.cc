// What buffers.h asks of the port.
#include <cerrno>

#include "runtime/buffer/buffer_pool.h"
#include "runtime/buffer/receive_size.h"
#include "runtime/operation/fields.h"
#include "runtime/port/port.h"

namespace cport {

BufferPool* Port::create_pool(const BufferPoolOptions& options, int& error) {
    error = refusal();
    return error != 0 ? nullptr : BufferPool::create(platform_.memory, this, options, error);
}

int Port::submit_pooled(SubmitRequest request, uint64_t* id,
                        COMPLETION_PORT_COMPLETION* completed) {
    const int refused = refusal();
    if (refused != 0) return refused;
    BufferPool& pool = *pool_of(request);
    // The operation's hold: it may be complete, and the hold dropped, before submit returns.
    if (!pool.made_for(this) || !pool.hold()) return -EINVAL;
    request.watch_events |= ReceiveSize::first(pool.class_for(request.length));
    request.length = 0;
    const int result = submit(request, id, completed);
    if (result < 0) pool.drop();
    return result;
}

}  // namespace cport
