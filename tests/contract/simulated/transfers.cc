// What a test program reads and writes: on simulated descriptors by the simulated machine.
#include <linux/sockios.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "tests/contract/simulated/host.h"

CPORT_INTERPOSE(ssize_t, read, int descriptor, void* buffer, size_t length);
CPORT_INTERPOSE(ssize_t, write, int descriptor, const void* bytes, size_t length);
CPORT_INTERPOSE(ssize_t, recv, int descriptor, void* buffer, size_t length, int flags);
CPORT_INTERPOSE(ssize_t, send, int descriptor, const void* bytes, size_t length, int flags);
CPORT_INTERPOSE(int, eventfd_read, int descriptor, eventfd_t* count);
CPORT_INTERPOSE(int, eventfd_write, int descriptor, eventfd_t count);
CPORT_INTERPOSE(int, poll, struct pollfd* polled, nfds_t count, int timeout_ms);
CPORT_INTERPOSE(int, ioctl, int descriptor, unsigned long request, ...);

namespace {

using cport::test::complete;
using cport::test::host;
using cport::test::waits;
using cport::test::with_errno;

// A descriptor that blocks takes everything; an error is told once nothing went out.
template <typename Write>
ssize_t write_all(int descriptor, std::string_view bytes, int flags, Write&& write) {
    const size_t length = bytes.size();
    for (;;) {
        const int64_t count = complete(descriptor, POLLOUT, flags, [&] { return write(bytes); });
        if (count < 0) {
            const auto written = static_cast<ssize_t>(length - bytes.size());
            return written > 0 ? written : static_cast<ssize_t>(count);
        }
        bytes.remove_prefix(static_cast<size_t>(count));
        if (bytes.empty() || !waits(descriptor, flags)) {
            return static_cast<ssize_t>(length - bytes.size());
        }
    }
}

std::string_view view(const void* bytes, size_t length) {
    return {static_cast<const char*>(bytes), length};
}

}  // namespace

ssize_t simulated_read(int descriptor, void* buffer, size_t length) {
    if (!host().has(descriptor)) return real_read(descriptor, buffer, length);
    return with_errno(complete(descriptor, POLLIN, 0, [&] {
        return host().read(descriptor, static_cast<char*>(buffer), length);
    }));
}

ssize_t simulated_recv(int descriptor, void* buffer, size_t length, int flags) {
    if (!host().has(descriptor)) return real_recv(descriptor, buffer, length, flags);
    return with_errno(complete(descriptor, POLLIN, flags, [&] {
        return host().receive(descriptor, buffer, length, flags & (MSG_TRUNC | MSG_PEEK));
    }));
}

ssize_t simulated_write(int descriptor, const void* bytes, size_t length) {
    if (!host().has(descriptor)) return real_write(descriptor, bytes, length);
    return with_errno(write_all(descriptor, view(bytes, length), 0, [&](std::string_view rest) {
        return host().write(descriptor, rest);
    }));
}

ssize_t simulated_send(int descriptor, const void* bytes, size_t length, int flags) {
    if (!host().has(descriptor)) return real_send(descriptor, bytes, length, flags);
    if ((flags & MSG_OOB) != 0 && length == 1) {
        return with_errno(host().send_urgent(descriptor, *static_cast<const char*>(bytes)));
    }
    return with_errno(write_all(descriptor, view(bytes, length), flags, [&](std::string_view rest) {
        return host().send(descriptor, rest.data(), rest.size());
    }));
}

int simulated_eventfd_read(int descriptor, eventfd_t* count) {
    if (!host().has(descriptor)) return real_eventfd_read(descriptor, count);
    return simulated_read(descriptor, count, sizeof(*count)) == sizeof(*count) ? 0 : -1;
}

int simulated_eventfd_write(int descriptor, eventfd_t count) {
    if (!host().has(descriptor)) return real_eventfd_write(descriptor, count);
    return simulated_write(descriptor, &count, sizeof(count)) == sizeof(count) ? 0 : -1;
}

int simulated_poll(struct pollfd* polled, nfds_t count, int timeout_ms) {
    const auto simulated = std::count_if(
        polled, polled + count, [](const struct pollfd& each) { return host().has(each.fd); });
    if (simulated == 0) return real_poll(polled, count, timeout_ms);
    if (static_cast<nfds_t>(simulated) != count) {
        std::fprintf(stderr, "a poll of simulated descriptors and others\n");
        std::abort();
    }
    return host().poll(polled, count, timeout_ms < 0 ? -1 : int64_t{timeout_ms} * 1'000'000);
}

int simulated_ioctl(int descriptor, unsigned long request, ...) {
    va_list arguments;
    va_start(arguments, request);
    int* const answer = va_arg(arguments, int*);
    va_end(arguments);
    if (!host().has(descriptor)) return real_ioctl(descriptor, request, answer);
    int found = -ENOTTY;
    if (request == FIONREAD) found = host().unread_bytes(descriptor);
    // What was sent has arrived.
    if (request == SIOCOUTQ || request == SIOCOUTQNSD) found = 0;
    if (found >= 0) *answer = found;
    return with_errno(std::min(found, 0));
}
