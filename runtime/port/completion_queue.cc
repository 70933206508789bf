#include "runtime/port/completion_queue.h"

#include <cerrno>

#include "runtime/buffer/buffer_pool.h"
#include "runtime/operation/fields.h"

namespace cport {

bool CompletionQueue::push(Operation& operation) {
    uintptr_t head = head_.load(std::memory_order_relaxed);
    do {
        if (head == kClosed) return false;
        operation.next = as_operation(head);
        // Release pairs with refill: the operation's fields are seen with it.
    } while (!head_.compare_exchange_weak(head, reinterpret_cast<uintptr_t>(&operation),
                                          std::memory_order_release, std::memory_order_relaxed));
    if (head == kSleeping) {
        wake(false);
        // The last touch; release pairs with await_wakes.
        wakes_made_.fetch_add(1, std::memory_order_release);
    }
    return true;
}

void CompletionQueue::await_wakes(platform::Clock& clock) {
    MutexLock lock(mutex_);
    refill();
    const auto* word = reinterpret_cast<const uint32_t*>(&wakes_made_);
    for (;;) {
        const uint32_t made = wakes_made_.load(std::memory_order_acquire);
        if (made == wakes_owed_) return;
        // The thread in question has one instruction to go. Sleeping lets it run, whatever its
        // priority.
        kernel_.futex_wait_until(word, made, clock.now_ns() + kYield_ns);
    }
}

void CompletionQueue::give_up_records() {
    MutexLock lock(mutex_);
    while (!taken_.empty()) {
        const auto* operation = static_cast<Operation*>(taken_.pop());
        const bool accepted = operation->record_kind == COMPLETION_PORT_KIND_ACCEPT &&
                              operation->result == COMPLETION_PORT_RESULT_OK;
        if (accepted) kernel_.close(static_cast<int>(operation->amount));
        const bool received = operation->record_kind == COMPLETION_PORT_KIND_RECEIVE_POOLED &&
                              operation->buffer != nullptr;
        if (received) pool_of_record(*operation)->release(operation->buffer);
    }
}

void CompletionQueue::wake(bool all) {
    // A thread that is about to sleep read the number before it let go of the lock; pairs with its
    // futex_wait, which compares.
    wakes_.fetch_add(1, std::memory_order_release);
    const auto* word = reinterpret_cast<const uint32_t*>(&wakes_);
    all ? kernel_.futex_wake_all(word) : kernel_.futex_wake_one(word);
}

void CompletionQueue::close() {
    {
        MutexLock lock(mutex_);
        refill();
        // What is pushed between the two is refilled by the loop.
        for (uintptr_t head = kEmpty; !head_.compare_exchange_weak(
                 head, kClosed, std::memory_order_acq_rel, std::memory_order_relaxed);
             head = kEmpty) {
            refill();
        }
        closed_ = true;
    }
    wake(true);
}

void CompletionQueue::refill() {
    uintptr_t head = head_.load(std::memory_order_relaxed);
    if (head == kEmpty || head == kClosed) return;
    // Before they leave the word, so that who looks without the lock finds them here or there; the
    // caller says how it was. Release pairs with seems_empty.
    has_taken_.store(true, std::memory_order_relaxed);
    head = head_.exchange(kEmpty, std::memory_order_acq_rel);
    if (marked_ && head > kClosed) ++wakes_owed_;
    marked_ = false;
    Task* oldest = nullptr;
    for (Task* newest = as_operation(head); newest != nullptr;) {
        Task* next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest != nullptr) {
        Task* next = oldest->next;
        taken_.push(oldest);
        oldest = next;
    }
}

bool CompletionQueue::mark_sleeping() {
    uintptr_t head = kEmpty;
    head_.compare_exchange_strong(head, kSleeping, std::memory_order_acq_rel,
                                  std::memory_order_relaxed);
    if (head == kEmpty) marked_ = true;
    return head == kEmpty || head == kSleeping;
}

int CompletionQueue::copy(COMPLETION_PORT_COMPLETION* completions, uint32_t completions_max) {
    uint32_t count = 0;
    while (count < completions_max && !taken_.empty()) {
        auto* operation = static_cast<Operation*>(taken_.pop());
        operation->write_record(completions[count++]);
        slabs_[Slab::number_of(operation->slot)]->release(operation);
    }
    copied_ += count;
    has_taken_.store(!taken_.empty(), std::memory_order_relaxed);
    return static_cast<int>(count);
}

int CompletionQueue::limit_waiters(uint32_t running_max) {
    MutexLock lock(mutex_);
    return places_.open(running_max);
}

bool CompletionQueue::has_place_for_caller() {
    if (!places_.limited()) return true;
    MutexLock lock(mutex_);
    return places_.would_have_free();
}

int CompletionQueue::take(COMPLETION_PORT_COMPLETION* completions, uint32_t completions_max) {
    if (!places_.has_free()) return 0;
    if (taken_.empty()) refill();
    const int count = copy(completions, completions_max);
    if (count > 0) places_.take();
    return count;
}

int CompletionQueue::leave() {
    if (!places_.limited()) return -ENOENT;
    MutexLock lock(mutex_);
    if (!places_.give_back()) return -ENOENT;
    see_to_sleepers();
    return 0;
}

void CompletionQueue::see_to_sleepers() {
    if (sleepers_.load(std::memory_order_relaxed) == 0) return;
    // Without a place they could take nothing; who gives one back sees to them. The end takes none.
    if (!places_.has_free() && !has_ended()) return;
    if (!taken_.empty() || !mark_sleeping()) wake(false);
}

CompletionQueue::Counts CompletionQueue::counts() {
    MutexLock lock(mutex_);
    refill();
    has_taken_.store(!taken_.empty(), std::memory_order_relaxed);
    see_to_sleepers();
    return {taken_.pushed(), taken_.pushed() - copied_, places_.held()};
}

bool CompletionQueue::seems_empty() const {
    const uintptr_t head = head_.load(std::memory_order_acquire);
    return (head == kEmpty || head == kSleeping) && !has_taken_.load(std::memory_order_relaxed);
}

int CompletionQueue::wait(COMPLETION_PORT_COMPLETION* completions, uint32_t completions_max,
                          int64_t deadline_ns, const std::atomic<uint32_t>* driver) {
    const auto* word = reinterpret_cast<const uint32_t*>(&wakes_);
    bool timed_out = deadline_ns <= 0;
    for (bool enters = true;; enters = false) {
        uint32_t seen = 0;
        {
            MutexLock lock(mutex_);
            // In one step with what it takes: nobody else is woken for a place that it needs again.
            if (enters && places_.limited()) places_.give_back();
            const int count = take(completions, completions_max);
            const bool ended = has_ended();
            const bool leaves = count > 0 || timed_out || ended;
            if (leaves) see_to_sleepers();
            if (count > 0) return count;
            if (ended) return -ESHUTDOWN;
            if (timed_out) return -ETIMEDOUT;
            // Before the mark: a producer that replaces it changes the number afterwards.
            seen = wakes_.load(std::memory_order_acquire);
            if (places_.has_free() && !mark_sleeping()) continue;
            sleepers_.fetch_add(1, std::memory_order_seq_cst);
            // Pairs with the driver, who leaves first and looks for sleepers then: one of the two
            // sees the other.
            if (driver != nullptr && driver->load(std::memory_order_seq_cst) == 0) {
                sleepers_.fetch_sub(1, std::memory_order_relaxed);
                return -EAGAIN;
            }
        }
        timed_out = kernel_.futex_wait_until(word, seen, deadline_ns) == -ETIMEDOUT;
        MutexLock lock(mutex_);
        sleepers_.fetch_sub(1, std::memory_order_relaxed);
    }
}

}  // namespace cport
