// The simulated machine that the contract tests run on: every port of the program has its platform,
// and the descriptors that the program opens for a port are its descriptors. Each holds a number of
// the process, so that numbers are given as Linux gives them, and never to two.
#pragma once

#include <cerrno>
#include <cstdint>

#include "tests/support/simulated_kernel.h"

// A function that the linker puts in the place of `name` (--wrap), and the one that it replaces.
#define CPORT_INTERPOSE(Result, name, ...)                           \
    extern "C" Result real_##name(__VA_ARGS__) asm("__real_" #name); \
    extern "C" Result simulated_##name(__VA_ARGS__) asm("__wrap_" #name)

namespace cport::test {

// Never destroyed: workers may run while the process leaves main.
SimulatedKernel& host();

// As the C library answers.
template <typename Result>
Result with_errno(Result answer) {
    if (answer >= 0) return answer;
    errno = static_cast<int>(-answer);
    return -1;
}

// Whether a call waits that says EAGAIN.
bool waits(int descriptor, int flags = 0);
void wait_for(int descriptor, short events);

// Makes the call as often as a thread that waits does.
template <typename Call>
auto complete(int descriptor, short events, int flags, Call&& call) {
    for (;;) {
        const auto answer = call();
        if (answer != -EAGAIN || !waits(descriptor, flags)) return answer;
        wait_for(descriptor, events);
    }
}

}  // namespace cport::test
