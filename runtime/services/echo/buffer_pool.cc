#include "runtime/services/echo/buffer_pool.h"

#include <cstdlib>
#include <cstring>

namespace cport::echo {

BufferPool::~BufferPool() {
    clear(small_);
    clear(large_);
}

Buffer BufferPool::take_small() { return take(small_, kSmallBufferBytes); }

Buffer BufferPool::take_large() {
    if (large_taken_ == kLargeBuffersMax) return {};
    const Buffer buffer = take(large_, kLargeBufferBytes);
    if (!buffer.empty()) ++large_taken_;
    return buffer;
}

Buffer BufferPool::take(FreeList& list, uint32_t size_bytes) {
    std::byte* data = pop(list);
    if (data == nullptr) data = static_cast<std::byte*>(std::malloc(size_bytes));
    if (data == nullptr) return {};
    bytes_taken_.add(size_bytes);
    return {data, size_bytes};
}

void BufferPool::give(Buffer buffer) {
    if (buffer.empty()) return;
    bytes_taken_.subtract(buffer.size_bytes);
    bool kept = false;
    if (buffer.large()) {
        --large_taken_;
        kept = push(large_, buffer.data, kLargeBuffersKept);
    } else {
        kept = push(small_, buffer.data, kSmallBuffersKept);
    }
    if (!kept) std::free(buffer.data);
}

std::byte* BufferPool::pop(FreeList& list) {
    std::byte* data = list.first;
    if (data != nullptr) {
        std::memcpy(&list.first, data, sizeof(list.first));
        --list.count;
    }
    return data;
}

bool BufferPool::push(FreeList& list, std::byte* data, uint32_t kept_max) {
    if (list.count == kept_max) return false;
    std::memcpy(data, &list.first, sizeof(list.first));
    list.first = data;
    ++list.count;
    return true;
}

void BufferPool::clear(FreeList& list) {
    while (std::byte* data = pop(list)) std::free(data);
}

}  // namespace cport::echo
