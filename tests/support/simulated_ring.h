// Linux's io_uring: requests wait in it, holding their open files, and are tried when its thread
// asks. Which of those that can go on does so first, and whose result comes late, the seed says.
#pragma once

#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <vector>

#include "platform/ring.h"
#include "tests/support/simulated_epoll.h"
#include "tests/support/simulated_kernel.h"

namespace cport::test {

// What the ring's thread and what was put off share. Touched under the schedule's lock.
class SimulatedRequests : public std::enable_shared_from_this<SimulatedRequests> {
 public:
    SimulatedRequests(SimulatedKernel& kernel, SimulatedPerturbation& perturbation)
        : kernel_(kernel), perturbation_(perturbation), polls_(perturbation) {}
    ~SimulatedRequests();
    SimulatedRequests(const SimulatedRequests&) = delete;
    SimulatedRequests& operator=(const SimulatedRequests&) = delete;

    // Takes a request in, and tries it.
    void begin(const platform::RingRequest& request);
    // Tries those whose files may have something for them.
    void try_waiting();
    // Whether `try_waiting` may change something.
    bool can_go_on() const;
    // As IORING_OP_ASYNC_CANCEL.
    void cancel(uint64_t name);
    // Whether one came between two tries: who asked will ask again.
    bool has_missed_cancel() const;

    bool has_results() const { return !results_.empty(); }
    int take(platform::RingResult* results, int results_max);

 private:
    struct Held {
        platform::RingRequest request;
        std::shared_ptr<SimulatedFile> file;
        bool lost = false;    // it has ended, and nobody was told
        bool missed = false;  // by its last cancel
    };
    using Place = std::list<Held>::iterator;

    static bool is_ready(const Held& held);
    // What the system call says; -EAGAIN: it waits.
    int64_t attempt(const Held& held);
    // False: it waits on.
    bool try_to_end(Place held);
    void end(Place held, int64_t value);
    void begin_poll(const platform::RingRequest& request);
    void look_at_polls();
    void tell(const platform::RingResult& result);

    SimulatedKernel& kernel_;
    SimulatedPerturbation& perturbation_;
    std::list<Held> held_;
    SimulatedEpoll polls_;  // the edges of what is polled
    std::weak_ptr<SimulatedFile> polled_;
    int polled_descriptor_ = -1;
    std::deque<platform::RingResult> results_;
};

class SimulatedRings final : public platform::Rings {
 public:
    SimulatedRings(SimulatedKernel& kernel, SimulatedSchedule& schedule,
                   SimulatedPerturbation& perturbation)
        : kernel_(kernel), schedule_(schedule), perturbation_(perturbation) {}

    std::unique_ptr<platform::Ring> create(int& error) override;

 private:
    SimulatedKernel& kernel_;
    SimulatedSchedule& schedule_;
    SimulatedPerturbation& perturbation_;
};

}  // namespace cport::test
