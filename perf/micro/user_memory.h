#ifndef PERF_MICRO_USER_MEMORY_H
#define PERF_MICRO_USER_MEMORY_H

#include <cstdint>

#include "perf/micro/support.h"

namespace cport::perf {

/* The memory that this process uses, as what it has allocated and not as what it meant to: bytes in
 * use on the heap, malloc's own among them, and the resident part of all other anonymous mappings,
 * the threads' stacks included. */
class UserMemory {
 public:
    /* From here on the process's malloc keeps one heap and maps nothing, so that nothing counts
     * twice: for a process of its own, as the run script starts. */
    UserMemory();

    static std::uint64_t bytes();
};

/* Reports bytes for each of some things, under the name that the run script reads. */
void report_bytes(benchmark::State& state, std::uint64_t bytes, std::uint64_t things);

}  // namespace cport::perf

#endif
