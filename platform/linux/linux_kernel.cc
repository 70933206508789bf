#include "platform/linux/linux_kernel.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <type_traits>

namespace cport::platform {
namespace {

template <typename Result>
Result or_errno(Result result) {
    return result < 0 ? static_cast<Result>(-errno) : result;
}

constexpr long kNone = 0;

template <typename Argument>
long as_register(Argument argument) {
    if constexpr (std::is_pointer_v<Argument>) {
        return reinterpret_cast<long>(argument);
    } else {
        return static_cast<long>(argument);
    }
}

// Not libc's wrappers: each of those is a cancellation point, which in a threaded process costs two
// locked instructions a call, and a worker is never cancelled. Not its syscall() either where we
// know the instruction: that one moves every register and passes the error through errno.
#if defined(__x86_64__)
int64_t enter_kernel(long number, long a, long b, long c, long d, long e, long f) {
    int64_t result = number;
    register long fourth asm("r10") = d;
    register long fifth asm("r8") = e;
    register long sixth asm("r9") = f;
    asm volatile("syscall"
                 : "+a"(result)
                 : "D"(a), "S"(b), "d"(c), "r"(fourth), "r"(fifth), "r"(sixth)
                 : "rcx", "r11", "memory");
    return result;
}
#else
int64_t enter_kernel(long number, long a, long b, long c, long d, long e, long f) {
    return or_errno<int64_t>(::syscall(number, a, b, c, d, e, f));
}
#endif

template <typename... Arguments>
int64_t system_call(long number, Arguments... arguments) {
    static_assert(sizeof...(arguments) <= 6);
    const std::array<long, 6> in{as_register(arguments)...};
    return enter_kernel(number, in[0], in[1], in[2], in[3], in[4], in[5]);
}

struct timespec to_timespec(int64_t time_ns) {
    constexpr int64_t kSecond_ns = 1'000'000'000;
    struct timespec time = {};
    time.tv_sec = static_cast<time_t>(time_ns / kSecond_ns);
    time.tv_nsec = static_cast<long>(time_ns % kSecond_ns);
    return time;
}

int socket_option(int descriptor, int option) {
    int value = 0;
    socklen_t length = sizeof(value);
    return ::getsockopt(descriptor, SOL_SOCKET, option, &value, &length) < 0 ? -errno : value;
}

// Makes a call that raises SIGPIPE on its thread beside saying EPIPE: the signal is blocked, and
// taken before it is let through again.
template <typename Call>
int64_t without_signal(Call&& call) {
    constexpr size_t kSetBytes = _NSIG / CHAR_BIT;
    const uint64_t broken_pipe = uint64_t{1} << (SIGPIPE - 1);
    uint64_t before = 0;
    system_call(SYS_rt_sigprocmask, SIG_BLOCK, &broken_pipe, &before, kSetBytes);
    const int64_t result = call();
    const struct timespec at_once = {};
    while (result == -EPIPE &&
           system_call(SYS_rt_sigtimedwait, &broken_pipe, kNone, &at_once, kSetBytes) == -EINTR) {
    }
    // Workers block it all the time.
    if ((before & broken_pipe) == 0) {
        system_call(SYS_rt_sigprocmask, SIG_SETMASK, &before, kNone, kSetBytes);
    }
    return result;
}

// Tries `number`, preadv2 or pwritev2, without waiting; where the file does not know that, `plain`,
// which does not wait either where the descriptor says so.
int64_t transfer_now(long number, long plain, int descriptor, const struct iovec* parts,
                     int count) {
    // The descriptor's own position, where it has one.
    constexpr long kPosition = -1;
    const int64_t result =
        system_call(number, descriptor, parts, count, kPosition, kPosition, RWF_NOWAIT);
    if (result != -EOPNOTSUPP && result != -ENOSYS) return result;
    const int flags = ::fcntl(descriptor, F_GETFL);
    if (flags < 0) return -errno;
    if ((flags & O_NONBLOCK) == 0) return -EINVAL;
    return system_call(plain, descriptor, parts, count);
}

}  // namespace

int LinuxKernel::epoll_create() { return or_errno(::epoll_create1(EPOLL_CLOEXEC)); }

int LinuxKernel::epoll_ctl(int epoll, int operation, int descriptor, uint32_t events,
                           uint64_t data) {
    struct epoll_event event = {};
    event.events = events;
    event.data.u64 = data;
    return or_errno(::epoll_ctl(epoll, operation, descriptor, &event));
}

int LinuxKernel::epoll_wait(int epoll, struct epoll_event* events, int events_max,
                            int64_t timeout_ns) {
    constexpr int64_t kMillisecond_ns = 1'000'000;
    if (timeout_ns > 0 && timeout_ns % kMillisecond_ns != 0) {
        const struct timespec timeout = to_timespec(timeout_ns);
        const int count = static_cast<int>(
            system_call(SYS_epoll_pwait2, epoll, events, events_max, &timeout, kNone, 0));
        if (count != -ENOSYS) return count;
    }
    // Rounded up, so that nobody spins through the last part of a millisecond.
    const int64_t timeout_ms =
        timeout_ns < 0
            ? -1
            : std::min<int64_t>((timeout_ns + kMillisecond_ns - 1) / kMillisecond_ns, INT_MAX);
    return static_cast<int>(
        system_call(SYS_epoll_pwait, epoll, events, events_max, timeout_ms, kNone, 0));
}

int LinuxKernel::eventfd_create() { return or_errno(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)); }

