#include "completionport/testing/capture_state.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <functional>
#include <mutex>
#include <utility>
#include <variant>

#include "completionport/testing/submission_rules.h"

namespace completionport::testing {
namespace {

constexpr Completion kAbandonedAdd{COMPLETION_PORT_CLOSING, COMPLETION_PORT_RESULT_ABANDONED, -1,
                                   0};
constexpr SubmissionCompletion kAbandonedSubmission{COMPLETION_PORT_RESULT_ABANDONED, -ECANCELED};
constexpr SubmissionCompletion kClosed{COMPLETION_PORT_RESULT_OK};

SOCKET_HANDLE socket_of(const CapturedAdd& add) { return add.ingress_data.socket; }
SOCKET_HANDLE socket_of(const CapturedSubmission& submission) {
    const CapturedOperation& operation = submission.operation;
    return has_socket(operation) ? operation.common.descriptor : INVALID_SOCKET;
}

SOCKET_HANDLE socket_of(const CapturedSource& /*source*/) { return INVALID_SOCKET; }

bool is_close(const CapturedSubmission& submission) {
    return submission.operation.common.kind == COMPLETION_PORT_KIND_CLOSE;
}

}  // namespace

CompletionCapture::State::Port* CompletionCapture::State::find(Handle handle,
                                                               const char* function) {
    const Port* const port = find_known(handle);
    if (port == nullptr) {
        ADD_FAILURE() << function << ": the handle is not one of this CompletionCapture";
        return nullptr;
    }
    if (port->freed) {
        ADD_FAILURE() << function << ": the port was freed by its last completion_port_dec_ref";
        return nullptr;
    }
    return const_cast<Port*>(port);
}

const CompletionCapture::State::Port* CompletionCapture::State::find_known(Handle handle) const {
    for (const auto& port : ports_) {
        if (reinterpret_cast<Handle>(port.get()) == handle) return port.get();
    }
    return nullptr;
}

int CompletionCapture::State::refusal_of(Handle handle, const char* function) {
    const Port* const port = find(handle, function);
    if (port == nullptr) return -EINVAL;
    return port->ending ? -ESHUTDOWN : 0;
}

int CompletionCapture::State::refusal_of(Handle handle, SOCKET_HANDLE socket,
                                         const char* function) {
    const int refusal = refusal_of(handle, function);
    if (refusal != 0) return refusal;
    return is_removing(handle, socket) ? -ECANCELED : 0;
}

bool CompletionCapture::State::is_removing(Handle handle, SOCKET_HANDLE socket) const {
    return std::any_of(removals_.begin(), removals_.end(), [&](const Removal& removal) {
        return removal.completion_port == handle && removal.socket == socket;
    });
}

void CompletionCapture::State::lift_removal(Handle handle, SOCKET_HANDLE socket) {
    removals_.erase(std::remove_if(removals_.begin(), removals_.end(),
                                   [&](const Removal& removal) {
                                       return removal.completion_port == handle &&
                                              removal.socket == socket;
                                   }),
                    removals_.end());
}

void CompletionCapture::State::start_removed(Handle handle, SOCKET_HANDLE socket) {
    const std::lock_guard lock(mutex_);
    lift_removal(handle, socket);
}

CompletionCapture::State::Handle CompletionCapture::State::new_port(
    const CapturedOptions& options) {
    ports_.push_back(std::make_unique<Port>());
    ports_.back()->options = options;
    return reinterpret_cast<Handle>(ports_.back().get());
}

void CompletionCapture::State::begin_end(Port& port) {
    if (port.ending) return;
    port.ending = true;
    abandon_port(reinterpret_cast<Handle>(&port));
    const COMPLETION_PORT_OPTIONS& options = port.options.options;
    if (options.on_ended == nullptr) return;
    queue_.emplace_back([on_ended = options.on_ended, context = options.on_ended_context] {
        errno = 0;
        on_ended(context);
    });
}

void CompletionCapture::State::deliver(const CapturedAdd& add, const Completion& completion) {
    queue_.emplace_back([add, completion] { call_back(add, completion); });
}

void CompletionCapture::State::deliver(const CapturedSubmission& submission,
                                       const SubmissionCompletion& completion) {
    if (submission.operation.common.on_complete != nullptr) {
        queue_.emplace_back([this, submission, completion] {
            if (is_close(submission)) {
                start_removed(submission.completion_port, socket_of(submission));
            }
            call_back(submission, completion);
        });
        return;
    }
    if (is_close(submission)) lift_removal(submission.completion_port, socket_of(submission));
    // A port that accepted something is known as long as its capture.
    auto* const port = const_cast<Port*>(find_known(submission.completion_port));
    port->records.push_back(record_of(submission, completion));
}

void CompletionCapture::State::abandon(const CapturedAdd& add) { deliver(add, kAbandonedAdd); }

void CompletionCapture::State::abandon(const CapturedSubmission& submission) {
    deliver(submission, is_close(submission) ? kClosed : kAbandonedSubmission);
}

void CompletionCapture::State::abandon(const CapturedSource& source) { detach(source, -ECANCELED); }

void CompletionCapture::State::abandon_if(
    const std::function<bool(Handle, SOCKET_HANDLE)>& matches) {
    const auto ended =
        std::stable_partition(waiting_.begin(), waiting_.end(), [&](const Waiting& each) {
            return std::visit(
                [&](const auto& captured) {
                    return !matches(captured.completion_port, socket_of(captured));
                },
                each);
        });
    for (auto each = ended; each != waiting_.end(); ++each) {
        std::visit([this](const auto& captured) { abandon(captured); }, *each);
    }
    waiting_.erase(ended, waiting_.end());
}

void CompletionCapture::State::abandon_port(Handle handle) {
    abandon_if([handle](Handle each, SOCKET_HANDLE) { return each == handle; });
}

void CompletionCapture::State::abandon_socket(Handle handle, SOCKET_HANDLE socket) {
    abandon_if([=](Handle each, SOCKET_HANDLE of) { return each == handle && of == socket; });
}

void CompletionCapture::State::make_due(const CapturedSubmission& submission) {
    const uint64_t id = submission.id;
    if (submission.operation.common.on_complete == nullptr) {
        // A port that accepted something is known as long as its capture.
        const_cast<Port*>(find_known(submission.completion_port))->due.push_back(id);
    }
    queue_.emplace_back([this, id] {
        const std::lock_guard lock(mutex_);
        end_due(id);
    });
}

void CompletionCapture::State::end_due(uint64_t id) {
    const auto found = find_submission(id);
    if (found == waiting_.end()) return;
    const auto submission = std::get<CapturedSubmission>(*found);
    waiting_.erase(found);
    abandon(submission);
}

void CompletionCapture::State::run() {
    std::unique_lock lock(mutex_);
    if (is_running_here()) return;
    idle_.wait(lock, [this] { return !running_; });
    running_ = true;
    runner_ = std::this_thread::get_id();
    while (!queue_.empty()) {
        const Job job = std::move(queue_.front());
        queue_.pop_front();
        lock.unlock();
        job();
        lock.lock();
    }
    running_ = false;
    idle_.notify_all();
}

}  // namespace completionport::testing
