#include <gmock/gmock.h>
#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstdint>
#include <string>
#include <vector>

#include "completionport/files.h"
#include "completionport/messages.h"
#include "completionport/options.h"
#include "submission_capture_fixture.h"

namespace {

class FileCaptureTest : public SubmissionCaptureTest {
 protected:
    template <typename Transfer>
    Transfer transfer(uint32_t kind, Receiver* receiver) {
        auto operation = operation_of<Transfer>(kind, kSocket, receiver);
        operation.buffer = buffer_.data();
        operation.length = static_cast<uint32_t>(buffer_.size());
        operation.offset = 100;
        return operation;
    }
    COMPLETION_PORT_FILE_READ_OPERATION read(Receiver* receiver) {
        return transfer<COMPLETION_PORT_FILE_READ_OPERATION>(COMPLETION_PORT_KIND_FILE_READ,
                                                             receiver);
    }
    COMPLETION_PORT_FILE_WRITE_OPERATION write(Receiver* receiver) {
        return transfer<COMPLETION_PORT_FILE_WRITE_OPERATION>(COMPLETION_PORT_KIND_FILE_WRITE,
                                                              receiver);
    }
    static COMPLETION_PORT_FILE_SYNC_OPERATION sync(Receiver* receiver) {
        return operation_of<COMPLETION_PORT_FILE_SYNC_OPERATION>(COMPLETION_PORT_KIND_FILE_SYNC,
                                                                 kSocket, receiver);
    }
    template <typename Operation, typename Change>
    int refused(Operation operation, const Change& change) {
        change(operation);
        return submit(operation);
    }
    template <typename Operation>
    void expect_bad_forms_refused(const Operation& good) {
        struct iovec piece = {buffer_.data(), buffer_.size()};
        const auto code = [&](const auto& change) { return refused(good, change); };
        EXPECT_EQ(-EINVAL, code([](Operation& its) { its.buffer = nullptr; }));
        EXPECT_EQ(-EINVAL, code([](Operation& its) { its.length = 0; }));
        EXPECT_EQ(-EINVAL, code([](Operation& its) { its.count = 1; }));
        EXPECT_EQ(-EINVAL, code([&](Operation& its) { its.vectors = &piece; }));
        EXPECT_EQ(-EINVAL, code([](Operation& its) { its.offset = INT64_MAX - 3; }));
        const auto with_pieces = [&](uint32_t count, uint64_t offset) {
            return code([&](Operation& its) {
                its.buffer = nullptr;
                its.length = 0;
                its.vectors = &piece;
                its.count = count;
                its.offset = offset;
            });
        };
        EXPECT_EQ(-EINVAL, with_pieces(0, 0));
        EXPECT_EQ(-EINVAL, with_pieces(COMPLETION_PORT_VECTORS_MAX + 1, 0));
        EXPECT_EQ(-EINVAL, with_pieces(1, INT64_MAX - 3));
        EXPECT_EQ(-EBADF, code([](Operation& its) { its.common.descriptor = -1; }));
        EXPECT_EQ(0u, capture_.submission_count());
    }
};

// Spec: CP-MOCK-3
TEST_F(FileCaptureTest, AReadIsFilledAndAWriteIsTaken) {
    Receiver& fetched = new_receiver();
    const uint64_t id = accepted(read(&fetched));
    EXPECT_EQ(100u, capture_.submissions(kSocket).at(0).operation.file_read.offset);
    EXPECT_EQ(3u, capture_.fill_submission(id, "abc"));
    EXPECT_TRUE(fetched.ended(kOk, 0, 3));
    EXPECT_EQ("abc.", buffer_);
    EXPECT_EQ(buffer_.data(), fetched.records[0].buffer);
    Receiver& stored = new_receiver();
    EXPECT_EQ("abc.", capture_.take_submission(accepted(write(&stored))));
    EXPECT_TRUE(stored.ended(kOk, 0, 4));
}

// Spec: CP-MOCK-3
TEST_F(FileCaptureTest, SeveralPiecesOfMemory) {
    std::vector<struct iovec> pieces = {{buffer_.data() + 2, 2}, {buffer_.data(), 2}};
    Receiver& fetched = new_receiver();
    auto form = read(&fetched);
    form.buffer = nullptr;
    form.length = 0;
    form.vectors = pieces.data();
    form.count = 2;
    EXPECT_EQ(4u, capture_.fill_submission(accepted(form), "abcdef"));
    EXPECT_EQ("cdab", buffer_);
    EXPECT_EQ(pieces.data(), fetched.records[0].buffer);
}

// Spec: CP-MOCK-3
TEST_F(FileCaptureTest, ASyncHasNoValue) {
    Receiver& synced = new_receiver();
    const uint64_t id = accepted(sync(&synced));
    EXPECT_NONFATAL_FAILURE(capture_.complete_submission(id, {kOk, 0, 1}), "always 0");
    EXPECT_TRUE(capture_.complete_submission(id, {kOk}));
    EXPECT_TRUE(synced.ended(kOk, 0, 0));
    EXPECT_EQ(nullptr, synced.records[0].buffer);
}

// Spec: CP-MOCK-3
TEST_F(FileCaptureTest, EndsThatNoFileHas) {
    const uint64_t fetched = accepted(read(&new_receiver()));
    EXPECT_NONFATAL_FAILURE(capture_.complete_submission(fetched, {kOk, 0, 5}), "buffer");
    const uint64_t stored = accepted(write(&new_receiver()));
    EXPECT_NONFATAL_FAILURE(capture_.complete_submission(stored, {kOk, 0, 3}), "whole length");
    EXPECT_TRUE(capture_.complete_submission(stored, {kError, -ENOSPC, 3}));
    EXPECT_TRUE(capture_.complete_submission(fetched, {kOk}));
}

// Spec: CP-MOCK-3
TEST_F(FileCaptureTest, RefusesWhatThePortRefuses) {
    expect_bad_forms_refused(read(nullptr));
    expect_bad_forms_refused(write(nullptr));
    using Sync = COMPLETION_PORT_FILE_SYNC_OPERATION;
    EXPECT_EQ(-EINVAL, refused(sync(nullptr), [](Sync& its) { its.sync_flags = 2; }));
    EXPECT_EQ(-EINVAL, refused(sync(nullptr), [](Sync& its) { its.reserved = 1; }));
    COMPLETION_PORT_OPTIONS options{};
    options.size = sizeof(options);
    options.file_threads = COMPLETION_PORT_FILE_THREADS_MAX + 1;
    EXPECT_EQ(nullptr, completion_port_create_with_options(&options));
    EXPECT_EQ(EINVAL, errno);
}

}  // namespace
