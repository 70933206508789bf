#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <variant>
#include <vector>

#include "completionport/source.h"
#include "completionport/testing/capture_state.h"
#include "completionport/testing/completion_capture.h"
#include "completionport/testing/sized_structure.h"

namespace completionport::testing {
namespace {

constexpr uint32_t kFlags = COMPLETION_PORT_SOURCE_POLL | COMPLETION_PORT_SOURCE_EMPTIES_DESCRIPTOR;
constexpr uint32_t kDefaultBudget = 64;

// 0, or the error for what the arguments alone tell.
int read_source(const COMPLETION_PORT_SOURCE& callers, COMPLETION_PORT_SOURCE& source) {
    if (callers.size < sizeof(callers.size) + sizeof(callers.flags)) return -EINVAL;
    const int error = read_sized(&callers, callers.size, &source, sizeof(source));
    if (error != 0) return error;
    if ((source.flags & ~kFlags) != 0 || source.reserved != 0 || source.drain == nullptr ||
        source.budget > COMPLETION_PORT_SOURCE_BUDGET_MAX) {
        return -EINVAL;
    }
    if (source.budget == 0) source.budget = kDefaultBudget;
    return source.descriptor < COMPLETION_PORT_SOURCE_NO_DESCRIPTOR ? -EBADF : 0;
}

}  // namespace

CapturedSource* CompletionCapture::State::find_source(Handle handle, uint64_t id) {
    const auto found = first<CapturedSource>([&](const CapturedSource& source) {
        return source.id == id && (handle == nullptr || source.completion_port == handle);
    });
    return found == waiting_.end() ? nullptr : &std::get<CapturedSource>(*found);
}

void CompletionCapture::State::detach(const CapturedSource& source, int32_t error) {
    if (source.source.on_detached == nullptr) return;
    queue_.emplace_back(
        [on_detached = source.source.on_detached, context = source.source.context, error] {
            errno = 0;
            on_detached(context, error);
        });
}

int CompletionCapture::completion_port_source_attach(COMPLETION_PORT_HANDLE completion_port,
                                                     const COMPLETION_PORT_SOURCE* source,
                                                     uint64_t* id) {
    if (completion_port == nullptr || source == nullptr || id == nullptr) return -EINVAL;
    CapturedSource captured{};
    const int error = read_source(*source, captured.source);
    if (error != 0) return error;
    const std::lock_guard lock(state_->mutex_);
    const int refusal = state_->refusal_of(completion_port, "completion_port_source_attach");
    if (refusal != 0) return refusal;
    const uint32_t workers = state_->find_known(completion_port)->options.options.workers;
    if (captured.source.worker > std::max(workers, 1u)) return -EINVAL;
    captured.id = ++state_->last_source_;
    captured.completion_port = completion_port;
    *id = captured.id;
    state_->waiting_.emplace_back(captured);
    return 0;
}

int CompletionCapture::completion_port_source_kick(COMPLETION_PORT_HANDLE completion_port,
                                                   uint64_t id) {
    if (completion_port == nullptr || id == 0) return -EINVAL;
    const std::lock_guard lock(state_->mutex_);
    const int refusal = state_->refusal_of(completion_port, "completion_port_source_kick");
    if (refusal != 0) return refusal;
    CapturedSource* const source = state_->find_source(completion_port, id);
    if (source == nullptr) return -ENOENT;
    ++source->kicks;
    return 0;
}

int CompletionCapture::completion_port_source_detach(COMPLETION_PORT_HANDLE completion_port,
                                                     uint64_t id) {
    if (completion_port == nullptr || id == 0) return -EINVAL;
    bool detached = false;
    {
        const std::lock_guard lock(state_->mutex_);
        if (state_->find(completion_port, "completion_port_source_detach") == nullptr) {
            return -EINVAL;
        }
        const auto found = state_->first<CapturedSource>([&](const CapturedSource& source) {
            return source.id == id && source.completion_port == completion_port;
        });
        detached = found != state_->waiting_.end();
        if (detached) {
            state_->detach(std::get<CapturedSource>(*found), 0);
            state_->waiting_.erase(found);
        }
    }
    state_->run();
    return detached ? 0 : -ENOENT;
}

std::vector<CapturedSource> CompletionCapture::sources() const {
    const std::lock_guard lock(state_->mutex_);
    return state_->all<CapturedSource>();
}

void CompletionCapture::State::fail_source(uint64_t id, int32_t error) {
    const std::lock_guard lock(mutex_);
    const auto found =
        first<CapturedSource>([id](const CapturedSource& source) { return source.id == id; });
    // It may have been detached in its callback.
    if (found == waiting_.end()) return;
    detach(std::get<CapturedSource>(*found), error);
    waiting_.erase(found);
}

int32_t CompletionCapture::State::run_source(uint64_t id,
                                             const std::function<int32_t(CapturedSource&)>& body,
                                             const char* function) {
    auto result = std::make_shared<std::optional<int32_t>>();
    {
        const std::lock_guard lock(mutex_);
        CapturedSource* const source = find_source(nullptr, id);
        if (source == nullptr || is_running_here()) {
            ADD_FAILURE() << function
                          << (source == nullptr ? ": no source of that id is attached"
                                                : ": not from inside a callback");
            return -EINVAL;
        }
        source->kicks = 0;
        queue_.emplace_back([this, id, body, result, copy = *source]() mutable {
            errno = 0;
            *result = body(copy);
            if (**result < 0) fail_source(id, **result);
        });
    }
    run();
    return result->value_or(-EINVAL);
}

int32_t CompletionCapture::drain_source(uint64_t id) {
    return state_->run_source(
        id,
        [](CapturedSource& captured) {
            const COMPLETION_PORT_SOURCE& source = captured.source;
            return source.drain(source.context, source.budget);
        },
        "drain_source");
}

int32_t CompletionCapture::arm_source(uint64_t id) {
    return state_->run_source(
        id,
        [](CapturedSource& captured) {
            const COMPLETION_PORT_SOURCE& source = captured.source;
            return source.arm == nullptr ? 0 : source.arm(source.context);
        },
        "arm_source");
}

}  // namespace completionport::testing
