// Where operations live: slots of two cache lines in chunks that are never given back before the
// port ends, so that a stale name may always be looked at.
//
// The owner takes and returns slots without an atomic instruction. Other threads take from a ring,
// which the owner refills with what it has too much of, and then from a shared stack, where new
// slots are, what other threads return, and what the ring had no room for. Only growth locks.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "platform/memory.h"
#include "platform/numa.h"
#include "runtime/mutex.h"
#include "runtime/operation/free_ring.h"
#include "runtime/operation/operation.h"

namespace cport {

class WorkerLog;

class Slab {
 public:
    static constexpr uint32_t kChunkSlots = 512;
    static constexpr uint32_t kSlotsMax = 1u << 20;
    // The owner keeps at most this many free slots to itself, and looks this often whether others
    // have none.
    static constexpr uint32_t kOwnFreeMax = 2 * kChunkSlots;
    static constexpr uint32_t kLookPeriod = 64;

    // Slots of several slabs are told apart by the number of theirs, below kSlabsMax.
    static constexpr uint32_t kSlabsMax = 64;
    static constexpr int kNumberShift = 20;
    static_assert(kSlotsMax == 1u << kNumberShift);
    static uint32_t number_of(uint32_t slot) { return slot >> kNumberShift; }
    static uint32_t number_of_id(uint64_t id) { return number_of(static_cast<uint32_t>(id) - 1); }

    // `slots_max` is rounded up to whole chunks, and to kSlotsMax at most. `home`: of the chunks.
    explicit Slab(platform::Memory& memory, uint32_t slots_max = kSlotsMax, uint32_t number = 0,
                  WorkerLog* log = nullptr, const platform::MemoryHome& home = {});
    ~Slab();
    Slab(const Slab&) = delete;
    Slab& operator=(const Slab&) = delete;

    // A slot, or nullptr with -ENOMEM or -ENOBUFS (the limit) in `error`.
    Operation* take_as_owner(int& error) {
        Operation* slot = take_own();
        return slot != nullptr ? slot : take_shared_as_owner(error);
    }
    // One that the owner keeps to itself, or nullptr.
    Operation* take_own() {
        Operation* slot = own_free_;
        if (slot == nullptr) return nullptr;
        own_free_ = static_cast<Operation*>(slot->next);
        --own_free_count_;
        return slot;
    }
    Operation* take(int& error);

    // The operation in use under an id, or nullptr. By the time that another thread than the
    // owner could use the slot afresh, its generation differs.
    Operation* find(uint64_t id) const;

    void release_as_owner(Operation* operation) {
        operation->begin_generation();
        operation->next = own_free_;
        own_free_ = operation;
        if (++own_free_count_ % kLookPeriod == 0 || wanted_.load(std::memory_order_relaxed)) {
            look_after_others();
        }
    }
    // The owner: how many slots it has taken and not returned, less those that it returned for
    // others.
    int64_t held_by_owner() const { return from_shared_ - int64_t{own_free_count_}; }
    // Any thread.
    uint32_t slots_max() const { return chunks_max_ * kChunkSlots; }
    uint32_t slots_allocated() const { return allocated_.load(std::memory_order_relaxed); }

    // The owner has nothing to do for a while: what others lack they get.
    void rest_as_owner();
    // Any thread.
    void release(Operation* operation);

 private:
    static uint32_t index_of(uint64_t head) { return static_cast<uint32_t>(head); }
    static uint64_t next_head(uint64_t head, uint32_t index);

    Operation* at(uint32_t index) const;
    Operation* take_shared_as_owner(int& error);
    Operation* pop_ring();
    Operation* pop_shared();
    void push_shared(Operation* first, Operation* last);
    // Adds a chunk's slots to the shared stack. 0, -ENOMEM or -ENOBUFS.
    int grow() ABSL_LOCKS_EXCLUDED(growth_);
    bool others_have_none() const {
        return ring_.empty() && index_of(shared_.load(std::memory_order_relaxed)) == 0;
    }
    void look_after_others();
    void give_back(uint32_t count);
    void give_back_by_stack(uint32_t count);

    static uint32_t index_in_slab(const Operation& operation) {
        return operation.slot & (kSlotsMax - 1);
    }

    platform::Memory& memory_;
    const platform::MemoryHome home_;
    const uint32_t chunks_max_;
    const uint32_t first_slot_;
    const uint32_t own_free_max_;
    WorkerLog* const log_;
    // Head of the stack of free slots: index + 1 in the low half, a tag against ABA in the high
    // one.
    alignas(64) std::atomic<uint64_t> shared_{0};
    FreeRing ring_;
    // The owner's free slots, linked through `next`.
    alignas(64) Operation* own_free_ = nullptr;
    uint32_t own_free_count_ = 0;
    int64_t from_shared_ = 0;  // slots that the owner took there, less those that it gave back
    // Another thread found nothing, and the limit reached.
    std::atomic<bool> wanted_{false};
    std::atomic<bool> full_{false};  // the limit is reached, so that what one keeps another lacks
    Mutex growth_;
    uint32_t chunk_count_ ABSL_GUARDED_BY(growth_) = 0;
    std::atomic<uint32_t> allocated_{0};  // slots, for who only wants to know
    std::array<std::atomic<Operation*>, kSlotsMax / kChunkSlots> chunks_{};
};

}  // namespace cport
