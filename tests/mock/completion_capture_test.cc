#include "completionport/testing/completion_capture.h"

#include <gmock/gmock.h>
#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>
#include <sys/epoll.h>

#include <cerrno>
#include <deque>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "completionport/completion_port.h"
#include "completionport/testing/mock_completion_port.h"

namespace {

using completionport::testing::Completion;
using completionport::testing::CompletionCapture;
using completionport::testing::MockCompletionPort;
using testing::ElementsAre;
using testing::NiceMock;

constexpr SOCKET_HANDLE kSocket = 7;
constexpr SOCKET_HANDLE kOther = 8;

// One add's context: counts its callbacks and may act in them.
struct Waiter {
    int calls = 0;
    COMPLETION_PORT_EPOLL_ACTION action = COMPLETION_PORT_EPOLL_ACTION_INVALID;
    COMPLETION_PORT_RESULT result = COMPLETION_PORT_RESULT_INVALID;
    int32_t amount = 0;
    int error = 0;
    std::function<void()> then;

    static void on_complete(void* context, COMPLETION_PORT_EPOLL_ACTION action,
                            COMPLETION_PORT_RESULT result, int32_t amount) {
        auto& self = *static_cast<Waiter*>(context);
        self.error = errno;
        ++self.calls;
        self.action = action;
        self.result = result;
        self.amount = amount;
        if (self.then) self.then();
    }

    bool ended(COMPLETION_PORT_EPOLL_ACTION a, COMPLETION_PORT_RESULT r, int32_t n, int e) const {
        return calls == 1 && action == a && result == r && amount == n && error == e;
    }
    bool abandoned() const {
        return ended(COMPLETION_PORT_CLOSING, COMPLETION_PORT_RESULT_ABANDONED, -1, 0);
    }
};

class CompletionCaptureTest : public testing::Test {
 protected:
    CompletionCaptureTest() {
        mock_.delegate_to(capture_);
        port_ = completion_port_create();
    }
    ~CompletionCaptureTest() override { completion_port_dec_ref(port_); }

    COMPLETION_PORT_INGRESS_DATA readiness(Waiter& waiter, int epoll_op, SOCKET_HANDLE socket) {
        return {epoll_op, socket, Waiter::on_complete, &waiter, {nullptr, 0}};
    }
    int add(Waiter& waiter, int epoll_op, SOCKET_HANDLE socket = kSocket) {
        const COMPLETION_PORT_INGRESS_DATA data = readiness(waiter, epoll_op, socket);
        return completion_port_add(port_, &data);
    }
    int add(Waiter& waiter, int epoll_op, std::string& buffer, SOCKET_HANDLE socket = kSocket) {
        COMPLETION_PORT_INGRESS_DATA data = readiness(waiter, epoll_op, socket);
        data.buffer_data = {buffer.data(), static_cast<uint32_t>(buffer.size())};
        return completion_port_add(port_, &data);
    }

    // What an add refers to outlives the port, which ends after the test's body.
    Waiter& new_waiter() { return waiters_.emplace_back(); }

