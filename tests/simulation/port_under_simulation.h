// One sequence against a port in a simulated machine.
#pragma once

#include <completionport/options.h>

#include <cstdint>
#include <string>
#include <vector>

#include "tests/simulation/kinds_run.h"
#include "tests/simulation/sequence.h"
#include "tests/support/simulated_machine.h"

namespace cport::test {

struct RunResult {
    std::string breach;  // empty: everything held
    std::vector<std::string> outcomes;
    std::vector<size_t> completions_after;  // each action
};

// Every perturbation that Linux may bring, at chances that the seed chooses.
SimulatedChances chances_of(uint64_t seed);

RunResult run_simulated(const std::vector<Action>& sequence, const SimulatedSettings& settings,
                        uint32_t engine = COMPLETION_PORT_ENGINE_EPOLL);
KindsGround simulated_ground(SimulatedMachine& machine, COMPLETION_PORT_HANDLE port);

// What a failing test prints.
std::string story(uint64_t seed, const std::vector<Action>& sequence, const RunResult& result);

}  // namespace cport::test
