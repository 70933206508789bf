#include "tests/simulation/port_under_simulation.h"

#include <completionport/completion_port.h>

#include <random>

#include "runtime/abi/handle.h"
#include "tests/simulation/port_run.h"
#include "tests/simulation/seeds.h"

namespace cport::test {
namespace {

// What a worker that ends may wait for another thread's last instruction.
constexpr int64_t kIdle_ns = 100'000'000;

}  // namespace

SimulatedChances chances_of(uint64_t seed) {
    std::mt19937_64 random(seed);
    SimulatedChances chances;
    // Each is off in half of the seeds, so that combinations differ.
    for (uint32_t SimulatedChances::*chance :
         {&SimulatedChances::segments_late, &SimulatedChances::reads_short,
          &SimulatedChances::sends_short, &SimulatedChances::sends_refused,
          &SimulatedChances::interrupted, &SimulatedChances::waits_empty,
          &SimulatedChances::edges_late, &SimulatedChances::edges_spurious,
          &SimulatedChances::edges_reordered, &SimulatedChances::requests_refused,
          &SimulatedChances::results_late, &SimulatedChances::results_reordered,
          &SimulatedChances::cancels_missed, &SimulatedChances::polls_ended}) {
        if (random() % 2 == 0) chances.*chance = 1 + static_cast<uint32_t>(random() % 300);
    }
    return chances;
}

KindsGround simulated_ground(SimulatedMachine& machine, COMPLETION_PORT_HANDLE port) {
    return {machine.kernel(), port, [&machine] { machine.run_until_quiet(); },
            [&machine](int64_t by_ns) { machine.advance(by_ns); },
            [&machine] { return machine.platform().clock.now_ns(); }};
}

RunResult run_simulated(const std::vector<Action>& sequence, const SimulatedSettings& settings,
                        uint32_t engine) {
    RunResult result;
    SimulatedMachine machine(settings);
    machine.set_label(replay_hint(settings.seed));
    PortOptions options;
    options.engine = engine;
    COMPLETION_PORT_HANDLE port = create_handle(machine.platform(), options);
    if (port == nullptr) {
        result.breach = "no port";
        return result;
    }
    PortRun run(Ground{machine.kernel(), port, [&machine] { machine.run_until_quiet(); },
                       [&machine](int64_t by_ns) { machine.advance(by_ns); }});
    for (const Action& action : sequence) {
        run.act(action);
        result.completions_after.push_back(run.completions());
        if (!run.breach().empty()) break;
    }
    run.finish();
    result.breach = run.breach();
    result.outcomes = run.outcomes();
    if (!result.breach.empty()) return result;
    // A lost wake would be made good by the worker's own look after two seconds.
    if (machine.jumped_ns() > kIdle_ns) result.breach = "somebody slept until the time moved";
    if (machine.kernel().open_descriptors() != 0) result.breach = "descriptors were left open";
    return result;
}

std::string story(uint64_t seed, const std::vector<Action>& sequence, const RunResult& result) {
    std::string text = result.breach + "\n" + replay_hint(seed) + "\n";
    const size_t done = result.completions_after.size();
    for (size_t i = 0; i < sequence.size() && i < done; ++i) {
        text += "  " + std::to_string(i) + ": " + to_string(sequence[i]) + "\n";
    }
    for (const std::string& outcome : result.outcomes) text += "  " + outcome + "\n";
    return text;
}

}  // namespace cport::test
