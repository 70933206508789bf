#include "tests/support/simulated_schedule.h"

#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <utility>
#include <vector>

namespace cport::test {
namespace {

// Another thread is considered at one in this many points.
constexpr uint64_t kPassPeriod = 3;
// A machine whose time had to jump this often is stuck.
constexpr int64_t kJumpsMax = 10'000;

}  // namespace

SimulatedSchedule::SimulatedSchedule(uint64_t seed, bool takes_turns)
    : takes_turns_(takes_turns), random_(seed) {
    Lock held = lock();
    running_ = announce(held);
    threads_.front().id = std::this_thread::get_id();
}

SimulatedSchedule::SimulatedSchedule(platform::Clock& real_clock)
    : takes_turns_(false), real_clock_(&real_clock) {}

void SimulatedSchedule::set_idle(std::function<bool()> deliver, std::function<bool()> pending) {
    deliver_ = std::move(deliver);
    pending_ = std::move(pending);
}

SimulatedSchedule::Ticket SimulatedSchedule::announce(Lock&) {
    Thread& thread = threads_.emplace_back();
    thread.ticket = ++last_ticket_;
    return thread.ticket;
}

void SimulatedSchedule::withdraw(Lock&, Ticket ticket) {
    threads_.remove_if([ticket](const Thread& thread) { return thread.ticket == ticket; });
}

void SimulatedSchedule::begin(Ticket ticket) {
    Lock held = lock();
    Thread& me = *std::find_if(threads_.begin(), threads_.end(),
                               [ticket](const Thread& thread) { return thread.ticket == ticket; });
    me.id = std::this_thread::get_id();
    if (takes_turns_) me.turn.wait(held, [this, &me] { return running_ == me.ticket; });
}

void SimulatedSchedule::end() {
    Lock held = lock();
    const Ticket ticket = self().ticket;
    threads_.remove_if([ticket](const Thread& thread) { return thread.ticket == ticket; });
    changed_.notify_all();
    if (!takes_turns_) return;
    Thread& next = choose();
    running_ = next.ticket;
    next.turn.notify_one();
}

bool SimulatedSchedule::ended(Ticket ticket) const {
    return std::none_of(threads_.begin(), threads_.end(),
                        [ticket](const Thread& thread) { return thread.ticket == ticket; });
}

SimulatedSchedule::Thread& SimulatedSchedule::self() {
    const std::thread::id id = std::this_thread::get_id();
    const auto found = std::find_if(threads_.begin(), threads_.end(),
                                    [id](const Thread& thread) { return thread.id == id; });
    if (found != threads_.end()) return *found;
    std::fprintf(stderr, "a thread calls a simulated machine that does not know it\n");
    std::abort();
}

bool SimulatedSchedule::can_go_on(const Thread& thread) const {
    return thread.ready == nullptr || now_ns_ >= thread.deadline_ns || (*thread.ready)();
}

SimulatedSchedule::Thread& SimulatedSchedule::choose() {
    for (;;) {
        std::vector<Thread*> able;
        for (Thread& thread : threads_) {
            if (can_go_on(thread)) able.push_back(&thread);
        }
        if (!able.empty()) return *able[random_() % able.size()];
        move_world();
    }
}

void SimulatedSchedule::move_world() {
    if (deliver_ && deliver_()) return;
    int64_t earliest_ns = kForEver_ns;
    for (const Thread& thread : threads_) {
        earliest_ns = std::min(earliest_ns, thread.deadline_ns);
    }
    if (earliest_ns == kForEver_ns || ++jumps_ > kJumpsMax) {
        std::fprintf(stderr, "nobody in the simulated machine can go on: %s\n", label_.c_str());
        std::abort();
    }
    jumped_ns_ += std::max<int64_t>(earliest_ns - now_ns_, 0);
    now_ns_ = std::max(now_ns_, earliest_ns);
}

void SimulatedSchedule::hand_over(Lock& lock, Thread& me) {
    Thread& next = choose();
    if (next.ticket == me.ticket) return;
    running_ = next.ticket;
    next.turn.notify_one();
    me.turn.wait(lock, [this, &me] { return running_ == me.ticket; });
}

void SimulatedSchedule::pass(Lock& lock) {
    if (takes_turns_ && threads_.size() > 1 && random_() % kPassPeriod == 0) {
        hand_over(lock, self());
    }
}

bool SimulatedSchedule::wait_on_real_clock(Lock& lock, absl::FunctionRef<bool()> ready,
                                           int64_t deadline_ns) {
    // No call of the core is a point where a thread can be cancelled.
    int previous = 0;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &previous);
    ++waiting_;
    while (!ready() && now_ns() < deadline_ns) {
        if (deadline_ns == kForEver_ns) {
            changed_.wait(lock);
        } else {
            // Both are CLOCK_MONOTONIC.
            changed_.wait_until(
                lock, std::chrono::steady_clock::time_point(std::chrono::nanoseconds(deadline_ns)));
        }
    }
    --waiting_;
    pthread_setcancelstate(previous, nullptr);
    return ready();
}

bool SimulatedSchedule::wait(Lock& lock, absl::FunctionRef<bool()> ready, int64_t deadline_ns) {
    if (real_clock_ != nullptr) return wait_on_real_clock(lock, ready, deadline_ns);
    Thread& me = self();
    me.ready = &ready;
    me.deadline_ns = deadline_ns;
    if (takes_turns_) {
        hand_over(lock, me);
    } else {
        // Who begins to wait may make the machine quiet, which others wait for.
        changed_.notify_all();
        while (!can_go_on(me)) {
            const bool stuck =
                std::none_of(threads_.begin(), threads_.end(),
                             [this](const Thread& thread) { return can_go_on(thread); });
            if (stuck) {
                move_world();
                changed_.notify_all();
            } else {
                changed_.wait(lock);
            }
        }
    }
    me.ready = nullptr;
    return ready();
}

void SimulatedSchedule::wait_until_quiet(Lock& lock) {
    const Ticket ticket = self().ticket;
    auto quiet = [this, ticket] {
        if (pending_ && pending_()) return false;
        return std::none_of(threads_.begin(), threads_.end(), [&](const Thread& thread) {
            return thread.ticket != ticket && can_go_on(thread);
        });
    };
    wait(lock, quiet, kForEver_ns);
}

}  // namespace cport::test
