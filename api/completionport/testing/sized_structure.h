/* Structures of the library that begin with their size and may grow: used by CompletionCapture, not
 * by tests. */
#ifndef COMPLETIONPORT_TESTING_SIZED_STRUCTURE_H
#define COMPLETIONPORT_TESTING_SIZED_STRUCTURE_H

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace completionport::testing {

/* Copies a caller's structure of `size` bytes into one of `known_size`: what the caller's lacks is
 * 0. -E2BIG where it has more, and any of that is not 0. */
inline int read_sized(const void* callers, uint32_t size, void* known, size_t known_size) {
    const auto* const bytes = static_cast<const unsigned char*>(callers);
    for (size_t i = known_size; i < size; ++i) {
        if (bytes[i] != 0) return -E2BIG;
    }
    std::memset(known, 0, known_size);
    std::memcpy(known, bytes, std::min<size_t>(size, known_size));
    return 0;
}

/* The other way: fills all `size` bytes of a caller's structure, with zeroes beyond what is
 * known. */
inline void write_sized(const void* known, size_t known_size, void* callers, uint32_t size) {
    const size_t filled = std::min<size_t>(size, known_size);
    std::memcpy(callers, known, filled);
    std::memset(static_cast<unsigned char*>(callers) + filled, 0, size - filled);
}

}  // namespace completionport::testing

#endif
