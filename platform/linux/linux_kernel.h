// Linux's system calls.
#pragma once

#include "platform/kernel.h"

namespace cport::platform {

class LinuxKernel final : public Kernel {
 public:
    int epoll_create() override;
    int epoll_ctl(int epoll, int operation, int descriptor, uint32_t events,
                  uint64_t data) override;
    int epoll_wait(int epoll, struct epoll_event* events, int events_max,
                   int64_t timeout_ns) override;
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
    int is_non_blocking(int descriptor) override;
    int take_socket_error(int descriptor) override;
    int accept(int listener, struct sockaddr* address, uint32_t* address_length,
               int flags) override;
    int connect(int descriptor, const struct sockaddr* address, uint32_t address_length) override;
    int shutdown(int descriptor, int how) override;
    int64_t receive_message(int descriptor, struct msghdr* message, int flags) override;
    int64_t send_message(int descriptor, const struct msghdr* message, int flags) override;
    int64_t read_now(int descriptor, const struct iovec* parts, int count) override;
    int64_t write_now(int descriptor, const struct iovec* parts, int count) override;
    int64_t send_file(int descriptor, int file, int64_t offset, size_t length) override;
    int file_kind(int descriptor) override;
    int64_t read_at(int descriptor, const struct iovec* parts, int count, int64_t offset,
                    bool at_once) override;
    int64_t write_at(int descriptor, const struct iovec* parts, int count, int64_t offset) override;
    int sync_file(int descriptor, bool data_only) override;
    int futex_wait(const uint32_t* word, uint32_t expected) override;
    int futex_wait_until(const uint32_t* word, uint32_t expected, int64_t deadline_ns) override;
    int futex_wake_one(const uint32_t* word) override;
    int futex_wake_all(const uint32_t* word) override;
};

}  // namespace cport::platform
