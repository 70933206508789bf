#include "tests/contract/simulated/host.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <memory>

#include "platform/platform.h"
#include "tests/contract/engine_under_test.h"
#include "tests/support/simulated_perturbation.h"
#include "tests/support/simulated_ring.h"
#include "tests/support/simulated_schedule.h"

// The platform of every port that the public functions create.
namespace cport::platform {
const Platform& real_platform() asm("__real__ZN5cport8platform14linux_platformEv");
const Platform& simulated_platform() asm("__wrap__ZN5cport8platform14linux_platformEv");
}  // namespace cport::platform

CPORT_INTERPOSE(int, close, int descriptor);
CPORT_INTERPOSE(int, dup3, int descriptor, int onto, int flags);
CPORT_INTERPOSE(int, fcntl, int descriptor, int command, ...);

namespace cport::test {
namespace {

// The numbers are those of timers that never run. Their flags are the simulated descriptors' flags,
// and a call that reaches them although it should not have fails.
class ProcessNumbers final : public SimulatedNumbers {
 public:
    int take(int flags) override {
        return or_errno(::timerfd_create(CLOCK_MONOTONIC, flags & (O_CLOEXEC | O_NONBLOCK)));
    }
    int take_again(int number, int least, int flags) override {
        return or_errno(
            real_fcntl(number, (flags & O_CLOEXEC) != 0 ? F_DUPFD_CLOEXEC : F_DUPFD, least));
    }
    int move_onto(int number, int onto, int flags) override {
        return or_errno(real_dup3(number, onto, flags));
    }
    void give_back(int number) override { real_close(number); }
    bool is_non_blocking(int number) override {
        return (real_fcntl(number, F_GETFL) & O_NONBLOCK) != 0;
    }

 private:
    static int or_errno(int answer) { return answer < 0 ? -errno : answer; }
};

struct Host {
    Host()
        : schedule(platform::real_platform().clock),
          perturbation(0, {}, kSizesOfLinux),
          kernel(schedule, perturbation, std::make_unique<ProcessNumbers>()),
          rings(kernel, schedule, perturbation),
          platform{kernel,
                   platform::real_platform().threads,
                   platform::real_platform().memory,
                   platform::real_platform().clock,
                   &rings,
                   platform::real_platform().numa} {
        kernel.set_files(platform::real_platform().kernel);
    }

    static Host& get() {
        static Host& host = *make();
        return host;
    }

    SimulatedSchedule schedule;
    SimulatedPerturbation perturbation;
    SimulatedKernel kernel;
    SimulatedRings rings;
    platform::Platform platform;

 private:
    static Host* make() {
        pthread_atfork([] { get().kernel.before_fork(); }, [] { get().kernel.after_fork(false); },
                       [] { get().kernel.after_fork(true); });
        return new Host;
    }
};

}  // namespace

bool on_simulated_machine() { return true; }

SimulatedKernel& host() { return Host::get().kernel; }

bool waits(int descriptor, int flags) {
    return (flags & MSG_DONTWAIT) == 0 && host().is_non_blocking(descriptor) == 0;
}

void wait_for(int descriptor, short events) {
    struct pollfd polled = {descriptor, events, 0};
    host().poll(&polled, 1, -1);
}

}  // namespace cport::test

const cport::platform::Platform& cport::platform::simulated_platform() {
    return cport::test::Host::get().platform;
}
