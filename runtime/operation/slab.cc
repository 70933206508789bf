#include "runtime/operation/slab.h"

#include <algorithm>
#include <cerrno>
#include <new>

#include "runtime/port/log.h"
#include "runtime/prefetch.h"

namespace cport {
namespace {

constexpr size_t kChunkBytes = sizeof(Operation) * Slab::kChunkSlots;

}  // namespace

Slab::Slab(platform::Memory& memory, uint32_t slots_max, uint32_t number, WorkerLog* log,
           const platform::MemoryHome& home)
    : memory_(memory),
      home_(home),
      chunks_max_((std::min(slots_max, kSlotsMax) + kChunkSlots - 1) / kChunkSlots),
      first_slot_(number << kNumberShift),
      own_free_max_(std::min(kOwnFreeMax, chunks_max_ * kChunkSlots / 4)),
      log_(log) {}

Slab::~Slab() {
    for (auto& entry : chunks_) {
        Operation* chunk = entry.load(std::memory_order_relaxed);
        if (chunk == nullptr) break;
        memory_.release(chunk, kChunkBytes);
    }
}

Operation* Slab::at(uint32_t index) const {
    // Pairs with the release store in grow: the chunk's slots are built before it is seen.
    return chunks_[index / kChunkSlots].load(std::memory_order_acquire) + index % kChunkSlots;
}

uint64_t Slab::next_head(uint64_t head, uint32_t index) {
    return (((head >> 32) + 1) << 32) | index;
}

Operation* Slab::pop_ring() {
    const FreeRing::Taken taken = ring_.take();
    if (taken.later != 0) prefetch_two_lines(at(taken.later - 1));
    return taken.entry == 0 ? nullptr : at(taken.entry - 1);
}

Operation* Slab::pop_shared() {
    // Acquire pairs with push_shared: the slot's former user is done with it.
    uint64_t head = shared_.load(std::memory_order_acquire);
    while (index_of(head) != 0) {
        Operation* slot = at(index_of(head) - 1);
        // Another thread may take and change the slot meanwhile; the tag then fails the exchange.
        const uint32_t next = slot->next_free.load(std::memory_order_relaxed);
        if (shared_.compare_exchange_weak(head, next_head(head, next), std::memory_order_acquire,
                                          std::memory_order_acquire)) {
            // Another CPU wrote it last; whoever takes one slot soon takes the next.
            if (next != 0) prefetch_two_lines(at(next - 1));
            return slot;
        }
    }
    return nullptr;
}

void Slab::push_shared(Operation* first, Operation* last) {
    uint64_t head = shared_.load(std::memory_order_relaxed);
    do {
        last->next_free.store(index_of(head), std::memory_order_relaxed);
    } while (!shared_.compare_exchange_weak(head, next_head(head, index_in_slab(*first) + 1),
                                            std::memory_order_release, std::memory_order_relaxed));
}

int Slab::grow() {
    MutexLock lock(growth_);
    // Another thread may have grown it while this one waited.
    if (!others_have_none()) return 0;
    if (chunk_count_ == chunks_max_) return -ENOBUFS;
    void* memory = memory_.allocate(kChunkBytes, alignof(Operation));
    if (memory == nullptr) return -ENOMEM;
    // Before a thread of whatever node writes to it.
    home_.claim(memory, kChunkBytes);
    auto* chunk = static_cast<Operation*>(memory);
    const uint32_t base = chunk_count_ * kChunkSlots;
    for (uint32_t i = 0; i < kChunkSlots; ++i) {
        auto* slot = new (chunk + i) Operation(first_slot_ + base + i);
        if (i + 1 < kChunkSlots) slot->next_free.store(base + i + 2, std::memory_order_relaxed);
    }
    chunks_[chunk_count_].store(chunk, std::memory_order_release);
    if (++chunk_count_ == chunks_max_) full_.store(true, std::memory_order_relaxed);
    allocated_.store(chunk_count_ * kChunkSlots, std::memory_order_relaxed);
    push_shared(chunk, chunk + kChunkSlots - 1);
    return 0;
}

Operation* Slab::take(int& error) {
    for (;;) {
        if (Operation* slot = pop_ring()) return slot;
        if (Operation* slot = pop_shared()) return slot;
        error = grow();
        if (error == 0) continue;
        wanted_.store(true, std::memory_order_relaxed);
        if (log_ != nullptr) log_->slot_refused(error, slots_max());
        return nullptr;
    }
}

Operation* Slab::take_shared_as_owner(int& error) {
    Operation* slot = take(error);
    if (slot != nullptr) ++from_shared_;
    return slot;
}

void Slab::look_after_others() {
    wanted_.store(false, std::memory_order_relaxed);
    if (others_have_none() || own_free_count_ > own_free_max_) {
        give_back((own_free_count_ + 1) / 2);
    }
}

void Slab::rest_as_owner() {
    const bool others_may_lack = others_have_none() || full_.load(std::memory_order_relaxed);
    if (own_free_count_ > 0 && others_may_lack) give_back(own_free_count_);
}

void Slab::release(Operation* operation) {
    operation->enter(Stage::kIdle);
    operation->begin_generation();
    push_shared(operation, operation);
}

Operation* Slab::find(uint64_t id) const {
    const uint32_t index = static_cast<uint32_t>(id) - 1 - first_slot_;
    if (index >= kSlotsMax) return nullptr;
    Operation* chunk = chunks_[index / kChunkSlots].load(std::memory_order_acquire);
    if (chunk == nullptr) return nullptr;
    Operation* operation = chunk + index % kChunkSlots;
    return operation->id() == id ? operation : nullptr;
}

void Slab::give_back(uint32_t count) {
    own_free_count_ -= count;
    from_shared_ -= int64_t{count};
    const uint32_t by_ring = std::min(count, ring_.room());
    if (by_ring != 0) {
        ring_.give(by_ring, [this] {
            const uint32_t entry = index_in_slab(*own_free_) + 1;
            own_free_ = static_cast<Operation*>(own_free_->next);
            return entry;
        });
    }
    if (by_ring < count) give_back_by_stack(count - by_ring);
}

void Slab::give_back_by_stack(uint32_t count) {
    Operation* first = own_free_;
    Operation* last = first;
    for (uint32_t i = 1; i < count; ++i) {
        auto* next = static_cast<Operation*>(last->next);
        last->next_free.store(index_in_slab(*next) + 1, std::memory_order_relaxed);
        last = next;
    }
    own_free_ = static_cast<Operation*>(last->next);
    push_shared(first, last);
}

}  // namespace cport
