#include "completionport/testing/mock_completion_port.h"

#include <gmock/gmock.h>
#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <cstdint>
#include <utility>

#include "completionport/completion_port.h"
#include "completionport/operations.h"
#include "completionport/options.h"
#include "completionport/timers.h"

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
void ignore_record(void*, const COMPLETION_PORT_COMPLETION*) {}

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
TEST(MockCompletionPort, EveryFunctionOfOperationsAndRecordsReachesTheObject) {
    StrictMock<MockCompletionPort> mock;
    const COMPLETION_PORT_OPERATION operation{};
    const COMPLETION_PORT_OPERATION* const operations[] = {&operation};
    COMPLETION_PORT_COMPLETION record{};
    uint64_t id = 0;
    int context = 0;
    EXPECT_CALL(mock, completion_port_submit(some_handle(), &operation, &id, &record))
        .WillOnce(Return(1));
    EXPECT_CALL(mock, completion_port_submit_batch(some_handle(), operations, 7, &id))
        .WillOnce(Return(2));
    EXPECT_CALL(mock, completion_port_cancel(some_handle(), uint64_t{5} << 40))
        .WillOnce(Return(-ENOENT));
    EXPECT_CALL(mock, completion_port_post(some_handle(), 8, -9, ignore_record, &context))
        .WillOnce(Return(-ENOMEM));
    EXPECT_CALL(mock, completion_port_wait(some_handle(), &record, 3, -1)).WillOnce(Return(3));
    EXPECT_CALL(mock, completion_port_wait_leave(some_handle())).WillOnce(Return(-ENOENT));

    EXPECT_EQ(1, completion_port_submit(some_handle(), &operation, &id, &record));
    EXPECT_EQ(2, completion_port_submit_batch(some_handle(), operations, 7, &id));
    EXPECT_EQ(-ENOENT, completion_port_cancel(some_handle(), uint64_t{5} << 40));
    EXPECT_EQ(-ENOMEM, completion_port_post(some_handle(), 8, -9, ignore_record, &context));
    EXPECT_EQ(3, completion_port_wait(some_handle(), &record, 3, -1));
    EXPECT_EQ(-ENOENT, completion_port_wait_leave(some_handle()));
}

// Spec: CP-MOCK-1
TEST(MockCompletionPort, EveryFunctionOfTimersOptionsAndOtherLoopsReachesTheObject) {
    StrictMock<MockCompletionPort> mock;
    const COMPLETION_PORT_OPTIONS options{};
    constexpr uint64_t kTimer = uint64_t{5} << 40;
    EXPECT_CALL(mock, completion_port_create_with_options(&options))
        .WillOnce(Return(some_handle()));
    EXPECT_CALL(mock, completion_port_timer_move(some_handle(), kTimer, kTimer + 1))
        .WillOnce(Return(-ERANGE));
    EXPECT_CALL(mock, completion_port_fd(some_handle())).WillOnce(Return(6));
    EXPECT_CALL(mock, completion_port_next_timeout(some_handle())).WillOnce(Return(INT64_MAX));

    EXPECT_EQ(some_handle(), completion_port_create_with_options(&options));
    EXPECT_EQ(-ERANGE, completion_port_timer_move(some_handle(), kTimer, kTimer + 1));
    EXPECT_EQ(6, completion_port_fd(some_handle()));
    EXPECT_EQ(INT64_MAX, completion_port_next_timeout(some_handle()));
}

// Spec: CP-MOCK-1
TEST(MockCompletionPort, WithoutAnObjectACallOfTimersOptionsAndOtherLoopsFailsTheTest) {
    COMPLETION_PORT_HANDLE handle = some_handle();
    int result = 0;
    int64_t timeout_ns = 0;
    EXPECT_NONFATAL_FAILURE(handle = completion_port_create_with_options(nullptr),
                            "completion_port_create_with_options was called while no");
    EXPECT_EQ(nullptr, handle);
    EXPECT_EQ(ENOSYS, errno);
    EXPECT_NONFATAL_FAILURE(result = completion_port_timer_move(some_handle(), 1, 1),
                            "completion_port_timer_move was called while no");
    EXPECT_EQ(-ENOSYS, std::exchange(result, 0));
    EXPECT_NONFATAL_FAILURE(result = completion_port_fd(some_handle()), "completion_port_fd");
    EXPECT_EQ(-ENOSYS, result);
    EXPECT_NONFATAL_FAILURE(timeout_ns = completion_port_next_timeout(some_handle()),
                            "completion_port_next_timeout");
    EXPECT_EQ(-ENOSYS, timeout_ns);
}

