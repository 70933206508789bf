// Linux's epoll: registrations, and a list of those that may be ready.
#pragma once

#include <sys/epoll.h>

#include <cstdint>
#include <list>

#include "tests/support/simulated_file.h"

namespace cport::test {

class SimulatedEpoll final : public SimulatedFile {
 public:
    using SimulatedFile::SimulatedFile;
    ~SimulatedEpoll() override { close(); }

    uint32_t poll() override;
    void close() override;

    // As epoll_ctl, for a descriptor that is open and can be watched.
    int control(int operation, SimulatedFile& file, int descriptor, uint32_t events, uint64_t data);
    // The file is gone.
    void forget(SimulatedFile& file);
    // An edge of the watch.
    void make_ready(SimulatedWatch& watch);
    // Reports at most `events_max`; 0 where none of the listed is ready.
    int collect(struct epoll_event* events, int events_max);
    bool any_listed() const { return !ready_.empty(); }

 private:
    // In the order of their making, so that a seed replays.
    using Watches = std::list<SimulatedWatch>;

    static uint32_t readiness(const SimulatedWatch& watch);
    Watches::iterator find(const SimulatedFile& file, int descriptor);
    void erase(Watches::iterator where);
    void perturb_ready_list();

    Watches watches_;
    std::list<SimulatedWatch*> ready_;
};

}  // namespace cport::test
