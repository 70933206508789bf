// What buffers.h asks of the port.
#include <cerrno>

#include "runtime/buffer/buffer_pool.h"
#include "runtime/buffer/receive_size.h"
#include "runtime/operation/fields.h"
#include "runtime/port/port.h"

namespace cport {

BufferPool* Port::create_pool(const BufferPoolOptions& options, int& error) {
    error = refusal();
    if (error != 0) return nullptr;
    BufferPoolOptions at_home = options;
    at_home.home = home_of_pool();
    return BufferPool::create(platform_.memory, this, at_home, error);
}

platform::MemoryHome Port::home_of_pool() const {
    const Worker* current = Worker::current();
    if (current != nullptr && current->port == this) return current->home();
    // Any worker may draw from it: on their node if they have one and the same.
    const platform::MemoryHome home = workers_[0].home();
    for (uint32_t i = 1; i < worker_count_; ++i) {
        if (workers_[i].home().node != home.node) return {};
    }
    return home;
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
