#include "completionport/testing/completion_capture.h"

#include <gtest/gtest.h>
#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "completionport/testing/capture_state.h"

namespace completionport::testing {
namespace {

unsigned direction_of(const COMPLETION_PORT_INGRESS_DATA& data) {
    return static_cast<unsigned>(data.epoll_op) & ~static_cast<unsigned>(EPOLLET | EPOLLONESHOT);
}

bool has(const COMPLETION_PORT_INGRESS_DATA& data, EPOLL_EVENTS event) {
    return (direction_of(data) & static_cast<unsigned>(event)) != 0;
}

bool grammar_allows(const COMPLETION_PORT_INGRESS_DATA& data) {
    constexpr unsigned kAllowed[] = {EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLIN | EPOLLRDHUP,
                                     EPOLLOUT | EPOLLRDHUP};
    const unsigned direction = direction_of(data);
    return std::find(std::begin(kAllowed), std::end(kAllowed), direction) != std::end(kAllowed);
}

// What the real port refuses by looking at the arguments alone.
int refusal_of(const COMPLETION_PORT_INGRESS_DATA& data) {
    const EPOLL_BUFFER_DATA& buffer = data.buffer_data;
    const bool buffered = buffer.buffer != nullptr;
    if (data.event_callback == nullptr || !grammar_allows(data)) return -EINVAL;
    if (buffered != (buffer.length != 0) || buffer.length > INT32_MAX) return -EINVAL;
    if (buffered && direction_of(data) == EPOLLRDHUP) return -EINVAL;
    return data.socket < 0 ? -EBADF : 0;
}

bool waits_for(const COMPLETION_PORT_INGRESS_DATA& data, COMPLETION_PORT_EPOLL_ACTION action) {
    switch (action) {
        case COMPLETION_PORT_EPOLL_EPOLLIN:
            return has(data, EPOLLIN);
        case COMPLETION_PORT_EPOLL_EPOLLOUT:
            return has(data, EPOLLOUT);
        case COMPLETION_PORT_EPOLL_EPOLLRDHUP:
            return has(data, EPOLLRDHUP) && !has(data, EPOLLOUT);
        case COMPLETION_PORT_CLOSING:
            return true;
        case COMPLETION_PORT_EPOLL_ACTION_INVALID:
            break;
    }
    return false;
}

// Why the real port never ends the add so; nullptr if it may.
const char* objection_to(const COMPLETION_PORT_INGRESS_DATA& data, const Completion& completion) {
    const bool ok = completion.result == COMPLETION_PORT_RESULT_OK;
    const int64_t length = data.buffer_data.length;
    if (!waits_for(data, completion.action)) return "it does not wait for this action";
    if (completion.result == COMPLETION_PORT_RESULT_INVALID) return "the result is INVALID";
    if ((completion.action == COMPLETION_PORT_CLOSING ||
         completion.action == COMPLETION_PORT_EPOLL_EPOLLRDHUP) &&
        completion.result != COMPLETION_PORT_RESULT_ABANDONED) {
        return "CLOSING and EPOLLRDHUP are always ABANDONED";
    }
    if (completion.amount < -1 || completion.amount > length) {
        return "the amount does not fit the buffer";
    }
    if (length == 0 && completion.amount != -1) return "a readiness add has amount -1";
    if (ok && has(data, EPOLLOUT) && length != 0 && completion.amount != length) {
        return "a send is OK only with its whole length";
    }
    if (ok && completion.error != 0) return "OK has no error";
    return nullptr;
}

std::optional<CapturedAdd> oldest(const std::vector<CapturedAdd>& pending, SOCKET_HANDLE socket,
                                  COMPLETION_PORT_EPOLL_ACTION action) {
    for (const CapturedAdd& add : pending) {
        if (add.ingress_data.socket == socket && waits_for(add.ingress_data, action)) return add;
    }
    ADD_FAILURE() << "no add of socket " << socket << " waits for "
                  << MU_ENUM_TO_STRING(COMPLETION_PORT_EPOLL_ACTION, action);
    return std::nullopt;
}

}  // namespace

void call_back(const CapturedAdd& add, const Completion& completion) {
    const bool unexplained =
        completion.result == COMPLETION_PORT_RESULT_ERROR && completion.error == 0;
    errno = unexplained ? EIO : completion.error;
    add.ingress_data.event_callback(add.ingress_data.event_callback_ctx, completion.action,
                                    completion.result, completion.amount);
}

CompletionCapture::CompletionCapture() : state_(std::make_unique<State>()) {}

CompletionCapture::~CompletionCapture() {
    for (const auto& port : state_->ports_) {
        if (port->references != 0) {
            ADD_FAILURE() << "a completion port still has " << port->references
                          << " reference(s) when its CompletionCapture ends";
        }
    }
}

COMPLETION_PORT_HANDLE CompletionCapture::completion_port_create() {
    const std::lock_guard lock(state_->mutex_);
    return state_->new_port({});
}

void CompletionCapture::completion_port_inc_ref(COMPLETION_PORT_HANDLE completion_port) {
    if (completion_port == nullptr) return;
    const std::lock_guard lock(state_->mutex_);
    State::Port* const port = state_->find(completion_port, "completion_port_inc_ref");
    if (port == nullptr) return;
    if (port->references == 0) {
        ADD_FAILURE() << "completion_port_inc_ref: the port has no references left";
        return;
    }
    ++port->references;
}

void CompletionCapture::completion_port_dec_ref(COMPLETION_PORT_HANDLE completion_port) {
    if (completion_port == nullptr) return;
    {
        const std::lock_guard lock(state_->mutex_);
        State::Port* const port = state_->find(completion_port, "completion_port_dec_ref");
        if (port == nullptr) return;
        if (port->references == 0) {
            ADD_FAILURE() << "completion_port_dec_ref: the port has no references left";
            return;
        }
        if (--port->references != 0) return;
        state_->begin_end(*port);
        state_->queue_.emplace_back([state = state_.get(), port] {
            const std::lock_guard inner(state->mutex_);
            port->freed = true;
        });
    }
    state_->run();
}

int CompletionCapture::completion_port_shutdown(COMPLETION_PORT_HANDLE completion_port) {
    if (completion_port == nullptr) return -EINVAL;
    const std::lock_guard lock(state_->mutex_);
    State::Port* const port = state_->find(completion_port, "completion_port_shutdown");
    if (port == nullptr) return -EINVAL;
    state_->begin_end(*port);
    return 0;
}

int CompletionCapture::completion_port_add(COMPLETION_PORT_HANDLE completion_port,
                                           const COMPLETION_PORT_INGRESS_DATA* ingress_data) {
    if (completion_port == nullptr || ingress_data == nullptr) return -EINVAL;
    const int refusal = refusal_of(*ingress_data);
    if (refusal != 0) return refusal;
    const std::lock_guard lock(state_->mutex_);
    const int port_refusal =
        state_->refusal_of(completion_port, ingress_data->socket, "completion_port_add");
    if (port_refusal != 0) return port_refusal;
    state_->waiting_.push_back(CapturedAdd{++state_->last_number_, completion_port, *ingress_data});
    return 0;
}

void CompletionCapture::completion_port_remove(COMPLETION_PORT_HANDLE completion_port,
                                               SOCKET_HANDLE socket) {
    if (completion_port == nullptr || socket < 0) return;
    {
        const std::lock_guard lock(state_->mutex_);
        if (state_->find(completion_port, "completion_port_remove") == nullptr) return;
        state_->abandon_socket(completion_port, socket);
    }
    state_->run();
}

int CompletionCapture::completion_port_remove_async(COMPLETION_PORT_HANDLE completion_port,
                                                    SOCKET_HANDLE socket,
                                                    ON_COMPLETION_PORT_REMOVED on_removed,
                                                    void* context) {
    if (completion_port == nullptr || on_removed == nullptr) return -EINVAL;
    if (socket < 0) return -EBADF;
    const std::lock_guard lock(state_->mutex_);
    const int refusal = state_->refusal_of(completion_port, "completion_port_remove_async");
    if (refusal != 0) return refusal;
    if (state_->is_removing(completion_port, socket)) return -EALREADY;
    state_->removals_.push_back({completion_port, socket});
    state_->abandon_socket(completion_port, socket);
    state_->queue_.emplace_back([=, state = state_.get()] {
        state->start_removed(completion_port, socket);
        errno = 0;
        on_removed(context, socket);
    });
    return 0;
}

std::vector<CapturedAdd> CompletionCapture::pending() const {
    const std::lock_guard lock(state_->mutex_);
    return state_->all<CapturedAdd>();
}

std::vector<CapturedAdd> CompletionCapture::pending(SOCKET_HANDLE socket) const {
    std::vector<CapturedAdd> adds = pending();
    adds.erase(std::remove_if(
                   adds.begin(), adds.end(),
                   [socket](const CapturedAdd& add) { return add.ingress_data.socket != socket; }),
               adds.end());
    return adds;
}

size_t CompletionCapture::pending_count() const { return pending().size(); }

uint64_t CompletionCapture::last_number() const {
    const std::lock_guard lock(state_->mutex_);
    return state_->last_number_;
}

size_t CompletionCapture::references(COMPLETION_PORT_HANDLE completion_port) const {
    const std::lock_guard lock(state_->mutex_);
    const State::Port* const port = state_->find_known(completion_port);
    return port == nullptr ? 0 : port->references;
}

bool CompletionCapture::complete(SOCKET_HANDLE socket, COMPLETION_PORT_EPOLL_ACTION action,
                                 COMPLETION_PORT_RESULT result, int32_t amount, int error) {
    const std::optional<CapturedAdd> add = oldest(pending(), socket, action);
    return add && complete_number(add->number, {action, result, amount, error});
}

bool CompletionCapture::complete_number(uint64_t number, const Completion& completion) {
    {
        const std::lock_guard lock(state_->mutex_);
        const auto found = state_->first<CapturedAdd>(
            [number](const CapturedAdd& each) { return each.number == number; });
        if (found == state_->waiting_.end()) {
            const bool ended = number != 0 && number <= state_->last_number_;
            ADD_FAILURE() << "add " << number
                          << (ended ? " was completed before: an add calls back exactly once"
                                    : " was never accepted");
            return false;
        }
        const auto add = std::get<CapturedAdd>(*found);
        const char* const objection = objection_to(add.ingress_data, completion);
        if (objection != nullptr) {
            ADD_FAILURE() << "add " << number << " cannot end so: " << objection;
            return false;
        }
        state_->waiting_.erase(found);
        state_->deliver(add, completion);
    }
    state_->run();
    return true;
}

size_t CompletionCapture::fill_and_complete(SOCKET_HANDLE socket, std::string_view bytes) {
    const auto add = oldest(pending(), socket, COMPLETION_PORT_EPOLL_EPOLLIN);
    if (!add) return 0;
    const EPOLL_BUFFER_DATA& buffer = add->ingress_data.buffer_data;
    if (buffer.buffer == nullptr) {
        ADD_FAILURE() << "add " << add->number << " has no buffer to fill";
        return 0;
    }
    const size_t amount = std::min<size_t>(bytes.size(), buffer.length);
    std::copy_n(bytes.data(), amount, static_cast<char*>(buffer.buffer));
    const Completion completion{COMPLETION_PORT_EPOLL_EPOLLIN, COMPLETION_PORT_RESULT_OK,
                                static_cast<int32_t>(amount), 0};
    return complete_number(add->number, completion) ? amount : 0;
}

size_t CompletionCapture::fill_and_complete(std::string_view bytes) {
    for (const CapturedAdd& add : pending()) {
        if (has(add.ingress_data, EPOLLIN))
            return fill_and_complete(add.ingress_data.socket, bytes);
    }
    ADD_FAILURE() << "no add waits for bytes";
    return 0;
}

std::string CompletionCapture::take_and_complete(SOCKET_HANDLE socket) {
    const auto add = oldest(pending(), socket, COMPLETION_PORT_EPOLL_EPOLLOUT);
    if (!add) return {};
    const EPOLL_BUFFER_DATA& buffer = add->ingress_data.buffer_data;
    if (buffer.buffer == nullptr) {
        ADD_FAILURE() << "add " << add->number << " has no buffer to send";
        return {};
    }
    std::string bytes(static_cast<const char*>(buffer.buffer), buffer.length);
    const Completion completion{COMPLETION_PORT_EPOLL_EPOLLOUT, COMPLETION_PORT_RESULT_OK,
                                static_cast<int32_t>(buffer.length), 0};
    complete_number(add->number, completion);
    return bytes;
}

void CompletionCapture::abandon_all() {
    {
        const std::lock_guard lock(state_->mutex_);
        state_->abandon_if([](COMPLETION_PORT_HANDLE, SOCKET_HANDLE) { return true; });
    }
    state_->run();
}

void CompletionCapture::run_queued() { state_->run(); }

}  // namespace completionport::testing
