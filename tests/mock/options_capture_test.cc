#include <gmock/gmock.h>
#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "completionport/options.h"
#include "submission_capture_fixture.h"

namespace {

using completionport::testing::CapturedOptions;
using completionport::testing::CompletionCapture;
using testing::ElementsAre;

class OptionsCaptureTest : public SubmissionCaptureTest {
 protected:
    static COMPLETION_PORT_OPTIONS options() {
        COMPLETION_PORT_OPTIONS options{};
        options.size = sizeof(options);
        return options;
    }
    // The errno with which it is refused; 0 if it is not.
    static int refusal_of(const COMPLETION_PORT_OPTIONS& options) {
        errno = 0;
        const COMPLETION_PORT_HANDLE port = completion_port_create_with_options(&options);
        const int error = errno;
        EXPECT_EQ(error == 0, port != nullptr);
        completion_port_dec_ref(port);
        return error;
    }
    template <typename Change>
    static int refusal_with(const Change& change) {
        COMPLETION_PORT_OPTIONS changed = options();
        change(changed);
        return refusal_of(changed);
    }
};

// Spec: CP-MOCK-10
TEST_F(OptionsCaptureTest, KeepsACopyOfWhatThePortWasMadeWith) {
    COMPLETION_PORT_HANDLE port = nullptr;
    {
        std::vector<int32_t> cpus = {3, -1};
        std::string name = "twelve chars";
        COMPLETION_PORT_OPTIONS given = options();
        given.workers = 2;
        given.worker_cpus = cpus.data();
        std::vector<int32_t> nodes = {-1, 77};
        given.worker_nodes = nodes.data();
        given.name = name.c_str();
        given.spin_ns = 7;
        port = completion_port_create_with_options(&given);
        cpus.assign(2, 99);
        name.assign(12, '?');
    }
    ASSERT_NE(nullptr, port);
    const CapturedOptions captured = capture_.options(port);
    EXPECT_EQ(2u, captured.options.workers);
    EXPECT_EQ(7u, captured.options.spin_ns);
    EXPECT_THAT(captured.worker_cpus, ElementsAre(3, -1));
    EXPECT_EQ("twelve chars", captured.name);
    EXPECT_THAT(captured.worker_nodes, ElementsAre(-1, 77));
    EXPECT_EQ(nullptr, captured.options.worker_cpus);
    EXPECT_EQ(nullptr, captured.options.worker_nodes);
    EXPECT_EQ(nullptr, captured.options.name);
    EXPECT_EQ(1u, capture_.references(port));
    EXPECT_EQ(0u, capture_.options(port_).options.size);
    completion_port_dec_ref(port);
}

// Spec: CP-MOCK-10
TEST_F(OptionsCaptureTest, ReadsOneCpuWhereTheWorkersAreTheDefault) {
    const int32_t cpu = 5;
    COMPLETION_PORT_OPTIONS given = options();
    given.worker_cpus = &cpu;
    const COMPLETION_PORT_HANDLE port = completion_port_create_with_options(&given);
    EXPECT_THAT(capture_.options(port).worker_cpus, ElementsAre(5));
    EXPECT_FALSE(capture_.options(port).name.has_value());
    completion_port_dec_ref(port);
}

// Spec: CP-MOCK-10
TEST_F(OptionsCaptureTest, RefusesWhatTheLibraryRefuses) {
    const int32_t cpu = 0;
    const int32_t none = -2;
    EXPECT_EQ(EINVAL, refusal_with([&](auto& o) { o.worker_cpus = &none; }));
    EXPECT_EQ(EINVAL, refusal_with([&](auto& o) { o.worker_nodes = &none; }));
    errno = 0;
    EXPECT_EQ(nullptr, completion_port_create_with_options(nullptr));
    EXPECT_EQ(EINVAL, errno);
    EXPECT_EQ(EINVAL, refusal_with([](auto& o) { o.size = 7; }));
    EXPECT_EQ(0, refusal_with([](auto& o) { o.size = 8; }));
    EXPECT_EQ(EINVAL, refusal_with([](auto& o) { o.flags = 4; }));
    EXPECT_EQ(EINVAL,
              refusal_with([](auto& o) { o.engine = COMPLETION_PORT_ENGINE_IO_URING + 1; }));
    EXPECT_EQ(0, refusal_with([](auto& o) { o.workers = COMPLETION_PORT_WORKERS_MAX; }));
    EXPECT_EQ(EINVAL, refusal_with([](auto& o) { o.workers = COMPLETION_PORT_WORKERS_MAX + 1; }));
    EXPECT_EQ(EINVAL, refusal_with([](auto& o) { o.name = "thirteen char"; }));
    EXPECT_EQ(0, refusal_with([](auto& o) { o.spin_ns = 1'000'000'000; }));
    EXPECT_EQ(EINVAL, refusal_with([](auto& o) { o.spin_ns = 1'000'000'001; }));
    EXPECT_EQ(EINVAL, refusal_with([](auto& o) { o.idle_wait_ns = 999'999; }));
    EXPECT_EQ(EINVAL, refusal_with([](auto& o) { o.idle_wait_ns = uint64_t{INT64_MAX} + 1; }));
    EXPECT_EQ(0, refusal_with([](auto& o) { o.idle_wait_ns = COMPLETION_PORT_IDLE_WAIT_FOREVER; }));
    EXPECT_EQ(0, refusal_with([](auto& o) { o.operations_max = 1u << 20; }));
    EXPECT_EQ(EINVAL, refusal_with([](auto& o) { o.operations_max = (1u << 20) + 1; }));
    EXPECT_EQ(0, refusal_with([](auto& o) { o.sockets_max = 1u << 24; }));
    EXPECT_EQ(EINVAL, refusal_with([](auto& o) { o.sockets_max = (1u << 24) + 1; }));
    EXPECT_EQ(0, refusal_with([](auto& o) { o.mailbox_max = 1u << 20; }));
    EXPECT_EQ(EINVAL, refusal_with([](auto& o) { o.mailbox_max = (1u << 20) + 1; }));
    EXPECT_EQ(0, refusal_with([](auto& o) { o.waiters_running_max = 1024; }));
    EXPECT_EQ(EINVAL, refusal_with([](auto& o) { o.waiters_running_max = 1025; }));
    constexpr uint32_t kCallerDriven = COMPLETION_PORT_OPTION_CALLER_DRIVEN;
    constexpr uint32_t kSingle = COMPLETION_PORT_OPTION_SINGLE_THREADED;
    EXPECT_EQ(EINVAL, refusal_with([](auto& o) { o.flags = kSingle; }));
    EXPECT_EQ(0, refusal_with([](auto& o) { o.flags = kSingle | kCallerDriven; }));
    EXPECT_EQ(EINVAL, refusal_with([](auto& o) { o.flags = kCallerDriven | 4; }));
    const auto driven = [](uint32_t workers, const int32_t* cpus) {
        return refusal_with([=](auto& o) {
            o.flags = kCallerDriven;
            o.workers = workers;
            o.worker_cpus = cpus;
        });
    };
    EXPECT_EQ(0, driven(1, nullptr));
    EXPECT_EQ(EINVAL, driven(2, nullptr));
    EXPECT_EQ(EINVAL, driven(1, &cpu));
}

// Spec: CP-MOCK-10
TEST_F(OptionsCaptureTest, TakesLongerOptionsWhoseTailIsZero) {
    struct {
        COMPLETION_PORT_OPTIONS known;
        uint64_t added_later;
    } longer = {options(), 0};
    longer.known.size = sizeof(longer);
    EXPECT_EQ(0, refusal_of(longer.known));
    longer.added_later = 1;
    EXPECT_EQ(E2BIG, refusal_of(longer.known));
}

// Spec: CP-MOCK-10
TEST_F(OptionsCaptureTest, TheEndCallsOnEndedOnceAfterAllElse) {
    struct Ended {
        CompletionCapture& capture;
        const Receiver& receiver;
        COMPLETION_PORT_HANDLE port = nullptr;
        int calls = 0;
        size_t records_before = 0;
    };
    Receiver& received = new_receiver();
    Ended ended{capture_, received};
    COMPLETION_PORT_OPTIONS given = options();
    given.on_ended_context = &ended;
    given.on_ended = [](void* context) {
        auto& self = *static_cast<Ended*>(context);
        ++self.calls;
        self.records_before = self.receiver.records.size();
        completion_port_dec_ref(self.port);
    };
    ended.port = completion_port_create_with_options(&given);
    ASSERT_NE(nullptr, ended.port);
    const auto operation = receive(&received);
    ASSERT_EQ(0, completion_port_submit(ended.port, &operation.common, nullptr, nullptr));
    EXPECT_EQ(0, completion_port_shutdown(ended.port));
    EXPECT_EQ(0, completion_port_shutdown(ended.port));
    EXPECT_EQ(0, ended.calls);
    capture_.run_queued();
    EXPECT_EQ(1, ended.calls);
    EXPECT_EQ(1u, ended.records_before);
    EXPECT_EQ(0u, capture_.references(ended.port));
    EXPECT_NONFATAL_FAILURE(completion_port_inc_ref(ended.port), "the port was freed");
}

// Spec: CP-MOCK-12
TEST_F(OptionsCaptureTest, OnlyACallerDrivenPortHasAnotherLoop) {
    COMPLETION_PORT_OPTIONS given = options();
    given.flags = COMPLETION_PORT_OPTION_CALLER_DRIVEN;
    const COMPLETION_PORT_HANDLE driven = completion_port_create_with_options(&given);
    EXPECT_EQ(-EINVAL, completion_port_fd(nullptr));
    EXPECT_EQ(-EINVAL, completion_port_next_timeout(nullptr));
    EXPECT_EQ(-ENOTSUP, completion_port_fd(port_));
    EXPECT_EQ(-ENOTSUP, completion_port_next_timeout(port_));
    EXPECT_LE(0, completion_port_fd(driven));
    EXPECT_EQ(INT64_MAX, completion_port_next_timeout(driven));
    EXPECT_EQ(0, completion_port_post(driven, 1, 2, nullptr, nullptr));
    EXPECT_EQ(0, completion_port_next_timeout(driven));
    EXPECT_EQ(1, completion_port_wait(driven, records_.data(), 8, 0));
    EXPECT_EQ(INT64_MAX, completion_port_next_timeout(driven));
    completion_port_dec_ref(driven);
}

// Spec: CP-MOCK-PLACE-1
TEST_F(OptionsCaptureTest, KeepsToTheLimitOfThreadsThatProcessRecords) {
    COMPLETION_PORT_OPTIONS given = options();
    given.flags = COMPLETION_PORT_OPTION_CALLER_DRIVEN;
    given.waiters_running_max = 1;
    const COMPLETION_PORT_HANDLE port = completion_port_create_with_options(&given);
    const auto wait = [&] { return completion_port_wait(port, records_.data(), 1, -1); };
    for (uint64_t key = 1; key <= 3; ++key) completion_port_post(port, key, 0, nullptr, nullptr);
    EXPECT_EQ(-EINVAL, completion_port_wait_leave(nullptr));
    EXPECT_EQ(-ENOENT, completion_port_wait_leave(port));
    EXPECT_EQ(-EINVAL, completion_port_wait(port, nullptr, 1, -1));
    EXPECT_EQ(1, wait());
    EXPECT_EQ(0, completion_port_next_timeout(port));
    std::thread other([&] {
        EXPECT_EQ(-ETIMEDOUT, wait());
        EXPECT_EQ(INT64_MAX, completion_port_next_timeout(port));
        EXPECT_EQ(-ENOENT, completion_port_wait_leave(port));
    });
    other.join();
    EXPECT_EQ(1, wait());  // gives its own place back
    EXPECT_EQ(0, completion_port_wait_leave(port));
    EXPECT_EQ(-ENOENT, completion_port_wait_leave(port));
    other = std::thread([&] { EXPECT_EQ(1, wait()); });
    other.join();
    EXPECT_EQ(-ENOENT, completion_port_wait_leave(port_)) << "there is no limit";
    completion_port_dec_ref(port);
}

}  // namespace
