/* The million timers of timers.cc by the C API, of a port that its one thread drives, as libuv's
 * loop and asio's context are driven. The port refuses times that have passed: the timers that are
 * to expire are set for the next three seconds, and nobody drives until all are due. */
#include <completionport/completions.h>
#include <completionport/timers.h>

#include <cstddef>
#include <cstdint>
#include <ctime>
#include <vector>

#include "perf/micro/support.h"
#include "perf/micro/timers.h"

namespace cport::perf {

namespace {

/* What all can be set in. */
constexpr std::int64_t kStart_ns = 500 * kMillisecond_ns;
/* By so much the minute is made shorter. */
constexpr std::int64_t kHaste = 24;

void sleep_until(std::int64_t time_ns) {
    const timespec when{time_ns / 1'000'000'000, time_ns % 1'000'000'000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &when, nullptr) != 0) {
    }
}

class PortTimers {
 public:
    PortTimers() = default;
    PortTimers(const PortTimers&) = delete;
    PortTimers& operator=(const PortTimers&) = delete;
    /* The port ends what is still set. */
    ~PortTimers() { ends_ = true; }

    void insert_all(When when) {
        const auto start_ns = static_cast<std::int64_t>(now_ns());
        if (when == When::kFuture) {
            insert(start_ns, 1);
        } else {
            insert(start_ns + kStart_ns, kHaste);
            sleep_until(start_ns + kStart_ns + kSpan_ns_max / kHaste + kMillisecond_ns);
        }
        waiting_ = kTimers;
    }

    void cancel(const Order& order) {
        for (const std::uint32_t i : order) {
            require(completion_port_cancel(port_.handle(), ids_[i]) == 0, "completion_port_cancel");
        }
    }

    /* Runs the callbacks of what was cancelled; the last one ends the wait. */
    void settle() {
        if (waiting_ == 0) {
            return;
        }
        COMPLETION_PORT_COMPLETION record;
        require(completion_port_wait(port_.handle(), &record, 1, -1) == 1, "completion_port_wait");
    }

    std::size_t expire_all() {
        expired_ = 0;
        settle();
        return expired_;
    }

 private:
    static void on_end(void* context, const COMPLETION_PORT_COMPLETION* completion) {
        auto* timers = static_cast<PortTimers*>(context);
        timers->expired_ += completion->result == COMPLETION_PORT_RESULT_OK ? 1u : 0u;
        if (--timers->waiting_ == 0 && !timers->ends_) {
            require(completion_port_post(timers->port_.handle(), 0, 0, nullptr, nullptr) == 0,
                    "completion_port_post");
        }
    }

    void insert(std::int64_t start_ns, std::int64_t haste) {
        COMPLETION_PORT_TIMER_OPERATION timer{};
        timer.common.size = sizeof(timer);
        timer.common.kind = COMPLETION_PORT_KIND_TIMER;
        timer.common.on_complete = on_end;
        timer.common.context = this;
        const std::vector<std::int64_t>& spans = spans_ns();
        for (std::size_t i = 0; i < kTimers; ++i) {
            timer.expires_ns = static_cast<std::uint64_t>(start_ns + spans[i] / haste);
            require(completion_port_submit(port_.handle(), &timer.common, &ids_[i], nullptr) == 0,
                    "completion_port_submit");
        }
    }

    std::vector<std::uint64_t> ids_ = std::vector<std::uint64_t>(kTimers);
    std::size_t waiting_ = 0;
    std::size_t expired_ = 0;
    bool ends_ = false;
    Port port_{Port::Kind::kDriven};
};

/* With the callbacks, in which each cancelled timer ends. */
class ToldPortTimers : public PortTimers {
 public:
    void cancel(const Order& order) {
        PortTimers::cancel(order);
        settle();
    }
};

void in_one_round(benchmark::internal::Benchmark* benchmark) {
    benchmark->UseManualTime()->Iterations(1);
}

BENCHMARK(run_insert<PortTimers>)->Name("timer_insert/port_driven")->Apply(in_rounds);
BENCHMARK(run_cancel<PortTimers, in_order>)->Name("timer_cancel/port_driven")->Apply(in_rounds);
BENCHMARK(run_cancel<ToldPortTimers, in_order>)
    ->Name("timer_cancel/port_driven_told")
    ->Apply(in_rounds);
BENCHMARK(run_cancel<PortTimers, shuffled>)
    ->Name("timer_cancel_random/port_driven")
    ->Apply(in_rounds);
BENCHMARK(run_expire<PortTimers>)->Name("timer_expire/port_driven")->Apply(in_one_round);

}  // namespace

}  // namespace cport::perf
