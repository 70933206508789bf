// Cancels that race the completions of their operations.
#include <errno.h>

#include <atomic>
#include <cstdint>
#include <iostream>
#include <random>
#include <thread>
#include <vector>

#include "tests/contract/operations_fixture.h"
#include "tests/contract/process_facts.h"

namespace cport::test {
namespace {

struct Racer {
    std::atomic<uint64_t> id{0};
    std::atomic<int> records{0};
    char byte = 0;
    int64_t value = 0;
    int32_t error = 0;
    int32_t result = 0;

    static void on_complete(void* context, const COMPLETION_PORT_COMPLETION* record) {
        auto* racer = static_cast<Racer*>(context);
        racer->value = record->value;
        racer->error = record->error;
        racer->result = record->result;
        racer->records.fetch_add(1);
    }
};

class CancelRaceTest : public OperationsTest {
 protected:
    void SetUp() override {
        OperationsTest::SetUp();
        const uint32_t seed = std::random_device{}();
        std::cout << "seed " << seed << std::endl;
        random_.seed(seed);
    }

    // Not before it was submitted.
    static uint64_t id_of(const Racer& racer) {
        for (;;) {
            const uint64_t id = racer.id.load();
            if (id != 0) return id;
            std::this_thread::yield();
        }
    }

    std::minstd_rand random_;
};
CPORT_ON_EVERY_ENGINE(CancelRaceTest);

// One at a time, so that each byte meets its cancel; a byte that the receive did not take is still
// there.
// Spec: CP-CANCEL-4 CP-CANCEL-6 CP-CANCEL-7
TEST_P(CancelRaceTest, ReceivesAgainstTheirBytes) {
    const auto count = static_cast<size_t>(scaled(100'000, 10'000));
    Pair& pair = keep(unix_pair());
    std::vector<Racer> racers(count);
    const auto byte_of = [](size_t i) { return static_cast<char>(i % 251); };
    std::thread writer([&] {
        for (size_t i = 0; i < count; ++i) {
            id_of(racers[i]);
            const char byte = byte_of(i);
            write_all(pair.theirs.get(), {&byte, 1});
        }
    });
    std::thread canceller([&] {
        for (const Racer& racer : racers) {
            const int answer = completion_port_cancel(port(), id_of(racer));
            EXPECT_TRUE(answer == 0 || answer == -ENOENT) << answer;
        }
    });
    size_t cancelled = 0;
    for (size_t i = 0; i < count; ++i) {
        Racer& racer = racers[i];
        COMPLETION_PORT_RECEIVE_OPERATION receive{};
        receive.common.size = sizeof(receive);
        receive.common.kind = COMPLETION_PORT_KIND_RECEIVE;
        receive.common.descriptor = pair.ours.get();
        receive.common.on_complete = &Racer::on_complete;
        receive.common.context = &racer;
        receive.buffer = &racer.byte;
        receive.length = 1;
        uint64_t id = 0;
        EXPECT_EQ(completion_port_submit(port(), &receive.common, &id, nullptr), 0);
        racer.id.store(id);
        if (random_() % 8 == 0) std::this_thread::yield();
        wait_until([&] { return racer.records.load() > 0; });
        if (racer.result == COMPLETION_PORT_RESULT_OK) {
            EXPECT_EQ(racer.value, 1);
            EXPECT_EQ(racer.byte, byte_of(i));
        } else {
            ++cancelled;
            EXPECT_EQ(racer.result, COMPLETION_PORT_RESULT_ABANDONED);
            EXPECT_EQ(racer.error, -ECANCELED);
            EXPECT_EQ(racer.value, 0);
            EXPECT_EQ(read_exactly(pair.ours.get(), 1)[0], byte_of(i));
        }
    }
    writer.join();
    canceller.join();
    std::cout << cancelled << " of " << count << " were cancelled" << std::endl;
    end();
    for (const Racer& racer : racers) ASSERT_EQ(racer.records.load(), 1);
}

// Spec: CP-CANCEL-4 CP-CANCEL-7
TEST_P(CancelRaceTest, PollsAgainstTheirEvent) {
    const auto count = static_cast<size_t>(scaled(100'000, 10'000));
    Descriptor& ready = keep(ready_eventfd());
    std::vector<Racer> racers(count);
    std::vector<std::thread> cancellers;
    for (int i = 0; i < 2; ++i) {
        cancellers.emplace_back([&] {
            for (Racer& racer : racers) completion_port_cancel(port(), id_of(racer));
        });
    }
    for (Racer& racer : racers) {
        COMPLETION_PORT_POLL_OPERATION poll{};
        poll.common.size = sizeof(poll);
        poll.common.kind = COMPLETION_PORT_KIND_POLL;
        poll.common.descriptor = ready.get();
        poll.common.on_complete = &Racer::on_complete;
        poll.common.context = &racer;
        poll.events = POLLIN;
        uint64_t id = 0;
        EXPECT_EQ(completion_port_submit(port(), &poll.common, &id, nullptr), 0);
        racer.id.store(id);
        if (random_() % 8 == 0) std::this_thread::yield();
        wait_until([&] { return racer.records.load() > 0; });
    }
    for (std::thread& thread : cancellers) thread.join();
    end();
    size_t cancelled = 0;
    for (const Racer& racer : racers) {
        ASSERT_EQ(racer.records.load(), 1);
        cancelled += racer.result == COMPLETION_PORT_RESULT_ABANDONED ? 1 : 0;
    }
    std::cout << cancelled << " of " << count << " were cancelled" << std::endl;
}

// A waiter returns a slot, and another thread takes it, while the owner cancels by the old id.
// Spec: CP-CANCEL-3 CP-CANCEL-7
TEST_P(CancelRaceTest, AnOldIdNeverMeetsTheNextUseOfItsSlot) {
    constexpr size_t kBeside = 64;
    const int rounds = scaled(1000, 200);
    const int ready = keep(ready_eventfd()).get();
    std::vector<uint64_t> ids(kBeside);
    const auto submit_all = [&] {
        std::vector<uint64_t> fresh(kBeside);
        for (uint64_t& id : fresh) {
            COMPLETION_PORT_POLL_OPERATION poll{};
            poll.common.size = sizeof(poll);
            poll.common.kind = COMPLETION_PORT_KIND_POLL;
            poll.common.descriptor = ready;
            poll.events = POLLIN;
            EXPECT_EQ(completion_port_submit(port(), &poll.common, &id, nullptr), 0);
        }
        return fresh;
    };
    const auto take_all = [&] {
        for (size_t i = 0; i < kBeside; ++i) {
            const COMPLETION_PORT_COMPLETION record = wait_for_record();
            EXPECT_EQ(record.result, COMPLETION_PORT_RESULT_OK) << "an id ended another operation";
        }
    };
    ids = submit_all();
    run_on_worker_of(ready, [] {});
    for (int round = 0; round < rounds; ++round) {
        std::atomic<bool> inside{false};
        std::atomic<bool> over{false};
        std::thread taker([&] {
            inside.wait(false);
            take_all();
            std::vector<uint64_t> fresh = submit_all();
            over.store(true);
            ids.swap(fresh);
        });
        const std::vector<uint64_t> old = ids;
        run_on_worker_of(ready, [&] {
            inside.store(true);
            inside.notify_all();
            do {
                for (const uint64_t id : old) {
                    ASSERT_EQ(completion_port_cancel(port(), id), -ENOENT);
                }
            } while (!over.load());
        });
        taker.join();
        run_on_worker_of(ready, [] {});
    }
    take_all();
}

}  // namespace
}  // namespace cport::test
