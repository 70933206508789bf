// The sources of one worker: who is drained when, and how they end.
//
// A source is drained until it is empty, armed, drained once more, and then left to its descriptor
// and to kicks. What comes before the arming is found by the drain after it; what comes later makes
// the descriptor readable or kicks. An edge may have been fetched and forgotten before, so that the
// descriptor is asked for afresh before it is relied on. (models: source.pml)
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "platform/memory.h"
#include "runtime/engine/epoll_engine.h"
#include "runtime/operation/task.h"
#include "runtime/port/source.h"

namespace cport {

// First in, first out.
class SourceList {
 public:
    bool empty() const { return head_ == nullptr; }
    uint32_t count() const { return count_; }
    void push(Source& source) {
        source.next_in_list = nullptr;
        *tail_ = &source;
        tail_ = &source.next_in_list;
        ++count_;
    }
    Source& pop();
    // It is in the list.
    void remove(Source& source);

 private:
    Source* head_ = nullptr;
    Source** tail_ = &head_;
    uint32_t count_ = 0;
};

class SourceSet {
 public:
    static constexpr uint32_t kSourcesMax = COMPLETION_PORT_SOURCES_MAX;
    static constexpr uint32_t kChunkSources = 64;
    static constexpr uint32_t kChunks = kSourcesMax / kChunkSources;
    static_assert(kSourcesMax % kChunkSources == 0);

    SourceSet(platform::Memory& memory, EpollEngine& engine, TaskList& completed)
        : memory_(memory), engine_(engine), completed_(completed) {}
    ~SourceSet();
    SourceSet(const SourceSet&) = delete;
    SourceSet& operator=(const SourceSet&) = delete;

    // Any thread.

    // A slot, taken, or nullptr with -ENOMEM or -ENOBUFS in `error`.
    Source* take(int& error);
    // One that was never published.
    void give_back(Source& source);
    // The slot of that number, or nullptr.
    Source* find(uint32_t index) const;

    // The rest is the worker's.

    // A source that was attached.
    void begin(Source& source);
    // A kick, or a detach by another thread.
    void hear(Source& source);
    void hear_detach(DetachWaiter& waiter);
    void kick(Source& source);
    // It was moved to kDetaching: from here on it is left alone.
    void finish(Source& source);
    void on_edge(const Edge& edge);

    bool has_ready() const { return !ready_.empty(); }
    bool has_polled() const { return !polled_.empty(); }
    // One turn of each source that is ready or polled. Whether there were items.
    bool run_round();
    // Arms what is polled. What has items all the same is ready then, and nothing is polled.
    void rest_polled();

    // Detaches every source, also those that come later.
    void end_all();
    // Calls on_detached. The slot is free when it has returned.
    void run_detached(Source& source);

 private:
    Source* chunk_at(uint32_t chunk, int& error);
    bool still_runs(const Source& source) const {
        return source.place == SourcePlace::kRunning &&
               source.word.load(std::memory_order_relaxed) ==
                   SourceWord::with(source.generation, SourceWord::kAttached);
    }
    void make_ready(Source& source);
    void turn(Source& source);
    void arm(Source& source);
    void rest(Source& source);
    void fail(Source& source, int error);
    void leave_list(Source& source);

    platform::Memory& memory_;
    EpollEngine& engine_;
    TaskList& completed_;
    std::array<std::atomic<Source*>, kChunks> chunks_{};
    SourceList ready_;
    SourceList polled_;
    bool ended_ = false;
    bool had_items_ = false;  // in this round
};

}  // namespace cport
