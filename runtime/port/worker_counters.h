// What a worker has done, in numbers. Its thread alone writes them, plainly but for the word
// "atomic": a load and a store. Any thread reads.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "completionport/completion_port.h"
#include "completionport/completions.h"
#include "completionport/stats.h"

namespace cport {

class WorkerCounters {
 public:
    // Each completion is one step of one number: how it was told, its kind (0: an add), its result.
    void count_callback(uint32_t kind, uint32_t result) { step(called_[cell(kind, result)]); }
    void count_queued(uint32_t kind, uint32_t result) { step(queued_[cell(kind, result)]); }
    void count_inline(uint32_t kind) { step(inline_[kind]); }

    void count_pool_buffer(uint64_t bytes) {
        step(pool_buffers_);
        step(pool_bytes_, bytes);
    }
    void count_pool_drop() { step(pool_drops_); }
    void count_removed() { step(removed_); }
    void count_round() { step(rounds_); }
    void count_sleep() { step(sleeps_); }
    void count_sweep() { step(sweeps_); }
    void count_mail(uint64_t messages) { step(mail_, messages); }
    void count_batch(int events) {
        step(batches_);
        step(events_, static_cast<uint64_t>(events));
    }
    void note_run_list(uint64_t length) {
        if (length > run_list_max_.load(std::memory_order_relaxed)) set(run_list_max_, length);
    }

    // What the worker knows more cheaply than by counting each step.
    void publish(uint64_t pending, uint64_t timers, uint64_t renewed) {
        set(pending_, pending);
        set(timers_, timers);
        set(renewed_, renewed);
    }

    // Any thread. Adds to what is there; takes the greater of run_list_max.
    void add_to(COMPLETION_PORT_WORKER_STATS& stats) const;

 private:
    using Counter = std::atomic<uint64_t>;

    static constexpr uint32_t kKinds = COMPLETION_PORT_STATS_KINDS;
    static constexpr uint32_t kResults = COMPLETION_PORT_RESULT_ABANDONED + 1;
    static_assert(COMPLETION_PORT_KIND_RECEIVE_POOLED < kKinds);
    static_assert(COMPLETION_PORT_RESULT_OK < kResults && COMPLETION_PORT_RESULT_ERROR < kResults);

    static uint32_t cell(uint32_t kind, uint32_t result) { return kind * kResults + result; }
    static void set(Counter& counter, uint64_t value) {
        counter.store(value, std::memory_order_relaxed);
    }
    // There is one writer, so no step is lost without an instruction that locks the line.
    static void step(Counter& counter, uint64_t by = 1) {
        set(counter, counter.load(std::memory_order_relaxed) + by);
    }
    static uint64_t get(const Counter& counter) { return counter.load(std::memory_order_relaxed); }

    // On lines of their own: what readers fetch the worker has nothing else on.
    alignas(64) std::array<Counter, size_t{kKinds} * kResults> called_{};
    std::array<Counter, size_t{kKinds} * kResults> queued_{};
    std::array<Counter, kKinds> inline_{};
    Counter removed_ = 0;
    Counter rounds_ = 0;
    Counter sleeps_ = 0;
    Counter sweeps_ = 0;
    Counter mail_ = 0;
    Counter batches_ = 0;
    Counter events_ = 0;
    Counter run_list_max_ = 0;
    Counter pending_ = 0;
    Counter timers_ = 0;
    Counter renewed_ = 0;
    Counter pool_buffers_ = 0;
    Counter pool_bytes_ = 0;
    Counter pool_drops_ = 0;
};

}  // namespace cport
