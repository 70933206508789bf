// Time, as an interface.
#pragma once

#include <cstdint>

namespace cport::platform {

class Clock {
 public:
    virtual ~Clock() = default;

    // CLOCK_MONOTONIC, in nanoseconds.
    virtual int64_t now_ns() = 0;
};

}  // namespace cport::platform
