#include <gmock/gmock.h>
#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdint>
#include <string>
#include <vector>

#include "completionport/connections.h"
#include "completionport/files.h"
#include "submission_capture_fixture.h"

namespace {

using completionport::testing::SubmissionCompletion;
using testing::ElementsAre;

constexpr uint32_t kMore = COMPLETION_PORT_COMPLETION_MORE;

class ConnectionCaptureTest : public SubmissionCaptureTest {
 protected:
    COMPLETION_PORT_ACCEPT_OPERATION accept(Receiver* receiver, uint32_t flags = 0) {
        auto operation = operation_of<COMPLETION_PORT_ACCEPT_OPERATION>(COMPLETION_PORT_KIND_ACCEPT,
                                                                        kSocket, receiver);
        operation.common.flags = flags;
        if (flags == 0) {
            operation.address = address();
            operation.address_length = &address_length_;
        }
        return operation;
    }
    COMPLETION_PORT_CONNECT_OPERATION connect(Receiver* receiver) {
        auto operation = operation_of<COMPLETION_PORT_CONNECT_OPERATION>(
            COMPLETION_PORT_KIND_CONNECT, kSocket, receiver);
        operation.address = address();
        operation.address_length = sizeof(address_);
        return operation;
    }
    static COMPLETION_PORT_SHUTDOWN_OPERATION shutdown(Receiver* receiver, uint32_t how) {
        auto operation = operation_of<COMPLETION_PORT_SHUTDOWN_OPERATION>(
            COMPLETION_PORT_KIND_SHUTDOWN, kSocket, receiver);
        operation.how = how;
        return operation;
    }
    static COMPLETION_PORT_CLOSE_OPERATION close(Receiver* receiver) {
        return operation_of<COMPLETION_PORT_CLOSE_OPERATION>(COMPLETION_PORT_KIND_CLOSE, kSocket,
                                                             receiver);
    }
    static COMPLETION_PORT_SENDFILE_OPERATION sendfile(Receiver* receiver) {
        auto operation = operation_of<COMPLETION_PORT_SENDFILE_OPERATION>(
            COMPLETION_PORT_KIND_SENDFILE, kSocket, receiver);
        operation.file = 3;
        operation.length = 100;
        return operation;
    }
    template <typename Operation, typename Change>
    int refused(Operation operation, const Change& change) {
        change(operation);
        return submit(operation);
    }
    bool objected(uint64_t id, const SubmissionCompletion& completion) {
        return !capture_.complete_submission(id, completion);
    }
    struct sockaddr* address() {
        return reinterpret_cast<struct sockaddr*>(&address_);
    }

