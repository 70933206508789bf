// Completion sources of the user's own: the loop of drain and arm, and kicks.
#include <completionport/options.h>
#include <fcntl.h>
#include <sys/eventfd.h>

#include <set>
#include <thread>
#include <vector>

#include "tests/contract/process_facts.h"
#include "tests/contract/source_fixture.h"

namespace cport::test {
namespace {

CPORT_ON_EVERY_ENGINE(SourceTest);

// Spec: CP-SOURCE-1, CP-SOURCE-2
TEST_P(SourceTest, IsDrainedOnAWorkerAndArmedOnce) {
    TestSource& attached = source();
    attached.put(3);
    ASSERT_EQ(attached.attach(port()), 0);
    EXPECT_NE(attached.id(), 0u);
    attached.wait_until_taken(3);
    fence();
    fence();
    EXPECT_EQ(attached.calls(), "dad");
    EXPECT_NE(attached.thread(), ::gettid());
    EXPECT_EQ(attached.detach(), 0);
    EXPECT_EQ(attached.calls(), "dadx");
}

// Spec: CP-SOURCE-1
TEST_P(SourceTest, IsNeverDrainedInsideTheAttach) {
    TestSource& attached = source();
    attached.put(1);
    run_on_worker([&] {
        EXPECT_EQ(attached.attach(port()), 0);
        EXPECT_EQ(attached.calls(), "");
    });
    attached.wait_until_taken(1);
    EXPECT_EQ(attached.detach(), 0);
}

// Spec: CP-SOURCE-2
TEST_P(SourceTest, EachNotificationGoesOnceRoundTheLoop) {
    TestSource& resting = resting_source();
    for (uint64_t round = 1; round <= 5; ++round) {
        resting.put_and_signal(1);
        resting.wait_until_taken(round);
        fence();
        fence();
        EXPECT_EQ(resting.calls(), "dad");
        resting.forget_calls();
    }
    EXPECT_EQ(resting.detach(), 0);
}

// Spec: CP-SOURCE-2
TEST_P(SourceTest, IsDrainedUntilADrainTakesFewerThanTheBudget) {
    TestSource& attached = source();
    attached.form().budget = 10;
    attached.put(30);
    ASSERT_EQ(attached.attach(port()), 0);
    attached.wait_until_taken(30);
    rest(attached);
    attached.put_and_signal(25);
    attached.wait_until_taken(55);
    fence();
    fence();
    EXPECT_EQ(attached.calls(), "dddad");
    EXPECT_EQ(attached.detach(), 0);
}

// Spec: CP-SOURCE-3
TEST_P(SourceTest, WhatComesBeforeTheArmingIsFoundAfterIt) {
    TestSource& resting = resting_source();
    resting.in_arm = [&] {
        resting.in_arm = nullptr;
        resting.put(5);
        return 0;
    };
    resting.signal();
    resting.wait_until_taken(5);
    fence();
    EXPECT_EQ(resting.calls(), "dad");
    EXPECT_EQ(resting.detach(), 0);
}

// Spec: CP-SOURCE-3
TEST_P(SourceTest, ADrainAfterArmingThatSpendsTheBudgetStartsAgain) {
    TestSource& attached = source();
    attached.form().budget = 4;
    ASSERT_EQ(attached.attach(port()), 0);
    rest(attached);
    attached.in_arm = [&] {
        attached.in_arm = nullptr;
        attached.put(5);
        return 0;
    };
    attached.signal();
    attached.wait_until_taken(5);
    fence();
    fence();
    EXPECT_EQ(attached.calls(), "daddad");
    EXPECT_EQ(attached.detach(), 0);
}

// Spec: CP-SOURCE-4
TEST_P(SourceTest, AnArmThatSawItemsIsAskedAgain) {
    TestSource& resting = resting_source();
    int refusals = 2;
    resting.in_arm = [&] { return refusals-- > 0 ? 1 : 0; };
    resting.signal();
    while (resting.calls() != "dadadad") fence();
    fence();
    EXPECT_EQ(resting.calls(), "dadadad");
    EXPECT_EQ(resting.detach(), 0);
}

// Spec: CP-SOURCE-4
TEST_P(SourceTest, WithoutArmItIsDrainedAndLeftAlone) {
    TestSource& attached = source();
    attached.form().arm = nullptr;
    ASSERT_EQ(attached.attach(port()), 0);
    fence();
    EXPECT_EQ(attached.calls(), "d");
    attached.put_and_signal(2);
    attached.wait_until_taken(2);
    fence();
    EXPECT_EQ(attached.calls(), "dd");
    EXPECT_EQ(attached.detach(), 0);
}

// Spec: CP-SOURCE-5
TEST_P(SourceTest, ADescriptorThatIsStillReadableCounts) {
    TestSource& attached = source();
    attached.signal();
    attached.reads_descriptor = false;
    int drains = 0;
    // Of the drains only the tenth reads it: until then the source never rests.
    attached.in_drain = [&](int32_t count) {
        if (++drains == 9) attached.reads_descriptor = true;
        return count;
    };
    ASSERT_EQ(attached.attach(port()), 0);
    while (attached.calls().size() < 14) fence();
    rest(attached);
    fence();
    EXPECT_EQ(attached.calls(), "");
    EXPECT_GE(drains, 10);
    EXPECT_EQ(attached.detach(), 0);
}

// Spec: CP-SOURCE-5
TEST_P(SourceTest, ASignalThatComesInsideACallbackCounts) {
    TestSource& resting = resting_source();
    resting.in_arm = [&] {
        resting.in_arm = nullptr;
        resting.in_drain = [&](int32_t count) {
            resting.in_drain = nullptr;
            // After the drain has looked: only the descriptor tells of it.
            resting.put_and_signal(1);
            return count;
        };
        return 0;
    };
    resting.signal();
    resting.wait_until_taken(1);
    EXPECT_EQ(resting.detach(), 0);
}

// Spec: CP-SOURCE-6
TEST_P(SourceTest, OneThatEmptiesItsDescriptorHearsOfEachNotification) {
    TestSource& attached = source();
    attached.form().flags = COMPLETION_PORT_SOURCE_EMPTIES_DESCRIPTOR;
    attached.put_and_signal(1);
    ASSERT_EQ(attached.attach(port()), 0);
    for (uint64_t items = 1; items <= 1000; ++items) {
        attached.wait_until_taken(items);
        attached.put_and_signal(1);
    }
    attached.wait_until_taken(1001);
    EXPECT_EQ(attached.detach(), 0);
}

// Spec: CP-SOURCE-7
TEST_P(SourceTest, HasOneDrainARoundBesideSockets) {
    TestSource& endless = source();
    Descriptor& always_ready = keep(ready_eventfd());
    // What happens, in its order: d for a drain, s for a callback of the descriptor.
    std::string order;
    Gate seen;
    endless.in_drain = [&](int32_t) {
        order.push_back('d');
        if (order.size() == 2000) seen.open();
        return 64;
    };
    Operation& busy = operation();
    bool goes_on = true;
    busy.then([&](const Completion&) {
        order.push_back('s');
        if (goes_on) {
            EXPECT_EQ(busy.add(port(), EPOLLIN, always_ready.get()), 0);
        }
    });
    run_on_worker([&] {
        ASSERT_EQ(busy.add(port(), EPOLLIN, always_ready.get()), 0);
        ASSERT_EQ(endless.attach(port()), 0);
    });
    // `order` is the worker's.
    wait_until([&] {
        bool enough = false;
        run_on_worker([&] { enough = order.size() > 4000; });
        return enough;
    });
    EXPECT_EQ(endless.detach(), 0);
    run_on_worker([&] { goes_on = false; });
    fence();
    const size_t first = order.find('s');
    const size_t last = order.rfind('d');
    ASSERT_LT(first, last);
    const std::string both = order.substr(first, last - first);
    EXPECT_EQ(both.find("ddd"), std::string::npos);
    EXPECT_EQ(both.find(std::string(130, 's')), std::string::npos);
}

// Spec: CP-SOURCE-8
TEST_P(SourceTest, AKickDrainsIt) {
    TestSource& kicked = source().without_descriptor();
    ASSERT_EQ(kicked.attach(port()), 0);
    rest(kicked);
    kicked.put(2);
    EXPECT_EQ(kicked.kick(), 0);
    kicked.wait_until_taken(2);
    fence();
    fence();
    EXPECT_EQ(kicked.calls(), "dad");
    run_on_worker([&] {
        kicked.put(3);
        EXPECT_EQ(kicked.kick(), 0);
        EXPECT_EQ(kicked.kick(), 0);
    });
    kicked.wait_until_taken(5);
    EXPECT_EQ(kicked.detach(), 0);
}

// Spec: CP-SOURCE-8
TEST_P(SourceTest, KicksBeforeADrainAreOne) {
    TestSource& kicked = source().without_descriptor();
    ASSERT_EQ(kicked.attach(port()), 0);
    rest(kicked);
    {
        WorkerHold hold(*this);
        for (int i = 0; i < 1000; ++i) EXPECT_EQ(kicked.kick(), 0);
    }
    fence();
    fence();
    EXPECT_EQ(kicked.calls(), "dad");
    EXPECT_EQ(kicked.detach(), 0);
}

// Spec: CP-SOURCE-8
TEST_P(SourceTest, AKickInItsOwnCallbacksIsNotLost) {
    TestSource& kicked = source().without_descriptor();
    int drain_kicks = 3;
    int arm_kicks = 3;
    kicked.in_drain = [&](int32_t count) {
        // After the look: only the kick tells of it.
        if (drain_kicks-- > 0) {
            kicked.put(1);
            EXPECT_EQ(kicked.kick(), 0);
        }
        return count;
    };
    kicked.in_arm = [&] {
        if (arm_kicks-- > 0) {
            kicked.put(1);
            EXPECT_EQ(kicked.kick(), 0);
        }
        return 0;
    };
    ASSERT_EQ(kicked.attach(port()), 0);
    kicked.wait_until_taken(4);
    for (uint64_t i = 0; i < 2; ++i) {
        EXPECT_EQ(kicked.kick(), 0);
        kicked.wait_until_taken(5 + i);
    }
    EXPECT_EQ(kicked.detach(), 0);
}

// Spec: CP-SOURCE-8
TEST_P(SourceTest, AKickInADrainThatHasLookedIsNotLost) {
    TestSource& kicked = source().without_descriptor();
    kicked.form().arm = nullptr;
    int kicks = 3;
    kicked.in_drain = [&](int32_t count) {
        if (kicks-- > 0) {
            kicked.put(1);
            EXPECT_EQ(kicked.kick(), 0);
        }
        return count;
    };
    ASSERT_EQ(kicked.attach(port()), 0);
    kicked.wait_until_taken(3);
    EXPECT_EQ(kicked.detach(), 0);
}

// Spec: CP-SOURCE-2, CP-SOURCE-8
TEST_P(SourceTest, ANotificationBetweenArmAndDrainMakesItArmAgain) {
    TestSource& kicked = source();
    TestSource& behind = source();
    int kicks = 2;
    behind.in_drain = [&](int32_t count) {
        // The other has just been armed, and has its next drain before it.
        if (kicked.calls().ends_with("a") && kicks-- > 0) {
            EXPECT_EQ(kicked.kick(), 0);
        }
        return count;
    };
    behind.in_arm = [] { return 1; };
    run_on_worker([&] {
        ASSERT_EQ(kicked.attach(port()), 0);
        ASSERT_EQ(behind.attach(port()), 0);
    });
    while (kicked.calls().size() < 7) fence();
    EXPECT_EQ(behind.detach(), 0);
    EXPECT_EQ(kicked.calls(), "dadadad");
    kicked.forget_calls();
    kicked.in_arm = [&] {
        kicked.in_arm = nullptr;
        EXPECT_EQ(kicked.kick(), 0);
        return 0;
    };
    kicked.signal();
    while (kicked.calls().size() < 5) fence();
    fence();
    EXPECT_EQ(kicked.calls(), "dadad");
    EXPECT_EQ(kicked.detach(), 0);
}

// Spec: CP-SOURCE-21
TEST_P(SourceTest, SourcesOfOtherThreadsGoToTheWorkersInTurn) {
    std::set<pid_t> threads;
    std::vector<TestSource*> all;
    for (size_t i = 0; i < GetParam().workers; ++i) {
        TestSource& attached = source();
        attached.put(1);
        ASSERT_EQ(attached.attach(port()), 0);
        attached.wait_until_taken(1);
        threads.insert(attached.thread());
        all.push_back(&attached);
    }
    EXPECT_EQ(threads.size(), GetParam().workers);
    for (TestSource* attached : all) EXPECT_EQ(attached->detach(), 0);
}

// Spec: CP-SOURCE-21
TEST_P(SourceTest, ACallbackAttachesToItsOwnWorkerUnlessItNamesAnother) {
    TestSource& unnamed = source();
    pid_t thread = 0;
    run_on_worker([&] {
        thread = ::gettid();
        EXPECT_EQ(unnamed.attach(port()), 0);
    });
    unnamed.put_and_signal(1);
    unnamed.wait_until_taken(1);
    EXPECT_EQ(unnamed.thread(), thread);
    std::set<pid_t> threads;
    for (uint32_t worker = 1; worker <= GetParam().workers; ++worker) {
        std::set<pid_t> of_worker;
        for (const bool in_callback : {false, true}) {
            TestSource& named = source();
            named.form().worker = worker;
            named.put(1);
            const auto attach = [&] { EXPECT_EQ(named.attach(port()), 0); };
            in_callback ? run_on_worker(attach) : attach();
            named.wait_until_taken(1);
            of_worker.insert(named.thread());
            EXPECT_EQ(named.detach(), 0);
        }
        EXPECT_EQ(of_worker.size(), 1u);
        threads.insert(of_worker.begin(), of_worker.end());
    }
    EXPECT_EQ(threads.size(), GetParam().workers);
    EXPECT_EQ(unnamed.detach(), 0);
}

}  // namespace
}  // namespace cport::test
