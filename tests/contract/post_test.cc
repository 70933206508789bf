// completion_port_post: to callbacks and to waiters, from callbacks and from threads.
#include <errno.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <mutex>
#include <thread>
#include <vector>

#include "tests/contract/operations_fixture.h"
#include "tests/contract/process_facts.h"
#include "tests/support/record_log.h"

namespace cport::test {
namespace {

// What callbacks of posts saw.
struct Letterbox {
    std::mutex mutex;
    std::vector<COMPLETION_PORT_COMPLETION> records;
    std::atomic<size_t> count{0};
    pid_t thread = 0;

    static void on_complete(void* context, const COMPLETION_PORT_COMPLETION* record) {
        auto* self = static_cast<Letterbox*>(context);
        std::lock_guard lock(self->mutex);
        self->records.push_back(*record);
        self->thread = ::gettid();
        self->count.fetch_add(1);
    }
    void wait_for(size_t records_wanted) {
        wait_until([&] { return count.load() >= records_wanted; });
    }
};

void expect_post(const COMPLETION_PORT_COMPLETION& record, uint64_t key, int64_t value,
                 void* context) {
    EXPECT_EQ(record.operation, 0u);
    EXPECT_EQ(record.key, key);
    EXPECT_EQ(record.context, context);
    EXPECT_EQ(record.buffer, nullptr);
    EXPECT_EQ(record.value, value);
    EXPECT_EQ(record.error, 0);
    EXPECT_EQ(record.result, COMPLETION_PORT_RESULT_OK);
    EXPECT_EQ(record.kind, static_cast<uint32_t>(COMPLETION_PORT_KIND_POST));
    EXPECT_EQ(record.flags, 0u);
    EXPECT_EQ(record.reserved, 0u);
}

class PostTest : public OperationsTest {
 protected:
    int post(uint64_t key, int64_t value, Letterbox* letterbox) {
        return completion_port_post(port(), key, value,
                                    letterbox != nullptr ? &Letterbox::on_complete : nullptr,
                                    letterbox);
    }
};
CPORT_ON_EVERY_ENGINE(PostTest);

// Spec: CP-POST-1
TEST_P(PostTest, ToACallback) {
    Letterbox letterbox;
    ASSERT_EQ(post(UINT64_MAX, INT64_MIN, &letterbox), 0);
    letterbox.wait_for(1);
    expect_post(letterbox.records[0], UINT64_MAX, INT64_MIN, &letterbox);
    EXPECT_NE(letterbox.thread, ::gettid());
    ASSERT_EQ(post(0, 0, &letterbox), 0);
    letterbox.wait_for(2);
    expect_post(letterbox.records[1], 0, 0, &letterbox);
}

// Spec: CP-POST-1
TEST_P(PostTest, ToAWaiter) {
    int tag = 0;
    ASSERT_EQ(completion_port_post(port(), 7, -7, nullptr, &tag), 0);
    expect_post(wait_for_record(), 7, -7, &tag);
    // A slot that has been an operation shows nothing of it.
    Pair& tcp = keep(tcp_pair());
    EXPECT_EQ(submit_send(tcp.ours.get(), "x").wait(), finished(1));
    run_on_worker([&] { ASSERT_EQ(completion_port_post(port(), 8, 8, nullptr, nullptr), 0); });
    expect_post(wait_for_record(), 8, 8, nullptr);
    EXPECT_TRUE(records_there().empty());
}

// Spec: CP-POST-1
TEST_P(PostTest, ItCannotBeCancelled) {
    ASSERT_EQ(post(1, 1, nullptr), 0);
    // The first use of each slot, and the second: one of them is the post's.
    run_on_worker([this] {
        for (uint64_t use = 1; use <= 2; ++use) {
            for (uint64_t slot = 1; slot <= 512; ++slot) {
                EXPECT_EQ(completion_port_cancel(port(), (use << 32) | slot), -ENOENT);
            }
        }
    });
    expect_post(wait_for_record(), 1, 1, nullptr);
}

// Spec: CP-POST-2
TEST_P(PostTest, TheOrderOfOneThread) {
    constexpr uint64_t kPosts = 1'000;
    Letterbox letterbox;
    for (uint64_t key = 0; key < kPosts; ++key) {
        ASSERT_EQ(post(key, 0, &letterbox), 0);
        ASSERT_EQ(post(key, 0, nullptr), 0);
    }
    letterbox.wait_for(kPosts);
    for (uint64_t key = 0; key < kPosts; ++key) {
        EXPECT_EQ(letterbox.records[key].key, key);
        EXPECT_EQ(wait_for_record().key, key);
    }
}

// Spec: CP-POST-2
TEST_P(PostTest, FromACallback) {
    constexpr uint64_t kPosts = 1'000;
    Letterbox letterbox;
    run_on_worker([&] {
        for (uint64_t key = 0; key < kPosts; ++key) {
            ASSERT_EQ(post(key, 0, &letterbox), 0);
            ASSERT_EQ(post(key, 0, nullptr), 0);
        }
        EXPECT_EQ(letterbox.count.load(), 0u) << "called back inside the post";
    });
    letterbox.wait_for(kPosts);
    for (uint64_t key = 0; key < kPosts; ++key) {
        EXPECT_EQ(letterbox.records[key].key, key);
        EXPECT_EQ(wait_for_record().key, key);
    }
}

// Spec: CP-POST-2
TEST_P(PostTest, FromACallbackOfAnotherPort) {
    COMPLETION_PORT_HANDLE other = GetParam().create();
    run_on_worker([&] {
        for (uint64_t key = 1; key <= 3; ++key) {
            EXPECT_EQ(completion_port_post(other, key, 0, nullptr, nullptr), 0);
        }
    });
    COMPLETION_PORT_COMPLETION record{};
    for (uint64_t key = 1; key <= 3; ++key) {
        ASSERT_EQ(completion_port_wait(other, &record, 1, -1), 1);
        EXPECT_EQ(record.key, key);
    }
    completion_port_dec_ref(other);
}

// Spec: CP-POST-3
TEST_P(PostTest, WhatIsRefused) {
    Letterbox letterbox;
    EXPECT_EQ(completion_port_post(nullptr, 1, 1, nullptr, nullptr), -EINVAL);
    ASSERT_EQ(completion_port_shutdown(port()), 0);
    EXPECT_EQ(post(1, 1, nullptr), -ESHUTDOWN);
    EXPECT_EQ(post(1, 1, &letterbox), -ESHUTDOWN);
    COMPLETION_PORT_COMPLETION record;
    EXPECT_EQ(completion_port_wait(port(), &record, 1, -1), -ESHUTDOWN);
    end();
    EXPECT_EQ(letterbox.count.load(), 0u);
}

// Spec: CP-POST-3
TEST_P(PostTest, WhatWasAcceptedBeforeTheEndIsDelivered) {
    const int kRounds = scaled(50, 20);
    for (int round = 0; round < kRounds; ++round) {
        COMPLETION_PORT_HANDLE ending = GetParam().create();
        Letterbox letterbox;
        std::atomic<int> to_callback{0};
        std::atomic<int> to_waiters{0};
        std::vector<std::thread> posters;
        for (int i = 0; i < 2; ++i) {
            posters.emplace_back([&, i] {
                std::atomic<int>& accepted = i == 0 ? to_callback : to_waiters;
                const auto callback = i == 0 ? &Letterbox::on_complete : nullptr;
                int error = 0;
                while ((error = completion_port_post(ending, 1, 1, callback, &letterbox)) == 0) {
                    accepted.fetch_add(1);
                }
                EXPECT_EQ(error, -ESHUTDOWN);
            });
        }
        while (to_callback.load() == 0 || to_waiters.load() == 0) std::this_thread::yield();
        ASSERT_EQ(completion_port_shutdown(ending), 0);
        for (std::thread& poster : posters) poster.join();
        int waited_for = 0;
        std::array<COMPLETION_PORT_COMPLETION, 64> records{};
        int count = 0;
        while ((count = completion_port_wait(ending, records.data(), 64, -1)) > 0) {
            waited_for += count;
        }
        EXPECT_EQ(count, -ESHUTDOWN);
        completion_port_dec_ref(ending);
        EXPECT_EQ(waited_for, to_waiters.load());
        EXPECT_EQ(static_cast<int>(letterbox.count.load()), to_callback.load());
    }
}

// Spec: CP-POST-3
TEST_P(PostTest, TheLimitOfOperations) {
    constexpr uint64_t kMoreThanTheLimit = 10'000'000;
    uint64_t accepted = 0;
    int error = 0;
    while (accepted < kMoreThanTheLimit && (error = post(accepted, 0, nullptr)) == 0) ++accepted;
    ASSERT_EQ(error, -ENOBUFS);
    EXPECT_GE(accepted, 1'000'000u);
    // Nothing of what was accepted is lost, and what was taken makes room.
    std::vector<COMPLETION_PORT_COMPLETION> records = records_there();
    ASSERT_EQ(records.size(), accepted);
    for (uint64_t i = 0; i < accepted; ++i) ASSERT_EQ(records[i].key, i);
    EXPECT_EQ(post(accepted, 0, nullptr), 0);
    EXPECT_EQ(wait_for_record().key, accepted);
}

// Spec: CP-POST-4 CP-WAIT-3
TEST_P(PostTest, ManyThreadsPostToManyWaiters) {
    constexpr uint64_t kPosters = 4;
    constexpr size_t kWaiters = 4;
    const auto each = static_cast<uint64_t>(scaled(250'000, 20'000));
    std::vector<std::atomic<uint8_t>> seen(kPosters * each);
    std::atomic<uint64_t> waited_for{0};
    std::atomic<bool> disordered{false};
    std::vector<std::thread> threads;
    for (size_t i = 0; i < kWaiters; ++i) {
        threads.emplace_back([&, i] {
            std::array<COMPLETION_PORT_COMPLETION, 8> records{};
            std::array<int64_t, kPosters> newest;
            newest.fill(-1);
            int count = 0;
            // Each has a maximum of its own, one of them 1.
            const auto records_max = static_cast<uint32_t>(1 + 2 * i);
            while ((count = completion_port_wait(port(), records.data(), records_max, -1)) > 0) {
                for (size_t k = 0; k < static_cast<size_t>(count); ++k) {
                    seen[records[k].key].fetch_add(1);
                    // What one waiter gets of one poster is in order.
                    int64_t& before = newest[records[k].key / each];
                    if (records[k].value <= before) disordered = true;
                    before = records[k].value;
                }
                waited_for.fetch_add(static_cast<uint64_t>(count));
            }
            EXPECT_EQ(count, -ESHUTDOWN);
        });
    }
    std::vector<std::thread> posters;
    for (uint64_t poster = 0; poster < kPosters; ++poster) {
        posters.emplace_back([&, poster] {
            for (uint64_t i = 0; i < each; ++i) {
                ASSERT_EQ(post(poster * each + i, static_cast<int64_t>(i), nullptr), 0);
            }
        });
    }
    for (std::thread& thread : posters) thread.join();
    wait_until([&] { return waited_for.load() == kPosters * each; });
    ASSERT_EQ(completion_port_shutdown(port()), 0);
    for (std::thread& thread : threads) thread.join();
    for (const auto& times : seen) ASSERT_EQ(times.load(), 1);
    EXPECT_FALSE(disordered.load());
}

}  // namespace
}  // namespace cport::test
