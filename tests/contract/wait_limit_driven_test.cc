// The limit of threads that process records, on a port that its callers drive.
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include <atomic>

#include "tests/contract/wait_limit_fixture.h"

namespace cport::test {
namespace {

class DrivenLimitTest : public WaitLimitTest {};
INSTANTIATE_TEST_SUITE_P(Driven, DrivenLimitTest,
                         ::testing::Values(EngineUnderTest{"caller_driven", nullptr, kNoWorkers,
                                                           COMPLETION_PORT_ENGINE_EPOLL}),
                         engine_name);

// Spec: CP-PLACE-10
TEST_P(DrivenLimitTest, WhoDrivesWithoutAPlaceGoesOnWithCallbacks) {
    open(1);
    post(0);
    ASSERT_EQ(wait(), 1);
    Waiter& driver = asleep();
    post(1);
    std::atomic<pid_t> callbacks_thread{0};
    const auto on_post = [](void* context, const COMPLETION_PORT_COMPLETION*) {
        auto& thread = *static_cast<std::atomic<pid_t>*>(context);
        thread.store(::gettid());
        thread.notify_all();
    };
    ASSERT_EQ(completion_port_post(port_, 0, 0, on_post, &callbacks_thread), 0);
    callbacks_thread.wait(0);
    EXPECT_NE(callbacks_thread.load(), ::gettid());
    // It sleeps in the kernel beside the record, and must hear of the leave.
    driver.wait_until_asleep();
    EXPECT_FALSE(driver.has_returned());
    EXPECT_EQ(leave(), 0);
    EXPECT_EQ(driver.key(), 1u);
}

// Spec: CP-PLACE-2, CP-PLACE-10
TEST_P(DrivenLimitTest, WhoComesBackToDriveHoldsNoPlaceInItsFirstCallbacks) {
    open(1);
    post(0);
    ASSERT_EQ(wait(), 1);
    struct Seen {
        COMPLETION_PORT_HANDLE port;
        uint64_t running = 1;
        int leave_result = 0;
    } seen{port_};
    const auto look = [](void* context, const COMPLETION_PORT_COMPLETION*) {
        auto& its = *static_cast<Seen*>(context);
        COMPLETION_PORT_STATS all{};
        all.size = sizeof(all);
        completion_port_stats(its.port, &all);
        its.running = all.waiters_running;
        its.leave_result = completion_port_wait_leave(its.port);
    };
    ASSERT_EQ(completion_port_post(port_, 0, 0, look, &seen), 0);
    EXPECT_EQ(wait(0), -ETIMEDOUT);
    EXPECT_EQ(seen.running, 0u);
    EXPECT_EQ(seen.leave_result, -ENOENT);
}

// Spec: CP-PLACE-10
TEST_P(DrivenLimitTest, AfterTheEndALoopWithoutAPlaceIsNotToldToSpin) {
    open(1);
    Waiter& holder = running();
    post(1);
    EXPECT_EQ(completion_port_shutdown(port_), 0);
    EXPECT_EQ(wait(0), -ETIMEDOUT);
    EXPECT_GT(completion_port_next_timeout(port_), 0);
    EXPECT_EQ(holder.leave(), 0);
    EXPECT_EQ(completion_port_next_timeout(port_), 0);
    EXPECT_EQ(wait(0), 1);
    EXPECT_EQ(leave(), 0);
    EXPECT_EQ(wait(0), -ESHUTDOWN);
}

// Spec: CP-PLACE-10
TEST_P(DrivenLimitTest, ALeaveMakesThePortsDescriptorReadable) {
    open(1);
    Waiter& holder = running();
    post(1);
    EXPECT_EQ(wait(0), -ETIMEDOUT);
    const int64_t timeout_ns = completion_port_next_timeout(port_);
    EXPECT_GT(timeout_ns, 0) << "there is nothing that this thread could take";
    pollfd loop{completion_port_fd(port_), POLLIN, 0};
    EXPECT_EQ(::poll(&loop, 1, 0), 0);
    EXPECT_EQ(holder.leave(), 0);
    EXPECT_EQ(::poll(&loop, 1, -1), 1);
    EXPECT_EQ(wait(0), 1);
    // Its own place is no hindrance.
    post(2);
    EXPECT_EQ(wait(0), 1);
    post(3);
    post(4);
    EXPECT_EQ(wait(0), 1);
    EXPECT_EQ(completion_port_next_timeout(port_), 0);
    EXPECT_EQ(leave(), 0);
}

}  // namespace
}  // namespace cport::test