int LinuxKernel::eventfd_signal(int eventfd) {
    const uint64_t one = 1;
    return static_cast<int>(system_call(SYS_write, eventfd, &one, sizeof(one)));
}

int LinuxKernel::close(int descriptor) { return or_errno(::close(descriptor)); }

int LinuxKernel::descriptor_kind(int descriptor) {
    struct stat status = {};
    if (::fstat(descriptor, &status) < 0) return -errno;
    if (S_ISSOCK(status.st_mode)) return static_cast<int>(DescriptorKind::kSocket);
    if (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode)) {
        return static_cast<int>(DescriptorKind::kFileOrDirectory);
    }
    return static_cast<int>(DescriptorKind::kOther);
}

int LinuxKernel::socket_type(int descriptor) { return socket_option(descriptor, SO_TYPE); }

int LinuxKernel::socket_protocol(int descriptor) { return socket_option(descriptor, SO_PROTOCOL); }

int LinuxKernel::unread_bytes(int descriptor) {
    int count = 0;
    return ::ioctl(descriptor, FIONREAD, &count) < 0 ? -errno : count;
}

int LinuxKernel::at_urgent_mark(int descriptor) {
    int answer = 0;
    return ::ioctl(descriptor, SIOCATMARK, &answer) < 0 ? -errno : answer;
}

int LinuxKernel::poll_now(int descriptor, uint32_t events) {
    struct pollfd request = {};
    request.fd = descriptor;
    request.events = static_cast<short>(events);
    const int count = ::poll(&request, 1, 0);
    if (count < 0) return -errno;
    return static_cast<unsigned short>(request.revents);
}

int64_t LinuxKernel::receive(int descriptor, void* buffer, size_t length, int flags) {
    return system_call(SYS_recvfrom, descriptor, buffer, length, flags | MSG_DONTWAIT, kNone,
                       kNone);
}

int64_t LinuxKernel::send(int descriptor, const void* buffer, size_t length) {
    return system_call(SYS_sendto, descriptor, buffer, length, MSG_DONTWAIT | MSG_NOSIGNAL, kNone,
                       0);
}

int LinuxKernel::is_non_blocking(int descriptor) {
    const int flags = ::fcntl(descriptor, F_GETFL);
    if (flags < 0) return -errno;
    return (flags & O_NONBLOCK) != 0 ? 1 : 0;
}

