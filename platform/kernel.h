// The system calls of the core, as an interface: faults and a simulated kernel stand in for Linux.
#pragma once

#include <sys/epoll.h>

#include <cstddef>
#include <cstdint>

namespace cport::platform {

// What a descriptor is, as far as the core cares.
enum class DescriptorKind : uint8_t {
    kSocket,
    kFileOrDirectory,  // epoll cannot watch it
    kOther,            // pipe, eventfd, timerfd, terminal, device
};

// Every call returns a count, a descriptor or 0, or a negative errno. None of them touches the
// caller's errno contractually, none raises a signal, and none blocks but `epoll_wait` and
// `futex_wait`.
class Kernel {
 public:
    virtual ~Kernel() = default;

    virtual int epoll_create() = 0;
    virtual int epoll_ctl(int epoll, int operation, int descriptor, uint32_t events,
                          uint64_t data) = 0;
    // timeout_ms < 0 waits for ever.
    virtual int epoll_wait(int epoll, struct epoll_event* events, int events_max,
                           int timeout_ms) = 0;
    virtual int eventfd_create() = 0;
    virtual int eventfd_signal(int eventfd) = 0;
    virtual int close(int descriptor) = 0;

    // The kind as a DescriptorKind, or -EBADF.
    virtual int descriptor_kind(int descriptor) = 0;
    // SO_TYPE and SO_PROTOCOL.
    virtual int socket_type(int descriptor) = 0;
    virtual int socket_protocol(int descriptor) = 0;
    // The bytes that wait to be read (FIONREAD).
    virtual int unread_bytes(int descriptor) = 0;
    // 1 where the next byte of a TCP stream is the urgent one (SIOCATMARK), else 0.
    virtual int at_urgent_mark(int descriptor) = 0;
    // The poll(2) bits that hold now, without waiting.
    virtual int poll_now(int descriptor, uint32_t events) = 0;

    // MSG_DONTWAIT; `flags` may add MSG_TRUNC.
    virtual int64_t receive(int descriptor, void* buffer, size_t length, int flags) = 0;
    // MSG_DONTWAIT | MSG_NOSIGNAL.
    virtual int64_t send(int descriptor, const void* buffer, size_t length) = 0;

    // Sleeps while *word == expected; may return early.
    virtual int futex_wait(const uint32_t* word, uint32_t expected) = 0;
    virtual int futex_wake_all(const uint32_t* word) = 0;
};

}  // namespace cport::platform
