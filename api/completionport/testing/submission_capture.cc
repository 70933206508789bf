#include <gtest/gtest.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "completionport/testing/capture_state.h"
#include "completionport/testing/completion_capture.h"
#include "completionport/testing/kind_rules.h"
#include "completionport/testing/submission_rules.h"

namespace completionport::testing {
namespace {

// The real port's ids do not fit 32 bits either: who cuts one off finds out.
constexpr uint64_t kFirstId = (uint64_t{1} << 32) | 1;

// What a message of nothing but bytes says of the rest.
void clear_ancillary(struct msghdr& message) {
    message.msg_namelen = 0;
    message.msg_controllen = 0;
    message.msg_flags = 0;
}

// At most as many bytes as the receive takes. Returns how many it took.
size_t fill(const CapturedOperation& receive, std::string_view bytes) {
    size_t filled = 0;
    for (const struct iovec& piece : pieces_of(receive)) {
        const size_t amount = std::min(bytes.size() - filled, piece.iov_len);
        std::copy_n(bytes.data() + filled, amount, static_cast<char*>(piece.iov_base));
        filled += amount;
    }
    if (receive.common.kind == COMPLETION_PORT_KIND_RECEIVE_MESSAGE) {
        clear_ancillary(*receive.receive_message.message);
    }
    return filled;
}

std::string bytes_of(const CapturedOperation& send) {
    std::string bytes;
    for (const struct iovec& piece : pieces_of(send)) {
        bytes.append(static_cast<const char*>(piece.iov_base), piece.iov_len);
    }
    return bytes;
}

bool is_receive(uint32_t kind) {
    return kind == COMPLETION_PORT_KIND_RECEIVE || kind == COMPLETION_PORT_KIND_RECEIVE_VECTOR ||
           kind == COMPLETION_PORT_KIND_RECEIVE_MESSAGE || kind == COMPLETION_PORT_KIND_FILE_READ;
}

bool fills_memory(uint32_t kind) {
    return is_receive(kind) || kind == COMPLETION_PORT_KIND_RECEIVE_POOLED;
}

bool is_send(uint32_t kind) {
    return kind == COMPLETION_PORT_KIND_SEND || kind == COMPLETION_PORT_KIND_SEND_VECTOR ||
           kind == COMPLETION_PORT_KIND_SEND_MESSAGE || kind == COMPLETION_PORT_KIND_FILE_WRITE;
}

constexpr SubmissionCompletion success(int64_t value) {
    return {COMPLETION_PORT_RESULT_OK, 0, value, 0};
}

// The submission of that id, if it waits and is of that kind; otherwise the test fails.
std::optional<CapturedSubmission> find_kind(const std::vector<CapturedSubmission>& submissions,
                                            uint64_t id, bool (*is_kind)(uint32_t kind),
                                            const char* kind_name) {
    for (const CapturedSubmission& each : submissions) {
        if (each.id != id) continue;
        if (is_kind(each.operation.common.kind)) return each;
        ADD_FAILURE() << "submission " << id << " is not a " << kind_name;
        return std::nullopt;
    }
    ADD_FAILURE() << "submission " << id << " does not wait";
    return std::nullopt;
}

}  // namespace

CompletionCapture::State::WaitingIterator CompletionCapture::State::find_submission(uint64_t id) {
    return first<CapturedSubmission>(
        [id](const CapturedSubmission& each) { return each.id == id; });
}

int CompletionCapture::State::accept(CapturedSubmission& submission, const char* function) {
    const Handle port = submission.completion_port;
    const COMPLETION_PORT_OPERATION& common = submission.operation.common;
    const int descriptor = common.descriptor;
    const bool is_close = common.kind == COMPLETION_PORT_KIND_CLOSE;
    int refusal = refusal_of(port, function);
    if (refusal == 0 && has_socket(submission.operation) && is_removing(port, descriptor)) {
        refusal = is_close ? -EALREADY : -ECANCELED;
    }
    if (refusal == 0 && !pool_serves(submission, function)) refusal = -EINVAL;
    if (refusal != 0) return refusal;
    submission.id = kFirstId + submitted_to_.size();
    submitted_to_.push_back(submission.completion_port);
    if (is_close) {
        removals_.push_back({port, descriptor});
        abandon_socket(port, descriptor);
        make_due(submission);
    }
    waiting_.emplace_back(submission);
    return 0;
}

std::optional<CompletionCapture::State::Handle> CompletionCapture::State::submitted_to(
    uint64_t id) const {
    if (id < kFirstId || id - kFirstId >= submitted_to_.size()) return std::nullopt;
    return submitted_to_[id - kFirstId];
}

bool CompletionCapture::State::succeed_inline(const CapturedSubmission& submission,
                                              COMPLETION_PORT_COMPLETION& completed) {
    if (inline_successes_.empty()) return false;
    const InlineSuccess asked = std::move(inline_successes_.front());
    inline_successes_.pop_front();
    SubmissionCompletion completion = success(asked.value);
    const char* objection = nullptr;
    if (!asked.bytes) {
        objection = objection_to(submission.operation, completion);
    } else if (!is_receive(submission.operation.common.kind)) {
        objection = "it is not a receive";
    } else {
        completion.value = static_cast<int64_t>(fill(submission.operation, *asked.bytes));
    }
    if (objection != nullptr) {
        ADD_FAILURE() << "submission " << submission.id << " cannot succeed at once: " << objection;
        return false;
    }
    waiting_.erase(find_submission(submission.id));
    completed = record_of(submission, completion);
    return true;
}

int CompletionCapture::completion_port_submit(COMPLETION_PORT_HANDLE completion_port,
                                              const COMPLETION_PORT_OPERATION* operation,
                                              uint64_t* id, COMPLETION_PORT_COMPLETION* completed) {
    if (completion_port == nullptr || operation == nullptr) return -EINVAL;
    CapturedSubmission submission{};
    submission.completion_port = completion_port;
    int error = read_operation(*operation, COMPLETION_PORT_FLAG_INLINE, submission.operation);
    if (error != 0) return error;
    const bool inline_asked =
        (submission.operation.common.flags & COMPLETION_PORT_FLAG_INLINE) != 0;
    if (inline_asked != (completed != nullptr)) return -EINVAL;
    const std::lock_guard lock(state_->mutex_);
    error = state_->accept(submission, "completion_port_submit");
    if (error != 0) return error;
    if (id != nullptr) *id = submission.id;
    return inline_asked && state_->succeed_inline(submission, *completed) ? 1 : 0;
}

int CompletionCapture::completion_port_submit_batch(
    COMPLETION_PORT_HANDLE completion_port, const COMPLETION_PORT_OPERATION* const* operations,
    uint32_t count, uint64_t* ids) {
    if (completion_port == nullptr || operations == nullptr || count == 0 || count > INT32_MAX) {
        return -EINVAL;
    }
    const std::lock_guard lock(state_->mutex_);
    uint32_t accepted = 0;
    for (; accepted < count; ++accepted) {
        CapturedSubmission submission{};
        submission.completion_port = completion_port;
        const COMPLETION_PORT_OPERATION* const operation = operations[accepted];
        int error =
            operation == nullptr ? -EINVAL : read_operation(*operation, 0, submission.operation);
        if (error == 0) error = state_->accept(submission, "completion_port_submit_batch");
        if (error != 0) return accepted == 0 ? error : static_cast<int>(accepted);
        if (ids != nullptr) ids[accepted] = submission.id;
    }
    return static_cast<int>(accepted);
}

int CompletionCapture::completion_port_cancel(COMPLETION_PORT_HANDLE completion_port,
                                              uint64_t operation) {
    if (completion_port == nullptr || operation == 0) return -EINVAL;
    const std::lock_guard lock(state_->mutex_);
    const int refusal = state_->refusal_of(completion_port, "completion_port_cancel");
    if (refusal != 0) return refusal;
    if (state_->submitted_to(operation) != completion_port) return -ENOENT;
    const auto found = state_->find_submission(operation);
    if (found == state_->waiting_.end()) return -ENOENT;
    auto& submission = std::get<CapturedSubmission>(*found);
    if (submission.cancel_asked) return 0;
    submission.cancel_asked = true;
    state_->make_due(submission);
    return 0;
}

int CompletionCapture::completion_port_timer_move(COMPLETION_PORT_HANDLE completion_port,
                                                  uint64_t timer, uint64_t expires_ns) {
    if (completion_port == nullptr || timer == 0) return -EINVAL;
    if (!is_time(expires_ns)) return -ERANGE;
    const std::lock_guard lock(state_->mutex_);
    const int refusal = state_->refusal_of(completion_port, "completion_port_timer_move");
    if (refusal != 0) return refusal;
    if (expires_ns == 0) return -ETIMEDOUT;
    if (state_->submitted_to(timer) != completion_port) return -ENOENT;
    const auto found = state_->find_submission(timer);
    if (found == state_->waiting_.end()) return -ENOENT;
    CapturedOperation& operation = std::get<CapturedSubmission>(*found).operation;
    if (operation.common.kind != COMPLETION_PORT_KIND_TIMER) return -EINVAL;
    operation.timer.expires_ns = expires_ns;
    return 0;
}

int CompletionCapture::completion_port_post(COMPLETION_PORT_HANDLE completion_port, uint64_t key,
                                            int64_t value,
                                            ON_COMPLETION_PORT_COMPLETION on_complete,
                                            void* context) {
    if (completion_port == nullptr) return -EINVAL;
    const std::lock_guard lock(state_->mutex_);
    const int refusal = state_->refusal_of(completion_port, "completion_port_post");
    if (refusal != 0) return refusal;
    COMPLETION_PORT_COMPLETION record{};
    record.key = key;
    record.context = context;
    record.value = value;
    record.result = COMPLETION_PORT_RESULT_OK;
    record.kind = COMPLETION_PORT_KIND_POST;
    if (on_complete == nullptr) {
        state_->find(completion_port, "completion_port_post")->records.push_back(record);
        return 0;
    }
    state_->queue_.emplace_back([=] {
        errno = 0;
        on_complete(context, &record);
    });
    return 0;
}

int CompletionCapture::completion_port_wait(COMPLETION_PORT_HANDLE completion_port,
                                            COMPLETION_PORT_COMPLETION* completions,
                                            uint32_t completions_max, int64_t /* timeout_ns */) {
    if (completion_port == nullptr || completions == nullptr || completions_max == 0) {
        return -EINVAL;
    }
    const std::lock_guard lock(state_->mutex_);
    if (state_->is_running_here()) return -EDEADLK;
    State::Port* const port = state_->find(completion_port, "completion_port_wait");
    if (port == nullptr) return -EINVAL;
    for (const uint64_t id : std::exchange(port->due, {})) state_->end_due(id);
    auto& records = port->records;
    port->running.erase(std::this_thread::get_id());
    if (records.empty()) return port->ending ? -ESHUTDOWN : -ETIMEDOUT;
    if (!port->has_place()) return -ETIMEDOUT;
    if (port->options.options.waiters_running_max != 0) {
        port->running.insert(std::this_thread::get_id());
    }
    const size_t count = std::min<size_t>({records.size(), completions_max, INT32_MAX});
    const auto taken = records.begin() + static_cast<std::ptrdiff_t>(count);
    std::copy(records.begin(), taken, completions);
    records.erase(records.begin(), taken);
    return static_cast<int>(count);
}

int CompletionCapture::completion_port_wait_leave(COMPLETION_PORT_HANDLE completion_port) {
    if (completion_port == nullptr) return -EINVAL;
    const std::lock_guard lock(state_->mutex_);
    State::Port* const port = state_->find(completion_port, "completion_port_wait_leave");
    if (port == nullptr) return -EINVAL;
    return port->running.erase(std::this_thread::get_id()) == 0 ? -ENOENT : 0;
}

std::vector<CapturedSubmission> CompletionCapture::submissions() const {
    const std::lock_guard lock(state_->mutex_);
    return state_->all<CapturedSubmission>();
}

std::vector<CapturedSubmission> CompletionCapture::submissions(int descriptor) const {
    std::vector<CapturedSubmission> found = submissions();
    found.erase(std::remove_if(found.begin(), found.end(),
                               [descriptor](const CapturedSubmission& each) {
                                   return !has_socket(each.operation) ||
                                          each.operation.common.descriptor != descriptor;
                               }),
                found.end());
    return found;
}

std::vector<CapturedSubmission> CompletionCapture::timers() const {
    std::vector<CapturedSubmission> found = submissions();
    found.erase(
        std::remove_if(found.begin(), found.end(),
                       [](const CapturedSubmission& each) { return has_socket(each.operation); }),
        found.end());
    return found;
}

size_t CompletionCapture::submission_count() const { return submissions().size(); }

uint64_t CompletionCapture::last_submission() const {
    const std::lock_guard lock(state_->mutex_);
    const size_t count = state_->submitted_to_.size();
    return count == 0 ? 0 : kFirstId + count - 1;
}

uint64_t CompletionCapture::oldest_submission(int descriptor, uint32_t kind) const {
    for (const CapturedSubmission& each : submissions(descriptor)) {
        if (each.operation.common.kind == kind) return each.id;
    }
    ADD_FAILURE() << "no submission of kind " << kind << " waits for descriptor " << descriptor;
    return 0;
}

size_t CompletionCapture::record_count(COMPLETION_PORT_HANDLE completion_port) const {
    const std::lock_guard lock(state_->mutex_);
    const State::Port* const port = state_->find_known(completion_port);
    return port == nullptr ? 0 : port->records.size();
}

bool CompletionCapture::complete_submission(uint64_t id, const SubmissionCompletion& completion) {
    {
        const std::lock_guard lock(state_->mutex_);
        const auto found = state_->find_submission(id);
        if (found == state_->waiting_.end()) {
            ADD_FAILURE() << "submission " << id
                          << (state_->submitted_to(id)
                                  ? " was completed before: it completes exactly once"
                                  : " was never accepted");
            return false;
        }
        auto& waiting = std::get<CapturedSubmission>(*found);
        const CapturedSubmission submission = waiting;
        const char* const objection = objection_to(submission.operation, completion);
        if (objection != nullptr) {
            ADD_FAILURE() << "submission " << id << " cannot end so: " << objection;
            return false;
        }
        if ((completion.flags & COMPLETION_PORT_COMPLETION_MORE) == 0) {
            state_->waiting_.erase(found);
        } else if (submission.operation.common.kind == COMPLETION_PORT_KIND_TIMER) {
            start_next_period(waiting.operation.timer, completion.value);
        }
        state_->deliver(submission, completion);
    }
    state_->run();
    return true;
}

size_t CompletionCapture::fill_submission(uint64_t id, std::string_view bytes) {
    const auto found = find_kind(submissions(), id, fills_memory, "receive");
    if (!found) return 0;
    if (found->operation.common.kind == COMPLETION_PORT_KIND_RECEIVE_POOLED) {
        return fill_pooled(*found, bytes);
    }
    const size_t amount = fill(found->operation, bytes);
    return complete_submission(id, success(static_cast<int64_t>(amount))) ? amount : 0;
}

std::string CompletionCapture::take_submission(uint64_t id) {
    const auto found = find_kind(submissions(), id, is_send, "send");
    if (!found) return {};
    std::string bytes = bytes_of(found->operation);
    complete_submission(id, success(static_cast<int64_t>(bytes.size())));
    return bytes;
}

void CompletionCapture::succeed_inline(int64_t value) {
    const std::lock_guard lock(state_->mutex_);
    state_->inline_successes_.push_back({value, std::nullopt});
}

void CompletionCapture::fill_inline(std::string_view bytes) {
    const std::lock_guard lock(state_->mutex_);
    state_->inline_successes_.push_back({0, std::string(bytes)});
}

}  // namespace completionport::testing
