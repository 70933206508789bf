#include "runtime/programs/common/signals.h"

#include <fmt/format.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <ctime>

#include "runtime/programs/common/errors.h"

namespace cport::programs {
namespace {

constexpr int64_t kNsPerSecond = 1'000'000'000;

}  // namespace

Signals::Signals(std::initializer_list<int> numbers) {
    sigset_t set;
    sigemptyset(&set);
    for (const int number : numbers) sigaddset(&set, number);
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    descriptor_ = echo::Descriptor(signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
    if (!descriptor_.valid()) {
        throw OperatingError(fmt::format("cannot receive signals: {}", error_text(errno)));
    }
}

int Signals::take() {
    signalfd_siginfo info{};
    const ssize_t bytes = read(descriptor_.get(), &info, sizeof(info));
    return bytes == static_cast<ssize_t>(sizeof(info)) ? static_cast<int>(info.ssi_signo) : 0;
}

Wakeup::Wakeup() : descriptor_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    if (!descriptor_.valid()) {
        throw OperatingError(fmt::format("cannot make an eventfd: {}", error_text(errno)));
    }
}

void Wakeup::signal() const {
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t bytes = write(descriptor_.get(), &one, sizeof(one));
}

bool Wakeup::take() const {
    uint64_t count = 0;
    return read(descriptor_.get(), &count, sizeof(count)) > 0;
}

void wait_readable(int first, int second, int64_t timeout_ns) {
    std::array<pollfd, 2> polled{{{first, POLLIN, 0}, {second, POLLIN, 0}}};
    timespec timeout{};
    timeout.tv_sec = timeout_ns / kNsPerSecond;
    timeout.tv_nsec = timeout_ns % kNsPerSecond;
    ppoll(polled.data(), polled.size(), timeout_ns < 0 ? nullptr : &timeout, nullptr);
}

int64_t monotonic_ns() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<int64_t>(now.tv_sec) * kNsPerSecond + now.tv_nsec;
}

}  // namespace cport::programs
