/* The mock of libcompletionport, for GoogleMock.
 *
 * Link completionport_mock in place of completionport: it defines the same functions, and each
 * call goes to the one MockCompletionPort that lives.
 *
 *   completionport::testing::CompletionCapture capture;
 *   testing::NiceMock<completionport::testing::MockCompletionPort> mock;
 *   mock.delegate_to(capture);
 *   EXPECT_CALL(mock, completion_port_add(port, _)).Times(1);
 *
 * While no mock lives, a call fails the test and returns NULL (errno ENOSYS) or -ENOSYS. A second
 * mock beside a living one fails the test and gets no calls. [CP-MOCK-1] */
#ifndef COMPLETIONPORT_TESTING_MOCK_COMPLETION_PORT_H
#define COMPLETIONPORT_TESTING_MOCK_COMPLETION_PORT_H

#include <gmock/gmock.h>

#include "completionport/completion_port.h"
#include "completionport/testing/completion_capture.h"
#include "completionport/testing/completion_port_functions.h"

namespace completionport::testing {

class MockCompletionPort {
 public:
    /* The mock is the current one from here to its destruction. */
    MockCompletionPort();
    ~MockCompletionPort();
    MockCompletionPort(const MockCompletionPort&) = delete;
    MockCompletionPort& operator=(const MockCompletionPort&) = delete;

    /* Calls without an action of their own go to the capture, which must outlive the mock. */
    void delegate_to(CompletionCapture& capture);

#define COMPLETION_PORT_MOCK_METHOD(result, name, parameters, arguments, failure) \
    MOCK_METHOD(result, name, parameters);
    COMPLETION_PORT_MOCKED_FUNCTIONS(COMPLETION_PORT_MOCK_METHOD)
#undef COMPLETION_PORT_MOCK_METHOD
};

}  // namespace completionport::testing

#endif
