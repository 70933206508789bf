// Structures of the public headers that begin with their size and may grow.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace cport {

// No structure will ever be longer: a size beyond it is a field that was never set.
constexpr uint32_t kStructureBytesMax = 4096;

// Copies `size` bytes of a caller's structure into one of `known_size`: what the caller's lacks is
// zero. -E2BIG if it has more, and any of that is not zero, or far more.
inline int read_sized(const void* callers, uint32_t size, void* known, size_t known_size) {
    if (size > kStructureBytesMax) return -E2BIG;
    const auto* bytes = static_cast<const unsigned char*>(callers);
    for (size_t i = known_size; i < size; ++i) {
        if (bytes[i] != 0) return -E2BIG;
    }
    std::memset(known, 0, known_size);
    std::memcpy(known, callers, std::min<size_t>(size, known_size));
    return 0;
}

// The other way: fills all `size` bytes of a caller's structure, with zeroes beyond what is known.
inline void write_sized(const void* known, size_t known_size, void* callers, uint32_t size) {
    const size_t filled = std::min<size_t>(size, known_size);
    std::memcpy(callers, known, filled);
    std::memset(static_cast<unsigned char*>(callers) + filled, 0, size - filled);
}

}  // namespace cport
