// What must work when there is no memory at all: every way out.
#include <gtest/gtest.h>
#include <sys/epoll.h>

#include <cerrno>
#include <latch>
#include <string>

#include "tests/fault/stage.h"
#include "tests/support/sockets.h"

namespace cport::test {
namespace {

class NoMemory : public ::testing::Test {
 protected:
    void SetUp() override { ASSERT_TRUE(stage_.open()); }
    void TearDown() override {
        for (const std::string& breach : stage_.judge()) ADD_FAILURE() << breach;
    }

    void add_pending() {
        stage_.read(pair_.ours.get(), 64);
        stage_.watch(pair_.ours.get(), EPOLLIN);
        stage_.watch(pair_.ours.get(), EPOLLRDHUP);
        stage_.write(pair_.ours.get(), std::string(1u << 20, 'x'));
    }
    void exhaust() {
        stage_.allow_refusal(ENOMEM);
        stage_.faults().exhaust_memory();
        allocations_ = stage_.faults().calls(Call::kAllocate);
    }
    int allocations_since() { return stage_.faults().calls(Call::kAllocate) - allocations_; }

    Pair pair_ = unix_pair();
    Stage stage_{Fault{}};
    int allocations_ = 0;
};

// Spec: CP-REMOVE-7
TEST_F(NoMemory, RemoveFromOutsideEndsEveryAdd) {
    add_pending();
    exhaust();
    stage_.remove(pair_.ours.get());
    EXPECT_EQ(stage_.waiting(), 0u);
    EXPECT_EQ(allocations_since(), 0);
}

// Spec: CP-REMOVE-7
TEST_F(NoMemory, RemoveInACallbackEndsEveryAdd) {
    Descriptor event = idle_eventfd();
    add_pending();
    std::latch exhausted(1);
    stage_.watch(event.get(), EPOLLOUT, [&](const Ended&) {
        exhausted.wait();
        stage_.remove(pair_.ours.get());
    });
    exhaust();
    exhausted.count_down();
    stage_.wait_for_all();
    EXPECT_EQ(allocations_since(), 0);
    stage_.remove(event.get());
}

// Spec: CP-REMOVE-7
TEST_F(NoMemory, TheLastReferenceEndsThePort) {
    add_pending();
    exhaust();
    stage_.release();
    EXPECT_EQ(stage_.waiting(), 0u);
    EXPECT_EQ(allocations_since(), 0);
}

// Spec: CP-FAULT-2, CP-BAD-9, CP-BAD-10
TEST_F(NoMemory, AddsAreRefusedAndWhatWasAcceptedGoesOn) {
    std::latch ended(1);
    std::string received;
    bool added_again = false;
    stage_.read(pair_.ours.get(), 5, [&](const Ended& read) {
        received = read.bytes;
        // Into the slot that has just become free.
        added_again = stage_.read(pair_.ours.get(), 5);
        ended.count_down();
    });
    exhaust();
    // The slots that are there can be used; then the port says so.
    Descriptor event = idle_eventfd();
    while (stage_.watch(event.get(), EPOLLIN)) {
    }
    EXPECT_GT(allocations_since(), 0);
    write_all(pair_.theirs.get(), "bytes");
    ended.wait();
    EXPECT_EQ(received, "bytes");
    EXPECT_TRUE(added_again);
    stage_.remove(event.get());
    stage_.remove(pair_.ours.get());
    EXPECT_EQ(stage_.waiting(), 0u);
}

}  // namespace
}  // namespace cport::test
