// Submissions to a mocked port, for the tests of their capture.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "completionport/operations.h"
#include "completionport/testing/completion_capture.h"
#include "completionport/testing/mock_completion_port.h"

inline constexpr int kSocket = 7;
inline constexpr int kOther = 8;
inline constexpr auto kOk = COMPLETION_PORT_RESULT_OK;
inline constexpr auto kError = COMPLETION_PORT_RESULT_ERROR;
inline constexpr auto kAbandoned = COMPLETION_PORT_RESULT_ABANDONED;

// One submission's context: keeps its records and may act when they come.
struct Receiver {
    std::vector<COMPLETION_PORT_COMPLETION> records;
    int error = -1;
    std::function<void()> then;

    static void on_complete(void* context, const COMPLETION_PORT_COMPLETION* completion) {
        auto& self = *static_cast<Receiver*>(context);
        self.error = errno;
        self.records.push_back(*completion);
        if (self.then) self.then();
    }
    bool ended(COMPLETION_PORT_RESULT result, int32_t with_error, int64_t value) const {
        return records.size() == 1 && records[0].result == result &&
               records[0].error == with_error && records[0].value == value && error == -with_error;
    }
};

class SubmissionCaptureTest : public testing::Test {
 protected:
    SubmissionCaptureTest() {
        mock_.delegate_to(capture_);
        port_ = completion_port_create();
    }
    ~SubmissionCaptureTest() override { completion_port_dec_ref(port_); }

    template <typename Operation>
    static Operation operation_of(uint32_t kind, int descriptor, Receiver* receiver) {
        Operation operation{};
        operation.common.size = sizeof(operation);
        operation.common.kind = kind;
        operation.common.descriptor = descriptor;
        operation.common.key = 40u + kind;
        operation.common.context = receiver;
        if (receiver != nullptr) operation.common.on_complete = Receiver::on_complete;
        return operation;
    }
    COMPLETION_PORT_RECEIVE_OPERATION receive(Receiver* receiver, int descriptor = kSocket) {
        auto operation = operation_of<COMPLETION_PORT_RECEIVE_OPERATION>(
            COMPLETION_PORT_KIND_RECEIVE, descriptor, receiver);
        operation.buffer = buffer_.data();
        operation.length = static_cast<uint32_t>(buffer_.size());
        return operation;
    }
    COMPLETION_PORT_SEND_OPERATION send(Receiver* receiver, int descriptor = kSocket) {
        auto operation = operation_of<COMPLETION_PORT_SEND_OPERATION>(COMPLETION_PORT_KIND_SEND,
                                                                      descriptor, receiver);
        operation.buffer = "hello";
        operation.length = 5;
        return operation;
    }
    COMPLETION_PORT_POLL_OPERATION poll(Receiver* receiver, uint32_t events = POLLIN | POLLOUT) {
        auto operation = operation_of<COMPLETION_PORT_POLL_OPERATION>(COMPLETION_PORT_KIND_POLL,
                                                                      kSocket, receiver);
        operation.events = events;
        return operation;
    }

    template <typename Operation>
    int submit(const Operation& operation) {
        return completion_port_submit(port_, &operation.common, nullptr, nullptr);
    }
    // The id of the accepted submission.
    template <typename Operation>
    uint64_t accepted(const Operation& operation) {
        uint64_t id = 0;
        EXPECT_EQ(0, completion_port_submit(port_, &operation.common, &id, nullptr));
        return id;
    }
    // What completion_port_wait returns, and writes to records_.
    int wait(uint32_t completions_max = 8, int64_t timeout_ns = -1) {
        return completion_port_wait(port_, records_.data(), completions_max, timeout_ns);
    }

    // What a submission refers to outlives the port, which ends after the test's body.
    Receiver& new_receiver() { return receivers_.emplace_back(); }

    std::string buffer_ = "....";
    std::array<COMPLETION_PORT_COMPLETION, 8> records_{};
    std::deque<Receiver> receivers_;
    completionport::testing::CompletionCapture capture_;
    testing::NiceMock<completionport::testing::MockCompletionPort> mock_;
    COMPLETION_PORT_HANDLE port_ = nullptr;
};
