// Fetching memory ahead of its use.
#pragma once

#include <cstdint>

namespace cport {

// Of two cache lines, for writing. `memory` may be anything, null and what is no pointer included.
inline void prefetch_two_lines(const void* memory) {
    constexpr uintptr_t kLine_bytes = 64;
    const auto address = reinterpret_cast<uintptr_t>(memory);
    __builtin_prefetch(reinterpret_cast<const void*>(address), 1);
    __builtin_prefetch(reinterpret_cast<const void*>(address + kLine_bytes), 1);
}

}  // namespace cport
