// Each call of each scenario fails once (or is short, or interrupted, or fails from there on), and
// the port must still end every accepted request exactly once and leave nothing behind.
//
// The line of a run ("read receive ECONNRESET: 1 2 3") ends in the ordinal that is under way. To
// replay one: CPORT_FAULT=read:receive:3:ECONNRESET. CPORT_LONG sweeps the kernel's calls on a port
// with a ring as densely as on one without.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <string>
#include <vector>

#include "platform/linux/linux_platform.h"
#include "tests/contract/engine_under_test.h"
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

struct SweepCase {
    Scenario scenario;
    uint32_t engine;

    bool rides() const { return engine == COMPLETION_PORT_ENGINE_IO_URING; }
    std::string name() const { return std::string(scenario.name) + (rides() ? "_by_ring" : ""); }
};

std::vector<SweepCase> sweep_cases() {
    std::vector<SweepCase> all;
    for (const uint32_t engine : {COMPLETION_PORT_ENGINE_EPOLL, COMPLETION_PORT_ENGINE_IO_URING}) {
        for (const Scenario& scenario : scenarios()) all.push_back({scenario, engine});
    }
    return all;
}

std::string replay_name(const SweepCase& swept, const Fault& fault) {
    if (fault.ordinal == 0) return swept.name() + ":none";
    return swept.name() + ":" + call_name(fault.call) + ":" + std::to_string(fault.ordinal) + ":" +
           effect_name(fault);
}

// Where the kernel denies them, ports do without, and their scenarios hold all the same.
bool machine_has_rings() {
    int error = 0;
    return platform::linux_platform().rings->create(error) != nullptr;
}

size_t open_descriptors() {
    return static_cast<size_t>(std::distance(std::filesystem::directory_iterator("/proc/self/fd"),
                                             std::filesystem::directory_iterator()));
}

Played play(const SweepCase& swept, const Fault& fault) {
    const Scenario& scenario = swept.scenario;
    Stage stage(fault, scenario.workers, swept.engine);
    if (stage.open()) {
        scenario.play(stage);
        if (stage.usable()) use_again(stage);
    }
    for (const std::string& breach : stage.judge()) {
        ADD_FAILURE() << breach << "\n  replay: CPORT_FAULT=" << replay_name(swept, fault);
    }
    Played played;
    played.fault_happened = stage.faults().fault_happened();
    for (size_t call = 0; call < played.calls.size(); ++call) {
        played.calls[call] = stage.faults().calls(static_cast<Call>(call));
    }
    return played;
}

class FaultSweep : public ::testing::TestWithParam<SweepCase> {
 protected:
    // On a port with a ring most calls of the kernel mean what they mean without; and a sweep finds
    // wrong endings and leaks, not races, so ThreadSanitizer takes every third step.
    static int step_of(Call call) {
        if (std::getenv("CPORT_LONG") != nullptr) return 1;
        const bool dense = !GetParam().rides() || is_of_ring(call) || call == Call::kEpollWait;
        return (dense ? 1 : 7) * (kThreadSanitized ? 3 : 1);
    }
    // Moves one fault through every call of its function.
    void sweep(Fault fault, int calls_without_fault) {
        std::printf("%s %s %s:", GetParam().name().c_str(), call_name(fault.call),
                    effect_name(fault).c_str());
        bool happened = true;
        // Threads make the number of calls vary, so the last ordinal is the first that is not met.
        const int step = step_of(fault.call);
        for (int k = 1; k <= kOrdinalsMax && (happened || k <= calls_without_fault); k += step) {
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

// Spec: CP-FAULT-1, CP-FAULT-2, CP-CREATE-2, CP-REMOVE-7, CP-BAD-9, CP-BAD-10, CP-RING-8
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
        std::printf("%s: %d runs, %d faults\n", GetParam().name().c_str(), runs_, faults_happened_);
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
    for (const SweepCase& swept : sweep_cases()) {
        const Played played = play(swept, Fault{});
        for (size_t call = 0; call < calls.size(); ++call) calls[call] += played.calls[call];
    }
    for (size_t call = 0; call < calls.size(); ++call) {
        const bool can_be = machine_has_rings() || !is_of_ring(static_cast<Call>(call));
        EXPECT_EQ(calls[call] > 0, can_be) << call_name(static_cast<Call>(call));
    }
}

INSTANTIATE_TEST_SUITE_P(Scenarios, FaultSweep, ::testing::ValuesIn(sweep_cases()),
                         [](const auto& swept) { return swept.param.name(); });

}  // namespace
}  // namespace cport::test
