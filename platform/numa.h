// Which memory is near to which CPU, as an interface.
#pragma once

#include <cstddef>

#include "platform/memory.h"

namespace cport::platform {

class Numa {
 public:
    static constexpr int kAnyNode = -1;

    virtual ~Numa() = default;

    // Whether memory can be had from that node. A machine that knows of none is node 0.
    virtual bool has_node(int node) = 0;
    // kAnyNode: the CPU's is not known.
    virtual int node_of_cpu(int cpu) = 0;
    // From now on untouched pages that lie within the range come from the node, or from elsewhere
    // when it has none left. A wish: where the machine does not grant it, nothing changes.
    virtual void prefer(void* memory, size_t size, int node) = 0;
};

// Where memory shall lie.
struct MemoryHome {
    Numa* numa = nullptr;  // nullptr: a machine without
    int node = Numa::kAnyNode;

    // For memory that nobody has touched. Pages of the heap stay as they are: what was said of them
    // would outlive the block.
    void claim(void* memory, size_t size) const {
        if (numa == nullptr || node == Numa::kAnyNode || size < Memory::kOwnPages_bytes) return;
        numa->prefer(memory, size, node);
    }
};

}  // namespace cport::platform
