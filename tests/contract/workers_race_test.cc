// Threads and callbacks of all workers that add, remove, cancel and end at the same time: each
// operation ends exactly once.
#include <completionport/operations.h>
#include <completionport/options.h>
#include <completionport/timers.h>
#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <iostream>
#include <random>
#include <thread>
#include <vector>

#include "tests/contract/engine_under_test.h"
#include "tests/contract/process_facts.h"
#include "tests/contract/timing.h"
#include "tests/support/sockets.h"

namespace cport::test {
namespace {

constexpr uint32_t kThreads = 3;
constexpr uint32_t kSockets = 12;

uint32_t fresh_seed() {
    const uint32_t seed = std::random_device{}();
    std::cout << "seed " << seed << std::endl;
    return seed;
}

// Operations that choose, in their callbacks, what to do next.
class Crowd {
 public:
    Crowd(uint32_t workers, size_t operations_max) : entries_(operations_max) {
        port_ = create_with(COMPLETION_PORT_ENGINE_EPOLL, workers);
        for (Pair& pair : pairs_) pair = unix_pair();
    }

    COMPLETION_PORT_HANDLE port() const { return port_; }

    // One random step of a thread or a callback. False when all has been used up.
    bool step(uint32_t choice) {
        const Pair& pair = pairs_[choice / 16 % kSockets];
        const int socket = pair.ours.get();
        switch (choice % 16) {
            case 0:
                completion_port_remove(port_, socket);
                return true;
            case 1:
                ::send(pair.theirs.get(), "xyz", 3, MSG_DONTWAIT | MSG_NOSIGNAL);
                return true;
            case 2:
                // Any id that was given: its operation may be at any stage.
                completion_port_cancel(port_, entry(choice / 256).id.load());
                return true;
            case 3:
                completion_port_timer_move(port_, entry(choice / 256).id.load(),
                                           static_cast<uint64_t>(now_ns() + 100'000));
                return true;
            case 4: {
                char bytes[64];
                ::recv(pair.theirs.get(), bytes, sizeof bytes, MSG_DONTWAIT);
                return true;
            }
            default:
                return submit(choice, socket);
        }
    }

    size_t accepted() const { return accepted_.load(); }
    size_t ended() const { return ended_.load(); }
    void expect_each_accepted_ended_once() const {
        size_t wrong = 0;
        for (const Entry& entry : entries_) wrong += entry.accepted != entry.endings ? 1 : 0;
        EXPECT_EQ(wrong, 0u);
        EXPECT_EQ(accepted(), ended());
    }

 private:
    struct Entry {
        Crowd* crowd = nullptr;
        std::atomic<uint64_t> id{0};
        std::atomic<uint8_t> accepted{0};
        std::atomic<uint8_t> endings{0};
        uint32_t choice = 0;
        char byte = 0;
    };

    Entry& entry(uint32_t choice) { return entries_[choice % entries_.size()]; }

    bool submit(uint32_t choice, int socket) {
        const size_t index = used_.fetch_add(1);
        if (index >= entries_.size()) return false;
        Entry& entry = entries_[index];
        entry.crowd = this;
        entry.choice = choice * 2654435761u + 1;
        union {
            COMPLETION_PORT_OPERATION common;
            COMPLETION_PORT_RECEIVE_OPERATION receive;
            COMPLETION_PORT_SEND_OPERATION send;
            COMPLETION_PORT_POLL_OPERATION poll;
            COMPLETION_PORT_TIMER_OPERATION timer;
        } form{};
        static_assert(sizeof(form) >= sizeof(form.timer));
        std::memset(&form, 0, sizeof(form));
        form.common.size = sizeof(form);
        form.common.on_complete = &Crowd::on_complete;
        form.common.context = &entry;
        form.common.descriptor = socket;
        const auto soon_ns = static_cast<uint64_t>(now_ns() + 50'000 + choice % 400'000);
        if (choice / 1024 % 2 == 0) form.common.deadline_ns = soon_ns;
        switch (choice / 2048 % 4) {
            case 0:
                form.common.kind = COMPLETION_PORT_KIND_RECEIVE;
                form.receive.buffer = &entry.byte;
                form.receive.length = 1;
                break;
            case 1:
                form.common.kind = COMPLETION_PORT_KIND_SEND;
                form.send.buffer = &entry.byte;
                form.send.length = 1;
                break;
            case 2:
                form.common.kind = COMPLETION_PORT_KIND_POLL;
                form.poll.events = choice / 8192 % 2 == 0 ? POLLIN : POLLOUT;
                break;
            default:
                form.common.kind = COMPLETION_PORT_KIND_TIMER;
                form.common.descriptor = 0;
                form.common.deadline_ns = 0;
                form.timer.expires_ns = soon_ns;
                break;
        }
        uint64_t id = 0;
        const int result = completion_port_submit(port_, &form.common, &id, nullptr);
        if (result == 0) {
            entry.accepted = 1;
            entry.id = id;
            ++accepted_;
        } else {
            // A callback of the socket that adds while a thread waits in remove is refused.
            EXPECT_TRUE(result == -ETIMEDOUT || result == -ECANCELED || result == -ESHUTDOWN)
                << result;
        }
        return true;
    }

    static void on_complete(void* context, const COMPLETION_PORT_COMPLETION*) {
        auto& entry = *static_cast<Entry*>(context);
        Crowd& crowd = *entry.crowd;
        ++entry.endings;
        crowd.step(entry.choice);
        // The last touch: the crowd may be judged from here on.
        ++crowd.ended_;
    }

    COMPLETION_PORT_HANDLE port_ = nullptr;
    std::array<Pair, kSockets> pairs_;
    std::vector<Entry> entries_;
    std::atomic<size_t> used_{0};
    std::atomic<size_t> accepted_{0};
    std::atomic<size_t> ended_{0};
};

template <typename Body>
void on_threads(uint32_t seed, Body body) {
    std::vector<std::thread> threads;
    for (uint32_t i = 0; i < kThreads; ++i) {
        threads.emplace_back([=] {
            std::mt19937 random(seed + i);
            body(i, random);
        });
    }
    for (std::thread& thread : threads) thread.join();
}

// Spec: CP-WORKERS-9
TEST(WorkersRace, EverythingAtOnce) {
    const uint32_t seed = fresh_seed();
    for (const uint32_t workers : {2u, 3u, 7u}) {
        Crowd crowd(workers, static_cast<size_t>(scaled(200'000, 20'000)));
        on_threads(seed + workers, [&](uint32_t, std::mt19937& random) {
            while (crowd.step(static_cast<uint32_t>(random()))) {
            }
        });
        completion_port_dec_ref(crowd.port());
        crowd.expect_each_accepted_ended_once();
    }
}

// Spec: CP-WORKERS-9
TEST(WorkersRace, EverythingAgainstTheEnd) {
    const uint32_t seed = fresh_seed();
    const int rounds = scaled(300, 60);
    for (int round = 0; round < rounds; ++round) {
        Crowd crowd(3, 5'000);
        for (uint32_t i = 1; i < kThreads; ++i) completion_port_inc_ref(crowd.port());
        on_threads(seed + static_cast<uint32_t>(round), [&](uint32_t thread, std::mt19937& random) {
            for (int i = 0; i < 500; ++i) {
                crowd.step(static_cast<uint32_t>(random()));
                if (thread == 0 && i == 250) {
                    EXPECT_EQ(completion_port_shutdown(crowd.port()), 0);
                }
            }
            completion_port_dec_ref(crowd.port());
        });
        crowd.expect_each_accepted_ended_once();
    }
}

}  // namespace
}  // namespace cport::test
