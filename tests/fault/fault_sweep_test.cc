// Each call of each scenario fails once (or is short, or interrupted, or fails from there on), and
// the port must still end every accepted request exactly once and leave nothing behind.
//
// The line of a run ("read receive ECONNRESET: 1 2 3") ends in the ordinal that is under way. To
// replay one: CPORT_FAULT=read:receive:3:ECONNRESET.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <string>
#include <vector>

#include "tests/fault/scenarios.h"
#include "tests/fault/stage.h"
#include "tests/support/fault_platform.h"

namespace cport::test {
namespace {

// A guard against a scenario that makes ever more calls; none needs as many.
constexpr int kOrdinalsMax = 2000;

struct Played {
    bool fault_happened = false;
    std::array<int, kCallCount> calls{};
};

std::string replay_name(const Scenario& scenario, const Fault& fault) {
    if (fault.ordinal == 0) return std::string(scenario.name) + ":none";
    return std::string(scenario.name) + ":" + call_name(fault.call) + ":" +
           std::to_string(fault.ordinal) + ":" + effect_name(fault);
}

size_t open_descriptors() {
    return static_cast<size_t>(std::distance(std::filesystem::directory_iterator("/proc/self/fd"),
                                             std::filesystem::directory_iterator()));
}

Played play(const Scenario& scenario, const Fault& fault) {
    Stage stage(fault, scenario.workers);
    if (stage.open()) {
        scenario.play(stage);
        if (stage.usable()) use_again(stage);
    }
    for (const std::string& breach : stage.judge()) {
        ADD_FAILURE() << breach << "\n  replay: CPORT_FAULT=" << replay_name(scenario, fault);
    }
    Played played;
    played.fault_happened = stage.faults().fault_happened();
    for (size_t call = 0; call < played.calls.size(); ++call) {
        played.calls[call] = stage.faults().calls(static_cast<Call>(call));
    }
    return played;
}

class FaultSweep : public ::testing::TestWithParam<Scenario> {
 protected:
    // Moves one fault through every call of its function.
    void sweep(Fault fault, int calls_without_fault) {
        std::printf("%s %s %s:", GetParam().name, call_name(fault.call),
                    effect_name(fault).c_str());
        bool happened = true;
        // Threads make the number of calls vary, so the last ordinal is the first that is not met.
        for (int k = 1; k <= kOrdinalsMax && (happened || k <= calls_without_fault); ++k) {
            fault.ordinal = k;
            std::printf(" %d", k);
            std::fflush(stdout);
            happened = play(GetParam(), fault).fault_happened;
            faults_happened_ += happened ? 1 : 0;
            ++runs_;
        }
        std::printf("\n");
    }

    int runs_ = 0;
    int faults_happened_ = 0;
};

// Spec: CP-FAULT-1, CP-FAULT-2, CP-CREATE-2, CP-REMOVE-7, CP-BAD-9, CP-BAD-10
TEST_P(FaultSweep, EndsEveryAcceptedRequestOnceAndLeavesNothing) {
    const char* replay = std::getenv("CPORT_FAULT");
    const size_t descriptors_before = open_descriptors();
    if (replay == nullptr) {
        const Played whole = play(GetParam(), Fault{});
        ASSERT_FALSE(HasFailure()) << "it fails without a fault";
        for (int call = 0; call < kCallCount; ++call) {
            for (const Fault& fault : legitimate_faults(static_cast<Call>(call))) {
                sweep(fault, whole.calls[static_cast<size_t>(call)]);
            }
        }
        std::printf("%s: %d runs, %d faults\n", GetParam().name, runs_, faults_happened_);
        EXPECT_GT(faults_happened_, 0);
    }
    for (int call = 0; replay != nullptr && call < kCallCount; ++call) {
        for (Fault fault : legitimate_faults(static_cast<Call>(call))) {
            for (fault.ordinal = 1; fault.ordinal <= kOrdinalsMax; ++fault.ordinal) {
                if (replay_name(GetParam(), fault) == replay) play(GetParam(), fault);
            }
        }
    }
    if (replay != nullptr && replay_name(GetParam(), Fault{}) == replay) play(GetParam(), Fault{});
    EXPECT_EQ(open_descriptors(), descriptors_before);
}

// A sweep over calls that nobody makes proves nothing.
TEST(FaultScenarios, MakeEveryCallOfTheSeam) {
    std::array<int, kCallCount> calls{};
    for (const Scenario& scenario : scenarios()) {
        const Played played = play(scenario, Fault{});
        for (size_t call = 0; call < calls.size(); ++call) calls[call] += played.calls[call];
    }
    for (size_t call = 0; call < calls.size(); ++call) {
        EXPECT_GT(calls[call], 0) << call_name(static_cast<Call>(call));
    }
}

INSTANTIATE_TEST_SUITE_P(Scenarios, FaultSweep, ::testing::ValuesIn(scenarios()),
                         [](const auto& scenario) { return std::string(scenario.param.name); });

}  // namespace
}  // namespace cport::test
