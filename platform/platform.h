// The machine as the core sees it.
#pragma once

#include "platform/clock.h"
#include "platform/kernel.h"
#include "platform/memory.h"
#include "platform/ring.h"
#include "platform/threads.h"

namespace cport::platform {

struct Platform {
    Kernel& kernel;
    Threads& threads;
    Memory& memory;
    Clock& clock;
    Rings* rings = nullptr;  // nullptr: a machine without
};

}  // namespace cport::platform
