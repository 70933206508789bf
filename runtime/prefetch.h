// Fetching memory ahead of its use.
#pragma once

#include <cstdint>

namespace cport {

// Of two cache lines. `memory` may be anything, null and what is no pointer included.
template <bool kToWrite>
void prefetch_lines(const void* memory) {
    constexpr uintptr_t kLine_bytes = 64;
    const auto address = reinterpret_cast<uintptr_t>(memory);
    __builtin_prefetch(reinterpret_cast<const void*>(address), kToWrite);
    __builtin_prefetch(reinterpret_cast<const void*>(address + kLine_bytes), kToWrite);
}

inline void prefetch_two_lines(const void* memory) { prefetch_lines<true>(memory); }
// Where others may read as well: it stays in their caches.
inline void prefetch_two_shared_lines(const void* memory) { prefetch_lines<false>(memory); }

}  // namespace cport
