#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

#include "completionport/options.h"
#include "completionport/timers.h"
#include "submission_capture_fixture.h"

namespace {

constexpr uint64_t kLatest_ns = COMPLETION_PORT_TIME_MAX_NS;
constexpr uint64_t kPeriod_ns = 2'000'000;
constexpr uint32_t kMore = COMPLETION_PORT_COMPLETION_MORE;

class TimerCaptureTest : public SubmissionCaptureTest {
 protected:
    COMPLETION_PORT_TIMER_OPERATION timer(Receiver* receiver, uint64_t period_ns = 0) {
        auto operation =
            operation_of<COMPLETION_PORT_TIMER_OPERATION>(COMPLETION_PORT_KIND_TIMER, 0, receiver);
        operation.expires_ns = 5'000'000;
        operation.period_ns = period_ns;
        return operation;
    }
    int move(uint64_t id, uint64_t expires_ns) {
        return completion_port_timer_move(port_, id, expires_ns);
    }
};

// Spec: CP-MOCK-9
TEST_F(TimerCaptureTest, ExpiresWhenTheTestSaysSo) {
    Receiver& expired = new_receiver();
    const uint64_t id = accepted(timer(&expired));
    ASSERT_EQ(1u, capture_.timers().size());
    EXPECT_EQ(id, capture_.timers()[0].id);
    EXPECT_EQ(5'000'000u, capture_.timers()[0].operation.timer.expires_ns);
    EXPECT_TRUE(capture_.complete_submission(id, {kOk, 0, 1}));
    ASSERT_TRUE(expired.ended(kOk, 0, 1));
    EXPECT_EQ(id, expired.records[0].operation);
    EXPECT_EQ(uint32_t{COMPLETION_PORT_KIND_TIMER}, expired.records[0].kind);
    EXPECT_EQ(0u, expired.records[0].flags);
    EXPECT_EQ(nullptr, expired.records[0].buffer);
    EXPECT_TRUE(capture_.timers().empty());
    EXPECT_EQ(-ENOENT, move(id, 6));
}

// Spec: CP-MOCK-8, CP-MOCK-9
TEST_F(TimerCaptureTest, APeriodicOneGoesOnUntilItIsCancelled) {
    Receiver& ticked = new_receiver();
    const uint64_t id = accepted(timer(&ticked, kPeriod_ns));
    EXPECT_TRUE(capture_.complete_submission(id, {kOk, 0, 1, kMore}));
    EXPECT_EQ(7'000'000u, capture_.timers().at(0).operation.timer.expires_ns);
    EXPECT_TRUE(capture_.complete_submission(id, {kOk, 0, 3, kMore}));
    EXPECT_EQ(13'000'000u, capture_.timers().at(0).operation.timer.expires_ns);
    EXPECT_EQ(0, completion_port_cancel(port_, id));
    EXPECT_TRUE(capture_.complete_submission(id, {kOk, 0, 1, kMore}));
    ASSERT_EQ(4u, ticked.records.size());
    EXPECT_EQ(kMore, ticked.records[0].flags);
    EXPECT_EQ(3, ticked.records[1].value);
    EXPECT_EQ(kMore, ticked.records[2].flags);
    EXPECT_EQ(0u, ticked.records[3].flags);
    EXPECT_EQ(kAbandoned, ticked.records[3].result);
    EXPECT_EQ(ECANCELED, ticked.error);
    EXPECT_TRUE(capture_.timers().empty());
}

// Spec: CP-MOCK-4, CP-MOCK-8
TEST_F(TimerCaptureTest, RecordsWithMoreAreThereForWait) {
    const uint64_t id = accepted(timer(nullptr, kPeriod_ns));
    EXPECT_TRUE(capture_.complete_submission(id, {kOk, 0, 1, kMore}));
    EXPECT_TRUE(capture_.complete_submission(id, {kOk, 0, 2, kMore}));
    EXPECT_TRUE(capture_.complete_submission(id, {kError, -ENOBUFS}));
    ASSERT_EQ(3, wait());
    EXPECT_EQ(id, records_[0].operation);
    EXPECT_EQ(kMore, records_[0].flags);
    EXPECT_EQ(2, records_[1].value);
    EXPECT_EQ(kMore, records_[1].flags);
    EXPECT_EQ(-ENOBUFS, records_[2].error);
    EXPECT_EQ(0u, records_[2].flags);
    EXPECT_EQ(-ETIMEDOUT, wait());
}

// Spec: CP-MOCK-8
TEST_F(TimerCaptureTest, APeriodStopsAtTheLatestTime) {
    const uint64_t id = accepted(timer(nullptr, kPeriod_ns));
    ASSERT_EQ(0, move(id, kLatest_ns - 2 * kPeriod_ns));
    EXPECT_TRUE(capture_.complete_submission(id, {kOk, 0, 2, kMore}));
    EXPECT_EQ(kLatest_ns, capture_.timers().at(0).operation.timer.expires_ns);
    EXPECT_TRUE(capture_.complete_submission(id, {kOk, 0, INT64_MAX, kMore}));
    EXPECT_EQ(kLatest_ns, capture_.timers().at(0).operation.timer.expires_ns);
}

// Spec: CP-MOCK-3, CP-MOCK-8
TEST_F(TimerCaptureTest, RefusesCompletionsThatThePortNeverGives) {
    const uint64_t once = accepted(timer(nullptr));
    const uint64_t periodic = accepted(timer(nullptr, kPeriod_ns));
    const uint64_t received = accepted(receive(nullptr));
    const auto objected = [&](uint64_t id,
                              const completionport::testing::SubmissionCompletion& completion) {
        return !capture_.complete_submission(id, completion);
    };
    EXPECT_NONFATAL_FAILURE(objected(once, {kOk, 0, 2}), "expires once");
    EXPECT_NONFATAL_FAILURE(objected(once, {kOk, 0, 0}), "expires once");
    EXPECT_NONFATAL_FAILURE(objected(once, {kOk, 0, 1, kMore}), "does not go on");
    EXPECT_NONFATAL_FAILURE(objected(once, {kAbandoned, -ECANCELED, 1}), "the value 0");
    EXPECT_NONFATAL_FAILURE(objected(periodic, {kOk, 0, 0, kMore}), "when it has expired");
    EXPECT_NONFATAL_FAILURE(objected(periodic, {kOk, 0, 1}), "does not end OK");
    EXPECT_NONFATAL_FAILURE(objected(periodic, {kError, -ENOBUFS, 0, kMore}), "goes on is OK");
    EXPECT_NONFATAL_FAILURE(objected(periodic, {kOk, 0, 1, kMore << 1}), "such flags");
    EXPECT_NONFATAL_FAILURE(objected(received, {kOk, 0, 1, kMore}), "does not go on");
    EXPECT_EQ(3u, capture_.submission_count());
    EXPECT_EQ(0u, capture_.record_count(port_));
}

// Spec: CP-MOCK-9
TEST_F(TimerCaptureTest, MovesShowInTheCapturedTime) {
    const uint64_t id = accepted(timer(nullptr, kPeriod_ns));
    const uint64_t received = accepted(receive(nullptr));
    EXPECT_EQ(0, move(id, 1));
    EXPECT_EQ(1u, capture_.timers().at(0).operation.timer.expires_ns);
    EXPECT_EQ(0, move(id, kLatest_ns));
    EXPECT_EQ(-EINVAL, completion_port_timer_move(nullptr, id, 2));
    EXPECT_EQ(-EINVAL, move(0, 2));
    EXPECT_EQ(-ERANGE, move(id, kLatest_ns + 1));
    EXPECT_EQ(-ETIMEDOUT, move(id, 0));
    EXPECT_EQ(-EINVAL, move(received, 2));
    EXPECT_EQ(-ENOENT, move(received + 1, 2));
    EXPECT_EQ(kLatest_ns, capture_.timers().at(0).operation.timer.expires_ns);
    EXPECT_EQ(kPeriod_ns, capture_.timers().at(0).operation.timer.period_ns);
    const COMPLETION_PORT_HANDLE other = completion_port_create();
    EXPECT_EQ(-ENOENT, completion_port_timer_move(other, id, 2));
    completion_port_dec_ref(other);
    EXPECT_EQ(0, completion_port_shutdown(port_));
    EXPECT_EQ(-ESHUTDOWN, move(id, 2));
}

// Spec: CP-MOCK-3, CP-MOCK-9
TEST_F(TimerCaptureTest, RefusesWhatThePortRefuses) {
    const auto refused = [&](const auto& change) {
        COMPLETION_PORT_TIMER_OPERATION operation = timer(nullptr, kPeriod_ns);
        change(operation);
        return submit(operation);
    };
    EXPECT_EQ(-EINVAL, refused([](auto& o) { o.common.descriptor = 1; }));
    EXPECT_EQ(-EINVAL, refused([](auto& o) { o.common.descriptor = -1; }));
    EXPECT_EQ(-EINVAL, refused([](auto& o) { o.common.deadline_ns = 1; }));
    EXPECT_EQ(-EINVAL, refused([](auto& o) { o.common.flags = COMPLETION_PORT_FLAG_MULTISHOT; }));
    EXPECT_EQ(-EINVAL, refused([](auto& o) { o.period_ns = 999'999; }));
    EXPECT_EQ(-ETIMEDOUT, refused([](auto& o) { o.expires_ns = 0; }));
    EXPECT_EQ(-ERANGE, refused([](auto& o) { o.expires_ns = kLatest_ns + 1; }));
    EXPECT_EQ(-ERANGE, refused([](auto& o) { o.period_ns = kLatest_ns + 1; }));
    COMPLETION_PORT_TIMER_OPERATION at_once = timer(nullptr);
    at_once.common.flags = COMPLETION_PORT_FLAG_INLINE;
    EXPECT_EQ(-EINVAL, completion_port_submit(port_, &at_once.common, nullptr, records_.data()));
    auto late = receive(nullptr);
    late.common.deadline_ns = kLatest_ns + 1;
    EXPECT_EQ(-ERANGE, submit(late));
    EXPECT_EQ(0u, capture_.submission_count());
    EXPECT_EQ(0, refused([](auto& o) { o.period_ns = kLatest_ns; }));
}

// Spec: CP-MOCK-9
TEST_F(TimerCaptureTest, BelongsToNoSocket) {
    Receiver& expired = new_receiver();
    Receiver& standard_input = new_receiver();
    ASSERT_EQ(0, submit(timer(&expired)));
    ASSERT_EQ(0, submit(receive(&standard_input, STDIN_FILENO)));
    EXPECT_EQ(1u, capture_.submissions(STDIN_FILENO).size());
    ASSERT_EQ(0, completion_port_remove_async(
                     port_, STDIN_FILENO, [](void*, SOCKET_HANDLE) {}, nullptr));
    EXPECT_EQ(0, submit(timer(nullptr)));
    capture_.run_queued();
    EXPECT_TRUE(standard_input.ended(kAbandoned, -ECANCELED, 0));
    EXPECT_TRUE(expired.records.empty());
    EXPECT_EQ(2u, capture_.timers().size());
    capture_.abandon_all();
    EXPECT_TRUE(expired.ended(kAbandoned, -ECANCELED, 0));
}

}  // namespace
