// The simulation answers as Linux does, call by call.
#include "tests/simulation/differential.h"

#include <gtest/gtest.h>
#include <sched.h>

#include "tests/simulation/linux_world.h"
#include "tests/simulation/seeds.h"

namespace cport::test {
namespace {

constexpr uint64_t kSequences = 1000;
constexpr int kSteps = 120;

// What a send on loopback sets off runs on the sender's CPU: there it is over when the call is.
void stay_on_one_cpu() {
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(sched_getcpu(), &cpus);
    ASSERT_EQ(sched_setaffinity(0, sizeof(cpus), &cpus), 0);
}

// Spec: CP-SIM-1
TEST(Differential, SimulationAnswersAsLinux) {
    stay_on_one_cpu();
    LinuxWorld linux_world;
    const Seeds seeds = seeds_to_run(kSequences);
    for (uint64_t seed = seeds.first; seed < seeds.first + seeds.count; ++seed) {
        SimulatedSettings settings;
        settings.seed = seed;
        settings.first_descriptor = linux_world.first_free_descriptor();
        SimulatedMachine machine(settings);
        Differential differential(seed, machine.kernel(), linux_world, settings.first_descriptor);
        ASSERT_TRUE(differential.run(kSteps)) << replay_hint(seed) << "\n" << differential.trace();
        ASSERT_EQ(machine.kernel().open_descriptors(), 0u) << replay_hint(seed);
    }
}

}  // namespace
}  // namespace cport::test
