// Adds, removes and the end, all at the same time: each accepted add ends exactly once.
#include <errno.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <iostream>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/contract/port_fixture.h"

namespace cport::test {
namespace {

constexpr int kThreads = 4;
constexpr int kSockets = 8;

uint32_t fresh_seed() {
    const uint32_t seed = std::random_device{}();
    std::cout << "seed " << seed << std::endl;
    return seed;
}

// Many adds, each with a count of its callbacks and a byte to read or to send.
class AddCounter {
 public:
    explicit AddCounter(size_t adds) : slots_(adds) {}

    int add(COMPLETION_PORT_HANDLE port, size_t index, uint32_t choice, int socket) {
        Slot& slot = slots_[index];
        COMPLETION_PORT_INGRESS_DATA ingress{};
        ingress.socket = socket;
        ingress.event_callback = &AddCounter::on_complete;
        ingress.event_callback_ctx = &slot;
        switch (choice % 5) {
            case 0:
                ingress.epoll_op = EPOLLRDHUP;
                break;
            case 1:
                ingress.epoll_op = EPOLLIN;
                break;
            case 2:
                ingress.epoll_op = EPOLLOUT;
                ingress.buffer_data = {&slot.byte, 1};
                break;
            default:
                ingress.epoll_op = EPOLLIN | EPOLLRDHUP;
                ingress.buffer_data = {&slot.byte, 1};
                break;
        }
        const int result = completion_port_add(port, &ingress);
        if (result == 0) {
            slot.accepted.store(1);
        }
        return result;
    }

    void expect_each_accepted_add_ended_once() const {
        size_t wrong = 0;
        for (const Slot& slot : slots_) {
            wrong += slot.accepted.load() == slot.callbacks.load() ? 0 : 1;
        }
        EXPECT_EQ(wrong, 0u);
    }
    size_t accepted() const {
        size_t sum = 0;
        for (const Slot& slot : slots_) {
            sum += slot.accepted.load();
        }
        return sum;
    }

 private:
    struct Slot {
        std::atomic<uint8_t> accepted{0};
        std::atomic<uint8_t> callbacks{0};
        char byte = 0;
    };

    static void on_complete(void* context, COMPLETION_PORT_EPOLL_ACTION, COMPLETION_PORT_RESULT,
                            int32_t) {
        static_cast<Slot*>(context)->callbacks.fetch_add(1);
    }

    std::vector<Slot> slots_;
};

class RaceTest : public PortTest {
 protected:
    void SetUp() override {
        PortTest::SetUp();
        for (Pair*& pair : pairs_) {
            pair = &keep(unix_pair());
        }
    }

