// On which NUMA nodes the memory of a port's workers lies.
#pragma once

#include <cstdint>

#include "platform/platform.h"
#include "runtime/port/request.h"

namespace cport {

// 0, or -EINVAL: a node was asked for that the machine does not have.
int check_nodes(const platform::Platform& platform, const PortOptions& options);

// The node that was asked for; else the node of the worker's CPU; else any.
platform::MemoryHome home_of_worker(const platform::Platform& platform, const PortOptions& options,
                                    uint32_t worker);

}  // namespace cport
