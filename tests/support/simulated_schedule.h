// Who runs, and what time it is, in a simulated machine.
//
// Threads that take turns run one at a time; at each call of the machine the seed decides who goes
// on, so that a seed replays exactly. Threads that do not take turns run as the real machine likes.
// Time stands still until the test moves it, or until every thread waits. On the real clock it does
// neither: then any thread of the process may come, and nobody knows whether it will.
#pragma once

#include <absl/functional/function_ref.h>

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>

#include "platform/clock.h"

namespace cport::test {

class SimulatedSchedule {
 public:
    using Lock = std::unique_lock<std::mutex>;
    static constexpr int64_t kForEver_ns = INT64_MAX;

    // The constructing thread is the first of the schedule; it has the turn.
    SimulatedSchedule(uint64_t seed, bool takes_turns);
    // Without turns, on the real clock.
    explicit SimulatedSchedule(platform::Clock& real_clock);
    SimulatedSchedule(const SimulatedSchedule&) = delete;
    SimulatedSchedule& operator=(const SimulatedSchedule&) = delete;

    // Everything that the machine holds is touched under this lock.
    Lock lock() { return Lock(mutex_); }

    // A point where another thread may go on.
    void pass(Lock& lock);
    // Waits until `ready`; false when the deadline came first.
    bool wait(Lock& lock, absl::FunctionRef<bool()> ready, int64_t deadline_ns);
    // Waits until no other thread can go on and nothing is on its way.
    void wait_until_quiet(Lock& lock);
    // To be called after each change, for threads that do not take turns.
    void changed() {
        if (waiting_ > 0 || real_clock_ == nullptr) changed_.notify_all();
    }

    // Does one thing that the machine has put off, false if there is none.
    void set_idle(std::function<bool()> deliver, std::function<bool()> pending);

    int64_t now_ns() const { return real_clock_ != nullptr ? real_clock_->now_ns() : now_ns_; }
    void advance(int64_t by_ns) { now_ns_ += by_ns; }
    // How far time had to move because nobody could go on without.
    int64_t jumped_ns() const { return jumped_ns_; }

    // A thread is announced by its creator, and begins and ends itself.
    using Ticket = uint64_t;
    Ticket announce(Lock& lock);
    void withdraw(Lock& lock, Ticket ticket);
    void begin(Ticket ticket);
    void end();
    bool ended(Ticket ticket) const;
    bool alone() const { return threads_.size() == 1; }

    // After a fork, which found the lock taken. The child has no other threads.
    void unlock_after_fork(bool in_child) {
        if (in_child) waiting_ = 0;
        mutex_.unlock();
    }

    // What is printed before a test program ends because nobody can go on.
    void set_label(std::string label) { label_ = std::move(label); }

 private:
    struct Thread {
        Ticket ticket;
        std::thread::id id;
        absl::FunctionRef<bool()>* ready = nullptr;  // not null: it waits
        int64_t deadline_ns = 0;
        std::condition_variable turn = {};
    };

    Thread& self();
    bool can_go_on(const Thread& thread) const;
    Thread& choose();
    // Somebody else's turn; returns when it is `me`'s again.
    void hand_over(Lock& lock, Thread& me);
    // Moves what was put off, or time, when nobody can go on.
    void move_world();
    bool wait_on_real_clock(Lock& lock, absl::FunctionRef<bool()> ready, int64_t deadline_ns);

    const bool takes_turns_;
    platform::Clock* const real_clock_ = nullptr;
    int waiting_ = 0;  // threads, on the real clock
    std::mt19937_64 random_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::list<Thread> threads_;
    Ticket running_ = 0;
    Ticket last_ticket_ = 0;
    int64_t now_ns_ = 1'000'000'000;
    int64_t jumps_ = 0;
    int64_t jumped_ns_ = 0;
    std::function<bool()> deliver_;
    std::function<bool()> pending_;
    std::string label_;
};

}  // namespace cport::test
