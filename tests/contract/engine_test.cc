// Which engine a port runs on, and what it says of it.
#include <completionport/options.h>
#include <completionport/stats.h>
#include <gtest/gtest.h>
#include <linux/io_uring.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

namespace cport::test {
namespace {

struct Engine {
    uint32_t engine;
    uint32_t reason;

    bool operator==(const Engine&) const = default;
};

Engine engine_of(uint32_t asked_for, uint32_t flags = 0, uint32_t workers = 0) {
    COMPLETION_PORT_OPTIONS options{};
    options.size = sizeof(options);
    options.engine = asked_for;
    options.flags = flags;
    options.workers = workers;
    COMPLETION_PORT_HANDLE port = completion_port_create_with_options(&options);
    EXPECT_NE(port, nullptr);
    COMPLETION_PORT_STATS stats{};
    stats.size = sizeof(stats);
    EXPECT_EQ(completion_port_stats(port, &stats), 0);
    completion_port_dec_ref(port);
    return {stats.engine, stats.engine_reason};
}

// What this process gets of the kernel: 0, or an errno.
int ring_error() {
    struct io_uring_params params = {};
    params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
    const long ring = ::syscall(__NR_io_uring_setup, 4, &params);
    if (ring < 0) return errno;
    ::close(static_cast<int>(ring));
    return 0;
}

// Spec: CP-ENGINE-1
TEST(EngineTest, IoUringRunsWhereTheKernelHasItAndElseEpollWithTheReason) {
    Engine expected{COMPLETION_PORT_ENGINE_IO_URING, COMPLETION_PORT_ENGINE_REASON_ASKED};
    switch (ring_error()) {
        case 0:
            break;
        case ENOSYS:
            expected = {COMPLETION_PORT_ENGINE_EPOLL, COMPLETION_PORT_ENGINE_REASON_NO_KERNEL};
            break;
        case EPERM:
            expected = {COMPLETION_PORT_ENGINE_EPOLL, COMPLETION_PORT_ENGINE_REASON_DENIED};
            break;
        case EINVAL:
            expected = {COMPLETION_PORT_ENGINE_EPOLL, COMPLETION_PORT_ENGINE_REASON_NO_FEATURE};
            break;
        default:
            expected = {COMPLETION_PORT_ENGINE_EPOLL, COMPLETION_PORT_ENGINE_REASON_NO_MEMORY};
            break;
    }
    EXPECT_EQ(engine_of(COMPLETION_PORT_ENGINE_IO_URING), expected);
    EXPECT_EQ(engine_of(COMPLETION_PORT_ENGINE_IO_URING, 0, 3), expected);
}

// Spec: CP-ENGINE-2
TEST(EngineTest, APortThatItsCallersDriveRunsOnEpoll) {
    const Engine expected{COMPLETION_PORT_ENGINE_EPOLL,
                          COMPLETION_PORT_ENGINE_REASON_CALLER_DRIVEN};
    constexpr uint32_t kDriven = COMPLETION_PORT_OPTION_CALLER_DRIVEN;
    EXPECT_EQ(engine_of(COMPLETION_PORT_ENGINE_IO_URING, kDriven), expected);
    EXPECT_EQ(engine_of(COMPLETION_PORT_ENGINE_IO_URING,
                        kDriven | COMPLETION_PORT_OPTION_SINGLE_THREADED),
              expected);
}

// Spec: CP-ENGINE-3
TEST(EngineTest, TheTableChoosesWhereNobodyAsks) {
    const Engine chosen = engine_of(COMPLETION_PORT_ENGINE_AUTO);
    EXPECT_EQ(chosen.reason, uint32_t{COMPLETION_PORT_ENGINE_REASON_TABLE});
    EXPECT_EQ(engine_of(COMPLETION_PORT_ENGINE_EPOLL),
              (Engine{COMPLETION_PORT_ENGINE_EPOLL, COMPLETION_PORT_ENGINE_REASON_ASKED}));
    COMPLETION_PORT_HANDLE plain = completion_port_create();
    COMPLETION_PORT_STATS stats{};
    stats.size = sizeof(stats);
    ASSERT_EQ(completion_port_stats(plain, &stats), 0);
    completion_port_dec_ref(plain);
    EXPECT_EQ(stats.engine, uint32_t{COMPLETION_PORT_ENGINE_EPOLL});
    EXPECT_EQ(stats.engine_reason, uint32_t{COMPLETION_PORT_ENGINE_REASON_DEFAULT});
}

}  // namespace
}  // namespace cport::test
