#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string_view>
#include <utility>
#include <vector>

#include "completionport/buffers.h"
#include "completionport/testing/capture_state.h"
#include "completionport/testing/completion_capture.h"
#include "completionport/testing/sized_structure.h"

namespace completionport::testing {
namespace {

using PoolHandle = COMPLETION_PORT_BUFFER_POOL_HANDLE;

constexpr uint32_t kSmallestDefault = 4096;
constexpr uint32_t kLargestDefault = 256 * 1024;
constexpr uint32_t kSmallestToLargest = 64;
constexpr uint64_t kSmallestCountMax = 1u << 20;

bool is_buffer_size(uint32_t bytes) {
    return (bytes & (bytes - 1)) == 0 && bytes >= COMPLETION_PORT_BUFFER_BYTES_MIN &&
           bytes <= COMPLETION_PORT_BUFFER_BYTES_MAX;
}

// With its defaults filled in. 0, or the error for what the arguments alone tell.
int read_options(const COMPLETION_PORT_BUFFER_POOL_OPTIONS& callers,
                 COMPLETION_PORT_BUFFER_POOL_OPTIONS& known) {
    if (callers.size < sizeof(callers.size) + sizeof(callers.flags)) return -EINVAL;
    const int error = read_sized(&callers, callers.size, &known, sizeof(known));
    if (error != 0) return error;
    if (known.flags != 0 || known.reserved != 0) return -EINVAL;
    uint32_t& smallest = known.buffer_bytes;
    uint32_t& largest = known.buffer_bytes_max;
    if (smallest == 0) smallest = kSmallestDefault;
    if (!is_buffer_size(smallest)) return -EINVAL;
    const uint64_t most = uint64_t{smallest} * kSmallestToLargest;
    if (largest == 0) {
        const uint64_t within = std::min<uint64_t>(kLargestDefault, most);
        largest = std::max(smallest, static_cast<uint32_t>(within));
    }
    const bool fits = is_buffer_size(largest) && largest >= smallest && largest <= most &&
                      known.bytes_max >= smallest &&
                      known.bytes_max / smallest <= kSmallestCountMax;
    return fits ? 0 : -EINVAL;
}

int64_t bytes_of(const std::map<void*, std::vector<char>>& buffers) {
    int64_t sum = 0;
    for (const auto& [address, bytes] : buffers) sum += static_cast<int64_t>(bytes.size());
    return sum;
}

}  // namespace

CompletionCapture::State::Pool* CompletionCapture::State::find_pool(PoolHandle handle,
                                                                    const char* function) {
    for (const auto& pool : pools_) {
        if (reinterpret_cast<PoolHandle>(pool.get()) != handle) continue;
        if (!pool->destroyed || !pool->buffers.empty()) return pool.get();
        ADD_FAILURE() << function << ": the pool was destroyed, and its last buffer given back";
        return nullptr;
    }
    ADD_FAILURE() << function << ": the handle is no pool of this CompletionCapture";
    return nullptr;
}

bool CompletionCapture::State::pool_serves(const CapturedSubmission& submission,
                                           const char* function) {
    if (submission.operation.common.kind != COMPLETION_PORT_KIND_RECEIVE_POOLED) return true;
    const Pool* const pool = find_pool(submission.operation.receive_pooled.pool, function);
    return pool != nullptr && !pool->destroyed &&
           pool->completion_port == submission.completion_port;
}

COMPLETION_PORT_BUFFER_POOL_HANDLE CompletionCapture::completion_port_buffer_pool_create(
    COMPLETION_PORT_HANDLE completion_port, const COMPLETION_PORT_BUFFER_POOL_OPTIONS* options) {
    COMPLETION_PORT_BUFFER_POOL_OPTIONS known{};
    int error =
        completion_port == nullptr || options == nullptr ? -EINVAL : read_options(*options, known);
    const std::lock_guard lock(state_->mutex_);
    if (error == 0) {
        error = state_->refusal_of(completion_port, "completion_port_buffer_pool_create");
    }
    if (error != 0) {
        errno = -error;
        return nullptr;
    }
    state_->pools_.push_back(std::make_unique<State::Pool>());
    state_->pools_.back()->completion_port = completion_port;
    state_->pools_.back()->options = known;
    return reinterpret_cast<PoolHandle>(state_->pools_.back().get());
}

void CompletionCapture::completion_port_buffer_pool_destroy(PoolHandle buffer_pool) {
    if (buffer_pool == nullptr) return;
    const std::lock_guard lock(state_->mutex_);
    State::Pool* const pool = state_->find_pool(buffer_pool, "completion_port_buffer_pool_destroy");
    if (pool == nullptr) return;
    if (std::exchange(pool->destroyed, true)) ADD_FAILURE() << "a pool was destroyed twice";
}

int64_t CompletionCapture::completion_port_buffer_pool_in_use(PoolHandle buffer_pool) {
    if (buffer_pool == nullptr) return -EINVAL;
    const std::lock_guard lock(state_->mutex_);
    const State::Pool* const pool =
        state_->find_pool(buffer_pool, "completion_port_buffer_pool_in_use");
    return pool == nullptr ? -EINVAL : bytes_of(pool->buffers);
}

int CompletionCapture::completion_port_buffer_release(PoolHandle buffer_pool, void* buffer) {
    if (buffer_pool == nullptr || buffer == nullptr) return -EINVAL;
    const std::lock_guard lock(state_->mutex_);
    State::Pool* const pool = state_->find_pool(buffer_pool, "completion_port_buffer_release");
    return pool != nullptr && pool->buffers.erase(buffer) == 1 ? 0 : -EINVAL;
}

void* CompletionCapture::draw_buffer(PoolHandle buffer_pool, std::string_view bytes) {
    const std::lock_guard lock(state_->mutex_);
    State::Pool* const pool = state_->find_pool(buffer_pool, "draw_buffer");
    if (pool == nullptr || pool->destroyed) return nullptr;
    size_t length = pool->options.buffer_bytes;
    while (length < bytes.size()) length *= 2;
    const auto in_use = static_cast<uint64_t>(bytes_of(pool->buffers));
    if (length > pool->options.buffer_bytes_max || in_use + length > pool->options.bytes_max) {
        return nullptr;
    }
    std::vector<char> buffer(length);
    std::copy(bytes.begin(), bytes.end(), buffer.begin());
    void* const address = buffer.data();
    pool->buffers.emplace(address, std::move(buffer));
    return address;
}

size_t CompletionCapture::fill_pooled(const CapturedSubmission& receive, std::string_view bytes) {
    if (bytes.empty()) {
        complete_submission(receive.id, {COMPLETION_PORT_RESULT_OK});
        return 0;
    }
    const PoolHandle handle = receive.operation.receive_pooled.pool;
    size_t largest = 0;
    {
        const std::lock_guard lock(state_->mutex_);
        for (const auto& pool : state_->pools_) {
            if (reinterpret_cast<PoolHandle>(pool.get()) == handle) {
                largest = pool->options.buffer_bytes_max;
            }
        }
    }
    bytes = bytes.substr(0, largest);
    void* const buffer = draw_buffer(handle, bytes);
    if (buffer == nullptr) {
        complete_submission(receive.id, {COMPLETION_PORT_RESULT_ERROR, -ENOBUFS});
        return 0;
    }
    const bool more = (receive.operation.common.flags & COMPLETION_PORT_FLAG_MULTISHOT) != 0;
    const uint32_t flags = more ? uint32_t{COMPLETION_PORT_COMPLETION_MORE} : 0;
    const auto length = static_cast<int64_t>(bytes.size());
    const bool completed =
        complete_submission(receive.id, {COMPLETION_PORT_RESULT_OK, 0, length, flags, buffer});
    return completed ? bytes.size() : 0;
}

}  // namespace completionport::testing
