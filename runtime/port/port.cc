#include "runtime/port/port.h"

#include <cerrno>
#include <new>

#include "runtime/check.h"

namespace cport {

Port* Port::create(const platform::Platform& platform, int& error) {
    void* memory = platform.memory.allocate(sizeof(Port), alignof(Port));
    if (memory == nullptr) {
        error = -ENOMEM;
        return nullptr;
    }
    Port* port = new (memory) Port(platform);
    error = port->open();
    if (error == 0) return port;
    port->drop_holder();
    return nullptr;
}

Port::Port(const platform::Platform& platform)
    : platform_(platform), table_(platform.memory), worker_(platform, table_) {}

Port::~Port() {
    if (fork_mark_ != nullptr) platform_.memory.fork_mark_destroy(fork_mark_);
}

int Port::open() {
    fork_mark_ = platform_.memory.fork_mark_create();
    if (fork_mark_ == nullptr) return -ENOMEM;
    int error = table_.open();
    if (error != 0) return error;
    error = worker_.open();
    if (error != 0) return error;
    holders_.fetch_add(1, std::memory_order_relaxed);
    error = platform_.threads.start(&thread_, "cport", &Port::worker_main, this);
    if (error != 0) holders_.fetch_sub(1, std::memory_order_relaxed);
    return error;
}

void Port::worker_main(void* argument) {
    auto* port = static_cast<Port*>(argument);
    port->worker_.run();
    port->drop_holder();
}

void Port::drop_holder() {
    // Acquire and release: what every holder did comes before the end.
    if (holders_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    platform::Memory& memory = platform_.memory;
    this->~Port();
    memory.release(this, sizeof(Port));
}

void Port::inc_ref() {
    if (forked()) return;
    const uint32_t before = references_.fetch_add(1, std::memory_order_relaxed);
    CPORT_CHECK(before != 0);
}

void Port::dec_ref() {
    if (forked()) return;
    const uint32_t before = references_.fetch_sub(1, std::memory_order_acq_rel);
    CPORT_CHECK(before != 0);
    if (before != 1) return;
    begin_end();
    // A thread inside a callback, of whatever port, does not wait: it might be waited for.
    if (Worker::current() != nullptr) {
        platform_.threads.detach(thread_);
    } else {
        platform_.threads.join(thread_);
    }
    drop_holder();
}

void Port::begin_end() {
    if (!ending_.exchange(true, std::memory_order_acq_rel)) worker_.post_end();
}

int Port::refusal() const {
    if (forked()) return -EPERM;
    return ending_.load(std::memory_order_acquire) ? -ESHUTDOWN : 0;
}

int Port::shutdown() {
    if (forked()) return -EPERM;
    begin_end();
    return 0;
}

int Port::learn_kind(int descriptor, uint64_t& word) {
    const int kind = platform_.kernel.descriptor_kind(descriptor);
    if (kind < 0) return kind;
    if (kind == static_cast<int>(platform::DescriptorKind::kFileOrDirectory)) return -EPERM;
    word = (word | SocketWord::kKindKnown) & ~SocketWord::kIsSocket;
    if (kind == static_cast<int>(platform::DescriptorKind::kSocket)) word |= SocketWord::kIsSocket;
    return 0;
}

int Port::accept_add(Socket& socket, const AddRequest& request, Operation& operation,
                     bool foreign) {
    uint64_t word = socket.word.load(std::memory_order_acquire);
    for (;;) {
        if ((word & SocketWord::kRemoving) != 0) return -ECANCELED;
        // A callback that adds again while a thread waits for the last callback: it will not come.
        if (!foreign && SocketWord::removal_awaited(word)) return -ECANCELED;
        uint64_t accepted = word;
        if ((word & SocketWord::kKindKnown) == 0) {
            const int error = learn_kind(request.descriptor, accepted);
            if (error != 0) return error;
        }
        if (request.buffer != nullptr && !SocketWord::is_socket(accepted)) return -ENOTSOCK;
        if (foreign) {
            if ((word & SocketWord::kPendingMask) == SocketWord::kPendingMask) return -ENOBUFS;
            accepted += SocketWord::kPendingOne;
        }
        if (accepted == word ||
            socket.word.compare_exchange_weak(word, accepted, std::memory_order_acq_rel,
                                              std::memory_order_acquire)) {
            operation.socket_generation = SocketWord::generation(accepted);
            return 0;
        }
    }
}

int Port::add(const AddRequest& request) {
    int error = refusal();
    if (error != 0) return error;
    Socket* socket = table_.find(request.descriptor);
    if (socket == nullptr) {
        // A number that names nothing must not make the table grow.
        uint64_t word = 0;
        error = learn_kind(request.descriptor, word);
        if (error != 0) return error;
        socket = table_.find_or_create(request.descriptor, error);
        if (socket == nullptr) return error;
    }
    const bool foreign = !on_owner();
    Slab& slab = worker_.slab();
    Operation* operation = foreign ? slab.take(error) : slab.take_as_owner(error);
    if (operation == nullptr) return error;

    error = accept_add(*socket, request, *operation, foreign);
    if (error != 0) {
        foreign ? slab.release(operation) : slab.release_as_owner(operation);
        return error;
    }
    operation->kind = TaskKind::kOperation;
    operation->direction = request.direction;
    operation->wants_hangup = request.wants_hangup;
    operation->socket = socket;
    operation->context = request.context;
    operation->on_complete = request.on_complete;
    operation->buffer = request.buffer;
    operation->length = request.length;
    operation->transferred = 0;
    operation->error = 0;
    if (!foreign) {
        worker_.owner().accept(*operation);
        return 0;
    }
    if (worker_.post(*operation)) return 0;
    socket->word.fetch_sub(SocketWord::kPendingOne, std::memory_order_acq_rel);
    slab.release(operation);
    return -ESHUTDOWN;
}

void Port::remove(int descriptor) {
    if (forked()) return;
    Socket* socket = table_.find(descriptor);
    if (socket == nullptr) return;
    const bool waits = Worker::current() == nullptr;
    uint64_t word = socket->word.load(std::memory_order_acquire);
    uint64_t removed = 0;
    uint64_t remover = 0;
    do {
        if (SocketWord::never_used(word)) return;
        // Where very many wait already, they speak for this one.
        remover = waits && !SocketWord::removers_full(word) ? SocketWord::kRemoverOne : 0;
        // From here on what was added before is over, whenever its owner hears of it.
        removed = SocketWord::next_generation(word) + remover;
    } while (!socket->word.compare_exchange_weak(word, removed, std::memory_order_acq_rel,
                                                 std::memory_order_acquire));
    if (on_owner()) {
        worker_.owner().catch_up(*socket);
    } else if (!waits) {
        // Pairs with the exchange of the worker: if the notice is on its way already, the worker
        // has yet to read the generation.
        if (!socket->notice_posted.exchange(true, std::memory_order_acq_rel)) worker_.post(*socket);
    } else {
        platform::Kernel& kernel = platform_.kernel;
        RemoveWaiter waiter(*socket, remover);
        if (worker_.post(waiter)) {
            waiter.wait(kernel);
        } else {
            // A worker that has ended runs no callbacks.
            socket->word.fetch_sub(remover, std::memory_order_acq_rel);
        }
    }
}

int Port::accept_removal(Socket& socket, Operation& removal) {
    uint64_t word = socket.word.load(std::memory_order_acquire);
    uint64_t removing = 0;
    do {
        if ((word & SocketWord::kRemoving) != 0) return -EALREADY;
        removing = SocketWord::next_generation(word) | SocketWord::kRemoving;
    } while (!socket.word.compare_exchange_weak(word, removing, std::memory_order_acq_rel,
                                                std::memory_order_acquire));
    removal.socket_generation = SocketWord::generation(removing);
    return 0;
}

int Port::remove_async(int descriptor, ON_COMPLETION_PORT_REMOVED on_removed, void* context) {
    int error = refusal();
    if (error != 0) return error;
    Socket* socket = table_.find_or_create(descriptor, error);
    if (socket == nullptr) return error;
    const bool foreign = !on_owner();
    Slab& slab = worker_.slab();
    Operation* removal = foreign ? slab.take(error) : slab.take_as_owner(error);
    if (removal == nullptr) return error;
    removal->kind = TaskKind::kRemoval;
    removal->socket = socket;
    removal->context = context;
    removal->on_removed = on_removed;

    error = accept_removal(*socket, *removal);
    if (error == 0 && !foreign) {
        worker_.owner().end_socket(*socket, *removal);
        return 0;
    }
    if (error == 0) {
        if (worker_.post(*removal)) return 0;
        socket->word.fetch_and(~SocketWord::kRemoving, std::memory_order_acq_rel);
        error = -ESHUTDOWN;
    }
    foreign ? slab.release(removal) : slab.release_as_owner(removal);
    return error;
}

}  // namespace cport
