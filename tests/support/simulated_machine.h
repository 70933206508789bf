// A machine in memory for the core to run on. Its threads and its memory are real; its system
// calls and its clock are not.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "platform/platform.h"
#include "tests/support/simulated_kernel.h"
#include "tests/support/simulated_perturbation.h"
#include "tests/support/simulated_ring.h"
#include "tests/support/simulated_schedule.h"

namespace cport::test {

struct SimulatedSettings {
    uint64_t seed = 1;
    SimulatedChances chances = {};
    // One thread at a time, chosen by the seed: a run replays exactly.
    bool takes_turns = true;
    // Below stands what every process has open.
    int first_descriptor = 3;
};

class SimulatedMachine {
 public:
    explicit SimulatedMachine(const SimulatedSettings& settings);
    // Waits for threads that nobody joins.
    ~SimulatedMachine();
    SimulatedMachine(const SimulatedMachine&) = delete;
    SimulatedMachine& operator=(const SimulatedMachine&) = delete;

    platform::Platform platform();
    SimulatedKernel& kernel() { return kernel_; }
    SimulatedPerturbation& perturbation() { return perturbation_; }

    // Until every other thread waits and nothing is on its way.
    void run_until_quiet();
    void advance(int64_t by_ns);
    // How far the time moved although the test did not move it.
    int64_t jumped_ns();
    void set_label(std::string label) { schedule_->set_label(std::move(label)); }

 private:
    class SimulatedThreads final : public platform::Threads {
     public:
        SimulatedThreads(std::shared_ptr<SimulatedSchedule> schedule, platform::Threads& real)
            : schedule_(std::move(schedule)), real_(real) {}
        int start(pthread_t* thread, const char* name, int cpu, Body body, void* argument) override;
        void join(pthread_t thread) override;
        void detach(pthread_t thread) override;

     private:
        struct Start {
            std::shared_ptr<SimulatedSchedule> schedule;
            SimulatedSchedule::Ticket ticket;
            Body body;
            void* argument;
        };
        static void enter(void* argument);

        std::shared_ptr<SimulatedSchedule> schedule_;
        platform::Threads& real_;
        std::map<pthread_t, SimulatedSchedule::Ticket> tickets_;
    };

    class SimulatedClock final : public platform::Clock {
     public:
        explicit SimulatedClock(SimulatedSchedule& schedule) : schedule_(schedule) {}
        int64_t now_ns() override;

     private:
        SimulatedSchedule& schedule_;
    };

    std::shared_ptr<SimulatedSchedule> schedule_;
    SimulatedPerturbation perturbation_;
    SimulatedKernel kernel_;
    SimulatedThreads threads_;
    SimulatedClock clock_;
    SimulatedRings rings_;
};

}  // namespace cport::test
