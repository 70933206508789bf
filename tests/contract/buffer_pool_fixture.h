// The fixture of the tests of receives from pools: at the end, no buffer of any pool is in use.
#pragma once

#include <completionport/buffers.h>
#include <unistd.h>

#include <deque>
#include <string>
#include <vector>

#include "tests/contract/kinds_fixture.h"

namespace cport::test {

constexpr uint32_t kKib = 1024;
constexpr uint32_t kMore = COMPLETION_PORT_COMPLETION_MORE;

class BufferPoolTest : public KindsTest {
 protected:
    using Pooled = COMPLETION_PORT_RECEIVE_POOLED_OPERATION;

    void TearDown() override {
        KindsTest::TearDown();
        for (COMPLETION_PORT_BUFFER_POOL_HANDLE pool : pools_) {
            EXPECT_EQ(completion_port_buffer_pool_in_use(pool), 0);
            completion_port_buffer_pool_destroy(pool);
        }
    }

    static COMPLETION_PORT_BUFFER_POOL_OPTIONS options(uint32_t smallest, uint32_t largest,
                                                       uint64_t bytes_max) {
        COMPLETION_PORT_BUFFER_POOL_OPTIONS options{};
        options.size = sizeof(options);
        options.buffer_bytes = smallest;
        options.buffer_bytes_max = largest;
        options.bytes_max = bytes_max;
        return options;
    }
    // One that the test destroys itself.
    COMPLETION_PORT_BUFFER_POOL_HANDLE own_pool(uint32_t smallest, uint32_t largest,
                                                uint64_t bytes_max) {
        const auto asked = options(smallest, largest, bytes_max);
        COMPLETION_PORT_BUFFER_POOL_HANDLE pool =
            completion_port_buffer_pool_create(port(), &asked);
        EXPECT_NE(pool, nullptr);
        return pool;
    }
    COMPLETION_PORT_BUFFER_POOL_HANDLE make_pool(uint32_t smallest = 4 * kKib,
                                                 uint32_t largest = 64 * kKib,
                                                 uint64_t bytes_max = 4096 * kKib) {
        pools_.push_back(own_pool(smallest, largest, bytes_max));
        return pools_.back();
    }

    Submission& pooled(int descriptor, COMPLETION_PORT_BUFFER_POOL_HANDLE pool, uint32_t flags = 0,
                       uint32_t first_bytes = 0) {
        Submission& submitted = submission();
        auto& receive = submitted.as<Pooled>(COMPLETION_PORT_KIND_RECEIVE_POOLED, descriptor);
        receive.common.flags = flags;
        receive.pool = pool;
        receive.first_bytes = first_bytes;
        return submitted;
    }
    Submission& submit_pooled(int descriptor, COMPLETION_PORT_BUFFER_POOL_HANDLE pool,
                              uint32_t flags = 0, uint32_t first_bytes = 0) {
        Submission& submitted = pooled(descriptor, pool, flags, first_bytes);
        EXPECT_EQ(submitted.submit(port()), 0);
        return submitted;
    }

    // Also into a pipe.
    static void put(int descriptor, const std::string& bytes) {
        ASSERT_EQ(::write(descriptor, bytes.data(), bytes.size()),
                  static_cast<ssize_t>(bytes.size()));
    }
    static int64_t in_use(COMPLETION_PORT_BUFFER_POOL_HANDLE pool) {
        return completion_port_buffer_pool_in_use(pool);
    }
    // What a record brought; its buffer goes back.
    static std::string take(const COMPLETION_PORT_COMPLETION& record,
                            COMPLETION_PORT_BUFFER_POOL_HANDLE pool) {
        if (record.buffer == nullptr) return {};
        std::string bytes(static_cast<const char*>(record.buffer),
                          static_cast<size_t>(record.value));
        EXPECT_EQ(completion_port_buffer_release(pool, record.buffer), 0);
        return bytes;
    }
    // The bytes of the operation's records, from the first on, until there are so many.
    static std::string take_all(Submission& going_on, COMPLETION_PORT_BUFFER_POOL_HANDLE pool,
                                size_t length, size_t from = 1) {
        std::string bytes;
        while (bytes.size() < length) bytes += take(going_on.wait_for(from++).record, pool);
        return bytes;
    }

 private:
    std::deque<COMPLETION_PORT_BUFFER_POOL_HANDLE> pools_;
};

}  // namespace cport::test
