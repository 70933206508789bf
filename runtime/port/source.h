// A source of completions that the port's user brings along: what it is made of, and how far it is.
#pragma once

#include <atomic>
#include <cstdint>

#include "completionport/source.h"
#include "runtime/operation/remove_waiter.h"
#include "runtime/operation/task.h"

namespace cport {

// A source to attach, once its form has been checked.
struct SourceRequest {
    int descriptor = -1;  // negative: none
    uint32_t flags = 0;
    uint32_t budget = 0;
    uint32_t worker = 0;  // from 1; 0: any
    COMPLETION_PORT_SOURCE_DRAIN drain = nullptr;
    COMPLETION_PORT_SOURCE_ARM arm = nullptr;
    ON_COMPLETION_PORT_SOURCE_DETACHED on_detached = nullptr;
    void* context = nullptr;
};

// The part of a source that every thread reads, in one word: which use of the slot this is, and how
// far it has come.
struct SourceWord {
    static constexpr uint64_t kFree = 0;
    static constexpr uint64_t kTaken = 1;     // being attached
    static constexpr uint64_t kAttached = 2;  // the worker knows it, or will
    static constexpr uint64_t kDetaching = 3;
    static constexpr int kGenerationShift = 32;

    static uint64_t state(uint64_t word) { return word & 0xffffffff; }
    static uint32_t generation(uint64_t word) {
        return static_cast<uint32_t>(word >> kGenerationShift);
    }
    static uint64_t with(uint32_t generation, uint64_t state) {
        return (uint64_t{generation} << kGenerationShift) | state;
    }
};

struct Source;

// To the mailbox it brings an attached source, to the run list its on_detached.
struct SourceMessage : Task {
    explicit SourceMessage(Source& its_source) : Task(TaskKind::kSource), source(its_source) {}
    Source& source;
};

// Where a source is, for its worker.
enum class SourcePlace : uint8_t {
    kNowhere,  // not known yet, or over
    kResting,  // its descriptor or a kick will tell
    kReady,
    kPolled,   // drained without being asked for
    kRunning,  // inside one of its callbacks
};

// A slot. As a task it is the notice that something happened to it: a kick, or a detach. It lives
// as long as its port.
struct alignas(64) Source : Task {
    explicit Source(uint32_t number) : Task(TaskKind::kSourceNotice), index(number) {}

    // All threads.
    std::atomic<bool> notice_posted = false;
    const uint32_t index;
    std::atomic<uint64_t> word = SourceWord::with(1, SourceWord::kFree);
    // Whose slot it is, until it is published as attached; then it stays as it is.
    SourceRequest form;

    // The worker's.
    uint32_t generation = 0;  // which use the rest describes
    SourcePlace place = SourcePlace::kNowhere;
    bool armed = false;   // since it was drained last
    bool kicked = false;  // while it ran
    int32_t error = 0;    // 0 or a negative errno: what detached it
    Source* next_in_list = nullptr;
    SourceMessage message{*this};

    bool has(uint32_t flag) const { return (form.flags & flag) != 0; }
    bool watched() const { return form.descriptor >= 0; }

    // From `from` to `to` of that use. False: it is not there any more.
    bool move(uint32_t of_generation, uint64_t from, uint64_t to) {
        uint64_t expected = SourceWord::with(of_generation, from);
        return word.compare_exchange_strong(expected, SourceWord::with(of_generation, to),
                                            std::memory_order_acq_rel, std::memory_order_acquire);
    }
};

// A thread that waits inside detach, outside every callback.
class DetachWaiter : public Waiter {
 public:
    DetachWaiter(Source& detached, uint32_t its_generation)
        : Waiter(TaskKind::kDetachWaiter), source(detached), generation(its_generation) {}

    Source& source;
    const uint32_t generation;
};

}  // namespace cport
