// A port that its caller drives, over a scripted machine: another thread's call comes where a
// system call is made.
#include <completionport/completions.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <cstdint>
#include <functional>
#include <utility>

#include "platform/linux/linux_platform.h"
#include "runtime/abi/handle.h"
#include "tests/support/fault_platform.h"
#include "tests/support/mock_platform.h"

namespace cport {
namespace {

using ::testing::_;
using ::testing::NiceMock;
using ::testing::Return;

class DrivingOnMocks : public ::testing::Test {
 protected:
    void SetUp() override {
        ON_CALL(kernel_, epoll_create()).WillByDefault(Return(100));
        ON_CALL(kernel_, eventfd_create()).WillByDefault(Return(101));
        ON_CALL(kernel_, eventfd_signal(_)).WillByDefault([this](int) {
            const std::function<void()> meanwhile = std::exchange(meanwhile_, nullptr);
            if (meanwhile) meanwhile();
            return 0;
        });
        PortOptions options;
        options.caller_driven = true;
        port_ = create_handle(machine_, options);
        ASSERT_NE(port_, nullptr);
    }
    void TearDown() override { EXPECT_TRUE(counting_.holdings().empty()); }

    int post() {
        return completion_port_post(
            port_, 0, 0,
            [](void* context, const COMPLETION_PORT_COMPLETION*) { ++*static_cast<int*>(context); },
            &records_);
    }

    test::FaultPlatform counting_{platform::linux_platform(), test::Fault{}};
    NiceMock<test::MockKernel> kernel_;
    NiceMock<test::MockClock> clock_;
    platform::Platform machine_{kernel_, counting_.platform().threads, counting_.platform().memory,
                                clock_};
    COMPLETION_PORT_HANDLE port_ = nullptr;
    // What another thread does while the port's descriptor is being signalled.
    std::function<void()> meanwhile_;
    int records_ = 0;
};

// Spec: CP-EMBED-4
TEST_F(DrivingOnMocks, TheLastReferenceMayGoWhileTheNextTimeoutIsAsked) {
    ASSERT_EQ(post(), 0);
    bool given_back = false;
    meanwhile_ = [&] {
        completion_port_dec_ref(port_);
        given_back = true;
    };
    // There is work, so it tells whoever waits for the descriptor; it ends the port afterwards.
    EXPECT_EQ(completion_port_next_timeout(port_), 0);
    EXPECT_TRUE(given_back);
    EXPECT_EQ(records_, 1);
}

// Spec: CP-EMBED-4
TEST_F(DrivingOnMocks, TheLastReferenceMayGoWhileAWaitEnds) {
    struct Chain {
        COMPLETION_PORT_HANDLE port;
        int left = 200;
        static void on_record(void* context, const COMPLETION_PORT_COMPLETION*) {
            auto& chain = *static_cast<Chain*>(context);
            if (--chain.left > 0) {
                completion_port_post(chain.port, 0, 0, on_record, context);
            }
        }
    } chain{port_};
    ASSERT_EQ(completion_port_post(port_, 0, 0, Chain::on_record, &chain), 0);
    bool given_back = false;
    meanwhile_ = [&] {
        completion_port_dec_ref(port_);
        given_back = true;
    };
    COMPLETION_PORT_COMPLETION record;
    EXPECT_EQ(completion_port_wait(port_, &record, 1, 0), -ETIMEDOUT);
    EXPECT_TRUE(given_back);
    EXPECT_LT(chain.left, 200);
}

}  // namespace
}  // namespace cport
