#include "runtime/port/mailbox.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <semaphore>
#include <thread>
#include <vector>

#include "runtime/operation/task.h"

namespace cport {
namespace {

struct Letter : Task {
    Letter(int sender, int position) : Task(TaskKind::kAdd), from(sender), number(position) {}
    int from;
    int number;
};

TEST(Mailbox, GivesTasksInTheOrderOfTheirPosts) {
    Mailbox mailbox;
    Letter first(0, 1);
    Letter second(0, 2);
    EXPECT_EQ(mailbox.take(), nullptr);
    EXPECT_EQ(mailbox.post(&first), Mailbox::Posted::kQueued);
    EXPECT_EQ(mailbox.post(&second), Mailbox::Posted::kQueued);
    EXPECT_EQ(mailbox.take(), &first);
    EXPECT_EQ(first.next, &second);
    EXPECT_EQ(second.next, nullptr);
    EXPECT_EQ(mailbox.take(), nullptr);
}

// More than the worker has hints of, some of them of tasks that are gone.
TEST(Mailbox, ALongChainComesInTheOrderOfItsPosts) {
    Mailbox mailbox;
    for (int round = 0; round < 3; ++round) {
        std::vector<std::unique_ptr<Letter>> letters;
        for (int i = 0; i < 1000; ++i) {
            letters.push_back(std::make_unique<Letter>(0, i));
            ASSERT_EQ(mailbox.post(letters.back().get()), Mailbox::Posted::kQueued);
        }
        Task* task = mailbox.take();
        for (auto& letter : letters) {
            ASSERT_EQ(task, letter.get());
            task = task->next;
        }
        EXPECT_EQ(task, nullptr);
    }
}

// What is posted may end in the callback that gives back the last reference to the port, before
// the post returns. A thread sanitizer sees a store that comes later.
// Spec: MODEL-LIFETIME-2
TEST(Mailbox, APostTouchesNothingOnceItsTaskIsTaken) {
    for (int round = 0; round < 2'000; ++round) {
        auto mailbox = std::make_unique<Mailbox>();
        Letter letter(0, 0);
        std::thread sender([&letter, &mailbox = *mailbox] {
            EXPECT_EQ(mailbox.post(&letter), Mailbox::Posted::kQueued);
        });
        while (mailbox->take() == nullptr) std::this_thread::yield();
        mailbox.reset();
        sender.join();
    }
}

// Spec: CP-END-7
TEST(Mailbox, AWakeIsOwedHoweverOftenTheWorkerFellAsleepBefore) {
    Mailbox mailbox;
    Letter letter(0, 1);
    EXPECT_TRUE(mailbox.fall_asleep());
    EXPECT_TRUE(mailbox.fall_asleep());
    EXPECT_EQ(mailbox.post(&letter), Mailbox::Posted::kQueuedForSleeper);
    EXPECT_FALSE(mailbox.fall_asleep());
    EXPECT_EQ(mailbox.take(), &letter);
    EXPECT_EQ(mailbox.wakes_owed(), 1);
}

// Spec: CP-END-7
TEST(Mailbox, CountsTheWakesThatProducersOwe) {
    Mailbox mailbox;
    Letter letters[] = {{0, 1}, {0, 2}, {0, 3}};
    mailbox.post(&letters[0]);
    mailbox.take();
    EXPECT_EQ(mailbox.wakes_owed(), 0);
    ASSERT_TRUE(mailbox.fall_asleep());
    mailbox.take();  // something else ended the sleep
    EXPECT_EQ(mailbox.wakes_owed(), 0);
    ASSERT_TRUE(mailbox.fall_asleep());
    EXPECT_EQ(mailbox.post(&letters[1]), Mailbox::Posted::kQueuedForSleeper);
    EXPECT_EQ(mailbox.post(&letters[2]), Mailbox::Posted::kQueued);
    mailbox.take();
    mailbox.take();
    EXPECT_EQ(mailbox.wakes_owed(), 1);
}

TEST(Mailbox, OnlyTheFirstPostToASleeperWakesIt) {
    Mailbox mailbox;
    Letter first(0, 1);
    Letter second(0, 2);
    ASSERT_TRUE(mailbox.fall_asleep());
    EXPECT_EQ(mailbox.post(&first), Mailbox::Posted::kQueuedForSleeper);
    EXPECT_EQ(mailbox.post(&second), Mailbox::Posted::kQueued);
    EXPECT_EQ(mailbox.take(), &first);
}

TEST(Mailbox, AWorkerWithMailNeitherSleepsNorCloses) {
    Mailbox mailbox;
    Letter letter(0, 1);
    mailbox.post(&letter);
    EXPECT_FALSE(mailbox.fall_asleep());
    EXPECT_FALSE(mailbox.close());
    mailbox.take();
    EXPECT_TRUE(mailbox.fall_asleep());
    // A sleep that ended without mail.
    EXPECT_EQ(mailbox.take(), nullptr);
    EXPECT_TRUE(mailbox.fall_asleep());
}

TEST(Mailbox, AClosedOneLeavesTheTaskToItsSender) {
    Mailbox mailbox;
    Letter letter(0, 1);
    ASSERT_TRUE(mailbox.close());
    EXPECT_EQ(mailbox.post(&letter), Mailbox::Posted::kClosed);
}

// The worker sleeps whenever the mailbox lets it, and only a post that says so wakes it. A lost
// wake would leave the test asleep.
TEST(Mailbox, NoPostOfManyThreadsIsLostDoubledOrReordered) {
    constexpr int kSenders = 3;
    constexpr int kLettersEach = 20'000;
    Mailbox mailbox;
    std::counting_semaphore<> wakes(0);
    std::vector<std::vector<std::unique_ptr<Letter>>> letters(kSenders);
    for (int sender = 0; sender < kSenders; ++sender) {
        for (int i = 0; i < kLettersEach; ++i) {
            letters[static_cast<size_t>(sender)].push_back(std::make_unique<Letter>(sender, i));
        }
    }
    std::vector<std::thread> threads;
    for (auto& own : letters) {
        threads.emplace_back([&mailbox, &wakes, &own] {
            for (auto& letter : own) {
                if (mailbox.post(letter.get()) == Mailbox::Posted::kQueuedForSleeper) {
                    wakes.release();
                }
            }
        });
    }
    std::vector<int> next(kSenders, 0);
    for (int received = 0; received < kSenders * kLettersEach;) {
        for (Task* task = mailbox.take(); task != nullptr;) {
            auto* letter = static_cast<Letter*>(task);
            task = task->next;
            ASSERT_EQ(letter->number, next[static_cast<size_t>(letter->from)]++);
            ++received;
        }
        if (received < kSenders * kLettersEach && mailbox.fall_asleep()) wakes.acquire();
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_TRUE(mailbox.close());
}

// Whoever posts while the worker closes is either heard or told.
TEST(Mailbox, APostAtTheCloseIsTakenOrRefused) {
    for (int round = 0; round < 2'000; ++round) {
        Mailbox mailbox;
        Letter letter(0, 0);
        std::atomic<bool> refused = false;
        std::thread sender([&] { refused = mailbox.post(&letter) == Mailbox::Posted::kClosed; });
        int taken = 0;
        while (!mailbox.close()) {
            for (Task* task = mailbox.take(); task != nullptr; task = task->next) ++taken;
        }
        sender.join();
        ASSERT_EQ(taken, refused ? 0 : 1);
    }
}

}  // namespace
}  // namespace cport
