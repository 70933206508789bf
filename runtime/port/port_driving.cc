// Threads of the caller's own: those that wait for records, and those that drive a port which has
// no threads of its own.
#include <algorithm>
#include <cerrno>

#include "runtime/check.h"
#include "runtime/port/port.h"

namespace cport {
namespace {

// How long a thread looks away while another one, which has promised nothing, may do its work.
constexpr int64_t kLookAway_ns = 1'000'000;
// How often a loop shall look whether a place is free, where nothing tells it.
constexpr int64_t kLookForPlace_ns = 1'000'000;

}  // namespace

int64_t Port::deadline_of(int64_t timeout_ns) {
    if (timeout_ns < 0) return CompletionQueue::kNoDeadline;
    if (timeout_ns == 0) return 0;
    const int64_t now_ns = platform_.clock.now_ns();
    return timeout_ns > CompletionQueue::kNoDeadline - now_ns ? CompletionQueue::kNoDeadline
                                                              : now_ns + timeout_ns;
}

int Port::wait(COMPLETION_PORT_COMPLETION* completions, uint32_t completions_max,
               int64_t timeout_ns) {
    if (forked()) return -EPERM;
    if (Worker::current() != nullptr) return -EDEADLK;
    const int64_t deadline_ns = deadline_of(timeout_ns);
    inc_ref();
    int count = -EAGAIN;
    if (caller_driven_) {
        while (count == -EAGAIN) {
            if (try_drive()) {
                count = drive(completions, completions_max, deadline_ns);
            } else {
                count = results_.wait(completions, completions_max, deadline_ns, &driver_);
                // Who drove may have looked only.
                if (count == -ETIMEDOUT && deadline_ns == 0 && try_drive()) {
                    count = drive(completions, completions_max, 0);
                }
            }
        }
    } else {
        count = results_.wait(completions, completions_max, deadline_ns);
    }
    dec_ref();
    return count;
}

int Port::leave_waiters() {
    if (forked()) return -EPERM;
    if (!results_.limits_waiters()) return -ENOENT;
    // Who is woken may give back the caller's reference. In a callback of the port it may be gone
    // already, and the port stays.
    const bool inside = is_inside_callback();
    if (!inside) inc_ref();
    const int error = results_.leave();
    // A driver waits for mail. Only drivers queue records, so one that queues another now looks
    // itself.
    if (error == 0 && caller_driven_ && !results_.seems_empty() &&
        !place_notice_.posted.exchange(true, std::memory_order_acq_rel)) {
        workers_[0].post(place_notice_);
    }
    if (!inside) dec_ref();
    return error;
}

bool Port::try_drive() {
    uint32_t nobody = 0;
    // Acquire pairs with stop_driving: the worker's state is as the last driver left it.
    return driver_.compare_exchange_strong(nobody, 1, std::memory_order_seq_cst);
}

void Port::stop_driving() {
    if (!driven_to_the_end_) workers_[0].doze();
    driver_.store(0, std::memory_order_seq_cst);
    // Threads that wait for records: one of them drives from here on.
    if (!single_threaded_) results_.nudge();
}

void Port::step_worker() {
    if (driven_to_the_end_ || workers_[0].step()) return;
    driven_to_the_end_ = true;
    worker_ended();
}

int Port::drive(COMPLETION_PORT_COMPLETION* completions, uint32_t completions_max,
                int64_t deadline_ns) {
    int count = -ETIMEDOUT;
    bool waits_for_place = false;
    // Who drives holds no place, in the callbacks of the first step neither.
    (void)results_.leave();
    {
        Worker::Turn turn(workers_[0]);
        for (bool looked = false;; looked = true) {
            step_worker();
            count = results_.wait(completions, completions_max, 0);
            // After the end there is nothing to do but to take records.
            waits_for_place = count == -ETIMEDOUT && driven_to_the_end_;
            if (count != -ETIMEDOUT || waits_for_place) break;
            const bool endless = deadline_ns == CompletionQueue::kNoDeadline;
            const int64_t left_ns =
                deadline_ns == 0 || endless ? 0 : deadline_ns - platform_.clock.now_ns();
            if (looked && !endless && left_ns <= 0) break;
            workers_[0].wait_for_kernel(endless ? Worker::kForever_ns
                                                : std::max<int64_t>(left_ns, 0));
        }
        workers_[0].rest_sources();
    }
    stop_driving();
    return waits_for_place ? results_.wait(completions, completions_max, deadline_ns) : count;
}

void Port::drive_until(Waiter& waiter) {
    while (!waiter.done()) {
        if (!try_drive()) {
            // The driver has been woken; should it leave first, this thread takes over.
            waiter.wait_until(platform_.kernel, platform_.clock.now_ns() + kLookAway_ns);
            continue;
        }
        {
            Worker::Turn turn(workers_[0]);
            for (step_worker(); !waiter.done(); step_worker()) {
                // An add of another thread is nearly there: its mail ends the wait.
                workers_[0].wait_for_kernel(kLookAway_ns);
            }
            workers_[0].rest_sources();
        }
        stop_driving();
    }
}

void Port::drive_to_the_end() {
    // Whoever waits or removes holds a reference, so nobody else drives any more.
    CPORT_CHECK(try_drive());
    Worker::Turn turn(workers_[0]);
    if (!driven_to_the_end_) {
        workers_[0].run();
        driven_to_the_end_ = true;
        worker_ended();
    }
}

int Port::descriptor() const {
    if (forked()) return -EPERM;
    return caller_driven_ ? workers_[0].engine_descriptor() : -ENOTSUP;
}

int64_t Port::next_timeout_ns() {
    if (forked()) return -EPERM;
    if (!caller_driven_) return -ENOTSUP;
    const bool inside = is_inside_callback();
    if (!inside) inc_ref();
    int64_t longest_ns = 0;
    const bool has_records = !results_.seems_empty();
    const bool takes_records = has_records && results_.has_place_for_caller();
    if (!takes_records && try_drive()) {
        if (!driven_to_the_end_) {
            longest_ns = workers_[0].longest_sleep_ns();
        } else if (has_records) {
            // Nothing tells of a free place any more.
            longest_ns = kLookForPlace_ns;
        }
        stop_driving();
    }
    if (!inside) dec_ref();
    return longest_ns < 0 ? INT64_MAX : longest_ns;
}

}  // namespace cport