// Spec: CP-MOCK-1
TEST(MockCompletionPort, ForwardsTheFunctionsOfPools) {
    StrictMock<MockCompletionPort> mock;
    const COMPLETION_PORT_BUFFER_POOL_OPTIONS options{};
    char buffer = 0;
    const auto pool = reinterpret_cast<COMPLETION_PORT_BUFFER_POOL_HANDLE>(&buffer);
    EXPECT_CALL(mock, completion_port_buffer_pool_create(some_handle(), &options))
        .WillOnce(Return(pool));
    EXPECT_CALL(mock, completion_port_buffer_release(pool, &buffer)).WillOnce(Return(-EINVAL));
    EXPECT_CALL(mock, completion_port_buffer_pool_in_use(pool)).WillOnce(Return(5));
    EXPECT_CALL(mock, completion_port_buffer_pool_destroy(pool));
    EXPECT_EQ(pool, completion_port_buffer_pool_create(some_handle(), &options));
    EXPECT_EQ(-EINVAL, completion_port_buffer_release(pool, &buffer));
    EXPECT_EQ(5, completion_port_buffer_pool_in_use(pool));
    completion_port_buffer_pool_destroy(pool);
}

// Spec: CP-MOCK-1
TEST(MockCompletionPort, WithoutAnObjectACallOfPoolsFailsTheTest) {
    COMPLETION_PORT_BUFFER_POOL_HANDLE pool = nullptr;
    int64_t result = 0;
    EXPECT_NONFATAL_FAILURE(pool = completion_port_buffer_pool_create(some_handle(), nullptr),
                            "completion_port_buffer_pool_create was called while no");
    EXPECT_EQ(nullptr, pool);
    EXPECT_NONFATAL_FAILURE(result = completion_port_buffer_release(pool, &result),
                            "completion_port_buffer_release was called while no");
    EXPECT_EQ(-ENOSYS, result);
    EXPECT_NONFATAL_FAILURE(completion_port_buffer_pool_destroy(pool), "pool_destroy");
    EXPECT_NONFATAL_FAILURE(completion_port_buffer_pool_in_use(pool), "pool_in_use");
}

// Spec: CP-MOCK-1
TEST(MockCompletionPort, WithoutAnObjectACallOfOperationsFailsTheTest) {
    const COMPLETION_PORT_HANDLE port = some_handle();
    int result = 0;
    EXPECT_NONFATAL_FAILURE(result = completion_port_submit(port, nullptr, nullptr, nullptr),
                            "completion_port_submit was called while no");
    EXPECT_EQ(-ENOSYS, std::exchange(result, 0));
    EXPECT_NONFATAL_FAILURE(result = completion_port_submit_batch(port, nullptr, 0, nullptr),
                            "completion_port_submit_batch was called while no");
    EXPECT_EQ(-ENOSYS, std::exchange(result, 0));
    EXPECT_NONFATAL_FAILURE(result = completion_port_cancel(port, 1), "completion_port_cancel");
    EXPECT_EQ(-ENOSYS, std::exchange(result, 0));
    EXPECT_NONFATAL_FAILURE(result = completion_port_post(port, 0, 0, ignore_record, nullptr),
                            "completion_port_post");
    EXPECT_EQ(-ENOSYS, std::exchange(result, 0));
    EXPECT_NONFATAL_FAILURE(result = completion_port_wait(port, nullptr, 0, 0),
                            "completion_port_wait");
    EXPECT_EQ(-ENOSYS, result);
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
