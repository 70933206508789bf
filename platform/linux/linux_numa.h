// NUMA by libnuma.
#pragma once

#include "platform/numa.h"

namespace cport::platform {

class LinuxNuma final : public Numa {
 public:
    bool has_node(int node) override;
    int node_of_cpu(int cpu) override;
    void prefer(void* memory, size_t size, int node) override;
};

}  // namespace cport::platform
