// The same random submissions to a port in a simulated machine and to one on Linux, step by step.
#include <completionport/options.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "runtime/abi/handle.h"
#include "tests/simulation/kinds_run.h"
#include "tests/simulation/linux_ground.h"
#include "tests/simulation/port_under_simulation.h"
#include "tests/simulation/seeds.h"

namespace cport::test {
namespace {

constexpr uint64_t kSequences = 200;
// Of a thousand calls that it could be in.
constexpr uint32_t kDefects = 100;
constexpr int kActionsMin = 15;
constexpr uint64_t kActionsMore = 40;
// What Linux may take to do what it has begun; nothing waits this long if they agree.
constexpr std::chrono::milliseconds kPatience{5000};
// What is looked for differs however long it takes.
constexpr std::chrono::milliseconds kShortPatience{100};

struct Compared {
    std::string difference;
    std::string breach;
    std::string story;
    size_t ended_ok = 0;
};

// Empty, or where they differ.
std::string compare(KindsRun& simulated, KindsRun& real, std::chrono::milliseconds patience) {
    const std::string expected = simulated.told();
    const auto deadline = std::chrono::steady_clock::now() + patience;
    std::string found = real.told();
    while (found != expected) {
        if (std::chrono::steady_clock::now() > deadline) {
            return std::string("simulated\n")
                .append(expected)
                .append("but on Linux\n")
                .append(found);
        }
        found = real.told();
    }
    simulated.forget_told();
    real.forget_told();
    return "";
}

Compared run(uint64_t seed, uint32_t engine, const SimulatedChances& chances,
             LinuxWorld& linux_world, std::chrono::milliseconds patience) {
    SimulatedSettings settings;
    settings.seed = seed;
    settings.chances = chances;
    SimulatedMachine machine(settings);
    machine.set_label(replay_hint(seed));
    KindsGround ground = simulated_ground(machine, create_handle(machine.platform()));
    ground.beside = true;
    LinuxGround linux_ground(linux_world, engine);
    KindsRun simulated(seed, ground);
    KindsRun real(seed, linux_ground.ground());
    Compared result;
    const int actions = kActionsMin + static_cast<int>(seed * 7919 % kActionsMore);
    for (int i = 0; i < actions && result.difference.empty(); ++i) {
        simulated.act_to_the_end();
        real.act_to_the_end();
        result.difference = compare(simulated, real, patience);
    }
    simulated.finish();
    real.finish();
    if (result.difference.empty()) result.difference = compare(simulated, real, patience);
    result.breach = simulated.breach() + real.breach();
    result.story = "simulated " + simulated.story() + "on Linux " + real.story();
    result.ended_ok = real.ended_ok();
    return result;
}

class SideBySide : public ::testing::TestWithParam<uint32_t> {
 protected:
    SideBySide() { linux_world_.bound_buffers(); }
    LinuxWorld linux_world_;
};

// Spec: CP-SIM-4
TEST_P(SideBySide, APortDoesInTheSimulationWhatItDoesOnLinux) {
    const Seeds seeds = seeds_to_run(kSequences);
    size_t ended_ok = 0;
    for (uint64_t seed = seeds.first; seed < seeds.first + seeds.count; ++seed) {
        const Compared result = run(seed, GetParam(), {}, linux_world_, kPatience);
        ASSERT_EQ(result.difference + result.breach, "") << replay_hint(seed) << "\n"
                                                         << result.story;
        ended_ok += result.ended_ok;
    }
    EXPECT_GT(ended_ok, seeds.count);
}

// Spec: CP-SIM-4
TEST_P(SideBySide, ALostByteOrAWrongErrnoIsFound) {
    for (uint32_t SimulatedChances::*defect :
         {&SimulatedChances::bytes_lost, &SimulatedChances::errnos_wrong}) {
        SimulatedChances chances;
        chances.*defect = kDefects;
        bool found = false;
        for (uint64_t seed = 1; seed <= kSequences && !found; ++seed) {
            found =
                !run(seed, GetParam(), chances, linux_world_, kShortPatience).difference.empty();
        }
        EXPECT_TRUE(found);
    }
}

INSTANTIATE_TEST_SUITE_P(Engine, SideBySide,
                         ::testing::Values(COMPLETION_PORT_ENGINE_EPOLL,
                                           COMPLETION_PORT_ENGINE_IO_URING),
                         [](const auto& engine) {
                             return engine.param == COMPLETION_PORT_ENGINE_EPOLL ? "epoll"
                                                                                 : "io_uring";
                         });

}  // namespace
}  // namespace cport::test
