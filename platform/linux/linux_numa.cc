#include "platform/linux/linux_numa.h"

#include <numa.h>
#include <numaif.h>
#include <sched.h>
#include <unistd.h>

#include <array>
#include <climits>
#include <cstdint>

namespace cport::platform {
namespace {

constexpr int kNodesMax = 1024;  // of the kernel
constexpr int kWordBits = sizeof(unsigned long) * CHAR_BIT;

// A container may deny the calls, which libnuma takes for a machine with NUMA.
bool is_there() {
    return ::numa_available() == 0 && ::get_mempolicy(nullptr, nullptr, 0, nullptr, 0) == 0;
}

// libnuma's own look-up fills caches without a lock: it is asked once, by one thread.
class NodesOfCpus {
 public:
    NodesOfCpus() {
        for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
            nodes_[static_cast<size_t>(cpu)] = static_cast<int16_t>(::numa_node_of_cpu(cpu));
        }
    }
    int node_of(int cpu) const {
        const bool known = cpu >= 0 && cpu < CPU_SETSIZE;
        return known ? nodes_[static_cast<size_t>(cpu)] : Numa::kAnyNode;
    }

 private:
    std::array<int16_t, CPU_SETSIZE> nodes_;
};

}  // namespace

bool LinuxNuma::has_node(int node) {
    if (node < 0 || node >= kNodesMax) return false;
    if (!is_there()) return node == 0;
    return node <= ::numa_max_node() &&
           ::numa_bitmask_isbitset(numa_all_nodes_ptr, static_cast<unsigned>(node)) != 0;
}

int LinuxNuma::node_of_cpu(int cpu) {
    if (!is_there()) return kAnyNode;
    static const NodesOfCpus nodes;
    return nodes.node_of(cpu);
}

void LinuxNuma::prefer(void* memory, size_t size, int node) {
    if (node < 0 || node >= kNodesMax || !is_there()) return;
    // Whole pages: what shares one with other memory stays as it is.
    const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
    const auto first = reinterpret_cast<uintptr_t>(memory);
    const uintptr_t begin = (first + page - 1) & ~(page - 1);
    const uintptr_t end = (first + size) & ~(page - 1);
    if (begin >= end) return;
    std::array<unsigned long, kNodesMax / kWordBits> nodes{};
    nodes[static_cast<size_t>(node / kWordBits)] = 1ul << (node % kWordBits);
    // The call itself, since libnuma's cover of it prints where it fails. The kernel takes one bit
    // less than it is told of. Preferred, not bound: a node that is full must not end the process.
    (void)::mbind(reinterpret_cast<void*>(begin), end - begin, MPOL_PREFERRED, nodes.data(),
                  kNodesMax + 1, 0);
}

}  // namespace cport::platform
