// Where operations live: slots of two cache lines in chunks that are never given back before the
// port ends, so that a stale name may always be looked at.
//
// The owner takes and returns slots without an atomic instruction. Other threads take from a shared
// stack, which the owner refills with what it has too much of. Only growth takes a lock.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "platform/memory.h"
#include "runtime/mutex.h"
#include "runtime/operation/operation.h"

namespace cport {

class Slab {
 public:
    static constexpr uint32_t kChunkSlots = 512;
    static constexpr uint32_t kSlotsMax = 1u << 20;
    // The owner keeps at most this many free slots to itself, and looks this often whether others
    // have none.
    static constexpr uint32_t kOwnFreeMax = 2 * kChunkSlots;
    static constexpr uint32_t kLookPeriod = 64;

    // `slots_max` is rounded up to whole chunks, and to kSlotsMax at most.
    explicit Slab(platform::Memory& memory, uint32_t slots_max = kSlotsMax);
    ~Slab();
    Slab(const Slab&) = delete;
    Slab& operator=(const Slab&) = delete;

    // A slot, or nullptr with -ENOMEM or -ENOBUFS (the limit) in `error`.
    Operation* take_as_owner(int& error);
    Operation* take(int& error);

    void release_as_owner(Operation* operation);
    // For an operation that was never published.
    void release(Operation* operation);

 private:
    static uint32_t index_of(uint64_t head) { return static_cast<uint32_t>(head); }
    static uint64_t next_head(uint64_t head, uint32_t index);

    Operation* at(uint32_t index) const;
    Operation* pop_shared();
    void push_shared(Operation* first, Operation* last);
    // Adds a chunk's slots to the shared stack. 0, -ENOMEM or -ENOBUFS.
    int grow() ABSL_LOCKS_EXCLUDED(growth_);
    void give_back_half();

    platform::Memory& memory_;
    const uint32_t chunks_max_;
    // Head of the stack of free slots: index + 1 in the low half, a tag against ABA in the high
    // one.
    alignas(64) std::atomic<uint64_t> shared_{0};
    // The owner's free slots, linked through `next`.
    alignas(64) Operation* own_free_ = nullptr;
    uint32_t own_free_count_ = 0;
    Mutex growth_;
    uint32_t chunk_count_ ABSL_GUARDED_BY(growth_) = 0;
    std::array<std::atomic<Operation*>, kSlotsMax / kChunkSlots> chunks_{};
};

}  // namespace cport
