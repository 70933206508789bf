#include "line_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/epoll.h>

#include <cerrno>
#include <memory>
#include <string>
#include <vector>

#include "completionport/completion_port.h"
#include "completionport/testing/completion_capture.h"
#include "completionport/testing/mock_completion_port.h"

namespace {

using completionport::testing::CompletionCapture;
using completionport::testing::MockCompletionPort;
using example::LineClient;
using testing::_;
using testing::ElementsAre;
using testing::Field;
using testing::IsEmpty;
using testing::NiceMock;
using testing::Pointee;
using testing::Return;

constexpr SOCKET_HANDLE kSocket = 12;

class LineClientTest : public testing::Test {
 protected:
    LineClientTest() {
        mock_.delegate_to(capture_);
        port_ = completion_port_create();
        client_ = std::make_unique<LineClient>(
            port_, kSocket, [this](std::string_view line) { lines_.emplace_back(line); },
            [this](int error) { closed_.push_back(error); });
    }
    ~LineClientTest() override {
        client_.reset();
        completion_port_dec_ref(port_);
    }

    CompletionCapture capture_;
    NiceMock<MockCompletionPort> mock_;
    COMPLETION_PORT_HANDLE port_ = nullptr;
    std::vector<std::string> lines_;
    std::vector<int> closed_;
    std::unique_ptr<LineClient> client_;
};

// Spec: CP-MOCK-2
TEST_F(LineClientTest, LinesAreCutFromTheStream) {
    ASSERT_EQ(0, client_->start());
    capture_.fill_and_complete("one\ntw");
    capture_.fill_and_complete("o\n\nthree");
    EXPECT_THAT(lines_, ElementsAre("one", "two", ""));
    capture_.fill_and_complete("\n");
    EXPECT_THAT(lines_, ElementsAre("one", "two", "", "three"));
    EXPECT_THAT(closed_, IsEmpty());
}

TEST_F(LineClientTest, LinesAreSentInOrder) {
    EXPECT_EQ(0, client_->send("hello"));
    EXPECT_EQ(0, client_->send(""));
    EXPECT_EQ("hello\n", capture_.take_and_complete(kSocket));
    EXPECT_EQ("\n", capture_.take_and_complete(kSocket));
    EXPECT_THAT(closed_, IsEmpty());
}

TEST_F(LineClientTest, TheEndOfTheStreamCloses) {
    ASSERT_EQ(0, client_->start());
    capture_.fill_and_complete("cut off");
    capture_.fill_and_complete("");
    EXPECT_THAT(lines_, IsEmpty());
    EXPECT_THAT(closed_, ElementsAre(0));
    EXPECT_EQ(0u, capture_.pending_count());
}

// Spec: CP-MOCK-2
TEST_F(LineClientTest, AnErrorClosesWithItsErrno) {
    ASSERT_EQ(0, client_->start());
    capture_.complete(kSocket, COMPLETION_PORT_EPOLL_EPOLLIN, COMPLETION_PORT_RESULT_ERROR, -1,
                      ETIMEDOUT);
    EXPECT_THAT(closed_, ElementsAre(ETIMEDOUT));
    EXPECT_EQ(0u, capture_.pending_count());
}

TEST_F(LineClientTest, BytesBeforeAnErrorAreDelivered) {
    ASSERT_EQ(0, client_->start());
    const EPOLL_BUFFER_DATA buffer = capture_.pending(kSocket).front().ingress_data.buffer_data;
    static_cast<char*>(buffer.buffer)[0] = '\n';
    capture_.complete(kSocket, COMPLETION_PORT_EPOLL_EPOLLIN, COMPLETION_PORT_RESULT_ERROR, 1, EIO);
    EXPECT_THAT(lines_, ElementsAre(""));
    EXPECT_THAT(closed_, ElementsAre(EIO));
}

// Spec: CP-MOCK-2
TEST_F(LineClientTest, AResetClosesOnceForReadAndWrite) {
    ASSERT_EQ(0, client_->start());
    ASSERT_EQ(0, client_->send("lost"));
    capture_.complete(kSocket, COMPLETION_PORT_EPOLL_EPOLLOUT, COMPLETION_PORT_RESULT_ABANDONED, 2,
                      EPIPE);
    capture_.complete(kSocket, COMPLETION_PORT_EPOLL_EPOLLIN, COMPLETION_PORT_RESULT_ABANDONED, -1,
                      ECONNRESET);
    EXPECT_THAT(closed_, ElementsAre(EPIPE));
}

// Spec: CP-MOCK-2
TEST_F(LineClientTest, TheEndOfThePortCloses) {
    ASSERT_EQ(0, client_->start());
    ASSERT_EQ(0, client_->send("lost"));
    capture_.abandon_all();
    EXPECT_THAT(closed_, ElementsAre(ECANCELED));
    EXPECT_EQ(0, completion_port_shutdown(port_));
    EXPECT_EQ(-ESHUTDOWN, client_->send("late"));
}

TEST_F(LineClientTest, ARefusedAddIsReported) {
    ASSERT_EQ(0, client_->start());
    EXPECT_CALL(mock_, completion_port_add(
                           port_, Pointee(Field(&COMPLETION_PORT_INGRESS_DATA::epoll_op, EPOLLIN))))
        .WillOnce(Return(-ENOBUFS));
    capture_.fill_and_complete("line\n");
    EXPECT_THAT(lines_, ElementsAre("line"));
    EXPECT_THAT(closed_, ElementsAre(ENOBUFS));
}

TEST_F(LineClientTest, ALineThatIsTooLongCloses) {
    ASSERT_EQ(0, client_->start());
    capture_.fill_and_complete(std::string(LineClient::kLineBytesMax + 1, 'x'));
    EXPECT_THAT(closed_, ElementsAre(EMSGSIZE));
    EXPECT_EQ(-EMSGSIZE, client_->send(std::string(LineClient::kLineBytesMax + 1, 'x')));
}

TEST_F(LineClientTest, ItsEndRemovesTheSocketAndGivesTheReferenceBack) {
    ASSERT_EQ(0, client_->start());
    EXPECT_EQ(2u, capture_.references(port_));
    EXPECT_CALL(mock_, completion_port_remove(port_, kSocket));
    EXPECT_CALL(mock_, completion_port_dec_ref(port_)).Times(2);
    client_.reset();
    EXPECT_EQ(1u, capture_.references(port_));
    EXPECT_THAT(closed_, ElementsAre(ECANCELED));
    EXPECT_EQ(0u, capture_.pending_count());
}

}  // namespace
