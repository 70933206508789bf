// Linux's system calls.
#pragma once

#include "platform/kernel.h"

namespace cport::platform {

class LinuxKernel final : public Kernel {
 public:
    int epoll_create() override;
    int epoll_ctl(int epoll, int operation, int descriptor, uint32_t events,
                  uint64_t data) override;
    int epoll_wait(int epoll, struct epoll_event* events, int events_max, int timeout_ms) override;
    int eventfd_create() override;
    int eventfd_signal(int eventfd) override;
    int close(int descriptor) override;
    int descriptor_kind(int descriptor) override;
    int socket_type(int descriptor) override;
    int socket_protocol(int descriptor) override;
    int unread_bytes(int descriptor) override;
    int at_urgent_mark(int descriptor) override;
    int poll_now(int descriptor, uint32_t events) override;
    int64_t receive(int descriptor, void* buffer, size_t length, int flags) override;
    int64_t send(int descriptor, const void* buffer, size_t length) override;
    int futex_wait(const uint32_t* word, uint32_t expected) override;
    int futex_wake_all(const uint32_t* word) override;
};

}  // namespace cport::platform