    int socket(uint32_t choice) const { return pairs_[choice % kSockets]->ours.get(); }
    void feed(uint32_t choice) const {
        // A full peer only means that there is enough to read.
        ::send(pairs_[choice % kSockets]->theirs.get(), "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    void drain(uint32_t choice) const {
        char bytes[64];
        ::recv(pairs_[choice % kSockets]->theirs.get(), bytes, sizeof bytes, MSG_DONTWAIT);
    }

    std::array<Pair*, kSockets> pairs_{};
};
CPORT_ON_EVERY_ENGINE(RaceTest);

template <typename Body>
void on_threads(uint32_t seed, Body body) {
    std::vector<std::thread> threads;
    for (uint32_t i = 0; i < kThreads; ++i) {
        threads.emplace_back([=] {
            std::mt19937 random(seed + i);
            body(i, random);
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
}

// Spec: CP-REMOVE-8
TEST_P(RaceTest, AddsAgainstRemoves) {
    const size_t kAdds = scaled(1'000'000, 100'000);
    const size_t kEach = kAdds / kThreads;
    AddCounter adds(kAdds);
    std::atomic<size_t> refused{0};
    on_threads(fresh_seed(), [&](size_t thread, std::mt19937& random) {
        for (size_t i = 0; i < kEach; ++i) {
            const uint32_t choice = static_cast<uint32_t>(random());
            if (adds.add(port(), thread * kEach + i, choice >> 8, socket(choice)) != 0) {
                ++refused;
            }
            if (i % 4 == 0) {
                feed(choice >> 4);
            }
            if (i % 16 == 0) {
                drain(choice >> 5);
                completion_port_remove(port(), socket(choice >> 3));
            }
        }
    });
    for (uint32_t i = 0; i < kSockets; ++i) {
        completion_port_remove(port(), socket(i));
    }
    // Nothing was refused and nothing waits any more.
    EXPECT_EQ(refused.load(), 0u);
    EXPECT_EQ(adds.accepted(), kAdds);
    adds.expect_each_accepted_add_ended_once();
    end();
    adds.expect_each_accepted_add_ended_once();
}

struct RemovalCounter {
    std::atomic<size_t> asked{0};
    std::atomic<size_t> told{0};

    static void on_removed(void* context, SOCKET_HANDLE) {
        static_cast<RemovalCounter*>(context)->told.fetch_add(1);
    }
};

// Spec: CP-RMASYNC-1 CP-RMASYNC-2
TEST_P(RaceTest, AddsAgainstAsynchronousRemoves) {
    const size_t kAdds = scaled(400'000, 40'000);
    const size_t kEach = kAdds / kThreads;
    AddCounter adds(kAdds);
    RemovalCounter removals;
    on_threads(fresh_seed(), [&](size_t thread, std::mt19937& random) {
        for (size_t i = 0; i < kEach; ++i) {
            const uint32_t choice = static_cast<uint32_t>(random());
            const int result = adds.add(port(), thread * kEach + i, choice >> 8, socket(choice));
            EXPECT_TRUE(result == 0 || result == -ECANCELED) << result;
            if (i % 4 == 0) {
                feed(choice >> 4);
            }
            if (i % 16 == 0) {
                drain(choice >> 5);
                const int removal = completion_port_remove_async(
                    port(), socket(choice >> 3), &RemovalCounter::on_removed, &removals);
                EXPECT_TRUE(removal == 0 || removal == -EALREADY) << removal;
                removals.asked += removal == 0 ? 1 : 0;
            }
        }
    });
    end();
    adds.expect_each_accepted_add_ended_once();
    EXPECT_EQ(removals.asked.load(), removals.told.load());
    EXPECT_GT(removals.told.load(), 0u);
}

// One socket until its removal: a callback after on_removed is an error.
struct SocketLife {
    std::atomic<size_t> accepted{0};
    std::atomic<size_t> callbacks{0};
    std::atomic<bool> removed{false};
    std::atomic<size_t> callbacks_at_removal{0};

    static void on_complete(void* context, COMPLETION_PORT_EPOLL_ACTION, COMPLETION_PORT_RESULT,
                            int32_t) {
        ++static_cast<SocketLife*>(context)->callbacks;
    }
    static void on_removed(void* context, SOCKET_HANDLE) {
        auto* life = static_cast<SocketLife*>(context);
        life->callbacks_at_removal = life->callbacks.load();
        life->removed = true;
    }
};

// Spec: CP-RMASYNC-1 CP-RMASYNC-2
TEST_P(RaceTest, OnRemovedIsLastWhileOtherThreadsAdd) {
    const int kRounds = scaled(2'000, 300);
    for (int round = 0; round < kRounds; ++round) {
        Pair pair = unix_pair();
        SocketLife life;
        char byte = 0;
        COMPLETION_PORT_INGRESS_DATA ingress{};
        ingress.socket = pair.ours.get();
        ingress.epoll_op = EPOLLIN;
        ingress.event_callback = &SocketLife::on_complete;
        ingress.event_callback_ctx = &life;
        ingress.buffer_data = {&byte, 1};
        // While the worker is held on_removed cannot start, so each adder meets a refusal.
        WorkerHold hold(*this);
        const auto add_until_refused = [&] {
            int result = 0;
            while ((result = completion_port_add(port(), &ingress)) == 0) {
                ++life.accepted;
            }
            EXPECT_EQ(result, -ECANCELED);
        };
        std::thread adder(add_until_refused);
        std::thread another(add_until_refused);
        EXPECT_EQ(
            completion_port_remove_async(port(), pair.ours.get(), &SocketLife::on_removed, &life),
            0);
        adder.join();
        another.join();
        hold.release();
        while (!life.removed) {
            std::this_thread::yield();
        }
        fence();
        EXPECT_EQ(life.callbacks_at_removal.load(), life.accepted.load());
        EXPECT_EQ(life.callbacks.load(), life.accepted.load());
    }
}

// Spec: CP-END-6
TEST_P(RaceTest, AddsAndRemovesAgainstTheEnd) {
    const int kRounds = scaled(500, 100);
    constexpr size_t kEach = 200;
    const uint32_t seed = fresh_seed();
    for (int round = 0; round < kRounds; ++round) {
        COMPLETION_PORT_HANDLE racing = GetParam().create();
        ASSERT_NE(racing, nullptr);
        AddCounter adds(kThreads * kEach);
        for (int i = 0; i < kThreads; ++i) {
            completion_port_inc_ref(racing);
        }
        on_threads(seed + static_cast<uint32_t>(round), [&](size_t thread, std::mt19937& random) {
            for (size_t i = 0; i < kEach; ++i) {
                const uint32_t choice = static_cast<uint32_t>(random());
                const size_t index = thread * kEach + i;
                const int result = adds.add(racing, index, choice >> 8, socket(choice));
                EXPECT_TRUE(result == 0 || result == -ESHUTDOWN) << result;
                if (i % 8 == 0) {
                    feed(choice >> 4);
                }
                if (i % 32 == 0) {
                    drain(choice >> 5);
                    completion_port_remove(racing, socket(choice >> 3));
                }
                if (thread == 0 && i == kEach / 2) {
                    EXPECT_EQ(completion_port_shutdown(racing), 0);
                }
            }
            completion_port_dec_ref(racing);
        });
        completion_port_dec_ref(racing);
        adds.expect_each_accepted_add_ended_once();
    }
}

// Spec: CP-END-6 CP-END-2
TEST_P(RaceTest, LastReferencesGivenBackByThreadsThatAdd) {
    const int kRounds = scaled(1'000, 200);
    constexpr size_t kEach = 20;
    const uint32_t seed = fresh_seed();
    for (int round = 0; round < kRounds; ++round) {
        COMPLETION_PORT_HANDLE racing = GetParam().create();
        ASSERT_NE(racing, nullptr);
        AddCounter adds(kThreads * kEach);
        for (int i = 1; i < kThreads; ++i) {
            completion_port_inc_ref(racing);
        }
        // Whoever comes last ends the port; its dec_ref returns when every callback has run.
        on_threads(seed + static_cast<uint32_t>(round), [&](size_t thread, std::mt19937& random) {
            for (size_t i = 0; i < kEach; ++i) {
                const uint32_t choice = static_cast<uint32_t>(random());
                EXPECT_EQ(adds.add(racing, thread * kEach + i, choice >> 8, socket(choice)), 0);
            }
            completion_port_dec_ref(racing);
        });
        adds.expect_each_accepted_add_ended_once();
    }
}

}  // namespace
}  // namespace cport::test
