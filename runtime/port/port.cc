#include "runtime/port/port.h"

#include <cerrno>
#include <new>

#include "runtime/check.h"
#include "runtime/port/port_templates.h"
#include "runtime/port/worker_homes.h"

namespace cport {
namespace {

void log_not_created(const PortOptions& options, int error) {
    Log(options).write(COMPLETION_PORT_LOG_ERROR, "cannot be created (errno %d)", -error);
}

}  // namespace

Port* Port::create(const platform::Platform& platform, const PortOptions& options, int& error) {
    error = check_nodes(platform, options);
    if (error != 0) {
        log_not_created(options, error);
        return nullptr;
    }
    const size_t size = size_with_workers(options.workers);
    auto* memory = static_cast<std::byte*>(platform.memory.allocate(size, alignof(Port)));
    if (memory == nullptr) {
        error = -ENOMEM;
        log_not_created(options, error);
        return nullptr;
    }
    Port* port =
        new (memory) Port(platform, options, reinterpret_cast<Worker*>(memory + sizeof(Port)));
    error = port->open(options);
    if (error == 0) {
        port->log_created();
        return port;
    }
    port->drop_holder();
    log_not_created(options, error);
    return nullptr;
}

size_t Port::size_with_workers(uint32_t workers) {
    static_assert(sizeof(Port) % alignof(Worker) == 0 && alignof(Port) >= alignof(Worker));
    return sizeof(Port) + workers * sizeof(Worker);
}

Port::Port(const platform::Platform& platform, const PortOptions& options, Worker* workers)
    : platform_(platform),
      workers_(workers),
      worker_count_(options.workers),
      caller_driven_(options.caller_driven),
      single_threaded_(options.single_threaded),
      on_ended_(options.on_ended),
      on_ended_context_(options.on_ended_context),
      engine_(options.engine),
      engine_reason_(options.engine_reason),
      log_(options),
      table_(platform.memory),
      placement_(table_, options.workers, options.sockets_max),
      results_(platform.kernel, platform.memory, slabs_.data()),
      files_(platform, options.file_threads, options.name, &Port::file_done, this) {
    static_assert(COMPLETION_PORT_WORKERS_MAX <= Slab::kSlabsMax);
    for (uint32_t i = 0; i < worker_count_; ++i) {
        new (workers_ + i) Worker(platform, i, this, table_, results_, options);
        workers_[i].owner().use_files(files_);
        workers_[i].owner().use_placement(placement_);
        slabs_[i] = &workers_[i].slab();
        owners_[i + 1] = workers_ + i;
    }
}

Port::~Port() {
    for (uint32_t i = 0; i < worker_count_; ++i) workers_[i].~Worker();
    if (fork_mark_ != nullptr) platform_.memory.fork_mark_destroy(fork_mark_);
}

int Port::open(const PortOptions& options) {
    fork_mark_ = platform_.memory.fork_mark_create();
    if (fork_mark_ == nullptr) return -ENOMEM;
    int error = table_.open();
    if (error == 0) error = results_.limit_waiters(options.waiters_running_max);
    if (error == 0) error = open_workers();
    if (error != 0) return error;
    if (!caller_driven_) return start_workers(options);
    workers_running_.store(1, std::memory_order_relaxed);
    workers_[0].doze();
    return 0;
}

int Port::start_workers(const PortOptions& options) {
    workers_running_.store(worker_count_, std::memory_order_relaxed);
    for (; threads_started_ < worker_count_; ++threads_started_) {
        Worker& worker = workers_[threads_started_];
        const int cpu = options.cpus == nullptr ? -1 : options.cpus[threads_started_];
        holders_.fetch_add(1, std::memory_order_relaxed);
        const int error = platform_.threads.start(&worker.thread, worker.name(), cpu,
                                                  &Port::worker_main, &worker);
        if (error == 0) continue;
        holders_.fetch_sub(1, std::memory_order_relaxed);
        begin_end();
        leave_threads();
        return error;
    }
    return 0;
}

void Port::worker_main(void* argument) {
    auto& worker = *static_cast<Worker*>(argument);
    auto* port = static_cast<Port*>(worker.port);
    {
        Worker::Turn turn(worker);
        worker.log().started();
        worker.run();
        worker.log().ended();
        port->worker_ended();
    }
    port->drop_holder();
}

void Port::worker_ended() {
    // Acquire and release: the last one sees what the others did.
    if (workers_running_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    // Every file operation has come back: its threads sleep, and their end does not take long.
    files_.stop();
    results_.close();
    log_.write(COMPLETION_PORT_LOG_INFO, "ended");
    if (on_ended_ != nullptr) on_ended_(on_ended_context_);
}

void Port::drop_holder() {
    // Acquire and release: what every holder did comes before the end.
    if (holders_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    results_.await_wakes(platform_.clock);
    results_.give_up_records();
    platform::Memory& memory = platform_.memory;
    const size_t size = size_with_workers(worker_count_);
    this->~Port();
    memory.release(this, size);
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
    caller_driven_ ? drive_to_the_end() : leave_threads();
    drop_holder();
}

void Port::leave_threads() {
    for (uint32_t i = 0; i < threads_started_; ++i) {
        // A thread inside a callback, of whatever port, does not wait: it might be waited for.
        if (Worker::current() != nullptr) {
            platform_.threads.detach(workers_[i].thread);
        } else {
            platform_.threads.join(workers_[i].thread);
        }
    }
}

void Port::begin_end() {
    if (ending_.exchange(true, std::memory_order_acq_rel)) return;
    // With the last of them told, a callback may free the port.
    Worker* const workers = workers_;
    const uint32_t count = worker_count_;
    for (uint32_t i = 0; i < count; ++i) workers[i].post_end();
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

int Port::accept_add(Socket& socket, bool needs_socket, bool foreign, uint32_t& generation) {
    uint64_t word = socket.word.load(std::memory_order_acquire);
    for (;;) {
        if ((word & SocketWord::kRemoving) != 0) return -ECANCELED;
        // A callback that adds again while a thread waits for the last callback: it will not come.
        if (!foreign && SocketWord::removal_awaited(word)) return -ECANCELED;
        uint64_t accepted = word | SocketWord::kLive;
        if ((word & SocketWord::kKindKnown) == 0) {
            const int error = learn_kind(socket.descriptor, accepted);
            if (error != 0) return error;
        }
        if (needs_socket && !SocketWord::is_socket(accepted)) return -ENOTSOCK;
        if (foreign) {
            if ((word & SocketWord::kPendingMask) == SocketWord::kPendingMask) return -ENOBUFS;
            accepted += SocketWord::kPendingOne;
        }
        if (accepted == word ||
            socket.word.compare_exchange_weak(word, accepted, std::memory_order_acq_rel,
                                              std::memory_order_acquire)) {
            placement_.count(socket, word, accepted);
            generation = SocketWord::generation(accepted);
            return 0;
        }
    }
}

Socket* Port::first_use(int descriptor, int& error) {
    // A number that names nothing belongs to nobody.
    uint64_t word = 0;
    error = learn_kind(descriptor, word);
    return error != 0 ? nullptr : adopt(descriptor, error);
}

Socket* Port::adopt(int descriptor, int& error) {
    if (!is_inside_callback()) return placement_.assign_in_turn(descriptor, error);
    return placement_.assign(descriptor, static_cast<uint32_t>(Worker::current() - workers_),
                             error);
}

Operation* Port::take_mail_slot(Worker& worker, int& error) {
    if (!worker.reserve_mail()) {
        error = -EAGAIN;
        return nullptr;
    }
    Operation* operation = worker.slab().take(error);
    if (operation == nullptr) worker.give_back_mail(1);
    return operation;
}

Worker& Port::worker_for_caller() {
    if (is_inside_callback()) return *Worker::current();
    if (worker_count_ == 1) return workers_[0];
    // Any number that differs between threads and stays within one.
    const auto thread = static_cast<uint64_t>(pthread_self()) >> 12;
    return workers_[(thread * 0x9e3779b97f4a7c15u >> 32) % worker_count_];
}

inline Operation* Port::accept_at_once(const AddRequest& request, Worker*& owner) {
    Socket* socket = table_.find(request.descriptor);
    if (socket == nullptr) return nullptr;
    owner = owner_or_none(*socket);
    if (owner == nullptr || !is_current(*owner)) return nullptr;
    const uint64_t word = socket->word.load(std::memory_order_acquire);
    if (!SocketWord::takes_any_add(word)) return nullptr;
    Operation* operation = owner->slab().take_own();
    if (operation == nullptr) return nullptr;
    request.write(*operation, *socket, SocketWord::generation(word));
    return operation;
}

int Port::add(const AddRequest& request) {
    const int refused = refusal();
    if (refused != 0) return refused;
    Worker* owner = nullptr;
    Operation* operation = accept_at_once(request, owner);
    if (operation == nullptr) [[unlikely]]
        return add_with_care(request);
    owner->owner().accept(*operation);
    return 0;
}

int Port::add_with_care(AddRequest request) {
    int error = 0;
    Worker* owner = nullptr;
    Socket* socket = find_or_create(request.descriptor, owner, error);
    if (socket == nullptr) return error;
    Worker& worker = *owner;
    if (!is_current(worker)) return add_from_elsewhere(worker, *socket, request, nullptr);
    Operation* operation = accept_as_owner(worker, *socket, request, error);
    if (operation == nullptr) return error;
    worker.owner().accept(*operation);
    return 0;
}

void Port::remove(int descriptor) {
    if (forked()) return;
    Socket* socket = table_.find(descriptor);
    if (socket == nullptr || socket->owner.load(std::memory_order_relaxed) == 0) return;
    Worker& worker = owner_of(*socket);
    const bool waits = Worker::current() == nullptr && !single_threaded_;
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
    placement_.count(*socket, word, removed);
    if (is_current(worker)) {
        worker.owner().catch_up(*socket);
    } else if (!waits) {
        // Pairs with the exchange of the worker: if the notice is on its way already, the worker
        // has yet to read the generation.
        if (!socket->notice_posted.exchange(true, std::memory_order_acq_rel)) worker.post(*socket);
    } else {
        // Once it is posted, a callback may give back the caller's reference: a port that this
        // thread may have to drive needs one of its own, another is not touched any more.
        platform::Kernel& kernel = platform_.kernel;
        const bool drives = caller_driven_;
        if (drives) inc_ref();
        RemoveWaiter waiter(*socket, remover);
        if (worker.post(waiter)) {
            drives ? drive_until(waiter) : waiter.wait(kernel);
        } else {
            // A worker that has ended runs no callbacks.
            socket->word.fetch_sub(remover, std::memory_order_acq_rel);
        }
        if (drives) dec_ref();
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
    placement_.count(socket, word, removing);
    removal.socket_generation = SocketWord::generation(removing);
    return 0;
}

int Port::remove_async(int descriptor, ON_COMPLETION_PORT_REMOVED on_removed, void* context) {
    int error = refusal();
    if (error != 0) return error;
    Socket* socket = table_.find(descriptor);
    if (socket == nullptr || owner_or_none(*socket) == nullptr) socket = adopt(descriptor, error);
    if (socket == nullptr) return error;
    Worker& worker = owner_of(*socket);
    Operation* removal = take_slot(worker, is_current(worker), error);
    if (removal == nullptr) return error;
    removal->kind = TaskKind::kRemoval;
    removal->socket = socket;
    removal->context = context;
    removal->on_removed = on_removed;

    return begin_removal(worker, *socket, *removal);
}

int Port::begin_removal(Worker& worker, Socket& socket, Operation& removal) {
    const bool owner = is_current(worker);
    int error = accept_removal(socket, removal);
    if (error == 0 && owner) {
        worker.owner().end_socket(socket, removal);
        return 0;
    }
    if (error == 0) {
        if (worker.post(removal)) return 0;
        socket.word.fetch_and(~SocketWord::kRemoving, std::memory_order_acq_rel);
        error = -ESHUTDOWN;
    }
    release_slot(worker, &removal, owner);
    return error;
}

}  // namespace cport
