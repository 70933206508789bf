// Several workers: which of them runs what, and what they do to one another.
#include <completionport/completions.h>
#include <completionport/operations.h>
#include <errno.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "tests/contract/options_fixture.h"
#include "tests/contract/process_facts.h"
#include "tests/support/record_log.h"

namespace cport::test {
namespace {

constexpr uint32_t kWorkers = 4;

class WorkersTest : public OptionsTest {
 protected:
    void SetUp() override {
        options_.workers = kWorkers;
        open();
    }
    void TearDown() override {
        OptionsTest::TearDown();
        log_.expect_each_ended_once();
    }

    // One socket of each worker.
    std::array<Pair*, kWorkers> one_of_each() {
        std::array<Pair*, kWorkers> pairs{};
        std::set<pid_t> threads;
        for (Pair*& pair : pairs) {
            pair = &keep(unix_pair());
            threads.insert(thread_of(*pair));
        }
        EXPECT_EQ(threads.size(), kWorkers);
        return pairs;
    }
    // Where a socket's callbacks run.
    pid_t thread_of(Pair& pair) {
        Operation& receive = operation("?");
        EXPECT_EQ(receive.add(port_, EPOLLIN, pair.ours.get()), 0);
        write_all(pair.theirs.get(), "?");
        return receive.wait_for(1).thread;
    }
    // Runs `body` where that socket's callbacks run, and waits for it.
    void run_on_worker_of(Pair& pair, std::function<void()> body) {
        Operation& turn = operation("?");
        turn.then([&body](const Completion&) { body(); });
        ASSERT_EQ(turn.add(port_, EPOLLIN, pair.ours.get()), 0);
        write_all(pair.theirs.get(), "!");
        EXPECT_EQ(turn.wait(), received(1));
    }
    Submission& submit_receive(Pair& pair) {
        Submission& receive = log_.submission("?").as_receive(pair.ours.get());
        EXPECT_EQ(receive.submit(port_), 0);
        return receive;
    }

    RecordLog log_;
};

// Spec: CP-WORKERS-1
TEST_F(WorkersTest, SocketsOfAForeignThreadGoToTheWorkersInTurn) {
    constexpr size_t kEach = 25;
    std::map<pid_t, size_t> sockets;
    for (size_t i = 0; i < kEach * kWorkers; ++i) ++sockets[thread_of(keep(unix_pair()))];
    EXPECT_EQ(sockets.size(), kWorkers);
    for (const auto& [thread, count] : sockets) EXPECT_EQ(count, kEach);
}

// Spec: CP-WORKERS-2
TEST_F(WorkersTest, CallbacksOfASocketRunOnOneThread) {
    constexpr int kEach = 200;
    for (Pair* pair : one_of_each()) {
        const pid_t owner = thread_of(*pair);
        std::vector<Operation*> added;
        for (int i = 0; i < 4 * kEach; ++i) added.push_back(&operation("?"));
        std::vector<std::thread> threads;
        for (size_t t = 0; t < 4; ++t) {
            threads.emplace_back([&, t] {
                for (size_t i = 0; i < kEach; ++i) {
                    Operation& add = *added[t * kEach + i];
                    const uint32_t event = i % 2 == 0 ? EPOLLIN : EPOLLOUT;
                    EXPECT_EQ(add.add(port_, event, pair->ours.get()), 0);
                }
            });
        }
        for (std::thread& thread : threads) thread.join();
        completion_port_remove(port_, pair->ours.get());
        for (Operation* add : added) EXPECT_EQ(add->wait_for(1).thread, owner);
        // It stays there, whatever its number names next.
        EXPECT_EQ(thread_of(*pair), owner);
    }
}

// Spec: CP-WORKERS-3
TEST_F(WorkersTest, SocketsAddedInACallbackStayWithItsWorker) {
    for (Pair* pair : one_of_each()) {
        const pid_t worker = thread_of(*pair);
        for (int i = 0; i < 5; ++i) {
            Pair& fresh = keep(unix_pair());
            Operation& receive = operation("?");
            run_on_worker_of(*pair,
                             [&] { EXPECT_EQ(receive.add(port_, EPOLLIN, fresh.ours.get()), 0); });
            write_all(fresh.theirs.get(), "x");
            EXPECT_EQ(receive.wait_for(1).thread, worker);
            EXPECT_EQ(thread_of(fresh), worker);
        }
    }
}

// Spec: CP-WORKERS-3
TEST_F(WorkersTest, ASocketFirstAddedInACallbackOfAnotherPortGoesToAnyWorker) {
    COMPLETION_PORT_HANDLE other = completion_port_create();
    Operation& turn = operation();
    Operation& receive = operation("?");
    Pair& pair = keep(unix_pair());
    turn.then(
        [&](const Completion&) { EXPECT_EQ(receive.add(port_, EPOLLIN, pair.ours.get()), 0); });
    ASSERT_EQ(turn.add(other, EPOLLIN, keep(ready_eventfd()).get()), 0);
    turn.wait();
    write_all(pair.theirs.get(), "x");
    EXPECT_NE(receive.wait_for(1).thread, turn.wait_for(1).thread);
    completion_port_dec_ref(other);
}

// Spec: CP-WORKERS-4
TEST_F(WorkersTest, AHeldWorkerDoesNotHoldTheOthers) {
    const std::array<Pair*, kWorkers> pairs = one_of_each();
    Gate entered;
    Gate released;
    Operation& holder = operation("?");
    holder.then([&](const Completion&) {
        entered.open();
        released.wait();
    });
    ASSERT_EQ(holder.add(port_, EPOLLIN, pairs[0]->ours.get()), 0);
    write_all(pairs[0]->theirs.get(), "x");
    entered.wait();
    for (size_t i = 1; i < kWorkers; ++i) {
        EXPECT_NE(thread_of(*pairs[i]), ::gettid());
        completion_port_remove(port_, pairs[i]->ours.get());
    }
    EXPECT_FALSE(holder.completed());
    released.open();
    holder.wait();
}

// Spec: CP-WORKERS-5, CP-REMOVE-4
TEST_F(WorkersTest, RemoveInACallbackOfAnotherWorkerReturnsAtOnce) {
    const std::array<Pair*, kWorkers> pairs = one_of_each();
    // Two callbacks that remove each other's socket while both run.
    std::array<Gate, 2> entered;
    std::array<Operation*, 2> removers{};
    std::array<Operation*, 2> pending{};
    for (size_t i = 0; i < 2; ++i) {
        pending[i] = &operation("?");
        removers[i] = &operation("?");
        removers[i]->then([&, i](const Completion&) {
            EXPECT_EQ(pending[i]->add(port_, EPOLLIN, pairs[i]->ours.get()), 0);
            entered[i].open();
            entered[1 - i].wait();
            completion_port_remove(port_, pairs[1 - i]->ours.get());
        });
        ASSERT_EQ(removers[i]->add(port_, EPOLLIN, pairs[i]->ours.get()), 0);
    }
    for (size_t i = 0; i < 2; ++i) write_all(pairs[i]->theirs.get(), "x");
    for (size_t i = 0; i < 2; ++i) {
        EXPECT_EQ(pending[i]->wait(), closing());
        EXPECT_EQ(pending[i]->wait_for(1).thread, removers[i]->wait_for(1).thread);
    }
}

struct Removed {
    Gate told;
    std::atomic<pid_t> thread{0};