    std::deque<Waiter> waiters_;
    CompletionCapture capture_;
    NiceMock<MockCompletionPort> mock_;
    COMPLETION_PORT_HANDLE port_ = nullptr;
};

// Spec: CP-MOCK-2
TEST_F(CompletionCaptureTest, FiresWithWhatTheTestWants) {
    std::string buffer(10, ' ');
    Waiter& read = new_waiter();
    Waiter& failed = new_waiter();
    Waiter& reset = new_waiter();
    ASSERT_EQ(0, add(read, EPOLLIN, buffer));
    ASSERT_EQ(0, add(failed, EPOLLIN, buffer));
    ASSERT_EQ(0, add(reset, EPOLLIN | EPOLLRDHUP, buffer));
    EXPECT_EQ(3u, capture_.pending_count());
    EXPECT_TRUE(
        capture_.complete(kSocket, COMPLETION_PORT_EPOLL_EPOLLIN, COMPLETION_PORT_RESULT_OK, 4));
    EXPECT_TRUE(read.ended(COMPLETION_PORT_EPOLL_EPOLLIN, COMPLETION_PORT_RESULT_OK, 4, 0));
    EXPECT_TRUE(capture_.complete(kSocket, COMPLETION_PORT_EPOLL_EPOLLIN,
                                  COMPLETION_PORT_RESULT_ERROR, -1, ENETDOWN));
    EXPECT_TRUE(
        failed.ended(COMPLETION_PORT_EPOLL_EPOLLIN, COMPLETION_PORT_RESULT_ERROR, -1, ENETDOWN));
    EXPECT_TRUE(capture_.complete(kSocket, COMPLETION_PORT_EPOLL_EPOLLRDHUP,
                                  COMPLETION_PORT_RESULT_ABANDONED, -1));
    EXPECT_TRUE(
        reset.ended(COMPLETION_PORT_EPOLL_EPOLLRDHUP, COMPLETION_PORT_RESULT_ABANDONED, -1, 0));
    EXPECT_EQ(0u, capture_.pending_count());
}

// Spec: CP-MOCK-2
TEST_F(CompletionCaptureTest, CopiesTheIngressData) {
    Waiter& waiter = new_waiter();
    {
        COMPLETION_PORT_INGRESS_DATA data = readiness(waiter, EPOLLOUT, kSocket);
        ASSERT_EQ(0, completion_port_add(port_, &data));
        data = {};
    }
    ASSERT_EQ(1u, capture_.pending(kSocket).size());
    EXPECT_EQ(EPOLLOUT, capture_.pending(kSocket)[0].ingress_data.epoll_op);
    EXPECT_EQ(port_, capture_.pending(kSocket)[0].completion_port);
    EXPECT_TRUE(capture_.pending(kOther).empty());
    capture_.complete(kSocket, COMPLETION_PORT_EPOLL_EPOLLOUT, COMPLETION_PORT_RESULT_OK, -1);
    EXPECT_EQ(1, waiter.calls);
}

// Spec: CP-MOCK-2
TEST_F(CompletionCaptureTest, ASecondFireFailsTheTestAndCallsNothing) {
    Waiter& waiter = new_waiter();
    ASSERT_EQ(0, add(waiter, EPOLLIN));
    const uint64_t number = capture_.last_number();
    const Completion ready{COMPLETION_PORT_EPOLL_EPOLLIN, COMPLETION_PORT_RESULT_OK};
    EXPECT_TRUE(capture_.complete_number(number, ready));
    EXPECT_NONFATAL_FAILURE(capture_.complete_number(number, ready),
                            "an add calls back exactly once");
    EXPECT_NONFATAL_FAILURE(capture_.complete_number(number + 1, ready), "was never accepted");
    EXPECT_NONFATAL_FAILURE(
        capture_.complete(kSocket, COMPLETION_PORT_EPOLL_EPOLLIN, COMPLETION_PORT_RESULT_OK, -1),
        "no add of socket 7 waits for COMPLETION_PORT_EPOLL_EPOLLIN");
    EXPECT_EQ(1, waiter.calls);
}

// Spec: CP-MOCK-2
TEST_F(CompletionCaptureTest, RefusesCompletionsThatThePortNeverGives) {
    std::string buffer(4, 'x');
    Waiter& read = new_waiter();
    Waiter& ready = new_waiter();
    Waiter& sent = new_waiter();
    ASSERT_EQ(0, add(read, EPOLLIN, buffer));
    ASSERT_EQ(0, add(ready, EPOLLIN, kOther));
    ASSERT_EQ(0, add(sent, EPOLLOUT, buffer));
    constexpr auto kIn = COMPLETION_PORT_EPOLL_EPOLLIN;
    constexpr auto kOk = COMPLETION_PORT_RESULT_OK;
    EXPECT_NONFATAL_FAILURE(capture_.complete_number(1, {kIn, kOk, 5, 0}), "fit the buffer");
    EXPECT_NONFATAL_FAILURE(capture_.complete_number(1, {kIn, kOk, 4, EIO}), "OK has no error");
    EXPECT_NONFATAL_FAILURE(capture_.complete_number(2, {kIn, kOk, 0, 0}), "amount");
    EXPECT_NONFATAL_FAILURE(capture_.complete_number(3, {kIn, kOk, 4, 0}), "this action");
    EXPECT_NONFATAL_FAILURE(
        capture_.complete_number(3, {COMPLETION_PORT_EPOLL_EPOLLOUT, kOk, 3, 0}), "whole length");
    EXPECT_NONFATAL_FAILURE(capture_.complete_number(1, {COMPLETION_PORT_CLOSING, kOk, -1, 0}),
                            "always ABANDONED");
    EXPECT_NONFATAL_FAILURE(
        capture_.complete_number(1, {kIn, COMPLETION_PORT_RESULT_INVALID, -1, 0}), "INVALID");
    EXPECT_EQ(0, read.calls + ready.calls + sent.calls);
    EXPECT_EQ(3u, capture_.pending_count());
}

// Spec: CP-MOCK-2
TEST_F(CompletionCaptureTest, FillsTheBorrowedBufferAsAStreamDoes) {
    std::string buffer(4, '.');
    Waiter& first = new_waiter();
    Waiter& second = new_waiter();
    Waiter& end = new_waiter();
    ASSERT_EQ(0, add(first, EPOLLIN, buffer));
    EXPECT_EQ(4u, capture_.fill_and_complete("abcdef"));
    EXPECT_EQ("abcd", buffer);
    EXPECT_TRUE(first.ended(COMPLETION_PORT_EPOLL_EPOLLIN, COMPLETION_PORT_RESULT_OK, 4, 0));
    ASSERT_EQ(0, add(second, EPOLLIN, buffer));
    EXPECT_EQ(2u, capture_.fill_and_complete(kSocket, "ef"));
    EXPECT_EQ("efcd", buffer);
    ASSERT_EQ(0, add(end, EPOLLIN, buffer));
    EXPECT_EQ(0u, capture_.fill_and_complete(""));
    EXPECT_TRUE(end.ended(COMPLETION_PORT_EPOLL_EPOLLIN, COMPLETION_PORT_RESULT_OK, 0, 0));
    EXPECT_NONFATAL_FAILURE((void)capture_.fill_and_complete("x"), "no add waits for bytes");
}

// Spec: CP-MOCK-2
TEST_F(CompletionCaptureTest, TakesWhatIsSent) {
    std::string message = "hello";
    Waiter& sent = new_waiter();
    Waiter& writable = new_waiter();
    ASSERT_EQ(0, add(sent, EPOLLOUT, message));
    EXPECT_EQ("hello", capture_.take_and_complete(kSocket));
    EXPECT_TRUE(sent.ended(COMPLETION_PORT_EPOLL_EPOLLOUT, COMPLETION_PORT_RESULT_OK, 5, 0));
    ASSERT_EQ(0, add(writable, EPOLLOUT));
    EXPECT_NONFATAL_FAILURE((void)capture_.take_and_complete(kSocket), "no buffer to send");
}

// Spec: CP-MOCK-2, CP-BAD-1, CP-BAD-2, CP-BAD-3, CP-BAD-4, CP-BAD-10
TEST_F(CompletionCaptureTest, RefusesWhatThePortRefuses) {
    Waiter& waiter = new_waiter();
    std::string buffer(1, ' ');
    EXPECT_EQ(-EINVAL, completion_port_add(port_, nullptr));
    const auto good = readiness(waiter, EPOLLIN, kSocket);
    EXPECT_EQ(-EINVAL, completion_port_add(nullptr, &good));
    auto bad = good;
    bad.event_callback = nullptr;
    EXPECT_EQ(-EINVAL, completion_port_add(port_, &bad));
    for (const int epoll_op : {0, int{EPOLLIN | EPOLLOUT}, int{EPOLLPRI}, int{EPOLLONESHOT}}) {
        EXPECT_EQ(-EINVAL, add(waiter, epoll_op));
    }
    bad = good;
    bad.buffer_data = {nullptr, 1};
    EXPECT_EQ(-EINVAL, completion_port_add(port_, &bad));
    bad.buffer_data = {buffer.data(), 0};
    EXPECT_EQ(-EINVAL, completion_port_add(port_, &bad));
    bad.buffer_data = {buffer.data(), uint32_t{INT32_MAX} + 1};
    EXPECT_EQ(-EINVAL, completion_port_add(port_, &bad));
    EXPECT_EQ(-EINVAL, add(waiter, EPOLLRDHUP, buffer));
    EXPECT_EQ(-EBADF, add(waiter, EPOLLIN, -1));
    EXPECT_EQ(0u, capture_.pending_count());
    EXPECT_EQ(0u, capture_.last_number());
    EXPECT_EQ(0, add(waiter, static_cast<int>(EPOLLIN | EPOLLRDHUP | EPOLLET | EPOLLONESHOT)));
}

// Spec: CP-MOCK-2
TEST_F(CompletionCaptureTest, RemoveAbandonsTheSocketAndOnlyIt) {
    Waiter& first = new_waiter();
    Waiter& second = new_waiter();
    Waiter& other = new_waiter();
    ASSERT_EQ(0, add(first, EPOLLIN));
    ASSERT_EQ(0, add(other, EPOLLIN, kOther));
    ASSERT_EQ(0, add(second, EPOLLOUT));
    completion_port_remove(nullptr, kSocket);
    completion_port_remove(port_, INVALID_SOCKET);
    EXPECT_EQ(3u, capture_.pending_count());
    completion_port_remove(port_, kSocket);
    EXPECT_TRUE(first.abandoned());
    EXPECT_TRUE(second.abandoned());
    EXPECT_EQ(0, other.calls);
    completion_port_remove(port_, kSocket);
    EXPECT_EQ(1, first.calls);
    capture_.abandon_all();
    EXPECT_TRUE(other.abandoned());
}

// Spec: CP-MOCK-2
TEST_F(CompletionCaptureTest, CallbacksMayAddFireAndRemove) {
    std::vector<std::string> order;
    Waiter& first = new_waiter();
    Waiter& second = new_waiter();
    Waiter& third = new_waiter();
    first.then = [&] {
        EXPECT_EQ(0, add(second, EPOLLIN));
        EXPECT_EQ(0, add(third, EPOLLOUT));
        EXPECT_TRUE(capture_.complete(kSocket, COMPLETION_PORT_EPOLL_EPOLLIN,
                                      COMPLETION_PORT_RESULT_OK, -1));
        completion_port_remove(port_, kSocket);
        order.push_back("first returns");
    };
    second.then = [&] { order.push_back("second"); };
    third.then = [&] { order.push_back("third"); };
    ASSERT_EQ(0, add(first, EPOLLIN));
    capture_.complete(kSocket, COMPLETION_PORT_EPOLL_EPOLLIN, COMPLETION_PORT_RESULT_OK, -1);
    EXPECT_THAT(order, ElementsAre("first returns", "second", "third"));
    EXPECT_EQ(COMPLETION_PORT_RESULT_OK, second.result);
    EXPECT_TRUE(third.abandoned());
}

// Spec: CP-MOCK-2
TEST_F(CompletionCaptureTest, AbandonAllLeavesWhatItsCallbacksAdd) {
    Waiter& first = new_waiter();
    Waiter& again = new_waiter();
    first.then = [&] { EXPECT_EQ(0, add(again, EPOLLIN)); };
    ASSERT_EQ(0, add(first, EPOLLIN));
    capture_.abandon_all();
    EXPECT_TRUE(first.abandoned());
    EXPECT_EQ(0, again.calls);
    EXPECT_EQ(1u, capture_.pending_count());
}

struct Removed {
    int calls = 0;
    int waiter_calls_before = 0;
    Waiter* waiter = nullptr;
    std::function<void()> then;

