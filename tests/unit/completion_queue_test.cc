#include "runtime/port/completion_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <thread>

#include "platform/linux/linux_platform.h"
#include "runtime/operation/operation.h"
#include "runtime/operation/slab.h"
#include "tests/support/mock_platform.h"

namespace cport {
namespace {

using ::testing::_;
using ::testing::Invoke;
using ::testing::Return;
using ::testing::StrictMock;

class CompletionQueueTest : public ::testing::Test {
 protected:
    Operation& finished(uint64_t key) {
        int error = 0;
        Operation* operation = slab_.take(error);
        operation->record_kind = COMPLETION_PORT_KIND_POST;
        operation->key = key;
        operation->complete(COMPLETION_PORT_EPOLL_ACTION_INVALID, COMPLETION_PORT_RESULT_OK, 0);
        return *operation;
    }
    int look(uint32_t completions_max = 8) {
        return queue_.wait(records_.data(), completions_max, 0);
    }

    // Strict: a system call that no test asks for is one too many.
    StrictMock<test::MockKernel> kernel_;
    Slab slab_{platform::linux_platform().memory};
    Slab* slabs_[1] = {&slab_};
    CompletionQueue queue_{kernel_, platform::linux_platform().memory, slabs_};
    std::array<COMPLETION_PORT_COMPLETION, 8> records_{};
};

// Spec: CP-QUEUE-1
TEST_F(CompletionQueueTest, WithoutSleepersNoSystemCallIsMade) {
    EXPECT_EQ(look(), -ETIMEDOUT);
    for (uint64_t key = 1; key <= 3; ++key) EXPECT_TRUE(queue_.push(finished(key)));
    EXPECT_EQ(look(2), 2);
    EXPECT_TRUE(queue_.push(finished(4)));
    EXPECT_EQ(records_[0].key, 1u);
    EXPECT_EQ(records_[1].key, 2u);
    EXPECT_EQ(look(), 1);
    EXPECT_EQ(records_[0].key, 3u);
    EXPECT_EQ(look(), 1);
    EXPECT_EQ(records_[0].key, 4u);
    EXPECT_EQ(look(), -ETIMEDOUT);
}

TEST_F(CompletionQueueTest, GivesTheSlotsBack) {
    Operation& operation = finished(1);
    const uint64_t id = operation.id();
    EXPECT_TRUE(queue_.push(operation));
    EXPECT_NE(slab_.find(id), nullptr);
    EXPECT_EQ(look(), 1);
    EXPECT_EQ(slab_.find(id), nullptr);
    int error = 0;
    EXPECT_EQ(slab_.take(error), &operation);
}

// Spec: CP-QUEUE-1
TEST_F(CompletionQueueTest, OnlyTheFirstPushToASleeperWakesIt) {
    EXPECT_CALL(kernel_, futex_wait_until(_, _, CompletionQueue::kNoDeadline))
        .WillOnce(Invoke([this](const uint32_t* word, uint32_t expected, int64_t) {
            EXPECT_EQ(*word, expected) << "it would not have slept";
            EXPECT_TRUE(queue_.push(finished(1)));
            EXPECT_NE(*word, expected) << "a thread about to sleep would have slept";
            EXPECT_TRUE(queue_.push(finished(2)));
            return 0;
        }));
    EXPECT_CALL(kernel_, futex_wake_one(_)).Times(1).WillOnce(Return(1));
    EXPECT_EQ(queue_.wait(records_.data(), 8, CompletionQueue::kNoDeadline), 2);
}

TEST_F(CompletionQueueTest, AFalseWakeIsSleptOver) {
    EXPECT_CALL(kernel_, futex_wait_until(_, _, 500))
        .WillOnce(Return(0))
        .WillOnce(Return(-EINTR))
        .WillOnce(Return(-EAGAIN))
        .WillOnce(Return(-ETIMEDOUT));
    EXPECT_EQ(queue_.wait(records_.data(), 8, 500), -ETIMEDOUT);
}

// What came as the time ran out is returned all the same.
TEST_F(CompletionQueueTest, ALateOperationIsNotLeft) {
    EXPECT_CALL(kernel_, futex_wake_one(_)).WillOnce(Return(0));
    EXPECT_CALL(kernel_, futex_wait_until(_, _, 500))
        .WillOnce(Invoke([this](const uint32_t*, uint32_t, int64_t) {
            EXPECT_TRUE(queue_.push(finished(1)));
            return -ETIMEDOUT;
        }));
    EXPECT_EQ(queue_.wait(records_.data(), 8, 500), 1);
}

// While one sleeps, another takes one of two and leaves.
// Spec: CP-QUEUE-2
TEST_F(CompletionQueueTest, WhoLeavesRecordsBehindWakesASleeper) {
    EXPECT_CALL(kernel_, futex_wait_until(_, _, _))
        .WillOnce(Invoke([this](const uint32_t* word, uint32_t expected, int64_t) {
            EXPECT_CALL(kernel_, futex_wake_one(word)).Times(2);
            EXPECT_TRUE(queue_.push(finished(1)));  // the first wake
            EXPECT_TRUE(queue_.push(finished(2)));
            const uint32_t after_push = *word;
            EXPECT_EQ(look(1), 1);  // the second
            EXPECT_NE(*word, after_push);
            EXPECT_NE(*word, expected);
            return 0;
        }));
    EXPECT_EQ(queue_.wait(records_.data(), 8, CompletionQueue::kNoDeadline), 1);
    EXPECT_EQ(records_[0].key, 2u);
}

// Looking takes the mark "sleeping" away; it must be back when the look is over.
// Spec: CP-QUEUE-2
TEST_F(CompletionQueueTest, WhoOnlyLooksLeavesTheMark) {
    EXPECT_CALL(kernel_, futex_wait_until(_, _, _))
        .WillOnce(Invoke([this](const uint32_t* word, uint32_t, int64_t) {
            EXPECT_EQ(look(), -ETIMEDOUT);
            EXPECT_CALL(kernel_, futex_wake_one(word)).Times(1);
            EXPECT_TRUE(queue_.push(finished(1)));
            EXPECT_EQ(look(), 1);
            EXPECT_CALL(kernel_, futex_wake_one(word)).Times(1).RetiresOnSaturation();
            EXPECT_TRUE(queue_.push(finished(2)));
            return 0;
        }));
    EXPECT_EQ(queue_.wait(records_.data(), 8, CompletionQueue::kNoDeadline), 1);
    EXPECT_EQ(records_[0].key, 2u);
}

// Spec: CP-QUEUE-4
TEST_F(CompletionQueueTest, WhoSleepsWithoutAPlaceIsWokenForThePlace) {
    ASSERT_EQ(queue_.limit_waiters(1), 0);
    EXPECT_TRUE(queue_.push(finished(1)));
    EXPECT_EQ(look(), 1);
    std::atomic<bool> pushed = false;
    std::atomic<bool> left = false;
    EXPECT_CALL(kernel_, futex_wait_until(_, _, _))
        .WillOnce(Invoke([&](const uint32_t* word, uint32_t expected, int64_t) {
            EXPECT_TRUE(queue_.push(finished(2)));  // wakes nobody
            EXPECT_TRUE(queue_.push(finished(3)));
            EXPECT_EQ(*word, expected);
            pushed = true;
            pushed.notify_all();
            left.wait(false);
            EXPECT_NE(*word, expected) << "a thread about to sleep would have slept";
            return 0;
        }));
    std::thread waiter([&] {
        COMPLETION_PORT_COMPLETION record;
        EXPECT_EQ(queue_.wait(&record, 1, CompletionQueue::kNoDeadline), 1);
        EXPECT_EQ(record.key, 2u);
    });
    pushed.wait(false);
    EXPECT_CALL(kernel_, futex_wake_one(_)).Times(1);
    EXPECT_EQ(queue_.leave(), 0);
    EXPECT_EQ(queue_.leave(), -ENOENT);
    left = true;
    left.notify_all();
    waiter.join();
    EXPECT_EQ(look(), -ETIMEDOUT);  // the place is the other's
}

// Spec: CP-QUEUE-4
TEST_F(CompletionQueueTest, APlaceThatIsFreeBeforeTheRecordLeavesTheMark) {
    ASSERT_EQ(queue_.limit_waiters(1), 0);
    EXPECT_TRUE(queue_.push(finished(1)));
    EXPECT_EQ(look(), 1);
    std::atomic<bool> asleep = false;
    std::atomic<bool> woken = false;
    EXPECT_CALL(kernel_, futex_wait_until(_, _, _))
        .WillOnce(Invoke([&](const uint32_t*, uint32_t, int64_t) {
            asleep = true;
            asleep.notify_all();
            woken.wait(false);
            return 0;
        }));
    std::thread waiter([&] {
        COMPLETION_PORT_COMPLETION record;
        EXPECT_EQ(queue_.wait(&record, 1, CompletionQueue::kNoDeadline), 1);
    });
    asleep.wait(false);
    EXPECT_EQ(queue_.leave(), 0);
    EXPECT_CALL(kernel_, futex_wake_one(_)).Times(1);
    EXPECT_TRUE(queue_.push(finished(2)));
    woken = true;
    woken.notify_all();
    waiter.join();
}

// Spec: CP-QUEUE-3
TEST_F(CompletionQueueTest, AClosedOneDrainsAndRefuses) {
    EXPECT_CALL(kernel_, futex_wake_all(_)).Times(1);
    EXPECT_TRUE(queue_.push(finished(1)));
    EXPECT_TRUE(queue_.push(finished(2)));
    queue_.close();
    Operation& refused = finished(3);
    EXPECT_FALSE(queue_.push(refused));
    EXPECT_EQ(queue_.wait(records_.data(), 1, CompletionQueue::kNoDeadline), 1);
    EXPECT_EQ(look(), 1);
    EXPECT_EQ(look(), -ESHUTDOWN);
    EXPECT_EQ(queue_.wait(records_.data(), 1, CompletionQueue::kNoDeadline), -ESHUTDOWN);
}

// Spec: CP-QUEUE-3
TEST_F(CompletionQueueTest, ClosingWakesWhoSleeps) {
    EXPECT_CALL(kernel_, futex_wake_all(_)).Times(1);
    EXPECT_CALL(kernel_, futex_wait_until(_, _, _))
        .WillOnce(Invoke([this](const uint32_t* word, uint32_t expected, int64_t) {
            queue_.close();
            EXPECT_NE(*word, expected);
            return 0;
        }));
    EXPECT_EQ(queue_.wait(records_.data(), 8, CompletionQueue::kNoDeadline), -ESHUTDOWN);
}

// A producer that was told to wake has one step to go when its record has been waited for already.
// Spec: CP-WAIT-6
TEST_F(CompletionQueueTest, ItsEndWaitsForTheWakesThatAreOwed) {
    StrictMock<test::MockClock> clock;
    queue_.await_wakes(clock);  // none is
    EXPECT_CALL(clock, now_ns()).WillRepeatedly(Return(1'000));
    std::atomic<bool> awaited = false;
    std::atomic<bool> ended = false;
    std::thread ending;
    EXPECT_CALL(kernel_, futex_wake_one(_)).WillOnce(Invoke([&](const uint32_t*) {
        EXPECT_EQ(look(), 1);
        ending = std::thread([&] {
            queue_.await_wakes(clock);
            ended = true;
        });
        while (!awaited) std::this_thread::yield();
        EXPECT_FALSE(ended);
        return 1;
    }));
    EXPECT_CALL(kernel_, futex_wait_until(_, _, _))
        .WillOnce(Invoke([this](const uint32_t*, uint32_t, int64_t) {
            EXPECT_TRUE(queue_.push(finished(1)));
            return -ETIMEDOUT;
        }))
        .WillRepeatedly(Invoke([&awaited](const uint32_t*, uint32_t, int64_t) {
            awaited = true;
            std::this_thread::yield();
            return -EAGAIN;
        }));
    EXPECT_EQ(queue_.wait(records_.data(), 8, 1), -ETIMEDOUT);
    ending.join();
}

}  // namespace
}  // namespace cport
