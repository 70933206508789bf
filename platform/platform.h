// The machine as the core sees it.
#pragma once

#include "platform/clock.h"
#include "platform/kernel.h"
#include "platform/memory.h"
#include "platform/numa.h"
#include "platform/ring.h"
#include "platform/threads.h"

namespace cport::platform {

struct Platform {
    Kernel& kernel;
    Threads& threads;
    Memory& memory;
    Clock& clock;
    Rings* rings = nullptr;  // nullptr: a machine without; so it is of what follows
    Numa* numa = nullptr;
};

}  // namespace cport::platform
