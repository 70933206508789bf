// What descriptors a test program opens, duplicates and closes: sockets, pipes and eventfds are the
// simulated machine's.
#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdarg>
#include <cstdint>

#include "tests/contract/simulated/host.h"

CPORT_INTERPOSE(int, close, int descriptor);
CPORT_INTERPOSE(int, dup, int descriptor);
CPORT_INTERPOSE(int, dup2, int descriptor, int onto);
CPORT_INTERPOSE(int, dup3, int descriptor, int onto, int flags);
CPORT_INTERPOSE(int, fcntl, int descriptor, int command, ...);
CPORT_INTERPOSE(int, eventfd, unsigned int count, int flags);
CPORT_INTERPOSE(int, pipe2, int* ends, int flags);

namespace {

using cport::test::Ends;
using cport::test::host;
using cport::test::with_errno;

}  // namespace

int simulated_close(int descriptor) {
    return host().has(descriptor) ? with_errno(host().close(descriptor)) : real_close(descriptor);
}

int simulated_dup(int descriptor) {
    if (!host().has(descriptor)) return real_dup(descriptor);
    return with_errno(host().duplicate_from(descriptor, 0, 0));
}

int simulated_dup2(int descriptor, int onto) {
    return descriptor == onto ? real_dup2(descriptor, onto) : simulated_dup3(descriptor, onto, 0);
}

int simulated_dup3(int descriptor, int onto, int flags) {
    if (descriptor == onto) return real_dup3(descriptor, onto, flags);
    if (host().has(descriptor)) return with_errno(host().duplicate_onto(descriptor, onto, flags));
    host().forget(onto);
    return real_dup3(descriptor, onto, flags);
}

// The rest, flags among it, is that of the number.
int simulated_fcntl(int descriptor, int command, ...) {
    va_list arguments;
    va_start(arguments, command);
    void* const argument = va_arg(arguments, void*);
    va_end(arguments);
    const bool duplicates = command == F_DUPFD || command == F_DUPFD_CLOEXEC;
    if (!duplicates || !host().has(descriptor)) return real_fcntl(descriptor, command, argument);
    return with_errno(host().duplicate_from(descriptor,
                                            static_cast<int>(reinterpret_cast<intptr_t>(argument)),
                                            command == F_DUPFD_CLOEXEC ? O_CLOEXEC : 0));
}

int simulated_eventfd(unsigned int count, int flags) {
    if ((flags & EFD_SEMAPHORE) != 0) return real_eventfd(count, flags);
    return with_errno(host().open_eventfd(count, flags));
}

int simulated_pipe2(int* ends, int flags) {
    Ends opened{};
    const int error = host().open_pipe(flags, opened);
    if (error == 0) {
        ends[0] = opened.ours;
        ends[1] = opened.theirs;
    }
    return with_errno(error);
}
