#include "runtime/port/source_set.h"

#include <cerrno>
#include <new>

#include "runtime/check.h"

namespace cport {
namespace {

constexpr size_t kChunkBytes = sizeof(Source) * SourceSet::kChunkSources;

}  // namespace

Source& SourceList::pop() {
    Source& source = *head_;
    head_ = source.next_in_list;
    if (head_ == nullptr) tail_ = &head_;
    --count_;
    return source;
}

void SourceList::remove(Source& source) {
    Source** link = &head_;
    while (*link != &source) link = &(*link)->next_in_list;
    *link = source.next_in_list;
    if (tail_ == &source.next_in_list) tail_ = link;
    --count_;
}

SourceSet::~SourceSet() {
    for (auto& entry : chunks_) {
        Source* chunk = entry.load(std::memory_order_relaxed);
        if (chunk != nullptr) memory_.release(chunk, kChunkBytes);
    }
}

Source* SourceSet::chunk_at(uint32_t chunk, int& error) {
    // Acquire pairs with the exchange below: the slots are built before they are seen.
    Source* there = chunks_[chunk].load(std::memory_order_acquire);
    if (there != nullptr) return there;
    void* memory = memory_.allocate(kChunkBytes, alignof(Source));
    if (memory == nullptr) {
        error = -ENOMEM;
        return nullptr;
    }
    auto* fresh = static_cast<Source*>(memory);
    for (uint32_t i = 0; i < kChunkSources; ++i) new (fresh + i) Source(chunk * kChunkSources + i);
    if (chunks_[chunk].compare_exchange_strong(there, fresh, std::memory_order_acq_rel,
                                               std::memory_order_acquire)) {
        return fresh;
    }
    // Another thread was first.
    memory_.release(memory, kChunkBytes);
    return there;
}

Source* SourceSet::take(int& error) {
    for (uint32_t chunk = 0; chunk < kChunks; ++chunk) {
        Source* sources = chunk_at(chunk, error);
        if (sources == nullptr) return nullptr;
        for (uint32_t i = 0; i < kChunkSources; ++i) {
            Source& source = sources[i];
            const uint64_t word = source.word.load(std::memory_order_relaxed);
            if (SourceWord::state(word) != SourceWord::kFree) continue;
            const uint32_t generation = SourceWord::generation(word);
            if (source.move(generation, SourceWord::kFree, SourceWord::kTaken)) return &source;
        }
    }
    error = -ENOBUFS;
    return nullptr;
}

void SourceSet::give_back(Source& source) {
    const uint32_t generation =
        SourceWord::generation(source.word.load(std::memory_order_relaxed)) + 1;
    source.word.store(SourceWord::with(generation, SourceWord::kFree), std::memory_order_release);
}

Source* SourceSet::find(uint32_t index) const {
    if (index >= kSourcesMax) return nullptr;
    Source* chunk = chunks_[index / kChunkSources].load(std::memory_order_acquire);
    return chunk == nullptr ? nullptr : chunk + index % kChunkSources;
}

void SourceSet::begin(Source& source) {
    const uint64_t word = source.word.load(std::memory_order_acquire);
    source.generation = SourceWord::generation(word);
    source.place = SourcePlace::kResting;
    source.armed = false;
    source.kicked = false;
    source.error = 0;
    if (SourceWord::state(word) == SourceWord::kDetaching) {
        finish(source);
    } else if (ended_) {
        fail(source, -ECANCELED);
    } else {
        make_ready(source);
    }
}

void SourceSet::hear(Source& source) {
    // Before the word is read: a later notice is posted afresh. Pairs with the exchange of the
    // thread that posts.
    source.notice_posted.exchange(false, std::memory_order_acq_rel);
    const uint64_t word = source.word.load(std::memory_order_acquire);
    // One that is not known yet is looked at when its attachment arrives.
    if (SourceWord::generation(word) != source.generation) return;
    if (SourceWord::state(word) == SourceWord::kDetaching) {
        finish(source);
    } else if (SourceWord::state(word) == SourceWord::kAttached) {
        kick(source);
    }
}

void SourceSet::hear_detach(DetachWaiter& waiter) {
    // Its slot may serve another by now.
    Source& source = waiter.source;
    if (source.generation != waiter.generation) return;
    const uint64_t word = source.word.load(std::memory_order_acquire);
    if (word == SourceWord::with(waiter.generation, SourceWord::kDetaching)) finish(source);
}

void SourceSet::kick(Source& source) {
    switch (source.place) {
        case SourcePlace::kResting:
        case SourcePlace::kPolled:
            leave_list(source);
            make_ready(source);
            break;
        case SourcePlace::kRunning:
            source.kicked = true;
            break;
        case SourcePlace::kReady:
            // What it was armed for has come: the drain that follows is not its last look.
            source.armed = false;
            break;
        case SourcePlace::kNowhere:
            break;
    }
}

void SourceSet::on_edge(const Edge& edge) {
    Source* source = find(edge.source_index());
    if (source != nullptr && source->generation == edge.generation) kick(*source);
}

void SourceSet::leave_list(Source& source) {
    if (source.place == SourcePlace::kReady) ready_.remove(source);
    if (source.place == SourcePlace::kPolled) polled_.remove(source);
}

void SourceSet::make_ready(Source& source) {
    source.place = SourcePlace::kReady;
    ready_.push(source);
}

bool SourceSet::run_round() {
    had_items_ = false;
    for (uint32_t left = polled_.count(); left > 0 && !polled_.empty(); --left) {
        make_ready(polled_.pop());
    }
    // What becomes ready meanwhile has its turn after the sockets'.
    for (uint32_t left = ready_.count(); left > 0 && !ready_.empty(); --left) turn(ready_.pop());
    return had_items_;
}

void SourceSet::turn(Source& source) {
    const bool armed = source.armed;
    source.place = SourcePlace::kRunning;
    source.armed = false;
    source.kicked = false;
    const int32_t count = source.form.drain(source.form.context, source.form.budget);
    had_items_ = had_items_ || count > 0;
    if (!still_runs(source)) return;
    if (count < 0) {
        fail(source, count);
    } else if (static_cast<uint32_t>(count) >= source.form.budget || source.kicked) {
        make_ready(source);
    } else if (source.has(COMPLETION_PORT_SOURCE_POLL) && (!armed || count > 0)) {
        source.place = SourcePlace::kPolled;
        polled_.push(source);
    } else if (armed || source.form.arm == nullptr) {
        rest(source);
    } else {
        arm(source);
    }
}

void SourceSet::arm(Source& source) {
    source.place = SourcePlace::kRunning;
    const int32_t result = source.form.arm(source.form.context);
    if (!still_runs(source)) return;
    if (result < 0) {
        fail(source, result);
        return;
    }
    // A kick in there is a notification already.
    source.armed = result == 0 && !source.kicked;
    make_ready(source);
}

void SourceSet::rest(Source& source) {
    source.place = SourcePlace::kResting;
    if (!source.watched() || source.has(COMPLETION_PORT_SOURCE_EMPTIES_DESCRIPTOR)) return;
    const int error = engine_.ask_source(source.form.descriptor, source.index, source.generation);
    if (error != 0) fail(source, error);
}

void SourceSet::rest_polled() {
    for (uint32_t left = polled_.count(); left > 0 && !polled_.empty(); --left) {
        Source& source = polled_.pop();
        if (source.form.arm == nullptr) {
            rest(source);
            continue;
        }
        arm(source);
        if (source.place != SourcePlace::kReady || !source.armed) continue;
        ready_.remove(source);
        turn(source);
    }
    while (!polled_.empty()) make_ready(polled_.pop());
}

void SourceSet::fail(Source& source, int error) {
    // Another thread may have detached it: then its message is on the way, and nothing went wrong.
    if (!source.move(source.generation, SourceWord::kAttached, SourceWord::kDetaching)) return;
    source.error = error;
    finish(source);
}

void SourceSet::finish(Source& source) {
    if (source.place == SourcePlace::kNowhere) return;
    leave_list(source);
    source.place = SourcePlace::kNowhere;
    if (source.watched()) engine_.unwatch_source(source.form.descriptor);
    completed_.push(&source.message);
}

void SourceSet::end_all() {
    ended_ = true;
    for (uint32_t index = 0; index < kSourcesMax; ++index) {
        Source* source = find(index);
        if (source == nullptr || source->place == SourcePlace::kNowhere) continue;
        fail(*source, -ECANCELED);
        // One that another thread has detached, whose message may come too late.
        finish(*source);
    }
}

void SourceSet::run_detached(Source& source) {
    const SourceRequest& form = source.form;
    if (form.on_detached != nullptr) form.on_detached(form.context, source.error);
    CPORT_CHECK(source.place == SourcePlace::kNowhere);
    give_back(source);
}

}  // namespace cport
