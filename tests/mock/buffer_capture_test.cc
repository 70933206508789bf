// Captured pools, and receives from them.
#include <gtest/gtest-spi.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "completionport/buffers.h"
#include "submission_capture_fixture.h"

namespace {

constexpr uint32_t kMultishot = COMPLETION_PORT_FLAG_MULTISHOT;
constexpr uint32_t kMore = COMPLETION_PORT_COMPLETION_MORE;

class BufferCaptureTest : public SubmissionCaptureTest {
 protected:
    static COMPLETION_PORT_BUFFER_POOL_OPTIONS options() {
        COMPLETION_PORT_BUFFER_POOL_OPTIONS options{};
        options.size = sizeof(options);
        options.buffer_bytes = 256;
        options.buffer_bytes_max = 512;
        options.bytes_max = 1024;
        return options;
    }
    template <typename Change>
    int refused_pool(Change change) {
        auto asked = options();
        change(asked);
        errno = 0;
        return completion_port_buffer_pool_create(port_, &asked) == nullptr ? errno : 0;
    }
    COMPLETION_PORT_BUFFER_POOL_HANDLE pool() {
        const auto asked = options();
        return completion_port_buffer_pool_create(port_, &asked);
    }
    COMPLETION_PORT_RECEIVE_POOLED_OPERATION pooled(Receiver* receiver,
                                                    COMPLETION_PORT_BUFFER_POOL_HANDLE from,
                                                    uint32_t flags = 0) {
        auto operation = operation_of<COMPLETION_PORT_RECEIVE_POOLED_OPERATION>(
            COMPLETION_PORT_KIND_RECEIVE_POOLED, kSocket, receiver);
        operation.pool = from;
        operation.common.flags = flags;
        return operation;
    }
    static std::string bytes(const COMPLETION_PORT_COMPLETION& record) {
        return {static_cast<const char*>(record.buffer), static_cast<size_t>(record.value)};
    }
};

// Spec: CP-MOCK-13
TEST_F(BufferCaptureTest, AReceiveGoesOnUntilTheStreamEnds) {
    const auto from = pool();
    Receiver& received = new_receiver();
    const uint64_t id = accepted(pooled(&received, from, kMultishot));
    EXPECT_EQ(5u, capture_.fill_submission(id, "hello"));
    EXPECT_EQ(512u, capture_.fill_submission(id, std::string(600, 'x')));
    EXPECT_EQ(768, completion_port_buffer_pool_in_use(from));
    EXPECT_EQ(0u, capture_.fill_submission(id, ""));
    ASSERT_EQ(3u, received.records.size());
    EXPECT_EQ("hello", bytes(received.records[0]));
    EXPECT_EQ(kMore, received.records[0].flags);
    EXPECT_EQ(std::string(512, 'x'), bytes(received.records[1]));
    EXPECT_EQ(nullptr, received.records[2].buffer);
    EXPECT_EQ(0u, received.records[2].flags);
    EXPECT_EQ(kOk, received.records[2].result);
    EXPECT_EQ(0, completion_port_buffer_release(from, received.records[0].buffer));
    EXPECT_EQ(-EINVAL, completion_port_buffer_release(from, received.records[0].buffer));
    completion_port_buffer_pool_destroy(from);
    EXPECT_EQ(512, completion_port_buffer_pool_in_use(from));
    EXPECT_EQ(0, completion_port_buffer_release(from, received.records[1].buffer));
    EXPECT_NONFATAL_FAILURE(completion_port_buffer_pool_in_use(from), "last buffer given back");
}

// Spec: CP-MOCK-13
TEST_F(BufferCaptureTest, KeepsToItsBudget) {
    const auto from = pool();
    void* const first = capture_.draw_buffer(from, std::string(512, 'a'));
    void* const second = capture_.draw_buffer(from, std::string(300, 'b'));
    ASSERT_TRUE(first != nullptr && second != nullptr);
    EXPECT_EQ(nullptr, capture_.draw_buffer(from, "c"));
    Receiver& starved = new_receiver();
    const uint64_t id = accepted(pooled(&starved, from, kMultishot));
    EXPECT_EQ(0u, capture_.fill_submission(id, "d"));
    EXPECT_TRUE(starved.ended(kError, -ENOBUFS, 0));
    EXPECT_EQ(0, completion_port_buffer_release(from, first));
    EXPECT_EQ(0, completion_port_buffer_release(from, second));
    EXPECT_EQ(nullptr, capture_.draw_buffer(from, std::string(513, 'e')));
    Receiver& one = new_receiver();
    EXPECT_EQ(1u, capture_.fill_submission(accepted(pooled(&one, from)), "d"));
    EXPECT_TRUE(one.ended(kOk, 0, 1));
    EXPECT_EQ("d", bytes(one.records[0]));
}

// Spec: CP-MOCK-13
TEST_F(BufferCaptureTest, RefusesWhatThePortRefuses) {
    using Options = COMPLETION_PORT_BUFFER_POOL_OPTIONS;
    EXPECT_EQ(0, refused_pool([](Options&) {}));
    EXPECT_EQ(EINVAL, refused_pool([](Options& o) { o.size = 4; }));
    EXPECT_EQ(EINVAL, refused_pool([](Options& o) { o.flags = 1; }));
    EXPECT_EQ(EINVAL, refused_pool([](Options& o) { o.reserved = 1; }));
    EXPECT_EQ(EINVAL, refused_pool([](Options& o) { o.buffer_bytes = 300; }));
    EXPECT_EQ(EINVAL, refused_pool([](Options& o) { o.buffer_bytes = 128; }));
    EXPECT_EQ(EINVAL, refused_pool([](Options& o) { o.buffer_bytes = 1024; }));
    EXPECT_EQ(EINVAL, refused_pool([](Options& o) { o.buffer_bytes_max = 32 * 1024; }));
    EXPECT_EQ(EINVAL, refused_pool([](Options& o) { o.bytes_max = 255; }));
    EXPECT_EQ(EINVAL, refused_pool([](Options& o) { o.bytes_max = UINT64_MAX; }));
    EXPECT_EQ(nullptr, completion_port_buffer_pool_create(port_, nullptr));
    EXPECT_EQ(EINVAL, errno);

    const auto from = pool();
    auto form = pooled(nullptr, nullptr);
    EXPECT_EQ(-EINVAL, submit(form));
    form.pool = from;
    form.reserved = 1;
    EXPECT_EQ(-EINVAL, submit(form));
    form.reserved = 0;
    form.first_bytes = COMPLETION_PORT_BUFFER_BYTES_MAX + 1;
    EXPECT_EQ(-EINVAL, submit(form));
    const auto both = pooled(nullptr, from, kMultishot | COMPLETION_PORT_FLAG_INLINE);
    EXPECT_EQ(-EINVAL, completion_port_submit(port_, &both.common, nullptr, records_.data()));
    COMPLETION_PORT_HANDLE other = completion_port_create();
    form.first_bytes = 0;
    EXPECT_EQ(-EINVAL, completion_port_submit(other, &form.common, nullptr, nullptr));
    completion_port_dec_ref(other);
    void* const held = capture_.draw_buffer(from, "x");
    completion_port_buffer_pool_destroy(from);
    EXPECT_EQ(-EINVAL, submit(form));
    EXPECT_EQ(0, completion_port_buffer_release(from, held));
    EXPECT_EQ(-EINVAL, completion_port_buffer_release(nullptr, held));
    EXPECT_EQ(-EINVAL, completion_port_buffer_pool_in_use(nullptr));
    completion_port_buffer_pool_destroy(nullptr);
    EXPECT_EQ(0u, capture_.submission_count());
}

// Spec: CP-MOCK-13
TEST_F(BufferCaptureTest, ObjectsToWhatThePortNeverDoes) {
    const auto from = pool();
    Receiver& received = new_receiver();
    const uint64_t id = accepted(pooled(&received, from, kMultishot));
    void* const buffer = capture_.draw_buffer(from, "abc");
    const auto objected = [&](const completionport::testing::SubmissionCompletion& completion) {
        EXPECT_FALSE(capture_.complete_submission(id, completion));
    };
    EXPECT_NONFATAL_FAILURE(objected({kOk, 0, 3, kMore}), "has a buffer where it has bytes");
    EXPECT_NONFATAL_FAILURE(objected({kOk, 0, 0, kMore, buffer}), "has a buffer where it has");
    EXPECT_NONFATAL_FAILURE(objected({kOk, 0, 3, 0, buffer}), "only at the end of the stream");
    EXPECT_NONFATAL_FAILURE(objected({kError, -EIO, 3, 0, buffer}), "that fails has no bytes");
    EXPECT_TRUE(capture_.complete_submission(id, {kError, -EMSGSIZE, 3, 0, buffer}));
    EXPECT_TRUE(received.ended(kError, -EMSGSIZE, 3));
    Receiver& plain = new_receiver();
    const uint64_t other = accepted(receive(&plain));
    EXPECT_NONFATAL_FAILURE(
        EXPECT_FALSE(capture_.complete_submission(other, {kOk, 0, 1, 0, buffer})),
        "draws no buffer");
}

}  // namespace
