// Links the installed mock in place of the library and meets one expectation.
#include <completionport/testing/mock_completion_port.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

namespace {

TEST(InstalledMock, ReceivesTheCall) {
    completionport::testing::MockCompletionPort mock;
    EXPECT_CALL(mock, completion_port_shutdown(nullptr)).WillOnce(testing::Return(-EINVAL));
    EXPECT_EQ(completion_port_shutdown(nullptr), -EINVAL);
}

}  // namespace

int main(int argc, char** argv) {
    testing::InitGoogleMock(&argc, argv);
    return RUN_ALL_TESTS();
}
