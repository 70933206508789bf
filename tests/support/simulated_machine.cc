#include "tests/support/simulated_machine.h"

#include <utility>

#include "platform/linux/linux_platform.h"

namespace cport::test {

SimulatedMachine::SimulatedMachine(const SimulatedSettings& settings)
    : schedule_(std::make_shared<SimulatedSchedule>(settings.seed, settings.takes_turns)),
      perturbation_(settings.seed + 1, settings.chances),
      kernel_(*schedule_, perturbation_, std::make_unique<OwnNumbers>(settings.first_descriptor)),
      threads_(schedule_, platform::linux_platform().threads),
      clock_(*schedule_),
      rings_(kernel_, *schedule_, perturbation_) {}

SimulatedMachine::~SimulatedMachine() {
    SimulatedSchedule::Lock lock = schedule_->lock();
    schedule_->wait(
        lock, [this] { return schedule_->alone(); }, SimulatedSchedule::kForEver_ns);
}

platform::Platform SimulatedMachine::platform() {
    return {kernel_, threads_, platform::linux_platform().memory, clock_, &rings_};
}

void SimulatedMachine::run_until_quiet() {
    SimulatedSchedule::Lock lock = schedule_->lock();
    schedule_->wait_until_quiet(lock);
}

void SimulatedMachine::advance(int64_t by_ns) {
    SimulatedSchedule::Lock lock = schedule_->lock();
    schedule_->advance(by_ns);
    schedule_->changed();
}

int64_t SimulatedMachine::jumped_ns() {
    SimulatedSchedule::Lock lock = schedule_->lock();
    return schedule_->jumped_ns();
}

int64_t SimulatedMachine::SimulatedClock::now_ns() {
    SimulatedSchedule::Lock lock = schedule_.lock();
    return schedule_.now_ns();
}

int SimulatedMachine::SimulatedThreads::start(pthread_t* thread, const char* name, int cpu,
                                              Body body, void* argument) {
    SimulatedSchedule::Lock lock = schedule_->lock();
    const SimulatedSchedule::Ticket ticket = schedule_->announce(lock);
    auto start = std::make_unique<Start>(Start{schedule_, ticket, body, argument});
    const int error = real_.start(thread, name, cpu, &SimulatedThreads::enter, start.get());
    if (error != 0) {
        schedule_->withdraw(lock, ticket);
        return error;
    }
    static_cast<void>(start.release());
    tickets_[*thread] = ticket;
    return 0;
}

void SimulatedMachine::SimulatedThreads::enter(void* argument) {
    const std::unique_ptr<Start> start(static_cast<Start*>(argument));
    start->schedule->begin(start->ticket);
    start->body(start->argument);
    start->schedule->end();
}

void SimulatedMachine::SimulatedThreads::join(pthread_t thread) {
    {
        SimulatedSchedule::Lock lock = schedule_->lock();
        const SimulatedSchedule::Ticket ticket = tickets_.at(thread);
        tickets_.erase(thread);
        schedule_->wait(
            lock, [this, ticket] { return schedule_->ended(ticket); },
            SimulatedSchedule::kForEver_ns);
    }
    real_.join(thread);
}

void SimulatedMachine::SimulatedThreads::detach(pthread_t thread) {
    SimulatedSchedule::Lock lock = schedule_->lock();
    tickets_.erase(thread);
    real_.detach(thread);
}

}  // namespace cport::test
