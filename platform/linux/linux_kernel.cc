#include "platform/linux/linux_kernel.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
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
// locked instructions a call, and a worker is never cancelled.
template <typename... Arguments>
int64_t system_call(long number, Arguments... arguments) {
    return or_errno<int64_t>(::syscall(number, as_register(arguments)...));
}

int socket_option(int descriptor, int option) {
    int value = 0;
    socklen_t length = sizeof(value);
    return ::getsockopt(descriptor, SOL_SOCKET, option, &value, &length) < 0 ? -errno : value;
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

int LinuxKernel::epoll_wait(int epoll, struct epoll_event* events, int events_max, int timeout_ms) {
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

int LinuxKernel::futex_wait(const uint32_t* word, uint32_t expected) {
    return static_cast<int>(
        system_call(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, kNone, kNone, 0));
}

int LinuxKernel::futex_wake_all(const uint32_t* word) {
    return static_cast<int>(
        system_call(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, kNone, kNone, 0));
}

}  // namespace cport::platform