    struct sockaddr_storage address_ {};
    uint32_t address_length_ = sizeof(address_);
};

// Spec: CP-MOCK-3
TEST_F(ConnectionCaptureTest, AnAcceptGivesTheDescriptorThatTheTestWants) {
    Receiver& connected = new_receiver();
    const uint64_t id = accepted(accept(&connected));
    const auto captured = capture_.submissions(kSocket).at(0).operation.accept;
    EXPECT_EQ(address(), captured.address);
    EXPECT_EQ(&address_length_, captured.address_length);
    EXPECT_TRUE(capture_.complete_submission(id, {kOk, 0, 12}));
    ASSERT_TRUE(connected.ended(kOk, 0, 12));
    EXPECT_EQ(&address_, connected.records[0].buffer);
    EXPECT_EQ(0u, connected.records[0].flags);
}

// Spec: CP-MOCK-8
TEST_F(ConnectionCaptureTest, AMultishotAcceptGoesOnUntilItFails) {
    Receiver& connected = new_receiver();
    const uint64_t id = accepted(accept(&connected, COMPLETION_PORT_FLAG_MULTISHOT));
    EXPECT_NONFATAL_FAILURE(objected(id, {kOk, 0, 12}), "does not end OK");
    EXPECT_NONFATAL_FAILURE(objected(id, {kOk, 0, -1, kMore}), "only with a descriptor");
    EXPECT_NONFATAL_FAILURE(objected(id, {kError, -EMFILE, 0, kMore}), "goes on is OK");
    connected.then = [&] {
        if (connected.records.size() == 1) {
            EXPECT_TRUE(capture_.complete_submission(id, {kOk, 0, 13, kMore}));
        }
    };
    EXPECT_TRUE(capture_.complete_submission(id, {kOk, 0, 12, kMore}));
    EXPECT_TRUE(capture_.complete_submission(id, {kError, -EMFILE}));
    ASSERT_EQ(3u, connected.records.size());
    EXPECT_EQ(12, connected.records[0].value);
    EXPECT_EQ(kMore, connected.records[0].flags);
    EXPECT_EQ(13, connected.records[1].value);
    EXPECT_EQ(nullptr, connected.records[1].buffer);
    EXPECT_EQ(-EMFILE, connected.records[2].error);
    EXPECT_EQ(0u, connected.records[2].flags);
    EXPECT_NONFATAL_FAILURE(objected(id, {kOk, 0, 14, kMore}), "exactly once");
}

// Spec: CP-MOCK-3
TEST_F(ConnectionCaptureTest, ConnectsAndShutdownsHaveNoValue) {
    Receiver& connected = new_receiver();
    Receiver& shut = new_receiver();
    const uint64_t first = accepted(connect(&connected));
    const uint64_t second = accepted(shutdown(&shut, SHUT_RDWR));
    EXPECT_EQ(uint32_t{SHUT_RDWR}, capture_.submissions().at(1).operation.shutdown.how);
    EXPECT_NONFATAL_FAILURE(objected(first, {kOk, 0, 1}), "always 0");
    EXPECT_NONFATAL_FAILURE(objected(first, {kOk, 0, 0, kMore}), "does not go on");
    EXPECT_NONFATAL_FAILURE(objected(second, {kError, -ENOTCONN, -1}), "always 0");
    EXPECT_TRUE(capture_.complete_submission(first, {kError, -ECONNREFUSED}));
    ASSERT_TRUE(connected.ended(kError, -ECONNREFUSED, 0));
    EXPECT_EQ(&address_, connected.records[0].buffer);
    EXPECT_TRUE(capture_.complete_submission(second, {kOk}));
    ASSERT_TRUE(shut.ended(kOk, 0, 0));
    EXPECT_EQ(nullptr, shut.records[0].buffer);
}

// Spec: CP-MOCK-3
TEST_F(ConnectionCaptureTest, RefusesAcceptsThatThePortRefuses) {
    constexpr uint32_t kGoesOn = COMPLETION_PORT_FLAG_MULTISHOT;
    EXPECT_EQ(-EINVAL, refused(accept(nullptr), [](auto& o) { o.address = nullptr; }));
    EXPECT_EQ(-EINVAL, refused(accept(nullptr), [](auto& o) { o.address_length = nullptr; }));
    EXPECT_EQ(-EINVAL, refused(accept(nullptr), [](auto& o) { o.accept_flags = SOCK_STREAM; }));
    EXPECT_EQ(-EINVAL, refused(accept(nullptr), [](auto& o) { o.reserved = 1; }));
    EXPECT_EQ(-EINVAL, refused(accept(nullptr), [](auto& o) { o.common.flags = kGoesOn; }));
    EXPECT_EQ(-EBADF, refused(accept(nullptr), [](auto& o) { o.common.descriptor = -1; }));
    EXPECT_EQ(-EINVAL, refused(receive(nullptr), [](auto& o) { o.common.flags = kGoesOn; }));
    const auto both = accept(nullptr, kGoesOn | COMPLETION_PORT_FLAG_INLINE);
    EXPECT_EQ(-EINVAL, completion_port_submit(port_, &both.common, nullptr, records_.data()));
    EXPECT_EQ(0u, capture_.submission_count());
    const auto good = accept(nullptr, kGoesOn);
    const COMPLETION_PORT_OPERATION* const operations[] = {&good.common};
    EXPECT_EQ(1, completion_port_submit_batch(port_, operations, 1, nullptr));
    EXPECT_EQ(0, refused(accept(nullptr),
                         [](auto& o) { o.accept_flags = SOCK_NONBLOCK | SOCK_CLOEXEC; }));
    // Which worker a connection goes to is no matter of the mock's, which has none.
    constexpr uint32_t kDistribute = COMPLETION_PORT_FLAG_DISTRIBUTE;
    EXPECT_EQ(0, refused(accept(nullptr), [](auto& o) { o.common.flags = kDistribute; }));
    EXPECT_EQ(0, submit(accept(nullptr, kGoesOn | kDistribute)));
    EXPECT_EQ(-EINVAL, refused(receive(nullptr), [](auto& o) { o.common.flags = kDistribute; }));
}

// Spec: CP-MOCK-3
TEST_F(ConnectionCaptureTest, RefusesConnectsShutdownsAndClosesThatThePortRefuses) {
    EXPECT_EQ(-EINVAL, refused(connect(nullptr), [](auto& o) { o.address = nullptr; }));
    EXPECT_EQ(-EINVAL, refused(connect(nullptr), [](auto& o) { o.address_length = 1; }));
    EXPECT_EQ(-EINVAL, refused(connect(nullptr), [](auto& o) { o.address_length = 129; }));
    EXPECT_EQ(-EINVAL, refused(connect(nullptr), [](auto& o) { o.reserved = 1; }));
    EXPECT_EQ(-EINVAL, submit(shutdown(nullptr, 3)));
    EXPECT_EQ(-EINVAL, refused(shutdown(nullptr, 0), [](auto& o) { o.reserved = 1; }));
    EXPECT_EQ(-EINVAL, refused(close(nullptr), [](auto& o) { o.common.deadline_ns = 1; }));
    EXPECT_EQ(-EBADF, refused(close(nullptr), [](auto& o) { o.common.descriptor = -1; }));
    auto at_once = close(nullptr);
    at_once.common.flags = COMPLETION_PORT_FLAG_INLINE;
    EXPECT_EQ(-EINVAL, completion_port_submit(port_, &at_once.common, nullptr, records_.data()));
    EXPECT_EQ(0u, capture_.submission_count());
    EXPECT_EQ(0, refused(connect(nullptr), [](auto& o) { o.address_length = 2; }));
    EXPECT_EQ(0, refused(connect(nullptr), [](auto& o) { o.address_length = 128; }));
}

// Spec: CP-MOCK-3
TEST_F(ConnectionCaptureTest, ASendfileMayFindTheFilesEnd) {
    Receiver& sent = new_receiver();
    const uint64_t id = accepted(sendfile(&sent));
    EXPECT_NONFATAL_FAILURE(objected(id, {kOk, 0, 101}), "fit the buffer");
    EXPECT_TRUE(capture_.complete_submission(id, {kOk, 0, 60}));
    ASSERT_TRUE(sent.ended(kOk, 0, 60));
    EXPECT_EQ(nullptr, sent.records[0].buffer);
    EXPECT_EQ(-EBADF, refused(sendfile(nullptr), [](auto& o) { o.file = -1; }));
    EXPECT_EQ(-EINVAL, refused(sendfile(nullptr), [](auto& o) { o.length = 0; }));
    EXPECT_EQ(-EINVAL,
              refused(sendfile(nullptr), [](auto& o) { o.length = uint64_t{INT32_MAX} + 1; }));
    EXPECT_EQ(-EINVAL, refused(sendfile(nullptr), [](auto& o) { o.offset = INT64_MAX - 99; }));
    EXPECT_EQ(-EINVAL, refused(sendfile(nullptr), [](auto& o) { o.reserved = 1; }));
    EXPECT_EQ(0u, capture_.submission_count());
    EXPECT_EQ(0, refused(sendfile(nullptr), [](auto& o) { o.offset = INT64_MAX - 100; }));
}

// Spec: CP-MOCK-11
TEST_F(ConnectionCaptureTest, ACloseIsTheDescriptorsLast) {
    std::vector<std::string> order;
    Receiver& received = new_receiver();
    Receiver& closed = new_receiver();
    Receiver& again = new_receiver();
    received.then = [&] { order.emplace_back("receive"); };
    closed.then = [&] {
        order.emplace_back("close");
        EXPECT_EQ(0, submit(receive(&again)));
    };
    ASSERT_EQ(0, submit(receive(&received)));
    const uint64_t id = accepted(close(&closed));
    EXPECT_EQ(-ECANCELED, submit(receive(nullptr)));
    EXPECT_EQ(-EALREADY, submit(close(nullptr)));
    EXPECT_EQ(-EALREADY, completion_port_remove_async(
                             port_, kSocket, [](void*, SOCKET_HANDLE) {}, nullptr));
    EXPECT_EQ(0, submit(receive(nullptr, kOther)));
    EXPECT_EQ(id, capture_.oldest_submission(kSocket, COMPLETION_PORT_KIND_CLOSE));
    EXPECT_TRUE(order.empty());
    capture_.run_queued();
    EXPECT_THAT(order, ElementsAre("receive", "close"));
    EXPECT_TRUE(received.ended(kAbandoned, -ECANCELED, 0));
    ASSERT_TRUE(closed.ended(kOk, 0, 0));
    EXPECT_EQ(id, closed.records[0].operation);
    EXPECT_EQ(1u, capture_.submissions(kSocket).size());
}

// Spec: CP-MOCK-11
TEST_F(ConnectionCaptureTest, WaitFindsACloseWithoutCallback) {
    ASSERT_EQ(0, submit(receive(nullptr)));
    const uint64_t id = accepted(close(nullptr));
    ASSERT_EQ(2, wait());
    EXPECT_EQ(kAbandoned, records_[0].result);
    EXPECT_EQ(id, records_[1].operation);
    EXPECT_EQ(kOk, records_[1].result);
    EXPECT_EQ(0, submit(receive(nullptr)));
}

// Spec: CP-MOCK-11
TEST_F(ConnectionCaptureTest, NothingKeepsACloseFromHappening) {
    Receiver& cancelled = new_receiver();
    Receiver& removed = new_receiver();
    Receiver& left = new_receiver();
    EXPECT_EQ(0, completion_port_cancel(port_, accepted(close(&cancelled))));
    capture_.run_queued();
    EXPECT_TRUE(cancelled.ended(kOk, 0, 0));
    ASSERT_EQ(0, submit(close(&removed)));
    completion_port_remove(port_, kSocket);
    EXPECT_TRUE(removed.ended(kOk, 0, 0));
    ASSERT_EQ(0, submit(close(&left)));
    EXPECT_EQ(0, completion_port_shutdown(port_));
    EXPECT_EQ(-ESHUTDOWN, submit(close(nullptr)));
    capture_.run_queued();
    EXPECT_TRUE(left.ended(kOk, 0, 0));
}

// Spec: CP-MOCK-11
TEST_F(ConnectionCaptureTest, ACloseMayFailButIsNeverAbandoned) {
    Receiver& failed = new_receiver();
    const uint64_t id = accepted(close(&failed));
    EXPECT_NONFATAL_FAILURE(objected(id, {kAbandoned, -ECANCELED}), "whatever becomes");
    EXPECT_NONFATAL_FAILURE(objected(id, {kOk, 0, 1}), "always 0");
    failed.then = [&] { EXPECT_EQ(0, submit(receive(nullptr))); };
    EXPECT_TRUE(capture_.complete_submission(id, {kError, -EIO}));
    EXPECT_TRUE(failed.ended(kError, -EIO, 0));
    capture_.run_queued();
    EXPECT_EQ(1u, failed.records.size());
}

}  // namespace
