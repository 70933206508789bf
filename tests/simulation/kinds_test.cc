// The newer kinds of operations in a simulated machine: random submissions, each replayed by its
// seed.
#include <gtest/gtest.h>

#include "runtime/abi/handle.h"
#include "tests/simulation/kinds_run.h"
#include "tests/simulation/port_under_simulation.h"
#include "tests/simulation/seeds.h"

namespace cport::test {
namespace {

constexpr uint64_t kSequences = 10'000;
constexpr uint64_t kRingSequences = 3'000;
constexpr int kActionsMin = 15;
constexpr uint64_t kActionsMore = 40;

struct KindsResult {
    std::string breach;
    std::string story;
    size_t ended_ok = 0;
};

KindsResult run(uint64_t seed, const SimulatedChances& chances,
                uint32_t engine = COMPLETION_PORT_ENGINE_EPOLL) {
    SimulatedSettings settings;
    settings.seed = seed;
    settings.chances = chances;
    SimulatedMachine machine(settings);
    machine.set_label(replay_hint(seed));
    PortOptions options;
    options.workers = 1 + static_cast<uint32_t>(seed % 2);
    options.engine = engine;
    COMPLETION_PORT_HANDLE port = create_handle(machine.platform(), options);
    KindsRun run(seed, simulated_ground(machine, port));
    const int actions = kActionsMin + static_cast<int>(seed * 7919 % kActionsMore);
    for (int i = 0; i < actions && run.breach().empty(); ++i) run.act();
    run.finish();
    KindsResult result{run.breach(), run.story(), run.ended_ok()};
    if (result.breach.empty() && machine.kernel().open_descriptors() != 0) {
        result.breach = "descriptors were left open";
    }
    return result;
}

// Spec: CP-SIM-6
TEST(KindsInSimulation, EndOnceInOrderAndLoseNoByte) {
    const Seeds seeds = seeds_to_run(kSequences);
    size_t ended_ok = 0;
    for (uint64_t seed = seeds.first; seed < seeds.first + seeds.count; ++seed) {
        const KindsResult result = run(seed, chances_of(seed));
        ASSERT_EQ(result.breach, "") << replay_hint(seed) << "\n" << result.story;
        ended_ok += result.ended_ok;
    }
    EXPECT_GT(ended_ok, seeds.count);
}

// Spec: CP-SIM-7
TEST(KindsWithRingInSimulation, EndOnceInOrderAndLoseNoByte) {
    const Seeds seeds = seeds_to_run(kRingSequences);
    size_t ended_ok = 0;
    for (uint64_t seed = seeds.first; seed < seeds.first + seeds.count; ++seed) {
        const KindsResult result = run(seed, chances_of(seed), COMPLETION_PORT_ENGINE_IO_URING);
        ASSERT_EQ(result.breach, "") << replay_hint(seed) << "\n" << result.story;
        ended_ok += result.ended_ok;
    }
    EXPECT_GT(ended_ok, seeds.count);
}

// Spec: CP-SIM-6
TEST(KindsInSimulation, ReplayASeedExactly) {
    for (uint64_t seed = 1; seed <= 50; ++seed) {
        ASSERT_EQ(run(seed, chances_of(seed)).story, run(seed, chances_of(seed)).story)
            << replay_hint(seed);
    }
}

// Spec: CP-SIM-6
TEST(KindsInSimulation, WhatIsWrongWithTheMachineIsFound) {
    for (uint32_t SimulatedChances::*defect :
         {&SimulatedChances::edges_lost, &SimulatedChances::receives_doubled}) {
        bool found = false;
        for (uint64_t seed = 1; seed <= kSequences && !found; ++seed) {
            SimulatedChances chances = chances_of(seed);
            chances.*defect = 1;
            found = !run(seed, chances).breach.empty();
        }
        EXPECT_TRUE(found);
    }
}

}  // namespace
}  // namespace cport::test
