#include "completionport/buffers.h"

#include <bit>
#include <cerrno>

#include "runtime/abi/handle.h"
#include "runtime/abi/structure.h"
#include "runtime/buffer/buffer_pool.h"

namespace cport {
namespace {

constexpr uint32_t kBufferBytesDefault = 4096;
constexpr uint32_t kLargestDefault = 256 * 1024;

static_assert(COMPLETION_PORT_BUFFER_BYTES_MAX / BufferPool::kUnitsOfLargest >=
              COMPLETION_PORT_BUFFER_BYTES_MIN);

BufferPool* pool_of_handle(COMPLETION_PORT_BUFFER_POOL_HANDLE handle) {
    return reinterpret_cast<BufferPool*>(handle);
}

COMPLETION_PORT_BUFFER_POOL_HANDLE handle_of(BufferPool* pool) {
    return reinterpret_cast<COMPLETION_PORT_BUFFER_POOL_HANDLE>(pool);
}

bool is_buffer_size(uint32_t bytes) {
    return std::has_single_bit(bytes) && bytes >= COMPLETION_PORT_BUFFER_BYTES_MIN &&
           bytes <= COMPLETION_PORT_BUFFER_BYTES_MAX;
}

// What is meant where nothing is said: 256 KiB, or what comes nearest.
uint32_t default_largest(uint32_t smallest) {
    const uint64_t most = uint64_t{smallest} * BufferPool::kUnitsOfLargest;
    const uint32_t within = kLargestDefault < most ? kLargestDefault : static_cast<uint32_t>(most);
    return within < smallest ? smallest : within;
}

int read_options(const COMPLETION_PORT_BUFFER_POOL_OPTIONS& callers, BufferPoolOptions& options) {
    constexpr size_t kLeast = sizeof(callers.size) + sizeof(callers.flags);
    if (callers.size < kLeast) return -EINVAL;
    COMPLETION_PORT_BUFFER_POOL_OPTIONS known;
    const int error = read_sized(&callers, callers.size, &known, sizeof(known));
    if (error != 0) return error;
    if (known.flags != 0 || known.reserved != 0) return -EINVAL;
    const uint32_t smallest = known.buffer_bytes == 0 ? kBufferBytesDefault : known.buffer_bytes;
    if (!is_buffer_size(smallest)) return -EINVAL;
    const uint32_t largest =
        known.buffer_bytes_max == 0 ? default_largest(smallest) : known.buffer_bytes_max;
    if (!is_buffer_size(largest) || largest < smallest ||
        largest / smallest > BufferPool::kUnitsOfLargest) {
        return -EINVAL;
    }
    if (known.bytes_max < smallest || known.bytes_max / smallest > BufferPool::kUnitsMax) {
        return -EINVAL;
    }
    options = {smallest, largest, known.bytes_max, {}};
    return 0;
}

COMPLETION_PORT_BUFFER_POOL_HANDLE create_pool(COMPLETION_PORT_HANDLE port,
                                               const COMPLETION_PORT_BUFFER_POOL_OPTIONS* options) {
    BufferPoolOptions checked;
    int error = port == nullptr || options == nullptr ? -EINVAL : read_options(*options, checked);
    BufferPool* pool = nullptr;
    if (error == 0) pool = from_handle(port)->create_pool(checked, error);
    if (pool == nullptr) errno = -error;
    return handle_of(pool);
}

}  // namespace
}  // namespace cport

extern "C" {

COMPLETION_PORT_BUFFER_POOL_HANDLE completion_port_buffer_pool_create(
    COMPLETION_PORT_HANDLE completion_port, const COMPLETION_PORT_BUFFER_POOL_OPTIONS* options) {
    return cport::create_pool(completion_port, options);
}

void completion_port_buffer_pool_destroy(COMPLETION_PORT_BUFFER_POOL_HANDLE buffer_pool) {
    if (buffer_pool == nullptr) return;
    cport::BufferPool* pool = cport::pool_of_handle(buffer_pool);
    if (!pool->forked()) pool->close();
}

int64_t completion_port_buffer_pool_in_use(COMPLETION_PORT_BUFFER_POOL_HANDLE buffer_pool) {
    if (buffer_pool == nullptr) return -EINVAL;
    const cport::BufferPool* pool = cport::pool_of_handle(buffer_pool);
    return pool->forked() ? -EPERM : static_cast<int64_t>(pool->bytes_in_use());
}

int completion_port_buffer_release(COMPLETION_PORT_BUFFER_POOL_HANDLE buffer_pool, void* buffer) {
    if (buffer_pool == nullptr || buffer == nullptr) return -EINVAL;
    return cport::pool_of_handle(buffer_pool)->release(buffer);
}

}  // extern "C"
