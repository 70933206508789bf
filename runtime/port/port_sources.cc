// What source.h asks of the port.
#include <cerrno>

#include "runtime/port/port.h"

namespace cport {
namespace {

// An id is the generation, the worker's number and the slot, from 1.
constexpr int kWorkerShift = 16;
constexpr uint64_t kIndexMask = (uint64_t{1} << kWorkerShift) - 1;
static_assert(SourceSet::kSourcesMax < kIndexMask);

uint64_t id_of(uint32_t worker, const Source& source, uint32_t generation) {
    return (uint64_t{generation} << 32) | (uint64_t{worker} << kWorkerShift) | (source.index + 1);
}

uint32_t generation_of(uint64_t id) { return static_cast<uint32_t>(id >> 32); }

}  // namespace

Worker& Port::worker_for_source(uint32_t wanted) {
    if (wanted != 0) return workers_[wanted - 1];
    Worker* current = Worker::current();
    if (current != nullptr && current->port == this) return *current;
    return workers_[next_source_.fetch_add(1, std::memory_order_relaxed) % worker_count_];
}

Source* Port::find_source(uint64_t id, Worker*& worker) {
    const auto number = static_cast<uint32_t>(id) >> kWorkerShift;
    const auto slot = static_cast<uint32_t>(id & kIndexMask);
    if (number >= worker_count_ || slot == 0) return nullptr;
    worker = workers_ + number;
    Source* source = worker->sources().find(slot - 1);
    if (source == nullptr) return nullptr;
    const uint64_t word = source->word.load(std::memory_order_acquire);
    const bool known = SourceWord::state(word) >= SourceWord::kAttached;
    return known && SourceWord::generation(word) == generation_of(id) ? source : nullptr;
}

int Port::attach_source(const SourceRequest& request, uint64_t* id) {
    int error = refusal();
    if (error != 0) return error;
    if (request.worker > worker_count_) return -EINVAL;
    if (request.descriptor >= 0) {
        uint64_t word = 0;
        error = learn_kind(request.descriptor, word);
        if (error != 0) return error;
    }
    Worker& worker = worker_for_source(request.worker);
    SourceSet& sources = worker.sources();
    Source* source = sources.take(error);
    if (source == nullptr) return error;
    const uint32_t generation =
        SourceWord::generation(source->word.load(std::memory_order_relaxed));
    source->form = request;
    if (source->watched()) {
        error = worker.engine().watch_source(request.descriptor, source->index, generation);
        if (error != 0) {
            sources.give_back(*source);
            return error;
        }
    }
    *id = id_of(static_cast<uint32_t>(&worker - workers_), *source, generation);
    source->word.store(SourceWord::with(generation, SourceWord::kAttached),
                       std::memory_order_release);
    if (is_current(worker)) {
        sources.begin(*source);
        return 0;
    }
    if (worker.post(source->message)) return 0;
    if (source->watched()) worker.engine().unwatch_source(request.descriptor);
    sources.give_back(*source);
    return -ESHUTDOWN;
}

bool Port::notify_source(Worker& worker, Source& source) {
    // Pairs with the exchange of the worker: if the notice is on its way already, the worker has
    // yet to look at the source.
    return source.notice_posted.exchange(true, std::memory_order_acq_rel) || worker.post(source);
}

int Port::kick_source(uint64_t id) {
    const int error = refusal();
    if (error != 0) return error;
    Worker* worker = nullptr;
    Source* source = find_source(id, worker);
    if (source == nullptr) return -ENOENT;
    const uint64_t attached = SourceWord::with(generation_of(id), SourceWord::kAttached);
    if (source->word.load(std::memory_order_acquire) != attached) return -ENOENT;
    if (is_current(*worker)) {
        worker->sources().kick(*source);
        return 0;
    }
    return notify_source(*worker, *source) ? 0 : -ESHUTDOWN;
}

int Port::detach_source(uint64_t id) {
    if (forked()) return -EPERM;
    Worker* worker = nullptr;
    Source* source = find_source(id, worker);
    if (source == nullptr) return -ENOENT;
    const bool detached =
        source->move(generation_of(id), SourceWord::kAttached, SourceWord::kDetaching);
    const int result = detached ? 0 : -ENOENT;
    if (is_current(*worker)) {
        if (detached) worker->sources().finish(*source);
    } else if (Worker::current() != nullptr) {
        if (detached) notify_source(*worker, *source);
    } else {
        // As in remove: once it is posted, a callback may give back the caller's reference.
        platform::Kernel& kernel = platform_.kernel;
        const bool drives = caller_driven_;
        if (drives) inc_ref();
        DetachWaiter waiter(*source, generation_of(id));
        if (worker->post(waiter)) {
            drives ? drive_until(waiter) : waiter.wait(kernel);
        } else {
            // A worker that has ended has called on_detached. Pairs with its give_back.
            source->word.load(std::memory_order_acquire);
        }
        if (drives) dec_ref();
    }
    return result;
}

}  // namespace cport
