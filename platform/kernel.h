// The system calls of the core, as an interface: faults and a simulated kernel stand in for Linux.
#pragma once

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

namespace cport::platform {

// What a descriptor is, as far as the core cares.
enum class DescriptorKind : uint8_t {
    kSocket,
    kFileOrDirectory,  // epoll cannot watch it
    kOther,            // pipe, eventfd, timerfd, terminal, device
};

// What operations on files care about.
enum class FileKind : uint8_t { kNone, kRegular, kDirectory, kBlockDevice };

// Every call returns a count, a descriptor or 0, or a negative errno. None of them touches the
// caller's errno contractually, none raises a signal, and none blocks but `epoll_wait`, the futex
// waits, and, where they say so, those on files.
class Kernel {
 public:
    virtual ~Kernel() = default;

    virtual int epoll_create() = 0;
    virtual int epoll_ctl(int epoll, int operation, int descriptor, uint32_t events,
                          uint64_t data) = 0;
    // timeout_ns < 0 waits for ever.
    virtual int epoll_wait(int epoll, struct epoll_event* events, int events_max,
                           int64_t timeout_ns) = 0;
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

    // What follows, up to the futex calls, a kernel may lack: -ENOSYS.

    // 1 where its descriptor says so (O_NONBLOCK), else 0.
    virtual int is_non_blocking(int /*descriptor*/) { return -ENOSYS; }
    // SO_ERROR, which this clears, as a negative errno.
    virtual int take_socket_error(int /*descriptor*/) { return -ENOSYS; }
    // The new descriptor, with SOCK_CLOEXEC beside `flags`. Blocks if the listener does.
    virtual int accept(int /*listener*/, struct sockaddr* /*address*/, uint32_t* /*address_length*/,
                       int /*flags*/) {
        return -ENOSYS;
    }
    // Blocks if the descriptor does.
    virtual int connect(int /*descriptor*/, const struct sockaddr* /*address*/,
                        uint32_t /*address_length*/) {
        return -ENOSYS;
    }
    virtual int shutdown(int /*descriptor*/, int /*how*/) { return -ENOSYS; }
    // MSG_DONTWAIT | MSG_CMSG_CLOEXEC beside `flags`.
    virtual int64_t receive_message(int /*descriptor*/, struct msghdr* /*message*/, int /*flags*/) {
        return -ENOSYS;
    }
    // MSG_DONTWAIT | MSG_NOSIGNAL beside `flags`.
    virtual int64_t send_message(int /*descriptor*/, const struct msghdr* /*message*/,
                                 int /*flags*/) {
        return -ENOSYS;
    }
    // Of what is no socket, without blocking. -EINVAL: a blocking descriptor of a file that has no
    // other way.
    virtual int64_t read_now(int /*descriptor*/, const struct iovec* /*parts*/, int /*count*/) {
        return -ENOSYS;
    }
    virtual int64_t write_now(int /*descriptor*/, const struct iovec* /*parts*/, int /*count*/) {
        return -ENOSYS;
    }
    // Blocks if the socket does.
    virtual int64_t send_file(int /*descriptor*/, int /*file*/, int64_t /*offset*/,
                              size_t /*length*/) {
        return -ENOSYS;
    }

    // The kind as a FileKind, or -EBADF.
    virtual int file_kind(int /*descriptor*/) { return -ENOSYS; }
    // Of a file, from `offset` on; its position stays. Waits for the device, unless `at_once`:
    // -EAGAIN or -EOPNOTSUPP where it would have to.
    virtual int64_t read_at(int /*descriptor*/, const struct iovec* /*parts*/, int /*count*/,
                            int64_t /*offset*/, bool /*at_once*/) {
        return -ENOSYS;
    }
    // Waits for the device. On a thread that blocks SIGXFSZ.
    virtual int64_t write_at(int /*descriptor*/, const struct iovec* /*parts*/, int /*count*/,
                             int64_t /*offset*/) {
        return -ENOSYS;
    }
    // Waits for the device. `data_only`: as fdatasync.
    virtual int sync_file(int /*descriptor*/, bool /*data_only*/) { return -ENOSYS; }

    // Sleeps while *word == expected; may return early.
    virtual int futex_wait(const uint32_t* word, uint32_t expected) = 0;
    // As above, but gives up with -ETIMEDOUT at `deadline_ns` (CLOCK_MONOTONIC; INT64_MAX: never).
    virtual int futex_wait_until(const uint32_t* word, uint32_t expected, int64_t deadline_ns) = 0;
    virtual int futex_wake_one(const uint32_t* word) = 0;
    virtual int futex_wake_all(const uint32_t* word) = 0;
};

}  // namespace cport::platform
