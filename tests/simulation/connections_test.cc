// Accepts and connects in a simulated machine: random submissions, each replayed by its seed.
#include <gtest/gtest.h>

#include "runtime/abi/handle.h"
#include "tests/simulation/connections_run.h"
#include "tests/simulation/port_under_simulation.h"
#include "tests/simulation/seeds.h"

namespace cport::test {
namespace {

constexpr uint64_t kSequences = 5'000;
constexpr int kActionsMin = 15;
constexpr uint64_t kActionsMore = 40;

struct ConnectionsResult {
    std::string breach;
    std::string story;
    size_t accepted = 0;
    size_t connected = 0;
};

SimulatedChances perturbations_of(uint64_t seed) {
    SimulatedChances chances = chances_of(seed);
    if (seed % 3 == 0) chances.connections_aborted = 100;
    return chances;
}

ConnectionsResult run(uint64_t seed, const SimulatedChances& chances) {
    SimulatedSettings settings;
    settings.seed = seed;
    settings.chances = chances;
    SimulatedMachine machine(settings);
    machine.set_label(replay_hint(seed));
    PortOptions options;
    options.workers = 1 + static_cast<uint32_t>(seed % 2);
    COMPLETION_PORT_HANDLE port = create_handle(machine.platform(), options);
    ConnectionsRun run(seed, machine, port);
    const int actions = kActionsMin + static_cast<int>(seed * 7919 % kActionsMore);
    for (int i = 0; i < actions && run.breach().empty(); ++i) run.act();
    run.finish();
    ConnectionsResult result{run.breach(), run.story(), run.accepted(), run.connected()};
    if (result.breach.empty() && machine.kernel().open_descriptors() != 0) {
        result.breach = "descriptors were left open";
    }
    return result;
}

// Spec: CP-SIM-9
TEST(ConnectionsInSimulation, EndOnceAndLoseNoConnection) {
    const Seeds seeds = seeds_to_run(kSequences);
    size_t accepted = 0;
    size_t connected = 0;
    for (uint64_t seed = seeds.first; seed < seeds.first + seeds.count; ++seed) {
        const ConnectionsResult result = run(seed, perturbations_of(seed));
        ASSERT_EQ(result.breach, "") << replay_hint(seed) << "\n" << result.story;
        accepted += result.accepted;
        connected += result.connected;
    }
    EXPECT_GT(accepted, seeds.count);
    EXPECT_GT(connected, seeds.count);
}

// Spec: CP-SIM-9
TEST(ConnectionsInSimulation, ReplayASeedExactly) {
    for (uint64_t seed = 1; seed <= 50; ++seed) {
        ASSERT_EQ(run(seed, perturbations_of(seed)).story, run(seed, perturbations_of(seed)).story)
            << replay_hint(seed);
    }
}

// Spec: CP-SIM-9
TEST(ConnectionsInSimulation, WhatIsWrongWithTheMachineIsFound) {
    for (uint32_t SimulatedChances::*defect :
         {&SimulatedChances::edges_lost, &SimulatedChances::connections_lost}) {
        bool found = false;
        for (uint64_t seed = 1; seed <= kSequences && !found; ++seed) {
            SimulatedChances chances = perturbations_of(seed);
            chances.*defect = 1;
            found = !run(seed, chances).breach.empty();
        }
        EXPECT_TRUE(found);
    }
}

}  // namespace
}  // namespace cport::test
