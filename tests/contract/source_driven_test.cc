// Sources of ports that spin, that work all the time, and that their callers drive.
#include <completionport/completions.h>
#include <completionport/options.h>
#include <poll.h>

#include <thread>
#include <utility>

#include "tests/contract/options_fixture.h"
#include "tests/contract/process_facts.h"
#include "tests/contract/source_fixture.h"
#include "tests/contract/timing.h"

namespace cport::test {
namespace {

class PolledSourceTest : public OptionsTest {
 protected:
    PolledSourceTest() { source_.form().flags = COMPLETION_PORT_SOURCE_POLL; }

    TestSource source_;
};

// Spec: CP-SOURCE-9
TEST_F(PolledSourceTest, IsDrainedWithoutArmWhileItsWorkerSpins) {
    options_.spin_ns = kSecond_ns;
    open();
    ASSERT_EQ(source_.attach(port_), 0);
    // Within the second that the worker spins; each item makes it spin afresh.
    wait_until([&] {
        source_.put(1);
        return source_.calls().find(std::string(100, 'd')) != std::string::npos;
    });
    EXPECT_EQ(source_.detach(), 0);
}

// Spec: CP-SOURCE-9
TEST_F(PolledSourceTest, IsArmedBeforeItsWorkerSleeps) {
    for (const uint64_t spin_ns : {0u, 100'000u}) {
        options_.spin_ns = spin_ns;
        open();
        TestSource polled;
        polled.form().flags = COMPLETION_PORT_SOURCE_POLL;
        ASSERT_EQ(polled.attach(port_), 0);
        for (uint64_t items = 1; items <= 3; ++items) {
            wait_until([&] { return polled.thread() != 0 && polled.calls().ends_with("ad"); });
            polled.put_and_signal(1);
            polled.wait_until_taken(items);
        }
        wait_until([&] { return is_asleep(polled.thread()); });
        EXPECT_TRUE(polled.calls().ends_with("ad")) << polled.calls();
        EXPECT_EQ(polled.detach(), 0);
        close();
    }
}

// Spec: CP-SOURCE-9
TEST_F(PolledSourceTest, WhatComesBetweenIsFoundByTheDrainAfterTheArming) {
    open();
    source_.in_arm = [&] {
        source_.in_arm = nullptr;
        source_.put(100);
        return 0;
    };
    ASSERT_EQ(source_.attach(port_), 0);
    source_.wait_until_taken(100);
    EXPECT_EQ(source_.detach(), 0);
}

// Spec: CP-SOURCE-9
TEST_F(PolledSourceTest, IsDrainedEveryRoundWhileItsWorkerWorks) {
    open();
    Descriptor& always_ready = keep(ready_eventfd());
    Operation& busy = operation();
    Gate done;
    int left = 5000;
    busy.then([&](const Completion&) {
        if (left == 5000) {
            EXPECT_EQ(source_.attach(port_), 0);
        }
        if (--left > 0) {
            EXPECT_EQ(busy.add(port_, EPOLLIN, always_ready.get()), 0);
        } else {
            const std::string calls = source_.calls();
            EXPECT_GE(calls.size(), 50u);
            EXPECT_EQ(calls.find_first_not_of('d'), std::string::npos);
            EXPECT_EQ(source_.detach(), 0);
            done.open();
        }
    });
    ASSERT_EQ(busy.add(port_, EPOLLIN, always_ready.get()), 0);
    done.wait();
    source_.gone().wait();
}

class DrivenSourceTest : public ::testing::TestWithParam<uint32_t> {
 protected:
    void SetUp() override {
        COMPLETION_PORT_OPTIONS options{};
        options.size = sizeof(options);
        options.flags = COMPLETION_PORT_OPTION_CALLER_DRIVEN | GetParam();
        port_ = completion_port_create_with_options(&options);
        ASSERT_NE(port_, nullptr);
    }
    void TearDown() override { close(); }
    void close() { completion_port_dec_ref(std::exchange(port_, nullptr)); }
    bool single_threaded() const { return GetParam() != 0; }

    void work() {
        COMPLETION_PORT_COMPLETION record{};
        for (int i = 0; i < 4; ++i) {
            EXPECT_EQ(completion_port_wait(port_, &record, 1, 0), -ETIMEDOUT);
        }
    }
    bool is_readable() {
        pollfd asked{completion_port_fd(port_), POLLIN, 0};
        return ::poll(&asked, 1, 0) == 1;
    }

    TestSource source_;
    COMPLETION_PORT_HANDLE port_ = nullptr;
};

INSTANTIATE_TEST_SUITE_P(Threads, DrivenSourceTest,
                         ::testing::Values(0u, uint32_t{COMPLETION_PORT_OPTION_SINGLE_THREADED}),
                         [](const auto& each) {
                             return each.param == 0 ? "any_thread" : "single_threaded";
                         });

// Spec: CP-SOURCE-23
TEST_P(DrivenSourceTest, IsDrainedInsideWait) {
    for (const uint32_t flags : {0u, uint32_t{COMPLETION_PORT_SOURCE_POLL}}) {
        TestSource attached;
        attached.form().flags = flags;
        ASSERT_EQ(attached.attach(port_), 0);
        EXPECT_EQ(attached.calls(), "");
        work();
        EXPECT_TRUE(attached.calls().ends_with("ad")) << attached.calls();
        EXPECT_EQ(attached.thread(), ::gettid());
        EXPECT_NE(completion_port_next_timeout(port_), 0);
        attached.put_and_signal(2);
        EXPECT_TRUE(is_readable());
        work();
        EXPECT_EQ(attached.taken(), 2u);
        EXPECT_EQ(attached.detach(), 0);
        work();
        EXPECT_EQ(attached.endings(), 1);
    }
}

// Spec: CP-SOURCE-23
TEST_P(DrivenSourceTest, AKickIsWork) {
    source_.without_descriptor();
    ASSERT_EQ(source_.attach(port_), 0);
    work();
    EXPECT_NE(completion_port_next_timeout(port_), 0);
    source_.put(1);
    EXPECT_EQ(source_.kick(), 0);
    EXPECT_EQ(completion_port_next_timeout(port_), 0);
    if (!single_threaded()) {
        EXPECT_TRUE(is_readable());
    }
    work();
    EXPECT_EQ(source_.taken(), 1u);
    EXPECT_EQ(source_.detach(), 0);
    work();
}

// Spec: CP-SOURCE-23
TEST_P(DrivenSourceTest, DetachDrivesWhereNobodyDoes) {
    ASSERT_EQ(source_.attach(port_), 0);
    work();
    EXPECT_EQ(source_.detach(), 0);
    if (single_threaded()) {
        // It has taken effect; the callback follows.
        source_.event().close();
        work();
    }
    EXPECT_EQ(source_.endings(), 1);
    EXPECT_EQ(source_.error(), 0);
}

// Spec: CP-SOURCE-23
TEST_P(DrivenSourceTest, TheLastReferenceDetaches) {
    ASSERT_EQ(source_.attach(port_), 0);
    close();
    EXPECT_EQ(source_.endings(), 1);
    EXPECT_EQ(source_.error(), -ECANCELED);
    EXPECT_EQ(source_.calls(), "x");
}

// Spec: CP-SOURCE-23
TEST_P(DrivenSourceTest, AKickEndsAWaitThatSleeps) {
    if (single_threaded()) return;
    source_.without_descriptor();
    source_.in_drain = [&](int32_t count) {
        if (count > 0) {
            EXPECT_EQ(completion_port_post(port_, 1, 2, nullptr, nullptr), 0);
        }
        return count;
    };
    ASSERT_EQ(source_.attach(port_), 0);
    work();
    const pid_t waiter = ::gettid();
    std::thread kicker([&] {
        wait_until([&] { return is_asleep(waiter); });
        source_.put(1);
        EXPECT_EQ(source_.kick(), 0);
    });
    COMPLETION_PORT_COMPLETION record{};
    EXPECT_EQ(completion_port_wait(port_, &record, 1, -1), 1);
    kicker.join();
    EXPECT_EQ(source_.detach(), 0);
}

}  // namespace
}  // namespace cport::test