    static void on_removed(void* context, SOCKET_HANDLE) {
        auto* removed = static_cast<Removed*>(context);
        removed->thread = ::gettid();
        removed->told.open();
    }
};

// Spec: CP-WORKERS-5
TEST_F(WorkersTest, OnRemovedRunsWhereTheSocketsCallbacksRun) {
    const std::array<Pair*, kWorkers> pairs = one_of_each();
    for (size_t i = 0; i < kWorkers; ++i) {
        Pair& pair = *pairs[i];
        const pid_t owner = thread_of(pair);
        Operation& pending = operation("?");
        ASSERT_EQ(pending.add(port_, EPOLLIN, pair.ours.get()), 0);
        Removed removed;
        run_on_worker_of(*pairs[(i + 1) % kWorkers], [&] {
            EXPECT_EQ(completion_port_remove_async(port_, pair.ours.get(), &Removed::on_removed,
                                                   &removed),
                      0);
        });
        removed.told.wait();
        EXPECT_TRUE(pending.completed());
        EXPECT_EQ(removed.thread, owner);
        EXPECT_EQ(pending.wait_for(1).thread, owner);
    }
}

// Spec: CP-WORKERS-6
TEST_F(WorkersTest, IdsOfAllWorkersDifferAndCancelFindsThem) {
    const std::array<Pair*, kWorkers> pairs = one_of_each();
    std::set<uint64_t> ids;
    std::array<Submission*, kWorkers> receives{};
    for (size_t i = 0; i < kWorkers; ++i) {
        receives[i] = &submit_receive(*pairs[i]);
        ids.insert(receives[i]->id());
    }
    EXPECT_EQ(ids.size(), kWorkers);
    // From another worker's callback; the others are not touched.
    for (size_t i = 0; i < kWorkers; ++i) {
        Operation& turn = operation();
        turn.then([&](const Completion&) {
            EXPECT_EQ(completion_port_cancel(port_, receives[i]->id()), 0);
        });
        ASSERT_EQ(turn.add(port_, EPOLLOUT, pairs[(i + 1) % kWorkers]->ours.get()), 0);
        EXPECT_EQ(receives[i]->wait(), abandoned(-ECANCELED));
        for (size_t k = i + 1; k < kWorkers; ++k) EXPECT_FALSE(receives[k]->completed());
        EXPECT_EQ(completion_port_cancel(port_, receives[i]->id()), -ENOENT);
    }
    // An id of a worker that the port does not have, and one that names no slot.
    EXPECT_EQ(completion_port_cancel(port_, (uint64_t{1} << 32) | (kWorkers << 20 | 1)), -ENOENT);
    EXPECT_EQ(completion_port_cancel(port_, uint64_t{1} << 32), -ENOENT);
}

struct Posts {
    std::atomic<size_t> seen{0};
    std::array<std::atomic<int64_t>, 4> next{};
    std::atomic<size_t> out_of_order{0};

