#include <gmock/gmock.h>
#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>
#include <sys/epoll.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "completionport/operations.h"
#include "submission_capture_fixture.h"

namespace {

using testing::ElementsAre;

// Spec: CP-MOCK-4
TEST_F(SubmissionCaptureTest, WaitTakesRecordsInTheOrderOfCompletion) {
    const uint64_t first = accepted(receive(nullptr));
    const uint64_t second = accepted(receive(nullptr));
    EXPECT_EQ(-ETIMEDOUT, wait(8, 0));
    EXPECT_EQ(-ETIMEDOUT, wait(8, -1));
    EXPECT_EQ(-EINVAL, wait(0));
    EXPECT_EQ(-EINVAL, completion_port_wait(port_, nullptr, 1, 0));
    EXPECT_EQ(-EINVAL, completion_port_wait(nullptr, records_.data(), 1, 0));
    EXPECT_TRUE(capture_.complete_submission(second, {kOk, 0, 2}));
    EXPECT_EQ(0, completion_port_post(port_, 77, -78, nullptr, &buffer_));
    EXPECT_TRUE(capture_.complete_submission(first, {kAbandoned, -ECONNRESET, 0}));
    EXPECT_EQ(3u, capture_.record_count(port_));
    ASSERT_EQ(2, wait(2));
    EXPECT_EQ(second, records_[0].operation);
    const COMPLETION_PORT_COMPLETION& post = records_[1];
    EXPECT_EQ(0u, post.operation);
    EXPECT_EQ(77u, post.key);
    EXPECT_EQ(-78, post.value);
    EXPECT_EQ(&buffer_, post.context);
    EXPECT_EQ(nullptr, post.buffer);
    EXPECT_EQ(kOk, post.result);
    EXPECT_EQ(uint32_t{COMPLETION_PORT_KIND_POST}, post.kind);
    ASSERT_EQ(1, wait());
    EXPECT_EQ(first, records_[0].operation);
    EXPECT_EQ(-ECONNRESET, records_[0].error);
    EXPECT_EQ(-ETIMEDOUT, wait());
}

// Spec: CP-MOCK-4
TEST_F(SubmissionCaptureTest, EachPortHasRecordsOfItsOwn) {
    const COMPLETION_PORT_HANDLE other = completion_port_create();
    EXPECT_EQ(0, completion_port_post(other, 1, 1, nullptr, nullptr));
    EXPECT_EQ(-ETIMEDOUT, wait());
    EXPECT_EQ(1u, capture_.record_count(other));
    const uint64_t id = accepted(receive(nullptr));
    EXPECT_EQ(-ENOENT, completion_port_cancel(other, id));
    completion_port_dec_ref(other);
    int result = 0;
    EXPECT_NONFATAL_FAILURE(result = completion_port_post(other, 1, 1, nullptr, nullptr),
                            "the port was freed");
    EXPECT_EQ(-EINVAL, result);
}

// Spec: CP-MOCK-4
TEST_F(SubmissionCaptureTest, APostToACallbackComesWithTheNextFire) {
    Receiver& posted = new_receiver();
    Receiver& received = new_receiver();
    const uint64_t id = accepted(receive(&received));
    EXPECT_EQ(-EINVAL, completion_port_post(nullptr, 1, 2, Receiver::on_complete, &posted));
    EXPECT_EQ(0, completion_port_post(port_, 1, 2, Receiver::on_complete, &posted));
    EXPECT_TRUE(posted.records.empty());
    EXPECT_EQ(-ETIMEDOUT, wait());
    posted.then = [&] {
        EXPECT_TRUE(received.records.empty());
        EXPECT_EQ(-EDEADLK, wait());
    };
    EXPECT_TRUE(capture_.complete_submission(id, {kOk, 0, 4}));
    EXPECT_TRUE(posted.ended(kOk, 0, 2));
    EXPECT_TRUE(received.ended(kOk, 0, 4));
    posted.then = nullptr;
    EXPECT_EQ(0, completion_port_post(port_, 1, 3, Receiver::on_complete, &posted));
    capture_.run_queued();
    EXPECT_EQ(2u, posted.records.size());
}

// Spec: CP-MOCK-5
TEST_F(SubmissionCaptureTest, ACancelEndsTheSubmissionLater) {
    Receiver& received = new_receiver();
    const uint64_t id = accepted(receive(&received));
    EXPECT_EQ(-EINVAL, completion_port_cancel(nullptr, id));
    EXPECT_EQ(-EINVAL, completion_port_cancel(port_, 0));
    EXPECT_EQ(-ENOENT, completion_port_cancel(port_, id + 1));
    EXPECT_EQ(-ENOENT, completion_port_cancel(port_, static_cast<uint32_t>(id)));
    EXPECT_EQ(0, completion_port_cancel(port_, id));
    EXPECT_EQ(0, completion_port_cancel(port_, id));
    EXPECT_TRUE(received.records.empty());
    ASSERT_EQ(1u, capture_.submission_count());
    EXPECT_TRUE(capture_.submissions()[0].cancel_asked);
    capture_.run_queued();
    EXPECT_TRUE(received.ended(kAbandoned, -ECANCELED, 0));
    EXPECT_EQ(-ENOENT, completion_port_cancel(port_, id));

    EXPECT_EQ(0, completion_port_cancel(port_, accepted(send(nullptr))));
    capture_.run_queued();
    EXPECT_EQ(1u, capture_.record_count(port_));
}

// Spec: CP-MOCK-5
TEST_F(SubmissionCaptureTest, ACancelThatComesTooLateChangesNothing) {
    Receiver& received = new_receiver();
    const uint64_t with_callback = accepted(receive(&received));
    const uint64_t without = accepted(receive(nullptr));
    EXPECT_EQ(0, completion_port_cancel(port_, with_callback));
    EXPECT_TRUE(capture_.complete_submission(with_callback, {kOk, 0, 3}));
    EXPECT_TRUE(received.ended(kOk, 0, 3));
    EXPECT_EQ(0, completion_port_cancel(port_, without));
    EXPECT_TRUE(capture_.complete_submission(without, {kOk, 0, 2}));
    ASSERT_EQ(1, wait());
    EXPECT_EQ(kOk, records_[0].result);
    capture_.run_queued();
    EXPECT_EQ(-ETIMEDOUT, wait());
    EXPECT_EQ(1u, received.records.size());
}

// Spec: CP-MOCK-5
TEST_F(SubmissionCaptureTest, WaitFindsWhatWasCancelled) {
    Receiver& received = new_receiver();
    const uint64_t first = accepted(receive(nullptr));
    const uint64_t second = accepted(send(nullptr));
    const uint64_t with_callback = accepted(receive(&received));
    EXPECT_EQ(0, completion_port_cancel(port_, with_callback));
    EXPECT_EQ(0, completion_port_cancel(port_, second));
    EXPECT_EQ(0, completion_port_cancel(port_, first));
    EXPECT_EQ(0u, capture_.record_count(port_));
    ASSERT_EQ(2, wait());
    EXPECT_EQ(second, records_[0].operation);
    EXPECT_EQ(first, records_[1].operation);
    EXPECT_EQ(kAbandoned, records_[1].result);
    EXPECT_EQ(-ECANCELED, records_[1].error);
    EXPECT_TRUE(received.records.empty());
    capture_.run_queued();
    EXPECT_EQ(1u, received.records.size());
    EXPECT_EQ(-ETIMEDOUT, wait());
}

// Spec: CP-MOCK-7
TEST_F(SubmissionCaptureTest, RemoveEndsAddsAndSubmissionsInTheirOrder) {
    std::vector<std::string> order;
    Receiver& first = new_receiver();
    Receiver& third = new_receiver();
    Receiver& other = new_receiver();
    first.then = [&] { order.emplace_back("submission"); };
    third.then = [&] { order.emplace_back("later submission"); };
    const COMPLETION_PORT_INGRESS_DATA add = {
        EPOLLIN,
        kSocket,
        [](void* context, COMPLETION_PORT_EPOLL_ACTION, COMPLETION_PORT_RESULT, int32_t) {
            static_cast<std::vector<std::string>*>(context)->emplace_back("add");
        },
        &order,
        {nullptr, 0}};
    ASSERT_EQ(0, submit(receive(&first)));
    ASSERT_EQ(0, completion_port_add(port_, &add));
    ASSERT_EQ(0, submit(send(&third)));
    ASSERT_EQ(0, submit(receive(nullptr)));
    ASSERT_EQ(0, submit(receive(&other, kOther)));
    completion_port_remove(port_, kSocket);
    EXPECT_THAT(order, ElementsAre("submission", "add", "later submission"));
    EXPECT_TRUE(first.ended(kAbandoned, -ECANCELED, 0));
    EXPECT_EQ(1, wait());
    EXPECT_EQ(-ECANCELED, records_[0].error);
    EXPECT_TRUE(other.records.empty());
    capture_.abandon_all();
    EXPECT_TRUE(other.ended(kAbandoned, -ECANCELED, 0));
    EXPECT_EQ(0u, capture_.submission_count());
}

// Spec: CP-MOCK-7
TEST_F(SubmissionCaptureTest, RemoveAsyncEndsSubmissionsThenTells) {
    Receiver& received = new_receiver();
    struct Removal {
        Receiver& received;
        size_t records_before = 0;
    } removal{received};
    ASSERT_EQ(0, submit(receive(&received)));
    const auto on_removed = [](void* context, SOCKET_HANDLE) {
        auto& self = *static_cast<Removal*>(context);
        self.records_before = self.received.records.size();
    };
    ASSERT_EQ(0, completion_port_remove_async(port_, kSocket, on_removed, &removal));
    EXPECT_EQ(-ECANCELED, submit(receive(nullptr)));
    const auto refused = send(nullptr);
    const COMPLETION_PORT_OPERATION* const operations[] = {&refused.common};
    EXPECT_EQ(-ECANCELED, completion_port_submit_batch(port_, operations, 1, nullptr));
    EXPECT_EQ(0, submit(receive(nullptr, kOther)));
    EXPECT_TRUE(received.records.empty());
    capture_.run_queued();
    EXPECT_TRUE(received.ended(kAbandoned, -ECANCELED, 0));
    EXPECT_EQ(1u, removal.records_before);
    EXPECT_EQ(0, submit(receive(nullptr)));
}

// Spec: CP-MOCK-4, CP-MOCK-7
TEST_F(SubmissionCaptureTest, AfterShutdownWaitDrainsThenSaysSo) {
    Receiver& received = new_receiver();
    const uint64_t with_callback = accepted(receive(&received));
    const uint64_t without = accepted(receive(nullptr));
    EXPECT_EQ(0, completion_port_post(port_, 5, 6, nullptr, nullptr));
    EXPECT_EQ(0, completion_port_cancel(port_, with_callback));
    EXPECT_EQ(0, completion_port_shutdown(port_));
    EXPECT_EQ(-ESHUTDOWN, submit(receive(nullptr)));
    EXPECT_EQ(-ESHUTDOWN, completion_port_cancel(port_, without));
    EXPECT_EQ(-ESHUTDOWN, completion_port_post(port_, 5, 6, nullptr, nullptr));
    EXPECT_TRUE(received.records.empty());
    ASSERT_EQ(2, wait());
    EXPECT_EQ(5u, records_[0].key);
    EXPECT_EQ(without, records_[1].operation);
    EXPECT_EQ(kAbandoned, records_[1].result);
    EXPECT_EQ(-ESHUTDOWN, wait());
    capture_.run_queued();
    EXPECT_TRUE(received.ended(kAbandoned, -ECANCELED, 0));
    EXPECT_EQ(-ESHUTDOWN, wait(8, 0));
}

// Spec: CP-MOCK-7
TEST_F(SubmissionCaptureTest, TheLastReferenceEndsSubmissions) {
    Receiver& received = new_receiver();
    received.then = [&] { EXPECT_EQ(-ESHUTDOWN, submit(receive(&received))); };
    ASSERT_EQ(0, submit(receive(&received)));
    completion_port_dec_ref(port_);
    EXPECT_TRUE(received.ended(kAbandoned, -ECANCELED, 0));
    EXPECT_NONFATAL_FAILURE((void)wait(), "the port was freed");
    port_ = nullptr;
}

}  // namespace
