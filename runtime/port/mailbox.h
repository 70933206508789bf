// How other threads reach a worker: a chain of tasks behind one atomic word.
//
// The word is empty, sleeping, closed, or the newest task. Since "the worker sleeps" and "there is
// mail" are states of the same word, no store can slip between a look at one and a change of the
// other: the producer that replaces "sleeping" is the one that must wake the worker, and a worker
// falls asleep only from "empty". (Two words would need sequentially consistent exchanges on both.)
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>

#include "runtime/operation/task.h"
#include "runtime/prefetch.h"

namespace cport {

class Mailbox {
 public:
    enum class Posted { kQueued, kQueuedForSleeper, kClosed };

    Mailbox() = default;
    Mailbox(const Mailbox&) = delete;
    Mailbox& operator=(const Mailbox&) = delete;

    // Any thread. After kQueuedForSleeper the caller must wake the worker. After kClosed the task
    // is still the caller's.
    Posted post(Task* task) {
        // Not once it is posted: the mailbox may be gone then.
        note_recent(task);
        uintptr_t head = head_.load(std::memory_order_relaxed);
        do {
            if (head == kClosed) return Posted::kClosed;
            task->next = as_task(head);
            // Release pairs with take: the task's fields are seen with it.
        } while (!head_.compare_exchange_weak(head, reinterpret_cast<uintptr_t>(task),
                                              std::memory_order_release,
                                              std::memory_order_relaxed));
        return head == kSleeping ? Posted::kQueuedForSleeper : Posted::kQueued;
    }

    // The worker. Everything posted so far, oldest first, as a chain through `next`. Ends the
    // sleep.
    Task* take() {
        if (head_.load(std::memory_order_relaxed) == kEmpty) return nullptr;
        const uintptr_t head = head_.exchange(kEmpty, std::memory_order_acquire);
        Task* newest = as_task(head);
        if (slept_ && newest != nullptr) ++wakes_owed_;
        slept_ = false;
        return reversed(newest);
    }

    // The worker.
    bool has_mail() const { return head_.load(std::memory_order_relaxed) > kClosed; }
    // The worker. False if there is mail. It may be asleep already.
    bool fall_asleep() {
        uintptr_t head = kEmpty;
        const bool asleep =
            head_.compare_exchange_strong(head, kSleeping, std::memory_order_acq_rel,
                                          std::memory_order_relaxed) ||
            head == kSleeping;
        // A wake is owed for each sleep that mail ended, until that mail is taken.
        slept_ = slept_ || asleep;
        return asleep;
    }
    // The worker makes a wake itself.
    void owe_wake() { ++wakes_owed_; }
    bool close() { return replace_empty_by(kClosed); }

    // The worker. How often a producer got kQueuedForSleeper so far.
    int64_t wakes_owed() const { return wakes_owed_; }

 private:
    static constexpr uintptr_t kEmpty = 0;
    static constexpr uintptr_t kSleeping = 1;
    static constexpr uintptr_t kClosed = 2;
    static constexpr uint32_t kRecent = 256;
    static constexpr uint32_t kFetchedAhead = 8;

    static Task* as_task(uintptr_t head) {
        return head <= kClosed ? nullptr : reinterpret_cast<Task*>(head);
    }
    bool replace_empty_by(uintptr_t state) {
        uintptr_t expected = kEmpty;
        return head_.compare_exchange_strong(expected, state, std::memory_order_acq_rel,
                                             std::memory_order_relaxed);
    }

    // Other CPUs wrote the tasks last, and a link says only which comes next. So producers leave
    // addresses side by side too, for the worker to fetch several tasks at a time. They are hints
    // and no more: producers that come together may count as one, a task may be refused, or gone.
    void note_recent(Task* task) {
        const uint32_t place = recent_count_.load(std::memory_order_relaxed);
        recent_count_.store(place + 1, std::memory_order_relaxed);
        recent_[place % kRecent].store(task, std::memory_order_relaxed);
    }
    // The worker. The chain the other way round.
    Task* reversed(Task* newest) {
        uint32_t place = recent_count_.load(std::memory_order_relaxed);
        uint32_t left = std::min(place - recent_heard_, kRecent);
        recent_heard_ = place;
        const auto fetch_older = [&] {
            if (left == 0) return;
            --left;
            prefetch_two_lines(recent_[--place % kRecent].load(std::memory_order_relaxed));
        };
        for (uint32_t i = 0; i < kFetchedAhead; ++i) fetch_older();
        Task* oldest = nullptr;
        while (newest != nullptr) {
            fetch_older();
            Task* next = newest->next;
            newest->next = oldest;
            oldest = newest;
            newest = next;
        }
        return oldest;
    }

    alignas(64) std::atomic<uintptr_t> head_{kEmpty};
    std::atomic<uint32_t> recent_count_{0};
    alignas(64) std::array<std::atomic<Task*>, kRecent> recent_{};
    // The worker's.
    alignas(64) bool slept_ = false;
    uint32_t recent_heard_ = 0;
    int64_t wakes_owed_ = 0;
};

}  // namespace cport
