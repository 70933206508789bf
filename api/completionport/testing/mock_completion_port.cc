#include "completionport/testing/mock_completion_port.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>

namespace completionport::testing {
namespace {

// The functions of the C API have no object to hang a mock on, so the current one is the process's.
std::atomic<MockCompletionPort*> current_mock{nullptr};

void report_missing_mock(const char* function) {
    ADD_FAILURE() << function
                  << " was called while no completionport::testing::MockCompletionPort lives";
    errno = ENOSYS;
}

}  // namespace

MockCompletionPort::MockCompletionPort() {
    MockCompletionPort* none = nullptr;
    if (!current_mock.compare_exchange_strong(none, this)) {
        ADD_FAILURE() << "a second completionport::testing::MockCompletionPort was made while "
                         "another lives; it gets no calls";
    }
}

MockCompletionPort::~MockCompletionPort() {
    MockCompletionPort* self = this;
    current_mock.compare_exchange_strong(self, nullptr);
}

void MockCompletionPort::delegate_to(CompletionCapture& capture) {
#define COMPLETION_PORT_DELEGATE(result, name, parameters, arguments, failure) \
    ON_CALL(*this, name).WillByDefault([&capture] parameters -> result {       \
        return capture.name arguments;                                         \
    });
    COMPLETION_PORT_MOCKED_FUNCTIONS(COMPLETION_PORT_DELEGATE)
#undef COMPLETION_PORT_DELEGATE
}

}  // namespace completionport::testing

#define COMPLETION_PORT_TRAMPOLINE(result, name, parameters, arguments, failure) \
    extern "C" result name parameters {                                          \
        auto* const mock = completionport::testing::current_mock.load();         \
        if (mock == nullptr) {                                                   \
            completionport::testing::report_missing_mock(#name);                 \
            return static_cast<result>(failure);                                 \
        }                                                                        \
        return mock->name arguments;                                             \
    }
COMPLETION_PORT_MOCKED_FUNCTIONS(COMPLETION_PORT_TRAMPOLINE)
#undef COMPLETION_PORT_TRAMPOLINE
