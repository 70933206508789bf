#include <gmock/gmock.h>
#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "completionport/log.h"
#include "completionport/options.h"
#include "completionport/stats.h"
#include "submission_capture_fixture.h"

namespace {

using completionport::testing::CompletionCapture;

template <typename Stats>
Stats sized() {
    Stats stats{};
    stats.size = sizeof(stats);
    return stats;
}

class StatsCaptureTest : public SubmissionCaptureTest {
 protected:
    static COMPLETION_PORT_STATS stats_of(COMPLETION_PORT_HANDLE port) {
        auto stats = sized<COMPLETION_PORT_STATS>();
        EXPECT_EQ(0, completion_port_stats(port, &stats));
        return stats;
    }
};

// Spec: CP-STATS-9 CP-STATS-8
TEST_F(StatsCaptureTest, SaysAtFirstHowThePortWasMade) {
    EXPECT_EQ(1u, stats_of(port_).workers);
    EXPECT_EQ(uint32_t{COMPLETION_PORT_ENGINE_EPOLL}, stats_of(port_).engine);
    EXPECT_EQ(uint32_t{COMPLETION_PORT_ENGINE_REASON_DEFAULT}, stats_of(port_).engine_reason);
    EXPECT_EQ(0u, stats_of(port_).total.callbacks);
    auto options = sized<COMPLETION_PORT_OPTIONS>();
    options.workers = 3;
    COMPLETION_PORT_HANDLE made = completion_port_create_with_options(&options);
    EXPECT_EQ(3u, stats_of(made).workers);
    EXPECT_EQ(uint32_t{COMPLETION_PORT_ENGINE_REASON_TABLE}, stats_of(made).engine_reason);
    completion_port_dec_ref(made);
    options.engine = COMPLETION_PORT_ENGINE_EPOLL;
    made = completion_port_create_with_options(&options);
    EXPECT_EQ(uint32_t{COMPLETION_PORT_ENGINE_REASON_ASKED}, stats_of(made).engine_reason);
    completion_port_dec_ref(made);
}

// Spec: CP-STATS-9
TEST_F(StatsCaptureTest, SaysWhatTheTestHasSet) {
    COMPLETION_PORT_STATS all{};
    all.records_waiting = 7;
    all.engine_reason = COMPLETION_PORT_ENGINE_REASON_DENIED;
    all.total.callbacks = 70;
    capture_.set_stats(port_, all);
    COMPLETION_PORT_WORKER_STATS one{};
    one.completions[COMPLETION_PORT_KIND_SEND] = 5;
    capture_.set_worker_stats(port_, 0, one);
    EXPECT_EQ(7u, stats_of(port_).records_waiting);
    EXPECT_EQ(uint32_t{COMPLETION_PORT_ENGINE_REASON_DENIED}, stats_of(port_).engine_reason);
    EXPECT_EQ(70u, stats_of(port_).total.callbacks);
    EXPECT_EQ(sizeof(all), stats_of(port_).size);
    EXPECT_EQ(sizeof(one), stats_of(port_).total.size);
    auto read = sized<COMPLETION_PORT_WORKER_STATS>();
    EXPECT_EQ(0, completion_port_worker_stats(port_, 0, &read));
    EXPECT_EQ(5u, read.completions[COMPLETION_PORT_KIND_SEND]);
    EXPECT_EQ(sizeof(read), read.size);
}

// Spec: CP-STATS-9 CP-STATS-12
TEST_F(StatsCaptureTest, FillsWhatTheCallersStructureHolds) {
    COMPLETION_PORT_STATS all{};
    all.workers = 9;
    all.records_queued = 3;
    capture_.set_stats(port_, all);
    struct {
        COMPLETION_PORT_STATS known;
        uint64_t unknown;
    } longer{};
    longer.known.size = sizeof(longer);
    longer.unknown = UINT64_MAX;
    EXPECT_EQ(0, completion_port_stats(port_, &longer.known));
    EXPECT_EQ(0u, longer.unknown);
    EXPECT_EQ(sizeof(longer), longer.known.size);
    longer.known.records_queued = UINT64_MAX;
    longer.known.size = offsetof(COMPLETION_PORT_STATS, records_queued);
    EXPECT_EQ(0, completion_port_stats(port_, &longer.known));
    EXPECT_EQ(UINT64_MAX, longer.known.records_queued);
    EXPECT_EQ(9u, longer.known.workers);
}

// Spec: CP-STATS-9 CP-STATS-13
TEST_F(StatsCaptureTest, RefusesAsTheLibraryDoes) {
    auto all = sized<COMPLETION_PORT_STATS>();
    auto one = sized<COMPLETION_PORT_WORKER_STATS>();
    EXPECT_EQ(-EINVAL, completion_port_stats(nullptr, &all));
    EXPECT_EQ(-EINVAL, completion_port_stats(port_, nullptr));
    EXPECT_EQ(-EINVAL, completion_port_worker_stats(nullptr, 0, &one));
    EXPECT_EQ(-EINVAL, completion_port_worker_stats(port_, 0, nullptr));
    EXPECT_EQ(-EINVAL, completion_port_worker_stats(port_, 1, &one));
    all.size = one.size = 3;
    EXPECT_EQ(-EINVAL, completion_port_stats(port_, &all));
    EXPECT_EQ(-EINVAL, completion_port_worker_stats(port_, 0, &one));
    all.size = one.size = 4097;
    EXPECT_EQ(-E2BIG, completion_port_stats(port_, &all));
    EXPECT_EQ(-E2BIG, completion_port_worker_stats(port_, 0, &one));
}

// Spec: CP-STATS-9
TEST_F(StatsCaptureTest, AWorkerThatThereIsNotFailsTheTest) {
    EXPECT_NONFATAL_FAILURE(capture_.set_worker_stats(port_, 1, {}), "no worker 1");
    EXPECT_NONFATAL_FAILURE(capture_.set_stats(nullptr, {}), "set_stats");
}

// Spec: CP-MOCK-10 CP-LOG-1
TEST_F(StatsCaptureTest, TheLogIsAmongTheCapturedOptions) {
    std::string said;
    auto options = sized<COMPLETION_PORT_OPTIONS>();
    options.on_log = [](void* context, uint32_t, const char* message) {
        *static_cast<std::string*>(context) = message;
    };
    options.log_context = &said;
    options.log_level = COMPLETION_PORT_LOG_DEBUG;
    COMPLETION_PORT_HANDLE made = completion_port_create_with_options(&options);
    const COMPLETION_PORT_OPTIONS captured = capture_.options(made).options;
    captured.on_log(captured.log_context, COMPLETION_PORT_LOG_ERROR, "a line");
    EXPECT_EQ("a line", said);
    completion_port_dec_ref(made);
    options.log_level = COMPLETION_PORT_LOG_DEBUG + 1;
    errno = 0;
    EXPECT_EQ(nullptr, completion_port_create_with_options(&options));
    EXPECT_EQ(EINVAL, errno);
}

}  // namespace
