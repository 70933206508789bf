// Memory for receives: buffers whose sizes are powers of two, carved out of one range of addresses
// that is reserved at the start and touched as it is used.
//
// The range is a row of units, each as long as the smallest buffer, and one bit a unit says whether
// it is in use. 64 units share a word, and a buffer never crosses words: taking one is one
// compare-exchange, giving it back clears its bits. Free neighbours need no merging, since nothing
// remembers that they were apart. Any number of threads draw and release at once, without a lock.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "platform/memory.h"
#include "platform/numa.h"

namespace cport {

struct BufferPoolOptions {
    uint32_t buffer_bytes;      // a power of two: the smallest buffer, which is a unit
    uint32_t buffer_bytes_max;  // a power of two: the largest, at most BufferPool::kUnitsOfLargest
    uint64_t bytes_max;         // of all buffers in use; at least one unit
    platform::MemoryHome home = {};  // of the buffers
};

class BufferPool {
 public:
    static constexpr uint32_t kUnitsOfLargest = 64;
    static constexpr uint32_t kClassesMax = 7;
    static constexpr uint32_t kUnitsMax = 1u << 20;
    // A search for a larger buffer looks at this many words.
    static constexpr uint32_t kLooksMax = 256;

    // `owner` names the port that it is made for. It is held until `close`.
    // nullptr, and -ENOMEM in `error`.
    static BufferPool* create(platform::Memory& memory, const void* owner,
                              const BufferPoolOptions& options, int& error);
    BufferPool(const BufferPool&) = delete;
    BufferPool& operator=(const BufferPool&) = delete;

    // What follows, any thread may call that holds the pool, or one of its buffers.

    // Sizes are told by class: each is twice the one before, from 0 on.
    uint32_t bytes_of(uint32_t size_class) const { return unit_bytes_ << size_class; }
    uint32_t largest_class() const { return largest_class_; }
    // The smallest that holds so many bytes, or the largest.
    uint32_t class_for(uint64_t bytes) const;

    // A buffer of the class `wanted`; else of the largest that is left, down to `least`; its class
    // goes to `drawn`. nullptr: there is none, or the pool was closed.
    char* draw(uint32_t wanted, uint32_t least, uint32_t& drawn);
    // Gives back what a drawn buffer has beyond the smallest size that holds so many bytes. Before
    // it is handed on.
    void trim(char* buffer, uint32_t bytes);
    // 0; -EINVAL: it is no buffer in use; -EPERM: this is a forked child.
    int release(void* buffer);

    // Another holder, who drops it. False: it was closed.
    bool hold();
    void drop() { leave(kHolderOne); }
    // It gives out no buffer from here on. Its memory goes with the last holder and the last buffer
    // in use.
    void close();

    uint64_t bytes_in_use() const {
        return uint64_t{units_of(held_.load(std::memory_order_relaxed))} * unit_bytes_;
    }
    bool made_for(const void* owner) const { return owner_ == owner; }
    bool forked() const { return *fork_mark_ == 0; }

 private:
    static constexpr uint32_t kUnitsOfWord = 64;
    static_assert(kUnitsOfLargest == kUnitsOfWord && 1u << (kClassesMax - 1) == kUnitsOfLargest);
    // Between its reservation and its search, others may take what it saw: it looks again.
    static constexpr uint32_t kRoundsMax = 4;
    static constexpr uint32_t kNoUnit = UINT32_MAX;
    // What keeps the pool: units in use, holders, and whether it is open.
    static constexpr uint64_t kHolderOne = uint64_t{1} << 32;
    static constexpr uint64_t kOpen = uint64_t{1} << 63;
    static uint32_t units_of(uint64_t held) { return static_cast<uint32_t>(held); }

    BufferPool(platform::Memory& memory, const void* owner, const BufferPoolOptions& options,
               uint32_t units, std::byte* behind);
    ~BufferPool() = default;
    static size_t size_with_tables(uint32_t units);
    static uint32_t words_for(uint32_t units) { return (units + kUnitsOfWord - 1) / kUnitsOfWord; }
    int open(const platform::MemoryHome& home);
    void destroy();

    bool reserve(uint32_t units);
    // The first unit of a buffer that is in use from now on.
    uint32_t find(uint32_t size_class);
    void clear_units(uint32_t first, uint32_t count);
    void leave(uint64_t held);
    uint32_t unit_at(const void* buffer) const;

    platform::Memory& memory_;
    const void* const owner_;
    const uint32_t unit_bytes_;
    const uint32_t unit_shift_;
    const uint32_t largest_class_;
    const uint32_t unit_count_;
    const uint32_t word_count_;
    const volatile uint32_t* fork_mark_ = nullptr;
    std::byte* data_ = nullptr;
    // Behind the pool, in the same memory. Only by std::atomic_ref.
    uint64_t* const words_;    // a bit a unit: in use
    uint8_t* const drawn_as_;  // of a buffer's first unit: its class + 1; else 0

    alignas(64) std::atomic<uint64_t> held_{kOpen};
    // Where to look first, by class: below it nothing was free when somebody looked.
    alignas(64) std::array<std::atomic<uint32_t>, kClassesMax> first_looks_{};
};

}  // namespace cport
