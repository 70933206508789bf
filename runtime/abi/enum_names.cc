#include <array>
#include <cstddef>

#include "completionport/completion_port.h"

namespace {

template <typename Enum, size_t kCount>
const char* name_of(Enum value, const std::array<const char*, kCount>& names) {
    const auto index = static_cast<size_t>(value);
    return index < kCount ? names[index] : nullptr;
}

}  // namespace

extern "C" {

const char* MU_COMPLETION_PORT_EPOLL_ACTION_ToString(COMPLETION_PORT_EPOLL_ACTION value) {
    static constexpr std::array kNames = {
        "COMPLETION_PORT_EPOLL_ACTION_INVALID", "COMPLETION_PORT_EPOLL_EPOLLRDHUP",
        "COMPLETION_PORT_EPOLL_EPOLLIN", "COMPLETION_PORT_EPOLL_EPOLLOUT",
        "COMPLETION_PORT_CLOSING"};
    return name_of(value, kNames);
}

const char* MU_COMPLETION_PORT_RESULT_ToString(COMPLETION_PORT_RESULT value) {
    static constexpr std::array kNames = {
        "COMPLETION_PORT_RESULT_INVALID", "COMPLETION_PORT_RESULT_OK",
        "COMPLETION_PORT_RESULT_ERROR", "COMPLETION_PORT_RESULT_ABANDONED"};
    return name_of(value, kNames);
}

}  // extern "C"
