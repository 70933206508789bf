// The port in a simulated machine: random sequences, each replayed exactly by its seed.
#include <gtest/gtest.h>

#include "tests/simulation/port_under_simulation.h"
#include "tests/simulation/seeds.h"

namespace cport::test {
namespace {

constexpr uint64_t kSequences = 10'000;
// A ring takes part in few of the calls.
constexpr uint64_t kRingSequences = 3'000;
constexpr uint32_t kByRing = COMPLETION_PORT_ENGINE_IO_URING;

SimulatedSettings settings_of(uint64_t seed) {
    SimulatedSettings settings;
    settings.seed = seed;
    settings.chances = chances_of(seed);
    return settings;
}

// Spec: CP-SIM-3, CP-ONCE-1, CP-ORDER-1
TEST(PortInSimulation, KeepsItsContractInRandomSequences) {
    const Seeds seeds = seeds_to_run(kSequences);
    for (uint64_t seed = seeds.first; seed < seeds.first + seeds.count; ++seed) {
        const std::vector<Action> sequence = make_sequence(seed);
        const RunResult result = run_simulated(sequence, settings_of(seed));
        ASSERT_EQ(result.breach, "") << story(seed, sequence, result);
    }
}

// Spec: CP-SIM-2
TEST(PortInSimulation, ReplaysASeedExactly) {
    for (uint64_t seed = 1; seed <= 50; ++seed) {
        const std::vector<Action> sequence = make_sequence(seed);
        const RunResult first = run_simulated(sequence, settings_of(seed));
        const RunResult second = run_simulated(sequence, settings_of(seed));
        ASSERT_EQ(first.outcomes, second.outcomes) << replay_hint(seed);
        ASSERT_EQ(first.completions_after, second.completions_after) << replay_hint(seed);
    }
}

// Spec: CP-SIM-7
TEST(PortWithRingInSimulation, KeepsItsContractInRandomSequences) {
    const Seeds seeds = seeds_to_run(kRingSequences);
    for (uint64_t seed = seeds.first; seed < seeds.first + seeds.count; ++seed) {
        const std::vector<Action> sequence = make_sequence(seed);
        const RunResult result = run_simulated(sequence, settings_of(seed), kByRing);
        ASSERT_EQ(result.breach, "") << story(seed, sequence, result);
    }
}

// Spec: CP-SIM-7
TEST(PortWithRingInSimulation, ReplaysASeedExactly) {
    for (uint64_t seed = 1; seed <= 50; ++seed) {
        const std::vector<Action> sequence = make_sequence(seed);
        const RunResult first = run_simulated(sequence, settings_of(seed), kByRing);
        const RunResult second = run_simulated(sequence, settings_of(seed), kByRing);
        ASSERT_EQ(first.outcomes, second.outcomes) << replay_hint(seed);
        ASSERT_EQ(first.completions_after, second.completions_after) << replay_hint(seed);
    }
}

// The number of the first seed that finds what is wrong with the machine; 0 if none does.
uint64_t first_to_find(uint32_t SimulatedChances::*defect, uint32_t chance,
                       uint32_t engine = COMPLETION_PORT_ENGINE_EPOLL) {
    const uint64_t last = engine == kByRing ? kRingSequences : kSequences;
    for (uint64_t seed = 1; seed <= last; ++seed) {
        SimulatedSettings settings = settings_of(seed);
        settings.chances.*defect = chance;
        const std::vector<Action> sequence = make_sequence(seed);
        if (!run_simulated(sequence, settings, engine).breach.empty()) return seed;
    }
    return 0;
}

// Spec: CP-SIM-5
TEST(Canary, OneLostEdgeInAThousandIsFound) {
    EXPECT_NE(first_to_find(&SimulatedChances::edges_lost, 1), 0u);
}

// Spec: CP-SIM-5
TEST(Canary, OneDoubledReceiveInAThousandIsFound) {
    EXPECT_NE(first_to_find(&SimulatedChances::receives_doubled, 1), 0u);
}

// Spec: CP-SIM-8
TEST(Canary, OneLostResultInAThousandIsFound) {
    EXPECT_NE(first_to_find(&SimulatedChances::results_lost, 1, kByRing), 0u);
}

// Spec: CP-SIM-8
TEST(CanaryDeathTest, OneDoubledResultInAThousandEndsTheProcess) {
    EXPECT_DEATH(first_to_find(&SimulatedChances::results_doubled, 1, kByRing), "broken invariant");
}

}  // namespace
}  // namespace cport::test
