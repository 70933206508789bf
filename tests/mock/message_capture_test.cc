#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "completionport/messages.h"
#include "submission_capture_fixture.h"

namespace {

using completionport::testing::SubmissionCompletion;

class MessageCaptureTest : public SubmissionCaptureTest {
 protected:
    MessageCaptureTest() {
        message_.msg_iov = pieces_.data();
        message_.msg_iovlen = pieces_.size();
    }
    template <typename Operation>
    Operation vectors(uint32_t kind, Receiver* receiver) {
        auto operation = operation_of<Operation>(kind, kSocket, receiver);
        operation.vectors = pieces_.data();
        operation.count = static_cast<uint32_t>(pieces_.size());
        return operation;
    }
    template <typename Operation>
    Operation message(uint32_t kind, Receiver* receiver, uint32_t flags) {
        auto operation = operation_of<Operation>(kind, kSocket, receiver);
        operation.message = &message_;
        operation.message_flags = flags;
        return operation;
    }
    COMPLETION_PORT_RECEIVE_VECTOR_OPERATION receive_vector(Receiver* receiver) {
        return vectors<COMPLETION_PORT_RECEIVE_VECTOR_OPERATION>(
            COMPLETION_PORT_KIND_RECEIVE_VECTOR, receiver);
    }
    COMPLETION_PORT_SEND_VECTOR_OPERATION send_vector(Receiver* receiver) {
        return vectors<COMPLETION_PORT_SEND_VECTOR_OPERATION>(COMPLETION_PORT_KIND_SEND_VECTOR,
                                                              receiver);
    }
    COMPLETION_PORT_RECEIVE_MESSAGE_OPERATION receive_message(Receiver* receiver,
                                                              uint32_t flags = 0) {
        return message<COMPLETION_PORT_RECEIVE_MESSAGE_OPERATION>(
            COMPLETION_PORT_KIND_RECEIVE_MESSAGE, receiver, flags);
    }
    COMPLETION_PORT_SEND_MESSAGE_OPERATION send_message(Receiver* receiver, uint32_t flags = 0) {
        return message<COMPLETION_PORT_SEND_MESSAGE_OPERATION>(COMPLETION_PORT_KIND_SEND_MESSAGE,
                                                               receiver, flags);
    }
    template <typename Operation, typename Change>
    int refused(Operation operation, const Change& change) {
        change(operation);
        return submit(operation);
    }
    bool objected(uint64_t id, const SubmissionCompletion& completion) {
        return !capture_.complete_submission(id, completion);
    }

