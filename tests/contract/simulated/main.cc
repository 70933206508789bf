// Runs the contract tests of one program on the simulated machine, without those that it excludes.
// Spec: CP-SIM-10
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <string>
#include <string_view>

#include "tests/contract/simulated/excluded.h"
#include "tests/contract/simulated/host.h"

namespace {

using cport::test::Excluded;
using cport::test::excluded;
using cport::test::kWholeFamily;

// The part of the program's name behind this is its family.
constexpr std::string_view kPrefix = "contract_simulated_";

std::string_view family_of(std::string_view program) {
    return program.substr(program.rfind(kPrefix) + kPrefix.size());
}

// Whether there is a program of the family.
bool is_built(std::string_view family) {
    return std::string(" " CPORT_FAMILIES " ").find(" " + std::string(family) + " ") !=
           std::string::npos;
}

// Whether the pattern means any test of this program.
bool has_test(std::string_view pattern) {
    const bool is_prefix = pattern.ends_with('*');
    if (is_prefix) pattern.remove_suffix(1);
    const ::testing::UnitTest& all = *::testing::UnitTest::GetInstance();
    for (int suite = 0; suite < all.total_test_suite_count(); ++suite) {
        const ::testing::TestSuite& each = *all.GetTestSuite(suite);
        for (int test = 0; test < each.total_test_count(); ++test) {
            const std::string name =
                std::string(each.name()) + "." + each.GetTestInfo(test)->name();
            if (is_prefix ? name.starts_with(pattern) : name == pattern) return true;
        }
    }
    return false;
}

// Whether the entry excludes something, as far as this program can say.
bool makes_sense(const Excluded& entry, std::string_view family) {
    const bool is_whole = entry.tests == std::string_view(kWholeFamily);
    if (is_built(entry.family) == is_whole) return false;
    return family != entry.family || has_test(entry.tests);
}

}  // namespace

int main(int argc, char** argv) {
    // What the machine opens for itself is open before any test looks.
    cport::test::host();
    ::testing::InitGoogleMock(&argc, argv);
    const std::string_view family = family_of(argv[0]);
    std::string filter = ::testing::GTEST_FLAG(filter);
    if (filter.find('-') == std::string::npos) filter += "-";
    for (const Excluded& entry : excluded()) {
        if (!makes_sense(entry, family)) {
            std::fprintf(stderr, "nothing to exclude: %s of %s\n", entry.tests, entry.family);
            return 1;
        }
        if (family == entry.family) filter += std::string(":") + entry.tests;
    }
    ::testing::GTEST_FLAG(filter) = filter;
    return RUN_ALL_TESTS();
}
