// Which seeds a random test runs, and how it says which one failed.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <string>

#include "tests/contract/engine_under_test.h"

namespace cport::test {

struct Seeds {
    uint64_t first;
    uint64_t count;
};

// CPORT_SEED=n runs just that one; CPORT_LONG runs ten times as many; CPORT_SEEDS says how many.
// ThreadSanitizer runs a fifth: the simulation's threads take turns, so that it sees little there.
inline Seeds seeds_to_run(uint64_t plain_count) {
    const uint64_t usual_count = kThreadSanitized ? plain_count / 5 : plain_count;
    const char* one = std::getenv("CPORT_SEED");
    if (one != nullptr) return {std::strtoull(one, nullptr, 10), 1};
    const char* count = std::getenv("CPORT_SEEDS");
    if (count != nullptr) return {1, std::strtoull(count, nullptr, 10)};
    return {1, std::getenv("CPORT_LONG") != nullptr ? 10 * usual_count : usual_count};
}

inline std::string replay_hint(uint64_t seed) {
    return "seed " + std::to_string(seed) + "; to replay it set CPORT_SEED=" + std::to_string(seed);
}

}  // namespace cport::test
