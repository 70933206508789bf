// What a port counts and logs of what goes wrong, over a scripted machine. Its worker runs on the
// test's own thread.
#include <completionport/completions.h>
#include <completionport/stats.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "platform/linux/linux_platform.h"
#include "runtime/abi/handle.h"
#include "tests/support/fault_platform.h"
#include "tests/support/mock_platform.h"

namespace cport {
namespace {

using ::testing::_;
using ::testing::ElementsAre;
using ::testing::NiceMock;
using ::testing::Return;

constexpr int kSocket = 7;
constexpr int kOther = 8;
constexpr int64_t kSweepPeriod_ns = Worker::kIdleWait_ns;

class ReportOnMocks : public ::testing::Test {
 protected:
    void SetUp() override {
        platform::Memory& real = counting_.platform().memory;
        ON_CALL(memory_, allocate(_, _))
            .WillByDefault([this, &real](size_t size, size_t alignment) {
                return no_memory_ ? nullptr : real.allocate(size, alignment);
            });
        ON_CALL(memory_, release(_, _)).WillByDefault([&real](void* memory, size_t size) {
            real.release(memory, size);
        });
        ON_CALL(memory_, fork_mark_create()).WillByDefault([&real] {
            return real.fork_mark_create();
        });
        ON_CALL(memory_, fork_mark_destroy(_))
            .WillByDefault(
                [&real](const volatile uint32_t* mark) { real.fork_mark_destroy(mark); });
        ON_CALL(kernel_, epoll_create()).WillByDefault(Return(100));
        ON_CALL(kernel_, eventfd_create()).WillByDefault(Return(101));
        ON_CALL(kernel_, descriptor_kind(_))
            .WillByDefault(Return(static_cast<int>(platform::DescriptorKind::kSocket)));
        ON_CALL(kernel_, socket_type(_)).WillByDefault(Return(SOCK_DGRAM));
        ON_CALL(kernel_, receive(_, _, _, _)).WillByDefault(Return(-EAGAIN));
        ON_CALL(kernel_, epoll_wait(_, _, _, _))
            .WillByDefault([this](int, epoll_event*, int, int64_t timeout_ns) {
                // A look while there is work is no step.
                if (timeout_ns == 0) return 0;
                if (script_.empty()) {
                    completion_port_shutdown(port_);
                    return 0;
                }
                const std::function<int()> step = script_.front();
                script_.pop_front();
                return step();
            });
        ON_CALL(threads_, start(_, _, _, _, _))
            .WillByDefault(
                [this](pthread_t*, const char*, int, platform::Threads::Body body, void* argument) {
                    worker_ = [body, argument] { body(argument); };
                    return 0;
                });
        ON_CALL(clock_, now_ns()).WillByDefault([this] { return now_ns_; });
        options_.on_log = [](void* context, uint32_t level, const char* message) {
            static_cast<ReportOnMocks*>(context)->lines_.push_back(std::to_string(level) + " " +
                                                                   message);
        };
        options_.log_context = this;
        options_.log_level = COMPLETION_PORT_LOG_WARNING;
    }
    void TearDown() override {
        completion_port_dec_ref(port_);
        EXPECT_TRUE(counting_.holdings().empty());
    }

    void create() {
        port_ = create_handle(machine_, options_);
        ASSERT_NE(port_, nullptr);
    }
    // The worker runs through the script, and then to the port's end.
    void run(std::deque<std::function<int()>> script) {
        script_ = std::move(script);
        worker_();
    }
    // A wait that a sweep follows.
    int let_period_pass() {
        now_ns_ += kSweepPeriod_ns;
        return 0;
    }

    int add_read(int descriptor) {
        COMPLETION_PORT_INGRESS_DATA data{};
        data.epoll_op = EPOLLIN;
        data.socket = descriptor;
        data.event_callback = [](void*, COMPLETION_PORT_EPOLL_ACTION, COMPLETION_PORT_RESULT,
                                 int32_t) {};
        data.buffer_data = {&byte_, 1};
        return completion_port_add(port_, &data);
    }
    int post() {
        return completion_port_post(
            port_, 0, 0, [](void*, const COMPLETION_PORT_COMPLETION*) {}, nullptr);
    }
    COMPLETION_PORT_WORKER_STATS stats() const {
        COMPLETION_PORT_WORKER_STATS stats{};
        stats.size = sizeof(stats);
        EXPECT_EQ(completion_port_worker_stats(port_, 0, &stats), 0);
        return stats;
    }

