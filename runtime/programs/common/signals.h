// Signals as a descriptor, so that a main thread waits for them and for its own events at once.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "runtime/services/echo/descriptor.h"

namespace cport::programs {

class Signals {
 public:
    // Blocks the signals in this thread and those it makes: construct it before any other thread.
    // Throws OperatingError.
    Signals(std::initializer_list<int> numbers);

    [[nodiscard]] int descriptor() const { return descriptor_.get(); }
    // The next signal's number, 0 if none is pending.
    [[nodiscard]] int take();

 private:
    echo::Descriptor descriptor_;
};

// An eventfd by which other threads wake one that polls.
class Wakeup {
 public:
    Wakeup();
    [[nodiscard]] int descriptor() const { return descriptor_.get(); }
    void signal() const;
    // Whether it was signalled since the last take.
    [[nodiscard]] bool take() const;

 private:
    echo::Descriptor descriptor_;
};

// Waits until the descriptors (-1: none) are readable, or for the time; -1 waits without end.
void wait_readable(int first, int second, int64_t timeout_ns);

[[nodiscard]] int64_t monotonic_ns();

}  // namespace cport::programs
