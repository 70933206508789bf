#include "perf/micro/user_memory.h"

#include <malloc.h>

#include <cinttypes>
#include <cstdio>
#include <cstring>

namespace cport::perf {

namespace {

constexpr int kMapThreshold_bytes = 32 << 20;
constexpr std::size_t kLine_bytes = 512;

/* Of a mapping's first line: it has no file and no name, as the heap and the main stack have. */
bool is_anonymous(const char* line) {
    return std::strchr(line, '/') == nullptr && std::strchr(line, '[') == nullptr;
}

std::uint64_t resident_mappings_bytes() {
    std::FILE* maps = std::fopen("/proc/self/smaps", "re");
    require(maps != nullptr, "/proc/self/smaps");
    std::uint64_t resident_kib = 0;
    bool counts = false;
    char line[kLine_bytes];
    while (std::fgets(line, sizeof(line), maps) != nullptr) {
        std::uint64_t first = 0;
        std::uint64_t second = 0;
        if (std::sscanf(line, "%" SCNx64 "-%" SCNx64 " ", &first, &second) == 2) {
            counts = is_anonymous(line);
        } else if (counts && std::sscanf(line, "Rss: %" SCNu64 " kB", &first) == 1) {
            resident_kib += first;
        }
    }
    std::fclose(maps);
    return resident_kib << 10;
}

}  // namespace

UserMemory::UserMemory() {
    require(mallopt(M_ARENA_MAX, 1) == 1, "mallopt");
    require(mallopt(M_MMAP_THRESHOLD, kMapThreshold_bytes) == 1, "mallopt");
    /* What a measurement needs is there from the first one on. */
    bytes();
}

std::uint64_t UserMemory::bytes() {
    const std::uint64_t mapped_bytes = resident_mappings_bytes();
    const struct mallinfo2 heap = mallinfo2();
    require(heap.hblkhd == 0, "a heap without mappings");
    return mapped_bytes + heap.uordblks;
}

void report_bytes(benchmark::State& state, std::uint64_t bytes, std::uint64_t things) {
    state.counters["bytes"] = static_cast<double>(bytes) / static_cast<double>(things);
}

}  // namespace cport::perf
