#include "runtime/operation/slab.h"

#include <algorithm>
#include <cerrno>
#include <new>

namespace cport {
namespace {

constexpr size_t kChunkBytes = sizeof(Operation) * Slab::kChunkSlots;

}  // namespace

Slab::Slab(platform::Memory& memory, uint32_t slots_max)
    : memory_(memory),
      chunks_max_((std::min(slots_max, kSlotsMax) + kChunkSlots - 1) / kChunkSlots) {}

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

Operation* Slab::pop_shared() {
    // Acquire pairs with push_shared: the slot's former user is done with it.
    uint64_t head = shared_.load(std::memory_order_acquire);
    while (index_of(head) != 0) {
        Operation* slot = at(index_of(head) - 1);
        // Another thread may take and change the slot meanwhile; the tag then fails the exchange.
        const uint32_t next = slot->next_free.load(std::memory_order_relaxed);
        if (shared_.compare_exchange_weak(head, next_head(head, next), std::memory_order_acquire,
                                          std::memory_order_acquire)) {
            return slot;
        }
    }
    return nullptr;
}

void Slab::push_shared(Operation* first, Operation* last) {
    uint64_t head = shared_.load(std::memory_order_relaxed);
    do {
        last->next_free.store(index_of(head), std::memory_order_relaxed);
    } while (!shared_.compare_exchange_weak(head, next_head(head, first->slot + 1),
                                            std::memory_order_release, std::memory_order_relaxed));
}

int Slab::grow() {
    MutexLock lock(growth_);
    // Another thread may have grown it while this one waited.
    if (index_of(shared_.load(std::memory_order_relaxed)) != 0) return 0;
    if (chunk_count_ == chunks_max_) return -ENOBUFS;
    void* memory = memory_.allocate(kChunkBytes, alignof(Operation));
    if (memory == nullptr) return -ENOMEM;
    auto* chunk = static_cast<Operation*>(memory);
    const uint32_t base = chunk_count_ * kChunkSlots;
    for (uint32_t i = 0; i < kChunkSlots; ++i) {
        auto* slot = new (chunk + i) Operation(base + i);
        if (i + 1 < kChunkSlots) slot->next_free.store(base + i + 2, std::memory_order_relaxed);
    }
    chunks_[chunk_count_].store(chunk, std::memory_order_release);
    ++chunk_count_;
    push_shared(chunk, chunk + kChunkSlots - 1);
    return 0;
}

Operation* Slab::take(int& error) {
    for (;;) {
        if (Operation* slot = pop_shared()) return slot;
        error = grow();
        if (error != 0) return nullptr;
    }
}

Operation* Slab::take_as_owner(int& error) {
    if (own_free_ == nullptr) return take(error);
    Operation* slot = own_free_;
    own_free_ = static_cast<Operation*>(slot->next);
    --own_free_count_;
    return slot;
}

void Slab::release_as_owner(Operation* operation) {
    operation->next = own_free_;
    own_free_ = operation;
    if (++own_free_count_ % kLookPeriod != 0) return;
    const bool others_have_none = index_of(shared_.load(std::memory_order_relaxed)) == 0;
    if (others_have_none || own_free_count_ > kOwnFreeMax) give_back_half();
}

void Slab::release(Operation* operation) { push_shared(operation, operation); }

void Slab::give_back_half() {
    Operation* first = own_free_;
    Operation* last = first;
    const uint32_t count = own_free_count_ / 2;
    for (uint32_t i = 1; i < count; ++i) {
        auto* next = static_cast<Operation*>(last->next);
        last->next_free.store(next->slot + 1, std::memory_order_relaxed);
        last = next;
    }
    own_free_ = static_cast<Operation*>(last->next);
    own_free_count_ -= count;
    push_shared(first, last);
}

}  // namespace cport