    test::FaultPlatform counting_{platform::linux_platform(), test::Fault{}};
    NiceMock<test::MockKernel> kernel_;
    NiceMock<test::MockThreads> threads_;
    NiceMock<test::MockMemory> memory_;
    NiceMock<test::MockClock> clock_;
    platform::Platform machine_{kernel_, threads_, memory_, clock_};
    PortOptions options_;
    COMPLETION_PORT_HANDLE port_ = nullptr;
    std::function<void()> worker_;
    std::deque<std::function<int()>> script_;
    std::vector<std::string> lines_;
    int64_t now_ns_ = 1'000'000'000'000;
    bool no_memory_ = false;
    char byte_ = 0;
};

// Spec: CP-LOG-6 CP-STATS-15
TEST_F(ReportOnMocks, ASweepTellsOfADescriptorThatWasClosedWithoutRemove) {
    create();
    EXPECT_EQ(add_read(kSocket), 0);
    EXPECT_EQ(add_read(kOther), 0);
    int asked = 0;
    ON_CALL(kernel_, epoll_ctl(_, EPOLL_CTL_ADD, kOther, _, _)).WillByDefault([&asked] {
        return asked++ == 0 ? 0 : -EEXIST;
    });
    const auto period = [this] { return let_period_pass(); };
    run({period, period, [this] {
             EXPECT_EQ(stats().descriptors_renewed, 1u);
             return 0;
         }});
    EXPECT_THAT(lines_, ElementsAre("2 cport: worker 0: descriptor 7 was closed without remove, "
                                    "its operations are abandoned"));
    EXPECT_EQ(stats().sweeps, 2u);
    EXPECT_EQ(stats().descriptors_renewed, 1u);
}

// Spec: CP-LOG-7
TEST_F(ReportOnMocks, AFailingWaitIsToldOnceAndAgainAfterAPeriodWithout) {
    create();
    const auto fail = [] { return -EBADF; };
    const auto interrupted = [] { return -EINTR; };
    const auto period = [this] { return let_period_pass(); };
    const auto expect_lines = [this](size_t lines) {
        return [this, lines] {
            EXPECT_EQ(lines_.size(), lines);
            return 0;
        };
    };
    run({interrupted, expect_lines(0), fail, fail, fail, expect_lines(1), period, fail, period,
         fail, expect_lines(1), period, period, fail, fail, expect_lines(2)});
    EXPECT_EQ(lines_.front(), "1 cport: worker 0: epoll cannot wait (errno 9)");
    EXPECT_EQ(lines_.size(), 2u);
}

// Spec: CP-LOG-7
TEST_F(ReportOnMocks, AWatchThatFindsNoSpaceIsToldOnce) {
    create();
    ON_CALL(kernel_, epoll_ctl(_, EPOLL_CTL_ADD, _, _, _)).WillByDefault(Return(-ENOSPC));
    EXPECT_EQ(add_read(kSocket), 0);
    EXPECT_EQ(add_read(kOther), 0);
    run({});
    EXPECT_THAT(lines_,
                ElementsAre("1 cport: worker 0: epoll cannot watch descriptor 7 (errno 28)"));
    EXPECT_EQ(stats().completions_error, 2u);
}

// Spec: CP-LOG-7
TEST_F(ReportOnMocks, ADescriptorThatCannotBeWatchedIsNoFailureOfTheEngine) {
    create();
    ON_CALL(kernel_, epoll_ctl(_, EPOLL_CTL_ADD, _, _, _)).WillByDefault(Return(-EPERM));
    EXPECT_EQ(add_read(kSocket), 0);
    run({});
    EXPECT_THAT(lines_, ElementsAre());
    EXPECT_EQ(stats().completions_error, 1u);
}

// Spec: CP-LOG-5 CP-STATS-6
TEST_F(ReportOnMocks, TheLimitIsToldAgainAfterAPeriodWithoutARefusal) {
    options_.operations_max = 1;
    create();
    const auto fill = [this] {
        while (post() == 0) {
        }
        return 0;
    };
    const auto period = [this] { return let_period_pass(); };
    fill();
    fill();
    EXPECT_EQ(lines_.size(), 1u);
    run({period, fill, period, fill,
         [this] {
             EXPECT_EQ(lines_.size(), 1u);
             return 0;
         },
         period, period, fill});
    EXPECT_EQ(lines_.size(), 2u);
    EXPECT_EQ(lines_.back(),
              "2 cport: worker 0: the limit of 512 operations is reached, more are refused");
    EXPECT_EQ(stats().slots_refused_limit, 5u);
    EXPECT_EQ(stats().slots_refused_memory, 0u);
}

// Spec: CP-LOG-5 CP-STATS-6
TEST_F(ReportOnMocks, TheLackOfMemoryIsToldOnce) {
    create();
    no_memory_ = true;
    EXPECT_EQ(post(), -ENOMEM);
    EXPECT_EQ(post(), -ENOMEM);
    EXPECT_THAT(lines_, ElementsAre("2 cport: worker 0: no memory for more operations, they are "
                                    "refused"));
    EXPECT_EQ(stats().slots_refused_memory, 2u);
    EXPECT_EQ(stats().slots_refused_limit, 0u);
    EXPECT_EQ(stats().slots_allocated, 0u);
    no_memory_ = false;
    EXPECT_EQ(post(), 0);
    EXPECT_EQ(stats().slots_allocated, 512u);
    run({});
    EXPECT_EQ(stats().completions[COMPLETION_PORT_KIND_POST], 1u);
}

// Spec: CP-LOG-4
TEST_F(ReportOnMocks, APortWithoutMemoryOrThreadSaysSo) {
    no_memory_ = true;
    EXPECT_EQ(create_handle(machine_, options_), nullptr);
    no_memory_ = false;
    ON_CALL(threads_, start(_, _, _, _, _)).WillByDefault(Return(-EAGAIN));
    EXPECT_EQ(create_handle(machine_, options_), nullptr);
    EXPECT_EQ(errno, EAGAIN);
    EXPECT_THAT(lines_, ElementsAre("1 cport: cannot be created (errno 12)",
                                    "1 cport: cannot be created (errno 11)"));
}

}  // namespace
}  // namespace cport
