// The contract tests that do not run on the simulated machine.
#pragma once

#include <span>

namespace cport::test {

constexpr const char* kWholeFamily = "*";

struct Excluded {
    const char* family;  // of contract_simulated_<family>; of a whole one there is no such program
    const char* tests;   // as for --gtest_filter, with '*' at the end only
    const char* reason;
};

std::span<const Excluded> excluded();

}  // namespace cport::test