    static void on_removed(void* context, SOCKET_HANDLE socket) {
        auto& self = *static_cast<Removed*>(context);
        EXPECT_EQ(kSocket, socket);
        ++self.calls;
        self.waiter_calls_before = self.waiter->calls;
        if (self.then) self.then();
    }
};

// Spec: CP-MOCK-2
TEST_F(CompletionCaptureTest, RemoveAsyncAbandonsThenTells) {
    Waiter& waiter = new_waiter();
    Waiter& again = new_waiter();
    Removed removed;
    removed.waiter = &waiter;
    removed.then = [&] { EXPECT_EQ(0, add(again, EPOLLIN)); };
    ASSERT_EQ(0, add(waiter, EPOLLIN));
    EXPECT_EQ(-EINVAL, completion_port_remove_async(port_, kSocket, nullptr, nullptr));
    EXPECT_EQ(-EINVAL,
              completion_port_remove_async(nullptr, kSocket, Removed::on_removed, &removed));
    EXPECT_EQ(-EBADF, completion_port_remove_async(port_, -1, Removed::on_removed, &removed));
    ASSERT_EQ(0, completion_port_remove_async(port_, kSocket, Removed::on_removed, &removed));
    EXPECT_EQ(0, waiter.calls);
    EXPECT_EQ(-ECANCELED, add(again, EPOLLIN));
    EXPECT_EQ(-EALREADY,
              completion_port_remove_async(port_, kSocket, Removed::on_removed, &removed));
    EXPECT_EQ(0, add(again, EPOLLIN, kOther));
    capture_.run_queued();
    EXPECT_TRUE(waiter.abandoned());
    EXPECT_EQ(1, removed.calls);
    EXPECT_EQ(1, removed.waiter_calls_before);
    EXPECT_EQ(1u, capture_.pending(kSocket).size());
}

// Spec: CP-MOCK-2
TEST_F(CompletionCaptureTest, ShutdownAbandonsLater) {
    Waiter& waiter = new_waiter();
    ASSERT_EQ(0, add(waiter, EPOLLIN));
    EXPECT_EQ(-EINVAL, completion_port_shutdown(nullptr));
    EXPECT_EQ(0, completion_port_shutdown(port_));
    EXPECT_EQ(0, completion_port_shutdown(port_));
    EXPECT_EQ(0, waiter.calls);
    EXPECT_EQ(-ESHUTDOWN, add(waiter, EPOLLIN));
    capture_.run_queued();
    EXPECT_TRUE(waiter.abandoned());
}

// Spec: CP-MOCK-2
TEST_F(CompletionCaptureTest, TheLastReferenceAbandonsWhatIsPending) {
    Waiter& waiter = new_waiter();
    waiter.then = [&] { EXPECT_EQ(-ESHUTDOWN, add(waiter, EPOLLIN)); };
    ASSERT_EQ(0, add(waiter, EPOLLIN));
    completion_port_inc_ref(port_);
    completion_port_dec_ref(port_);
    EXPECT_EQ(0, waiter.calls);
    completion_port_dec_ref(port_);
    EXPECT_TRUE(waiter.abandoned());
    EXPECT_NONFATAL_FAILURE(completion_port_inc_ref(port_), "the port was freed");
    EXPECT_NONFATAL_FAILURE(completion_port_dec_ref(port_), "the port was freed");
    port_ = nullptr;
}

// Spec: CP-MOCK-2
TEST_F(CompletionCaptureTest, TheLastReferenceInsideACallbackReturnsAtOnce) {
    Waiter& waiter = new_waiter();
    Waiter& pending = new_waiter();
    waiter.then = [&] {
        completion_port_dec_ref(port_);
        EXPECT_EQ(0, pending.calls);
        EXPECT_NONFATAL_FAILURE(completion_port_dec_ref(port_), "no references left");
        EXPECT_NONFATAL_FAILURE(completion_port_inc_ref(port_), "no references left");
    };
    ASSERT_EQ(0, add(waiter, EPOLLIN));
    ASSERT_EQ(0, add(pending, EPOLLOUT));
    capture_.complete(kSocket, COMPLETION_PORT_EPOLL_EPOLLIN, COMPLETION_PORT_RESULT_OK, -1);
    EXPECT_TRUE(pending.abandoned());
    EXPECT_NONFATAL_FAILURE(completion_port_remove(port_, kSocket), "the port was freed");
    port_ = nullptr;
}

// Spec: CP-MOCK-2
TEST_F(CompletionCaptureTest, AddsFromManyThreadsAreAllKept) {
    constexpr int kThreads = 4;
    constexpr int kAdds = 100;
    std::vector<Waiter> waiters(kThreads);
    std::vector<std::thread> threads;
    for (Waiter& waiter : waiters) {
        threads.emplace_back([&] {
            for (int i = 0; i < kAdds; ++i) EXPECT_EQ(0, add(waiter, EPOLLIN));
        });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(size_t{kThreads * kAdds}, capture_.pending_count());
    completion_port_remove(port_, kSocket);
    for (const Waiter& waiter : waiters) EXPECT_EQ(kAdds, waiter.calls);
}

void leave_a_port_behind() {
    CompletionCapture capture;
    (void)capture.completion_port_create();
}

// Spec: CP-MOCK-2
TEST(CompletionCapture, ALeakedPortFailsTheTest) {
    EXPECT_NONFATAL_FAILURE(leave_a_port_behind(), "still has 1 reference(s)");
}

// Spec: CP-MOCK-2
TEST(CompletionCapture, AForeignHandleFailsTheTest) {
    CompletionCapture capture;
    static int object;
    const auto foreign = reinterpret_cast<COMPLETION_PORT_HANDLE>(&object);
    EXPECT_NONFATAL_FAILURE(capture.completion_port_dec_ref(foreign), "is not one of this");
    EXPECT_EQ(0u, capture.references(foreign));
}

}  // namespace
