#include "runtime/port/worker_homes.h"

#include <cerrno>

namespace cport {
namespace {

using platform::Numa;

bool has_node(Numa* numa, int node) { return numa == nullptr ? node == 0 : numa->has_node(node); }

int node_asked_for(const PortOptions& options, uint32_t worker) {
    return options.nodes == nullptr ? Numa::kAnyNode : options.nodes[worker];
}

// Where the node of a CPU has no memory, it comes from anywhere.
int node_of_cpu(Numa* numa, const PortOptions& options, uint32_t worker) {
    if (numa == nullptr || options.cpus == nullptr || options.cpus[worker] < 0) {
        return Numa::kAnyNode;
    }
    const int node = numa->node_of_cpu(options.cpus[worker]);
    return node != Numa::kAnyNode && numa->has_node(node) ? node : Numa::kAnyNode;
}

}  // namespace

int check_nodes(const platform::Platform& platform, const PortOptions& options) {
    for (uint32_t i = 0; i < options.workers; ++i) {
        const int node = node_asked_for(options, i);
        if (node != Numa::kAnyNode && !has_node(platform.numa, node)) return -EINVAL;
    }
    return 0;
}

platform::MemoryHome home_of_worker(const platform::Platform& platform, const PortOptions& options,
                                    uint32_t worker) {
    const int asked_for = node_asked_for(options, worker);
    const bool by_cpu = asked_for == Numa::kAnyNode;
    return {platform.numa, by_cpu ? node_of_cpu(platform.numa, options, worker) : asked_for};
}

}  // namespace cport
