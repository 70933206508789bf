// The receive buffers of one shard, in two sizes. Used by the shard's worker only.
//
// Small buffers serve connections that exchange messages. A connection that fills its small buffer
// in one receive gets a large one, as long as there are any: bulk data is 2 to 4 times faster with
// them, and their number is what bounds a shard's memory.
#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/services/echo/counters.h"

namespace cport::echo {

inline constexpr uint32_t kSmallBufferBytes = 16 * 1024;
inline constexpr uint32_t kLargeBufferBytes = 256 * 1024;
inline constexpr uint32_t kLargeBuffersMax = 256;
// Free buffers beyond these go back to the allocator.
inline constexpr uint32_t kSmallBuffersKept = 256;
inline constexpr uint32_t kLargeBuffersKept = 16;

struct Buffer {
    std::byte* data = nullptr;
    uint32_t size_bytes = 0;

    [[nodiscard]] bool empty() const { return data == nullptr; }
    [[nodiscard]] bool large() const { return size_bytes == kLargeBufferBytes; }
};

class BufferPool {
 public:
    // `bytes_taken` counts the bytes of the buffers that are out.
    explicit BufferPool(Counter& bytes_taken) : bytes_taken_(bytes_taken) {}
    BufferPool(const BufferPool&) = delete;
    BufferPool& operator=(const BufferPool&) = delete;
    ~BufferPool();

    // An empty buffer: no memory, or every large one is taken.
    [[nodiscard]] Buffer take_small();
    [[nodiscard]] Buffer take_large();
    void give(Buffer buffer);

 private:
    // A free buffer holds the pointer to the next one.
    struct FreeList {
        std::byte* first = nullptr;
        uint32_t count = 0;
    };

    [[nodiscard]] Buffer take(FreeList& list, uint32_t size_bytes);
    static std::byte* pop(FreeList& list);
    static bool push(FreeList& list, std::byte* data, uint32_t kept_max);
    static void clear(FreeList& list);

    Counter& bytes_taken_;
    FreeList small_;
    FreeList large_;
    uint32_t large_taken_ = 0;
};

}  // namespace cport::echo