    std::string head_ = "abc";
    std::string body_ = "defgh";
    std::array<struct iovec, 2> pieces_ = {{{head_.data(), 3}, {body_.data(), 5}}};
    struct msghdr message_ {};
};

// Spec: CP-MOCK-3
TEST_F(MessageCaptureTest, FillsThePiecesOneAfterTheOther) {
    Receiver& received = new_receiver();
    const uint64_t id = accepted(receive_vector(&received));
    EXPECT_NONFATAL_FAILURE((void)capture_.take_submission(id), "is not a send");
    EXPECT_EQ(5u, capture_.fill_submission(id, "12345"));
    EXPECT_EQ("123", head_);
    EXPECT_EQ("45fgh", body_);
    ASSERT_TRUE(received.ended(kOk, 0, 5));
    EXPECT_EQ(pieces_.data(), received.records[0].buffer);
    EXPECT_EQ(8u, capture_.fill_submission(accepted(receive_vector(nullptr)), "123456789"));
    EXPECT_EQ("45678", body_);
}

// Spec: CP-MOCK-3
TEST_F(MessageCaptureTest, TakesThePiecesThatAreSent) {
    Receiver& sent = new_receiver();
    const uint64_t id = accepted(send_vector(&sent));
    EXPECT_NONFATAL_FAILURE((void)capture_.fill_submission(id, "x"), "is not a receive");
    EXPECT_NONFATAL_FAILURE(objected(id, {kOk, 0, 7}), "whole length");
    EXPECT_EQ("abcdefgh", capture_.take_submission(id));
    ASSERT_TRUE(sent.ended(kOk, 0, 8));
    EXPECT_EQ(pieces_.data(), sent.records[0].buffer);
}

// Spec: CP-MOCK-3
TEST_F(MessageCaptureTest, FillsAndTakesMessages) {
    Receiver& received = new_receiver();
    Receiver& sent = new_receiver();
    message_.msg_namelen = 16;
    message_.msg_controllen = 24;
    message_.msg_flags = MSG_TRUNC;
    EXPECT_EQ("abcdefgh", capture_.take_submission(accepted(send_message(&sent, MSG_MORE))));
    ASSERT_TRUE(sent.ended(kOk, 0, 8));
    EXPECT_EQ(&message_, sent.records[0].buffer);
    EXPECT_EQ(16u, message_.msg_namelen);
    EXPECT_EQ(4u, capture_.fill_submission(accepted(receive_message(&received)), "1234"));
    EXPECT_EQ("123", head_);
    EXPECT_EQ("4efgh", body_);
    ASSERT_TRUE(received.ended(kOk, 0, 4));
    EXPECT_EQ(&message_, received.records[0].buffer);
    EXPECT_EQ(0u, message_.msg_namelen);
    EXPECT_EQ(0u, message_.msg_controllen);
    EXPECT_EQ(0, message_.msg_flags);
}

// Spec: CP-MOCK-3
TEST_F(MessageCaptureTest, OnlyATruncatedDatagramHasALengthBeyondItsPieces) {
    const uint64_t plain = accepted(receive_message(nullptr, MSG_PEEK));
    const uint64_t vector = accepted(receive_vector(nullptr));
    const uint64_t sent = accepted(send_message(nullptr));
    const uint64_t truncated = accepted(receive_message(nullptr, MSG_TRUNC));
    EXPECT_NONFATAL_FAILURE(objected(plain, {kOk, 0, 9}), "fit the buffer");
    EXPECT_NONFATAL_FAILURE(objected(vector, {kOk, 0, 9}), "fit the buffer");
    EXPECT_NONFATAL_FAILURE(objected(sent, {kOk, 0, 7}), "whole length");
    EXPECT_NONFATAL_FAILURE(objected(truncated, {kError, -EIO, 9}), "fit the buffer");
    EXPECT_TRUE(capture_.complete_submission(truncated, {kOk, 0, 9}));
    EXPECT_TRUE(capture_.complete_submission(sent, {kError, -EIO, 7}));
}

// Spec: CP-MOCK-3
TEST_F(MessageCaptureTest, RefusesVectorsThatThePortRefuses) {
    EXPECT_EQ(-EINVAL, refused(receive_vector(nullptr), [](auto& o) { o.count = 0; }));
    EXPECT_EQ(-EINVAL, refused(receive_vector(nullptr), [](auto& o) { o.vectors = nullptr; }));
    EXPECT_EQ(-EINVAL, refused(receive_vector(nullptr), [](auto& o) { o.reserved = 1; }));
    EXPECT_EQ(-EINVAL, refused(send_vector(nullptr), [](auto& o) { o.count = 0; }));
    EXPECT_EQ(-EINVAL, refused(send_vector(nullptr), [](auto& o) { o.reserved = 1; }));
    const std::vector<struct iovec> many(COMPLETION_PORT_VECTORS_MAX + 1, {head_.data(), 1});
    const auto take_many = [&](uint32_t count) {
        return refused(send_vector(nullptr), [&](auto& o) {
            o.vectors = many.data();
            o.count = count;
        });
    };
    EXPECT_EQ(-EINVAL, take_many(COMPLETION_PORT_VECTORS_MAX + 1));
    for (const struct iovec bad : {iovec{nullptr, 5}, iovec{body_.data(), 0}, iovec{nullptr, 0},
                                   iovec{body_.data(), size_t{INT32_MAX} - 2}}) {
        pieces_[1] = bad;
        EXPECT_EQ(-EINVAL, submit(receive_vector(nullptr)));
        EXPECT_EQ(-EINVAL, submit(send_vector(nullptr)));
    }
    EXPECT_EQ(0u, capture_.submission_count());
    EXPECT_EQ(0, take_many(COMPLETION_PORT_VECTORS_MAX));
    pieces_[1].iov_len = INT32_MAX - 3;
    EXPECT_EQ(0, submit(send_vector(nullptr)));
}

// Spec: CP-MOCK-3
TEST_F(MessageCaptureTest, RefusesMessagesThatThePortRefuses) {
    EXPECT_EQ(-EINVAL, refused(receive_message(nullptr), [](auto& o) { o.message = nullptr; }));
    EXPECT_EQ(-EINVAL, refused(receive_message(nullptr), [](auto& o) { o.reserved = 1; }));
    EXPECT_EQ(-EINVAL, refused(send_message(nullptr), [](auto& o) { o.message = nullptr; }));
    EXPECT_EQ(-EINVAL, refused(send_message(nullptr), [](auto& o) { o.reserved = 1; }));
    EXPECT_EQ(-EINVAL, submit(receive_message(nullptr, MSG_MORE)));
    EXPECT_EQ(-EINVAL, submit(send_message(nullptr, MSG_PEEK)));
    for (const struct iovec bad : {iovec{nullptr, 5}, iovec{body_.data(), size_t{INT32_MAX} - 2}}) {
        pieces_[1] = bad;
        EXPECT_EQ(-EINVAL, submit(receive_message(nullptr)));
        EXPECT_EQ(-EINVAL, submit(send_message(nullptr)));
    }
    message_.msg_iovlen = COMPLETION_PORT_VECTORS_MAX + 1;
    EXPECT_EQ(-EINVAL, submit(receive_message(nullptr)));
    message_.msg_iov = nullptr;
    message_.msg_iovlen = 1;
    EXPECT_EQ(-EINVAL, submit(send_message(nullptr)));
    EXPECT_EQ(0u, capture_.submission_count());
    // Ancillary data alone, and the flags that the port always sets, are fine.
    message_.msg_iovlen = 0;
    const uint64_t empty = accepted(send_message(nullptr, MSG_EOR | MSG_DONTWAIT | MSG_NOSIGNAL));
    EXPECT_EQ("", capture_.take_submission(empty));
    message_.msg_iov = pieces_.data();
    message_.msg_iovlen = 2;
    pieces_[1] = {nullptr, 0};
    EXPECT_EQ(0, submit(receive_message(nullptr, MSG_ERRQUEUE | MSG_CMSG_CLOEXEC)));
}

// Spec: CP-MOCK-6
TEST_F(MessageCaptureTest, BytesAtOnceFillThePieces) {
    auto operation = receive_vector(nullptr);
    operation.common.flags = COMPLETION_PORT_FLAG_INLINE;
    capture_.fill_inline("1234");
    EXPECT_EQ(1, completion_port_submit(port_, &operation.common, nullptr, records_.data()));
    EXPECT_EQ(4, records_[0].value);
    EXPECT_EQ("123", head_);
    EXPECT_EQ("4efgh", body_);
}

}  // namespace