int LinuxKernel::take_socket_error(int descriptor) {
    const int error = socket_option(descriptor, SO_ERROR);
    return error > 0 ? -error : error;
}

int LinuxKernel::accept(int listener, struct sockaddr* address, uint32_t* address_length,
                        int flags) {
    return static_cast<int>(
        system_call(SYS_accept4, listener, address, address_length, flags | SOCK_CLOEXEC));
}

int LinuxKernel::connect(int descriptor, const struct sockaddr* address, uint32_t address_length) {
    return static_cast<int>(system_call(SYS_connect, descriptor, address, address_length));
}

int LinuxKernel::shutdown(int descriptor, int how) { return or_errno(::shutdown(descriptor, how)); }

int64_t LinuxKernel::receive_message(int descriptor, struct msghdr* message, int flags) {
    return system_call(SYS_recvmsg, descriptor, message, flags | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
}

int64_t LinuxKernel::send_message(int descriptor, const struct msghdr* message, int flags) {
    return system_call(SYS_sendmsg, descriptor, message, flags | MSG_DONTWAIT | MSG_NOSIGNAL);
}

int64_t LinuxKernel::read_now(int descriptor, const struct iovec* parts, int count) {
    return transfer_now(SYS_preadv2, SYS_readv, descriptor, parts, count);
}

int64_t LinuxKernel::write_now(int descriptor, const struct iovec* parts, int count) {
    return without_signal(
        [&] { return transfer_now(SYS_pwritev2, SYS_writev, descriptor, parts, count); });
}

int64_t LinuxKernel::send_file(int descriptor, int file, int64_t offset, size_t length) {
    return without_signal(
        [&] { return system_call(SYS_sendfile, descriptor, file, &offset, length); });
}

int LinuxKernel::file_kind(int descriptor) {
    struct stat status = {};
    if (::fstat(descriptor, &status) < 0) return -errno;
    FileKind kind = FileKind::kNone;
    if (S_ISREG(status.st_mode)) kind = FileKind::kRegular;
    if (S_ISDIR(status.st_mode)) kind = FileKind::kDirectory;
    if (S_ISBLK(status.st_mode)) kind = FileKind::kBlockDevice;
    return static_cast<int>(kind);
}

int64_t LinuxKernel::read_at(int descriptor, const struct iovec* parts, int count, int64_t offset,
                             bool at_once) {
    // The second word of the offset counts where registers are shorter.
    if (!at_once) return system_call(SYS_preadv, descriptor, parts, count, offset, kNone);
    return system_call(SYS_preadv2, descriptor, parts, count, offset, kNone, RWF_NOWAIT);
}

int64_t LinuxKernel::write_at(int descriptor, const struct iovec* parts, int count,
                              int64_t offset) {
    return system_call(SYS_pwritev, descriptor, parts, count, offset, kNone);
}

int LinuxKernel::sync_file(int descriptor, bool data_only) {
    return static_cast<int>(system_call(data_only ? SYS_fdatasync : SYS_fsync, descriptor));
}

int LinuxKernel::futex_wait(const uint32_t* word, uint32_t expected) {
    return static_cast<int>(
        system_call(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, kNone, kNone, 0));
}

int LinuxKernel::futex_wait_until(const uint32_t* word, uint32_t expected, int64_t deadline_ns) {
    if (deadline_ns == INT64_MAX) return futex_wait(word, expected);
    const struct timespec deadline = to_timespec(deadline_ns);
    // The bitset form is the one that takes an absolute time.
    return static_cast<int>(system_call(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, expected,
                                        &deadline, kNone, FUTEX_BITSET_MATCH_ANY));
}

int LinuxKernel::futex_wake_one(const uint32_t* word) {
    return static_cast<int>(system_call(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, kNone, kNone, 0));
}

int LinuxKernel::futex_wake_all(const uint32_t* word) {
    return static_cast<int>(
        system_call(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, kNone, kNone, 0));
}

}  // namespace cport::platform
