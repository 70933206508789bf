// How sources end: detach from everywhere, failures, the port's end.
#include <completionport/options.h>
#include <fcntl.h>
#include <unistd.h>

#include <thread>

#include "tests/contract/process_facts.h"
#include "tests/contract/source_fixture.h"

namespace cport::test {
namespace {

CPORT_ON_EVERY_ENGINE(SourceTest);

// Spec: CP-SOURCE-11
TEST_P(SourceTest, DetachReturnsWhenOnDetachedHasReturned) {
    TestSource& resting = resting_source();
    Gate held;
    Gate release;
    resting.in_detached = [&](int32_t) {
        held.open();
        release.wait();
    };
    std::atomic<bool> returned{false};
    std::thread detacher([&] {
        EXPECT_EQ(resting.detach(), 0);
        returned = true;
    });
    held.wait();
    EXPECT_FALSE(returned);
    // One that comes later waits for it, too.
    std::thread second([&] {
        EXPECT_EQ(resting.detach(), -ENOENT);
        EXPECT_TRUE(resting.gone().is_open());
    });
    EXPECT_EQ(resting.kick(), -ENOENT);
    release.open();
    detacher.join();
    second.join();
    EXPECT_EQ(resting.error(), 0);
    EXPECT_EQ(resting.calls(), "x");
    resting.put_and_signal(1);
    fence();
    EXPECT_EQ(resting.calls(), "x");
}

// Spec: CP-SOURCE-11
TEST_P(SourceTest, DetachWaitsForADrainThatRuns) {
    TestSource& resting = resting_source();
    Gate held;
    Gate release;
    resting.in_drain = [&](int32_t count) {
        held.open();
        release.wait();
        return count;
    };
    resting.signal();
    held.wait();
    std::atomic<bool> returned{false};
    std::thread detacher([&] {
        EXPECT_EQ(resting.detach(), 0);
        returned = true;
    });
    // The worker cannot hear of it, so that only its id can tell.
    while (resting.kick() == 0) ::sched_yield();
    EXPECT_FALSE(returned);
    EXPECT_EQ(resting.endings(), 0);
    release.open();
    detacher.join();
    EXPECT_EQ(resting.calls(), "dx");
    EXPECT_EQ(resting.error(), 0);
}

// Spec: CP-SOURCE-12
TEST_P(SourceTest, DetachInItsOwnDrainTakesEffectAtOnce) {
    TestSource& resting = resting_source();
    const int number = resting.event().get();
    resting.in_drain = [&](int32_t) {
        EXPECT_EQ(resting.detach(), 0);
        EXPECT_EQ(resting.detach(), -ENOENT);
        EXPECT_EQ(resting.kick(), -ENOENT);
        EXPECT_EQ(resting.endings(), 0);
        // Read first: that signal() has done with it is then plain to a sanitizer, too.
        eventfd_t signals = 0;
        EXPECT_EQ(::eventfd_read(number, &signals), 0);
        resting.event().close();
        return -EIO;
    };
    resting.signal();
    resting.gone().wait();
    EXPECT_EQ(resting.calls(), "dx");
    EXPECT_EQ(resting.error(), 0);
    EXPECT_EQ(::fcntl(number, F_GETFD), -1);
}

// Spec: CP-SOURCE-12
TEST_P(SourceTest, DetachInItsOwnArmTakesEffectAtOnce) {
    TestSource& resting = resting_source();
    resting.in_arm = [&] {
        EXPECT_EQ(resting.detach(), 0);
        EXPECT_EQ(resting.endings(), 0);
        return 0;
    };
    resting.signal();
    resting.gone().wait();
    fence();
    EXPECT_EQ(resting.calls(), "dax");
}

// Spec: CP-SOURCE-12
TEST_P(SourceTest, DetachInACallbackOfItsWorkerTakesEffectAtOnce) {
    for (const bool ready : {false, true}) {
        TestSource& attached = source();
        run_on_worker([&] { ASSERT_EQ(attached.attach(port()), 0); });
        rest(attached);
        TestSource& reuses = source();
        run_on_worker([&] {
            if (ready) {
                EXPECT_EQ(attached.kick(), 0);
            }
            EXPECT_EQ(attached.detach(), 0);
            EXPECT_EQ(attached.endings(), 0);
            // The number is free: what it names now may be attached.
            const int number = attached.event().get();
            ASSERT_EQ(::dup3(reuses.event().get(), number, O_CLOEXEC), number);
            reuses.form().descriptor = number;
            EXPECT_EQ(reuses.attach(port()), 0);
        });
        attached.gone().wait();
        EXPECT_EQ(attached.calls(), "x");
        reuses.put_and_signal(1);
        reuses.wait_until_taken(1);
        EXPECT_EQ(reuses.detach(), 0);
        EXPECT_EQ(attached.endings(), 1);
    }
}

// Spec: CP-SOURCE-12
TEST_P(SourceTest, DetachBesideOthersThatAreReady) {
    TestSource* sources[5];
    run_on_worker([&] {
        for (TestSource*& each : sources) {
            each = &source();
            EXPECT_EQ(each->attach(port()), 0);
        }
        // All are ready: from the middle, the end and the head of the list.
        for (const size_t index : {2u, 4u, 0u}) EXPECT_EQ(sources[index]->detach(), 0);
        sources[1]->put(1);
        sources[3]->put(1);
    });
    for (const size_t index : {2u, 4u, 0u}) {
        sources[index]->gone().wait();
        EXPECT_EQ(sources[index]->calls(), "x");
    }
    for (const size_t index : {1u, 3u}) {
        sources[index]->wait_until_taken(1);
        EXPECT_EQ(sources[index]->detach(), 0);
    }
}

// Spec: CP-SOURCE-13
TEST_P(SourceTest, DetachInAnotherPortsCallbackReturnsAtOnce) {
    TestSource& resting = resting_source();
    Gate held;
    Gate release;
    resting.in_drain = [&](int32_t count) {
        held.open();
        release.wait();
        return count;
    };
    resting.signal();
    held.wait();
    Pair& pair = keep(unix_pair());
    COMPLETION_PORT_HANDLE other = GetParam().create();
    Operation& inside = operation("?");
    inside.then([&](const Completion&) { EXPECT_EQ(resting.detach(), 0); });
    ASSERT_EQ(inside.add(other, EPOLLIN, pair.ours.get()), 0);
    write_all(pair.theirs.get(), "!");
    EXPECT_EQ(inside.wait(), received(1));
    EXPECT_EQ(resting.endings(), 0);
    release.open();
    resting.gone().wait();
    EXPECT_EQ(resting.error(), 0);
    EXPECT_EQ(resting.calls(), "dx");
    completion_port_dec_ref(other);
}

// Spec: CP-SOURCE-13
TEST_P(SourceTest, DetachBetweenWorkersInBothDirections) {
    // Each in the other's drain: nobody waits for anybody.
    TestSource& one = source();
    TestSource& two = source();
    one.form().worker = 1;
    two.form().worker = static_cast<uint32_t>(GetParam().workers);
    ASSERT_EQ(one.attach(port()), 0);
    ASSERT_EQ(two.attach(port()), 0);
    rest(one);
    rest(two);
    one.in_drain = [&](int32_t count) {
        two.detach();
        return count;
    };
    two.in_drain = [&](int32_t count) {
        one.detach();
        return count;
    };
    one.signal();
    two.signal();
    wait_until([&] { return one.endings() + two.endings() >= 1; });
    one.detach();
    two.detach();
    EXPECT_EQ(one.error(), 0);
    EXPECT_EQ(two.error(), 0);
}

// Spec: CP-SOURCE-14
TEST_P(SourceTest, AFailureOfDrainOrArmDetaches) {
    TestSource& drains = resting_source();
    TestSource& arms = resting_source();
    drains.in_drain = [](int32_t) { return -EIO; };
    arms.in_arm = [] { return -EPIPE; };
    drains.signal();
    arms.signal();
    drains.gone().wait();
    arms.gone().wait();
    EXPECT_EQ(drains.calls(), "dx");
    EXPECT_EQ(drains.error(), -EIO);
    EXPECT_EQ(arms.calls(), "dax");
    EXPECT_EQ(arms.error(), -EPIPE);
    EXPECT_EQ(drains.detach(), -ENOENT);
}

// Spec: CP-SOURCE-14
TEST_P(SourceTest, ADescriptorClosedTooEarlyDetaches) {
    TestSource& resting = resting_source();
    resting.event().close();
    EXPECT_EQ(resting.kick(), 0);
    resting.gone().wait();
    EXPECT_TRUE(resting.error() == -EBADF || resting.error() == -ENOENT) << resting.error();
    EXPECT_EQ(resting.calls(), "dadx");
}

// Spec: CP-SOURCE-15
TEST_P(SourceTest, ShutdownDetachesEverySource) {
    TestSource& resting = resting_source();
    TestSource& endless = source();
    endless.in_drain = [](int32_t) { return 64; };
    ASSERT_EQ(endless.attach(port()), 0);
    TestSource& late = source();
    resting.in_detached = [&](int32_t) {
        EXPECT_EQ(resting.kick(), -ESHUTDOWN);
        EXPECT_EQ(resting.detach(), -ENOENT);
        EXPECT_EQ(late.attach(port()), -ESHUTDOWN);
    };
    EXPECT_EQ(completion_port_shutdown(port()), 0);
    resting.gone().wait();
    endless.gone().wait();
    EXPECT_EQ(resting.error(), -ECANCELED);
    EXPECT_EQ(endless.error(), -ECANCELED);
    EXPECT_EQ(resting.calls(), "x");
    EXPECT_EQ(resting.detach(), -ENOENT);
}

// Spec: CP-SOURCE-15
TEST_P(SourceTest, TheLastReferenceMayGoInOnDetached) {
    TestSource& resting = resting_source();
    TestSource& other = resting_source();
    COMPLETION_PORT_HANDLE given = hand_over();
    resting.in_detached = [&](int32_t) { completion_port_dec_ref(given); };
    EXPECT_EQ(resting.detach(), 0);
    other.gone().wait();
    EXPECT_EQ(other.error(), -ECANCELED);
}

// Spec: CP-SOURCE-15
TEST(SourceEnd, OnEndedComesAfterOnDetached) {
    struct State {
        TestSource source;
        int endings_before = -1;
    } state;
    COMPLETION_PORT_OPTIONS options{};
    options.size = sizeof(options);
    options.workers = 3;
    options.on_ended = [](void* context) {
        auto* its = static_cast<State*>(context);
        its->endings_before = its->source.endings();
    };
    options.on_ended_context = &state;
    COMPLETION_PORT_HANDLE port = completion_port_create_with_options(&options);
    ASSERT_EQ(state.source.attach(port), 0);
    completion_port_dec_ref(port);
    EXPECT_EQ(state.endings_before, 1);
    EXPECT_EQ(state.source.error(), -ECANCELED);
}

// Spec: CP-SOURCE-16
TEST_P(SourceTest, AnIdOfBeforeNamesNothing) {
    TestSource& first = resting_source();
    EXPECT_EQ(first.detach(), 0);
    // As many as there are workers, so that one of them has the slot.
    std::vector<TestSource*> later;
    for (size_t i = 0; i < GetParam().workers; ++i) later.push_back(&resting_source());
    for (TestSource* each : later) {
        rest(*each);
        EXPECT_NE(each->id(), first.id());
    }
    EXPECT_EQ(first.kick(), -ENOENT);
    EXPECT_EQ(first.detach(), -ENOENT);
    EXPECT_EQ(completion_port_source_kick(port(), UINT64_MAX), -ENOENT);
    EXPECT_EQ(completion_port_source_detach(port(), UINT64_MAX), -ENOENT);
    fence();
    for (TestSource* each : later) {
        EXPECT_EQ(each->calls(), "");
        EXPECT_EQ(each->detach(), 0);
    }
}

}  // namespace
}  // namespace cport::test
