// Sources against threads: no item is lost, and nothing is called after the end.
#include <completionport/options.h>

#include <array>
#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "tests/contract/process_facts.h"
#include "tests/contract/source_fixture.h"

namespace cport::test {
namespace {

CPORT_ON_EVERY_ENGINE(SourceTest);

template <typename Body>
void on_two_threads(Body body) {
    std::thread second([&] { body(1); });
    body(0);
    second.join();
}

// Both put items, each in a way of its own.
template <typename Put>
void expect_nothing_lost(TestSource& source, Put put) {
    const int items = scaled(100'000, 20'000) / 2;
    on_two_threads([&](int thread) {
        for (int i = 0; i < items; ++i) put(thread, i);
    });
    source.wait_until_taken(static_cast<uint64_t>(items) * 2);
    EXPECT_EQ(source.detach(), 0);
}

// Spec: CP-SOURCE-10
TEST_P(SourceTest, SignalsAndKicksLoseNoItem) {
    for (const uint32_t flags : {0u, uint32_t{COMPLETION_PORT_SOURCE_EMPTIES_DESCRIPTOR},
                                 uint32_t{COMPLETION_PORT_SOURCE_POLL}}) {
        TestSource& both = source();
        both.form().flags = flags;
        both.form().budget = 16;
        ASSERT_EQ(both.attach(port()), 0);
        expect_nothing_lost(both, [&](int thread, int) {
            both.put(1);
            thread == 0 ? both.signal() : static_cast<void>(both.kick());
        });
    }
}

// Spec: CP-SOURCE-10
TEST_P(SourceTest, TheSleepingFlagOfARingLosesNoItem) {
    for (const uint32_t flags : {0u, uint32_t{COMPLETION_PORT_SOURCE_POLL}}) {
        for (const bool by_kick : {true, false}) {
            TestSource& ring = source();
            ring.form().flags = flags;
            if (by_kick) ring.without_descriptor();
            // The last look is the drain's that follows, as the loop promises.
            std::atomic<bool> sleeping{false};
            ring.in_arm = [&] {
                sleeping.store(true);
                return 0;
            };
            ASSERT_EQ(ring.attach(port()), 0);
            std::atomic<int> notifications{0};
            expect_nothing_lost(ring, [&](int, int i) {
                ring.put(1);
                if (i % 50 == 0) ::sched_yield();
                if (!sleeping.load() || !sleeping.exchange(false)) return;
                ++notifications;
                by_kick ? static_cast<void>(ring.kick()) : ring.signal();
            });
            std::cout << notifications << " notifications" << std::endl;
        }
    }
}

// Spec: CP-SOURCE-11, CP-SOURCE-17
TEST_P(SourceTest, KicksAndEventsAgainstDetach) {
    const int rounds = scaled(20'000, 3'000);
    Descriptor& event = keep(Descriptor(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)));
    std::atomic<uint64_t> id{0};
    std::atomic<bool> stop{false};
    std::thread kicker([&] {
        while (!stop) {
            const uint64_t current = id.load();
            const int result = completion_port_source_kick(port(), current == 0 ? 1 : current);
            EXPECT_TRUE(result == 0 || result == -ENOENT) << result;
        }
    });
    std::thread signaller([&] {
        while (!stop) ::eventfd_write(event.get(), 1);
    });
    for (int round = 0; round < rounds; ++round) {
        // Gone with its round: a late call touches freed memory.
        auto each = std::make_unique<TestSource>();
        each->form().descriptor = event.get();
        each->form().worker = 1;
        ASSERT_EQ(each->attach(port()), 0);
        id = each->id();
        if (round % 3 == 0) {
            run_on_worker([&] { each->detach(); });
            each->gone().wait();
            EXPECT_EQ(each->detach(), -ENOENT);
        } else {
            EXPECT_EQ(each->detach(), 0);
        }
        EXPECT_EQ(each->endings(), 1);
    }
    stop = true;
    kicker.join();
    signaller.join();
}

// Spec: CP-SOURCE-11
TEST_P(SourceTest, OfTwoThreadsThatDetachOneIsTheFirst) {
    const int rounds = scaled(5'000, 1'000);
    for (int round = 0; round < rounds; ++round) {
        TestSource each;
        ASSERT_EQ(each.attach(port()), 0);
        std::array<int, 2> results{};
        on_two_threads([&](int thread) {
            results[static_cast<size_t>(thread)] = each.detach();
            EXPECT_EQ(each.endings(), 1);
        });
        EXPECT_EQ(results[0] + results[1], -ENOENT);
        EXPECT_TRUE(results[0] == 0 || results[1] == 0);
    }
}

// Spec: CP-SOURCE-15, CP-SOURCE-17
TEST(SourceRace, EverythingAgainstTheEnd) {
    const int rounds = scaled(1'000, 200);
    for (int round = 0; round < rounds; ++round) {
        COMPLETION_PORT_HANDLE port = create_with(COMPLETION_PORT_ENGINE_EPOLL, 2);
        completion_port_inc_ref(port);
        std::vector<std::unique_ptr<TestSource>> sources[2];
        on_two_threads([&](int thread) {
            auto& own = sources[thread];
            for (int i = 0; i < 40; ++i) {
                auto& made = own.emplace_back(std::make_unique<TestSource>());
                if (i % 2 == 0) made->without_descriptor();
                const int attached = made->attach(port);
                if (attached != 0) {
                    EXPECT_EQ(attached, -ESHUTDOWN);
                    own.pop_back();
                    break;
                }
                own[own.size() / 2]->kick();
                made->put_and_signal(1);
                if (i % 5 == 0) own[own.size() / 3]->detach();
                if (thread == 1 && i == round % 40) {
                    EXPECT_EQ(completion_port_shutdown(port), 0);
                }
            }
            completion_port_dec_ref(port);
        });
        for (const auto& own : sources) {
            for (const auto& each : own) EXPECT_EQ(each->endings(), 1);
        }
    }
}

}  // namespace
}  // namespace cport::test