    static void on_complete(void* context, const COMPLETION_PORT_COMPLETION* record) {
        auto* posts = static_cast<Posts*>(context);
        if (posts->next[record->key]++ != record->value) ++posts->out_of_order;
        ++posts->seen;
    }
};

// Spec: CP-WORKERS-7, CP-POST-2
TEST_F(WorkersTest, PostsOfOneThreadArriveInTheirOrder) {
    const int64_t kEach = scaled(50'000, 5'000);
    Posts posts;
    std::vector<std::thread> threads;
    for (uint64_t key = 0; key < 4; ++key) {
        threads.emplace_back([&, key] {
            for (int64_t i = 0; i < kEach; ++i) {
                EXPECT_EQ(completion_port_post(port_, key, i, &Posts::on_complete, &posts), 0);
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    close();
    EXPECT_EQ(posts.seen, 4 * static_cast<size_t>(kEach));
    EXPECT_EQ(posts.out_of_order, 0u);
}

// Spec: CP-WORKERS-7
TEST_F(WorkersTest, APostInACallbackRunsOnItsWorker) {
    for (Pair* pair : one_of_each()) {
        const pid_t worker = thread_of(*pair);
        struct Seen {
            Gate told;
            pid_t thread = 0;
        } seen;
        run_on_worker_of(*pair, [&] {
            const auto on_post = [](void* context, const COMPLETION_PORT_COMPLETION*) {
                auto* its = static_cast<Seen*>(context);
                its->thread = ::gettid();
                its->told.open();
            };
            EXPECT_EQ(completion_port_post(port_, 0, 0, on_post, &seen), 0);
        });
        seen.told.wait();
        EXPECT_EQ(seen.thread, worker);
    }
}

// Spec: CP-WORKERS-8, CP-REF-3
TEST_F(WorkersTest, TheLastReferenceInACallbackOfAnyWorker) {
    close();
    const std::set<pid_t> threads = thread_ids();
    const std::set<int> descriptors = open_descriptors();
    for (uint32_t releaser = 0; releaser < kWorkers; ++releaser) {
        open();
        std::vector<Pair> pairs;
        std::vector<Operation*> pending;
        for (uint32_t i = 0; i < 3 * kWorkers; ++i) {
            pairs.push_back(unix_pair());
            Operation& receive = operation("?");
            receive.then([this, port = port_, socket = pairs.back().ours.get()](const Completion&) {
                // The handle is valid until the last callback of all workers has returned.
                EXPECT_EQ(operation("?").add(port, EPOLLIN, socket), -ESHUTDOWN);
                completion_port_remove(port, socket);
            });
            ASSERT_EQ(receive.add(port_, EPOLLIN, pairs.back().ours.get()), 0);
            pending.push_back(&receive);
        }
        Operation& last = operation();
        last.then([this](const Completion&) { close(); });
        ASSERT_EQ(last.add(port_, EPOLLOUT, pairs[releaser].ours.get()), 0);
        EXPECT_EQ(last.wait(), ready_to_write());
        for (Operation* receive : pending) EXPECT_EQ(receive->wait(), closing());
    }
    wait_until([&] { return thread_ids() == threads && open_descriptors() == descriptors; });
}

// Spec: CP-WORKERS-8
TEST_F(WorkersTest, ShutdownWaitsForNoneOfItsWorkers) {
    const std::array<Pair*, kWorkers> pairs = one_of_each();
    Gate entered;
    Gate released;
    Operation& holder = operation("?");
    holder.then([&](const Completion&) {
        entered.open();
        released.wait();
    });
    ASSERT_EQ(holder.add(port_, EPOLLIN, pairs[0]->ours.get()), 0);
    std::vector<Operation*> pending;
    for (Pair* pair : pairs) {
        pending.push_back(&operation("?"));
        ASSERT_EQ(pending.back()->add(port_, EPOLLIN, pair->ours.get()), 0);
    }
    write_all(pairs[0]->theirs.get(), "x");
    entered.wait();
    EXPECT_EQ(completion_port_shutdown(port_), 0);
    for (size_t i = 1; i < kWorkers; ++i) EXPECT_EQ(pending[i]->wait(), closing());
    EXPECT_FALSE(pending[0]->completed());
    // Workers that have ended take no removal, and need none.
    for (size_t i = 1; i < kWorkers; ++i) completion_port_remove(port_, pairs[i]->ours.get());
    released.open();
    EXPECT_EQ(pending[0]->wait(), closing());
}

}  // namespace
}  // namespace cport::test
