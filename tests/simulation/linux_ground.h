// A port on Linux itself, with a clock that stands still until the test moves it.
#pragma once

#include <completionport/completion_port.h>

#include <atomic>
#include <cstdint>

#include "platform/clock.h"
#include "tests/simulation/kinds_run.h"
#include "tests/simulation/linux_world.h"
#include "tests/support/sockets.h"

namespace cport::test {

class LinuxGround {
 public:
    // One worker, on this engine if the kernel has it. Its time begins where a simulated machine's
    // does.
    LinuxGround(LinuxWorld& world, uint32_t engine);
    LinuxGround(const LinuxGround&) = delete;
    LinuxGround& operator=(const LinuxGround&) = delete;

    // Whose run gives the port back.
    KindsGround ground();

 private:
    class StillClock final : public platform::Clock {
     public:
        int64_t now_ns() override { return now_ns_.load(std::memory_order_relaxed); }
        void advance(int64_t by_ns) { now_ns_.fetch_add(by_ns, std::memory_order_relaxed); }

     private:
        // Orders nothing: what the test does next wakes the worker, who then looks.
        std::atomic<int64_t> now_ns_{1'000'000'000};
    };

    // Returns when the worker has dealt with every event and every message of before.
    void fence();

    LinuxWorld& world_;
    StillClock clock_;
    Pair fence_ = unix_pair();
    COMPLETION_PORT_HANDLE port_;
};

}  // namespace cport::test
