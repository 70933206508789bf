#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <cerrno>
#include <cstdint>

#include "completionport/operations.h"
#include "completionport/testing/completion_capture.h"
#include "submission_capture_fixture.h"

namespace {

using completionport::testing::SubmissionCompletion;

// Spec: CP-MOCK-3
TEST_F(SubmissionCaptureTest, CallsBackWithTheRecordThatTheTestWants) {
    Receiver& received = new_receiver();
    Receiver& failed = new_receiver();
    Receiver& polled = new_receiver();
    const uint64_t first = accepted(receive(&received));
    const uint64_t second = accepted(send(&failed));
    const uint64_t third = accepted(poll(&polled));
    EXPECT_NE(0u, first);
    EXPECT_NE(first, second);
    EXPECT_EQ(third, capture_.last_submission());
    EXPECT_EQ(3u, capture_.submission_count());
    EXPECT_EQ(first, capture_.oldest_submission(kSocket, COMPLETION_PORT_KIND_RECEIVE));
    EXPECT_EQ(second, capture_.oldest_submission(kSocket, COMPLETION_PORT_KIND_SEND));

    EXPECT_TRUE(capture_.complete_submission(second, {kError, -ENETDOWN, 2}));
    EXPECT_TRUE(failed.ended(kError, -ENETDOWN, 2));
    EXPECT_TRUE(capture_.complete_submission(third, {kOk, 0, POLLOUT | POLLHUP}));
    EXPECT_TRUE(polled.ended(kOk, 0, POLLOUT | POLLHUP));
    EXPECT_TRUE(capture_.complete_submission(first, {kOk, 0, 4}));
    ASSERT_TRUE(received.ended(kOk, 0, 4));
    const COMPLETION_PORT_COMPLETION& record = received.records[0];
    EXPECT_EQ(first, record.operation);
    EXPECT_EQ(40u + COMPLETION_PORT_KIND_RECEIVE, record.key);
    EXPECT_EQ(&received, record.context);
    EXPECT_EQ(buffer_.data(), record.buffer);
    EXPECT_EQ(uint32_t{COMPLETION_PORT_KIND_RECEIVE}, record.kind);
    EXPECT_EQ(0u, record.flags + record.reserved);
    EXPECT_EQ(0u, capture_.submission_count());
    EXPECT_EQ(-ETIMEDOUT, wait());
}

// Spec: CP-MOCK-3
TEST_F(SubmissionCaptureTest, CopiesTheOperationAndCountsApartFromAdds) {
    {
        COMPLETION_PORT_POLL_OPERATION operation = poll(nullptr, POLLPRI);
        operation.common.deadline_ns = 99;
        ASSERT_EQ(0, submit(operation));
        operation = {};
    }
    ASSERT_EQ(1u, capture_.submissions(kSocket).size());
    const auto captured = capture_.submissions(kSocket)[0];
    EXPECT_EQ(capture_.last_submission(), captured.id);
    EXPECT_EQ(port_, captured.completion_port);
    EXPECT_EQ(uint32_t{COMPLETION_PORT_KIND_POLL}, captured.operation.common.kind);
    EXPECT_EQ(99u, captured.operation.common.deadline_ns);
    EXPECT_EQ(uint32_t{POLLPRI}, captured.operation.poll.events);
    EXPECT_FALSE(captured.cancel_asked);
    EXPECT_TRUE(capture_.submissions(kOther).empty());
    EXPECT_EQ(0u, capture_.pending_count());
    EXPECT_EQ(0u, capture_.last_number());
    EXPECT_NONFATAL_FAILURE((void)capture_.oldest_submission(kSocket, COMPLETION_PORT_KIND_RECEIVE),
                            "no submission of kind 1 waits for descriptor 7");
}

// Spec: CP-MOCK-3
TEST_F(SubmissionCaptureTest, ASecondCompletionFailsTheTestAndCallsNothing) {
    Receiver& received = new_receiver();
    const uint64_t id = accepted(receive(&received));
    EXPECT_TRUE(capture_.complete_submission(id, {kOk, 0, 1}));
    EXPECT_NONFATAL_FAILURE(capture_.complete_submission(id, {kOk, 0, 1}), "exactly once");
    EXPECT_NONFATAL_FAILURE(capture_.complete_submission(id + 1, {kOk, 0, 1}), "never accepted");
    EXPECT_NONFATAL_FAILURE(capture_.complete_submission(0, {kOk, 0, 1}), "never accepted");
    EXPECT_NONFATAL_FAILURE((void)capture_.fill_submission(id, "x"), "does not wait");
    EXPECT_EQ(1u, received.records.size());
}

// Spec: CP-MOCK-3
TEST_F(SubmissionCaptureTest, RefusesCompletionsThatThePortNeverGives) {
    const uint64_t received = accepted(receive(nullptr));
    const uint64_t sent = accepted(send(nullptr));
    const uint64_t polled = accepted(poll(nullptr, POLLIN));
    const auto objected = [&](uint64_t id, const SubmissionCompletion& completion) {
        return !capture_.complete_submission(id, completion);
    };
    EXPECT_NONFATAL_FAILURE(objected(received, {kOk, 0, 5}), "fit the buffer");
    EXPECT_NONFATAL_FAILURE(objected(received, {kOk, 0, -1}), "fit the buffer");
    EXPECT_NONFATAL_FAILURE(objected(received, {kOk, -EIO, 4}), "OK has no error");
    EXPECT_NONFATAL_FAILURE(objected(received, {kError, 0, 0}), "negative errno");
    EXPECT_NONFATAL_FAILURE(objected(received, {kAbandoned, ECONNRESET, 0}), "negative errno");
    EXPECT_NONFATAL_FAILURE(objected(received, {COMPLETION_PORT_RESULT_INVALID, -EIO, 0}),
                            "INVALID");
    EXPECT_NONFATAL_FAILURE(objected(sent, {kOk, 0, 4}), "whole length");
    EXPECT_NONFATAL_FAILURE(objected(sent, {kError, -EIO, 6}), "fit the buffer");
    EXPECT_NONFATAL_FAILURE(objected(polled, {kOk, 0, 0}), "asked for");
    EXPECT_NONFATAL_FAILURE(objected(polled, {kOk, 0, POLLOUT}), "asked for");
    EXPECT_NONFATAL_FAILURE(objected(polled, {kError, -EIO, POLLIN}), "value 0");
    EXPECT_EQ(3u, capture_.submission_count());
    EXPECT_EQ(0u, capture_.record_count(port_));
}

// Spec: CP-MOCK-3
TEST_F(SubmissionCaptureTest, FillsAReceiveAndTakesWhatIsSent) {
    const uint64_t received = accepted(receive(nullptr));
    const uint64_t sent = accepted(send(nullptr));
    EXPECT_NONFATAL_FAILURE((void)capture_.fill_submission(sent, "x"), "is not a receive");
    EXPECT_NONFATAL_FAILURE((void)capture_.take_submission(received), "is not a send");
    EXPECT_EQ(4u, capture_.fill_submission(received, "abcdef"));
    EXPECT_EQ("abcd", buffer_);
    EXPECT_EQ("hello", capture_.take_submission(sent));
    EXPECT_EQ(0u, capture_.fill_submission(accepted(receive(nullptr)), ""));
    ASSERT_EQ(3, wait());
    EXPECT_EQ(4, records_[0].value);
    EXPECT_EQ(5, records_[1].value);
    EXPECT_EQ(0, records_[2].value);
}

// Spec: CP-MOCK-3
TEST_F(SubmissionCaptureTest, RefusesWhatThePortRefuses) {
    const auto good = receive(nullptr);
    EXPECT_EQ(-EINVAL, completion_port_submit(nullptr, &good.common, nullptr, nullptr));
    EXPECT_EQ(-EINVAL, completion_port_submit(port_, nullptr, nullptr, nullptr));
    const auto refused = [&](auto operation, const auto& change) {
        change(operation);
        return submit(operation);
    };
    EXPECT_EQ(-EINVAL, refused(good, [](auto& o) { o.common.size = sizeof(o.common) - 1; }));
    EXPECT_EQ(-EINVAL, refused(good, [](auto& o) { o.common.size = sizeof(o.common); }));
    EXPECT_EQ(-EINVAL, refused(good, [](auto& o) { o.common.kind = 0; }));
    EXPECT_EQ(-EINVAL, refused(good, [](auto& o) { o.common.kind = COMPLETION_PORT_KIND_POST; }));
    EXPECT_EQ(-EINVAL, refused(good, [](auto& o) { o.common.flags = 1u << 31; }));
    EXPECT_EQ(-EINVAL, refused(good, [](auto& o) { o.buffer = nullptr; }));
    EXPECT_EQ(-EINVAL, refused(good, [](auto& o) { o.length = 0; }));
    EXPECT_EQ(-EINVAL, refused(good, [](auto& o) { o.length = uint32_t{INT32_MAX} + 1; }));
    EXPECT_EQ(-EINVAL, refused(good, [](auto& o) { o.reserved = 1; }));
    EXPECT_EQ(-EBADF, refused(good, [](auto& o) { o.common.descriptor = -1; }));
    EXPECT_EQ(-EINVAL, refused(send(nullptr), [](auto& o) { o.buffer = nullptr; }));
    EXPECT_EQ(-EINVAL, refused(poll(nullptr), [](auto& o) { o.events = 0; }));
    EXPECT_EQ(-EINVAL, refused(poll(nullptr), [](auto& o) { o.events = POLLIN | POLLERR; }));
    EXPECT_EQ(-EINVAL, refused(poll(nullptr), [](auto& o) { o.reserved = 1; }));

    const auto flagged = [&] {
        auto operation = good;
        operation.common.flags = COMPLETION_PORT_FLAG_INLINE;
        return operation;
    }();
    EXPECT_EQ(-EINVAL, submit(flagged));
    EXPECT_EQ(-EINVAL, completion_port_submit(port_, &good.common, nullptr, records_.data()));
    EXPECT_EQ(0u, capture_.submission_count());
    EXPECT_EQ(0u, capture_.last_submission());
}

// Spec: CP-MOCK-3
TEST_F(SubmissionCaptureTest, TakesLongerStructuresWhoseTailIsZero) {
    struct {
        COMPLETION_PORT_POLL_OPERATION known;
        uint64_t added_later;
    } longer = {poll(nullptr), 0};
    longer.known.common.size = sizeof(longer);
    EXPECT_EQ(0, submit(longer.known));
    longer.added_later = 1;
    EXPECT_EQ(-E2BIG, submit(longer.known));
    EXPECT_EQ(1u, capture_.submission_count());
}

// Spec: CP-MOCK-3
TEST_F(SubmissionCaptureTest, ABatchIsTakenUpToTheFirstRefusal) {
    const auto first = receive(nullptr);
    const auto second = send(nullptr);
    auto refused = poll(nullptr);
    refused.common.flags = COMPLETION_PORT_FLAG_INLINE;
    const COMPLETION_PORT_OPERATION* const operations[] = {&first.common, &second.common,
                                                           &refused.common, nullptr};
    uint64_t ids[4] = {};
    EXPECT_EQ(-EINVAL, completion_port_submit_batch(nullptr, operations, 2, ids));
    EXPECT_EQ(-EINVAL, completion_port_submit_batch(port_, nullptr, 2, ids));
    EXPECT_EQ(-EINVAL, completion_port_submit_batch(port_, operations, 0, ids));
    EXPECT_EQ(-EINVAL, completion_port_submit_batch(port_, operations + 2, 1, ids));
    EXPECT_EQ(-EINVAL, completion_port_submit_batch(port_, operations + 3, 1, ids));
    EXPECT_EQ(0u, ids[0]);
    EXPECT_EQ(2, completion_port_submit_batch(port_, operations, 4, ids));
    const auto captured = capture_.submissions();
    ASSERT_EQ(2u, captured.size());
    EXPECT_EQ(captured[0].id, ids[0]);
    EXPECT_EQ(captured[1].id, ids[1]);
    EXPECT_EQ(0u, ids[2]);
    EXPECT_EQ(uint32_t{COMPLETION_PORT_KIND_SEND}, captured[1].operation.common.kind);
    EXPECT_EQ(2, completion_port_submit_batch(port_, operations, 2, nullptr));
}

// Spec: CP-MOCK-6
TEST_F(SubmissionCaptureTest, SucceedsAtOnceOnlyWhereTheTestAsksForIt) {
    auto operation = receive(nullptr);
    operation.common.flags = COMPLETION_PORT_FLAG_INLINE;
    const auto submit_inline = [&](uint64_t& id) {
        return completion_port_submit(port_, &operation.common, &id, records_.data());
    };
    uint64_t pending = 0;
    uint64_t done = 0;
    EXPECT_EQ(0, submit_inline(pending));
    EXPECT_EQ(0u, records_[0].operation);
    capture_.succeed_inline(3);
    capture_.fill_inline("wxyz!");
    EXPECT_EQ(0, submit(receive(nullptr)));  // does not ask for it
    EXPECT_EQ(1, submit_inline(done));
    EXPECT_NE(0u, done);
    EXPECT_EQ(done, records_[0].operation);
    EXPECT_EQ(3, records_[0].value);
    EXPECT_EQ(kOk, records_[0].result);
    EXPECT_EQ(-ENOENT, completion_port_cancel(port_, done));
    EXPECT_EQ(1, submit_inline(done));
    EXPECT_EQ(4, records_[0].value);
    EXPECT_EQ("wxyz", buffer_);
    EXPECT_EQ(2u, capture_.submission_count());
    EXPECT_EQ(0, submit_inline(done));
    EXPECT_EQ(3u, capture_.submission_count());
    EXPECT_EQ(0u, capture_.record_count(port_));
    EXPECT_TRUE(capture_.complete_submission(pending, {kOk, 0, 1}));
}

// Spec: CP-MOCK-6
TEST_F(SubmissionCaptureTest, ASuccessAtOnceHasToFitTheSubmission) {
    auto operation = send(nullptr);
    operation.common.flags = COMPLETION_PORT_FLAG_INLINE;
    int result = -1;
    const auto submit_inline = [&] {
        result = completion_port_submit(port_, &operation.common, nullptr, records_.data());
    };
    capture_.succeed_inline(4);
    EXPECT_NONFATAL_FAILURE(submit_inline(), "whole length");
    EXPECT_EQ(0, result);
    capture_.fill_inline("x");
    EXPECT_NONFATAL_FAILURE(submit_inline(), "it is not a receive");
    EXPECT_EQ(0, result);
    EXPECT_EQ(2u, capture_.submission_count());
    capture_.succeed_inline(5);
    submit_inline();
    EXPECT_EQ(1, result);
}

}  // namespace
