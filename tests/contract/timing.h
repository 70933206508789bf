// The clock of timers and deadlines, as tests read it and wait for it.
#pragma once

#include <poll.h>
#include <sys/timerfd.h>
#include <time.h>

#include <cstdint>

#include "tests/support/sockets.h"

namespace cport::test {

constexpr int64_t kMillisecond_ns = 1'000'000;
constexpr int64_t kSecond_ns = 1'000 * kMillisecond_ns;
constexpr int64_t kHour_ns = 3'600 * kSecond_ns;

inline int64_t now_ns() {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * kSecond_ns + now.tv_nsec;
}

// Returns once the clock has passed `time_ns`.
inline void wait_until_time(int64_t time_ns) {
    const Descriptor timer(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
    itimerspec when{};
    when.it_value = {time_ns / kSecond_ns, time_ns % kSecond_ns};
    ::timerfd_settime(timer.get(), TFD_TIMER_ABSTIME, &when, nullptr);
    while (now_ns() <= time_ns) wait_until_polled(timer.get(), POLLIN);
}

}  // namespace cport::test
