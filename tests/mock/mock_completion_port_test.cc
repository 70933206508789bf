#include "completionport/testing/mock_completion_port.h"

#include <gmock/gmock.h>
#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "completionport/completion_port.h"

namespace {

using completionport::testing::CompletionCapture;
using completionport::testing::MockCompletionPort;
using testing::_;
using testing::NiceMock;
using testing::Return;
using testing::StrictMock;

COMPLETION_PORT_HANDLE some_handle() {
    static int object;
    return reinterpret_cast<COMPLETION_PORT_HANDLE>(&object);
}

void ignore_removed(void*, SOCKET_HANDLE) {}

// Spec: CP-MOCK-1
TEST(MockCompletionPort, EveryFunctionReachesTheObject) {
    StrictMock<MockCompletionPort> mock;
    const COMPLETION_PORT_INGRESS_DATA data{};
    int context = 0;
    EXPECT_CALL(mock, completion_port_create()).WillOnce(Return(some_handle()));
    EXPECT_CALL(mock, completion_port_inc_ref(some_handle()));
    EXPECT_CALL(mock, completion_port_dec_ref(some_handle()));
    EXPECT_CALL(mock, completion_port_shutdown(some_handle())).WillOnce(Return(1));
    EXPECT_CALL(mock, completion_port_add(some_handle(), &data)).WillOnce(Return(-ENOBUFS));
    EXPECT_CALL(mock, completion_port_remove(some_handle(), 5));
    EXPECT_CALL(mock, completion_port_remove_async(some_handle(), 6, ignore_removed, &context))
        .WillOnce(Return(-EALREADY));

    EXPECT_EQ(some_handle(), completion_port_create());
    completion_port_inc_ref(some_handle());
    completion_port_dec_ref(some_handle());
    EXPECT_EQ(1, completion_port_shutdown(some_handle()));
    EXPECT_EQ(-ENOBUFS, completion_port_add(some_handle(), &data));
    completion_port_remove(some_handle(), 5);
    EXPECT_EQ(-EALREADY, completion_port_remove_async(some_handle(), 6, ignore_removed, &context));
}

// Spec: CP-MOCK-1
TEST(MockCompletionPort, WithoutAnObjectACallFailsTheTest) {
    COMPLETION_PORT_HANDLE handle = some_handle();
    int result = 0;
    EXPECT_NONFATAL_FAILURE(handle = completion_port_create(),
                            "completion_port_create was called while no");
    EXPECT_EQ(nullptr, handle);
    EXPECT_EQ(ENOSYS, errno);
    EXPECT_NONFATAL_FAILURE(completion_port_inc_ref(some_handle()), "completion_port_inc_ref");
    EXPECT_NONFATAL_FAILURE(completion_port_dec_ref(some_handle()), "completion_port_dec_ref");
    EXPECT_NONFATAL_FAILURE(result = completion_port_shutdown(some_handle()), "MockCompletionPort");
    EXPECT_EQ(-ENOSYS, result);
    EXPECT_NONFATAL_FAILURE(result = completion_port_add(some_handle(), nullptr),
                            "completion_port_add");
    EXPECT_EQ(-ENOSYS, result);
    EXPECT_NONFATAL_FAILURE(completion_port_remove(some_handle(), 1), "completion_port_remove");
    EXPECT_NONFATAL_FAILURE(
        result = completion_port_remove_async(some_handle(), 1, ignore_removed, nullptr),
        "completion_port_remove_async");
    EXPECT_EQ(-ENOSYS, result);
}

// Spec: CP-MOCK-1
TEST(MockCompletionPort, ASecondObjectIsRefusedAndTheFirstStaysCurrent) {
    NiceMock<MockCompletionPort> first;
    EXPECT_NONFATAL_FAILURE({ MockCompletionPort second; }, "while another lives");
    EXPECT_CALL(first, completion_port_create()).WillOnce(Return(some_handle()));
    EXPECT_EQ(some_handle(), completion_port_create());
}

// Spec: CP-MOCK-1
TEST(MockCompletionPort, ObjectsOneAfterTheOther) {
    for (int round = 0; round < 2; ++round) {
        MockCompletionPort mock;
        EXPECT_CALL(mock, completion_port_remove(_, round));
        completion_port_remove(some_handle(), round);
    }
}

// Spec: CP-MOCK-1, CP-MOCK-2
TEST(MockCompletionPort, DelegatesToTheCaptureAndAnExpectationGoesFirst) {
    CompletionCapture capture;
    NiceMock<MockCompletionPort> mock;
    mock.delegate_to(capture);
    const COMPLETION_PORT_HANDLE port = completion_port_create();
    completion_port_inc_ref(port);
    EXPECT_EQ(2u, capture.references(port));
    EXPECT_CALL(mock, completion_port_add(port, _)).WillOnce(Return(-ENOMEM));
    EXPECT_EQ(-ENOMEM, completion_port_add(port, nullptr));
    EXPECT_EQ(0, completion_port_shutdown(port));
    EXPECT_EQ(-ESHUTDOWN, completion_port_remove_async(port, 3, ignore_removed, nullptr));
    completion_port_remove(port, 3);
    completion_port_dec_ref(port);
    completion_port_dec_ref(port);
    EXPECT_EQ(0u, capture.references(port));
}

// Spec: CP-API-2, CP-API-3
TEST(MockCompletionPort, NamesEveryEnumValueInTheRequiredOrder) {
    const COMPLETION_PORT_EPOLL_ACTION actions[] = {COMPLETION_PORT_EPOLL_ACTION_INVALID,
                                                    COMPLETION_PORT_EPOLL_ACTION_VALUES};
    const char* const action_names[] = {
        "COMPLETION_PORT_EPOLL_ACTION_INVALID", "COMPLETION_PORT_EPOLL_EPOLLRDHUP",
        "COMPLETION_PORT_EPOLL_EPOLLIN", "COMPLETION_PORT_EPOLL_EPOLLOUT",
        "COMPLETION_PORT_CLOSING"};
    for (int value = 0; value < 5; ++value) {
        EXPECT_EQ(value, actions[value]);
        EXPECT_STREQ(action_names[value],
                     MU_ENUM_TO_STRING(COMPLETION_PORT_EPOLL_ACTION, actions[value]));
    }
    const COMPLETION_PORT_RESULT results[] = {COMPLETION_PORT_RESULT_INVALID,
                                              COMPLETION_PORT_RESULT_VALUES};
    const char* const result_names[] = {"COMPLETION_PORT_RESULT_INVALID",
                                        "COMPLETION_PORT_RESULT_OK", "COMPLETION_PORT_RESULT_ERROR",
                                        "COMPLETION_PORT_RESULT_ABANDONED"};
    for (int value = 0; value < 4; ++value) {
        EXPECT_EQ(value, results[value]);
        EXPECT_STREQ(result_names[value],
                     MU_ENUM_TO_STRING(COMPLETION_PORT_RESULT, results[value]));
    }
}

}  // namespace
