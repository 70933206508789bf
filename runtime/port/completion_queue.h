// Finished operations that wait for threads of the user's own.
//
// Producers never lock: as in the mailbox, one word is empty, sleeping, closed or the newest
// operation, and who replaces "sleeping" wakes one thread. Consumers take turns under a lock, and
// whoever leaves work behind, or others asleep, sees to it that they are told.
//
// Where threads that process records are limited, one that finds no place sleeps without a mark, so
// that producers do not wake it in vain; whoever gives a place back sees to the sleepers.
#pragma once

#include <atomic>
#include <cstdint>

#include "completionport/completions.h"
#include "platform/clock.h"
#include "platform/kernel.h"
#include "platform/memory.h"
#include "runtime/mutex.h"
#include "runtime/operation/operation.h"
#include "runtime/operation/slab.h"
#include "runtime/operation/task.h"
#include "runtime/port/waiter_places.h"

namespace cport {

class CompletionQueue {
 public:
    static constexpr int64_t kNoDeadline = INT64_MAX;

    // `slabs` by their numbers.
    CompletionQueue(platform::Kernel& kernel, platform::Memory& memory, Slab* const* slabs)
        : kernel_(kernel), slabs_(slabs), places_(memory) {}
    CompletionQueue(const CompletionQueue&) = delete;
    CompletionQueue& operator=(const CompletionQueue&) = delete;

    // The most threads that may process records at once; 0: no limit. 0 or -ENOMEM. Before any
    // thread uses it.
    int limit_waiters(uint32_t running_max) ABSL_LOCKS_EXCLUDED(mutex_);

    // Any thread. False: closed, and the operation is still the caller's.
    bool push(Operation& operation);
    // No operation is taken in any more; those that are there may still be waited for.
    void close() ABSL_LOCKS_EXCLUDED(mutex_);

    // Makes every thread that sleeps on a driver look again, after that has changed.
    void nudge() {
        if (sleepers_.load(std::memory_order_seq_cst) > 0) wake(true);
    }
    struct Counts {
        uint64_t pushed;   // so far
        uint64_t waiting;  // of these
        uint32_t running;  // threads that hold a place
    };
    Counts counts() ABSL_LOCKS_EXCLUDED(mutex_);

    // A look that takes no lock; another thread may change it at once.
    bool seems_empty() const;
    // Whether a wait of this thread's would take what is there.
    bool has_place_for_caller() ABSL_LOCKS_EXCLUDED(mutex_);

    // Before the queue goes: waits until nobody is inside push any more, as a thread may be whose
    // operation has been waited for already.
    void await_wakes(platform::Clock& clock) ABSL_LOCKS_EXCLUDED(mutex_);

    // Then: closes the accepted descriptors, and gives back the buffers of pools, that nobody will
    // be told of.
    void give_up_records() ABSL_LOCKS_EXCLUDED(mutex_);

    // A deadline of 0 looks and returns. The count of records, or -ETIMEDOUT, or -ESHUTDOWN once
    // closed and empty. The slots of what it returns go back to their slabs.
    // Where `driver` is given, it sleeps only while that is not 0, and says -EAGAIN otherwise.
    int wait(COMPLETION_PORT_COMPLETION* completions, uint32_t completions_max, int64_t deadline_ns,
             const std::atomic<uint32_t>* driver = nullptr) ABSL_LOCKS_EXCLUDED(mutex_);
    bool limits_waiters() const { return places_.limited(); }
    // This thread processes no records any more. 0, or -ENOENT: it holds no place.
    int leave() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
    static constexpr uintptr_t kEmpty = 0;
    static constexpr uintptr_t kSleeping = 1;
    static constexpr uintptr_t kClosed = 2;

    static Operation* as_operation(uintptr_t head) {
        return head <= kClosed ? nullptr : reinterpret_cast<Operation*>(head);
    }
    void refill() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
    int copy(COMPLETION_PORT_COMPLETION* completions, uint32_t completions_max)
        ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
    // With a place for this thread, if one is free.
    int take(COMPLETION_PORT_COMPLETION* completions, uint32_t completions_max)
        ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
    bool has_ended() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
        return closed_ && taken_.empty();
    }
    // False: something is there, or the queue is closed.
    bool mark_sleeping() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
    void wake(bool all);
    // Before it lets go, of a thread that leaves: others sleep. They get what is left, or the next
    // producer is told to wake them.
    void see_to_sleepers() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

    static constexpr int64_t kYield_ns = 1'000'000;

    platform::Kernel& kernel_;
    Slab* const* const slabs_;
    alignas(64) std::atomic<uintptr_t> head_{kEmpty};
    std::atomic<uint32_t> wakes_{0};  // what sleepers sleep on
    std::atomic<uint32_t> wakes_made_{0};
    alignas(64) Mutex mutex_;
    std::atomic<bool> has_taken_{false};
    TaskList taken_ ABSL_GUARDED_BY(mutex_);
    WaiterPlaces places_;  // changed and asked under mutex_, but for whether there is a limit
    uint64_t copied_ ABSL_GUARDED_BY(mutex_) = 0;
    std::atomic<int> sleepers_{0};                 // changed under mutex_
    bool marked_ ABSL_GUARDED_BY(mutex_) = false;  // the word was "sleeping" when last left
    uint32_t wakes_owed_ ABSL_GUARDED_BY(mutex_) = 0;
    bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace cport
