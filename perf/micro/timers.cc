/* A million timers at random times within 1 to 60 seconds: setting them, cancelling them in the
 * order in which they were set and in a random one, and their expiry. Nobody waits a minute: the
 * wheel and the standard containers are told the time, and libuv and asio get timers whose times
 * passed a minute ago, which they keep in their heaps like all others. */
#include "perf/micro/timers.h"

#include <uv.h>

#include <array>
#include <asio.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <queue>
#include <set>
#include <utility>
#include <vector>

#include "perf/micro/support.h"
#include "runtime/timer/timer_wheel.h"

namespace cport::perf {

namespace {

/* What a worker runs of its timers before it looks at the kernel again. */
constexpr std::size_t kBudget = 64;

/* Advances `expire(now_ns)` by milliseconds, as the worker of a busy port does. */
template <typename Expire>
void pass_time(std::int64_t start_ns, Expire expire) {
    const std::int64_t end_ns = start_ns + kSpan_ns_max + kMillisecond_ns;
    for (std::int64_t now_ns = start_ns; now_ns <= end_ns; now_ns += kMillisecond_ns) {
        expire(now_ns);
    }
}

template <typename Timer>
class WheelTimers {
 public:
    void insert_all(When /*when*/) {
        const std::vector<std::int64_t>& spans = spans_ns();
        for (std::size_t i = 0; i < kTimers; ++i) {
            wheel_.insert(timers_[i], now_ns_ + spans[i]);
        }
    }
    void cancel(const Order& order) {
        for (const std::uint32_t i : order) {
            wheel_.remove(timers_[i]);
        }
    }
    void settle() {}
    std::size_t expire_all() {
        std::size_t expired = 0;
        pass_time(now_ns_, [&](std::int64_t now_ns) {
            now_ns_ = now_ns;
            while (wheel_.advance(now_ns, kBudget, [&](TimerEntry& entry) {
                expired += static_cast<Timer&>(entry).weight;
            })) {
            }
        });
        return expired;
    }

 private:
    std::unique_ptr<Timer[]> timers_ = std::make_unique<Timer[]>(kTimers);
    std::int64_t now_ns_ = 0;
    TimerWheel wheel_{0};
};

struct PlainTimer : TimerEntry {
    std::size_t weight = 1;
};

/* As an operation has it: in two cache lines of its own. */
struct alignas(64) OperationTimer : TimerEntry {
    std::size_t weight = 1;
    std::array<std::byte, 96> rest{};
};
static_assert(sizeof(OperationTimer) == 128);

/* It cannot cancel. */
class HeapTimers {
 public:
    void insert_all(When /*when*/) {
        const std::vector<std::int64_t>& spans = spans_ns();
        for (std::uint32_t i = 0; i < kTimers; ++i) {
            heap_.emplace(spans[i], i);
        }
    }
    void cancel(const Order& /*order*/) {
        while (!heap_.empty()) {
            heap_.pop();
        }
    }
    void settle() {}
    std::size_t expire_all() {
        std::size_t expired = 0;
        pass_time(0, [&](std::int64_t now_ns) {
            for (; !heap_.empty() && heap_.top().first <= now_ns; heap_.pop()) {
                ++expired;
            }
        });
        return expired;
    }

 private:
    using Entry = std::pair<std::int64_t, std::uint32_t>;
    std::priority_queue<Entry, std::vector<Entry>, std::greater<>> heap_;
};

class SetTimers {
 public:
    SetTimers() : places_(kTimers) {}

    void insert_all(When /*when*/) {
        const std::vector<std::int64_t>& spans = spans_ns();
        for (std::uint32_t i = 0; i < kTimers; ++i) {
            places_[i] = set_.emplace(spans[i], i).first;
        }
    }
    void cancel(const Order& order) {
        for (const std::uint32_t i : order) {
            set_.erase(places_[i]);
        }
    }
    void settle() {}
    std::size_t expire_all() {
        std::size_t expired = 0;
        pass_time(0, [&](std::int64_t now_ns) {
            for (; !set_.empty() && set_.begin()->first <= now_ns; set_.erase(set_.begin())) {
                ++expired;
            }
        });
        return expired;
    }

 private:
    using Set = std::set<std::pair<std::int64_t, std::uint32_t>>;
    Set set_;
    std::vector<Set::iterator> places_;
};

class UvTimers {
 public:
    UvTimers() : timers_(kTimers) {
        uv_loop_init(&loop_);
        for (uv_timer_t& timer : timers_) {
            uv_timer_init(&loop_, &timer);
            timer.data = &expired_;
        }
    }
    UvTimers(const UvTimers&) = delete;
    UvTimers& operator=(const UvTimers&) = delete;
    ~UvTimers() {
        for (uv_timer_t& timer : timers_) {
            uv_close(reinterpret_cast<uv_handle_t*>(&timer), nullptr);
        }
        uv_run(&loop_, UV_RUN_DEFAULT);
        uv_loop_close(&loop_);
    }

    void insert_all(When when) {
        const std::vector<std::int64_t>& spans = spans_ns();
        uv_update_time(&loop_);
        if (when == When::kPast) {
            /* Timers count from the loop's time, which the next run corrects. */
            loop_.time -= (kSpan_ns_max + kSpan_ns_min) / kMillisecond_ns;
        }
        for (std::size_t i = 0; i < kTimers; ++i) {
            const auto span_ms = static_cast<std::uint64_t>(spans[i] / kMillisecond_ns);
            uv_timer_start(
                &timers_[i], [](uv_timer_t* timer) { ++*static_cast<std::size_t*>(timer->data); },
                span_ms, 0);
        }
    }
    void cancel(const Order& order) {
        for (const std::uint32_t i : order) {
            uv_timer_stop(&timers_[i]);
        }
    }
    void settle() {}
    std::size_t expire_all() {
        expired_ = 0;
        uv_run(&loop_, UV_RUN_NOWAIT);
        return expired_;
    }

 private:
    std::size_t expired_ = 0;
    uv_loop_t loop_;
    std::vector<uv_timer_t> timers_;
};

/* A cancelled timer's handler still has to run: that is not counted against asio's cancel. */
class AsioTimers {
 public:
    AsioTimers() {
        timers_.reserve(kTimers);
        for (std::size_t i = 0; i < kTimers; ++i) {
            timers_.emplace_back(context_);
        }
    }

    void insert_all(When when) {
        const std::vector<std::int64_t>& spans = spans_ns();
        auto start = std::chrono::steady_clock::now();
        if (when == When::kPast) {
            start -= std::chrono::nanoseconds(kSpan_ns_max + kSpan_ns_min);
        }
        for (std::size_t i = 0; i < kTimers; ++i) {
            timers_[i].expires_at(start + std::chrono::nanoseconds(spans[i]));
            timers_[i].async_wait(
                [this](const asio::error_code& error) { expired_ += error ? 0u : 1u; });
        }
    }
    void cancel(const Order& order) {
        for (const std::uint32_t i : order) {
            timers_[i].cancel();
        }
    }
    void settle() { run(); }
    std::size_t expire_all() {
        expired_ = 0;
        run();
        return expired_;
    }

 private:
    using Timer = asio::basic_waitable_timer<std::chrono::steady_clock,
                                             asio::wait_traits<std::chrono::steady_clock>,
                                             asio::io_context::executor_type>;

    void run() {
        context_.restart();
        context_.poll();
    }

    std::size_t expired_ = 0;
    asio::io_context context_{1};
    std::vector<Timer> timers_;
};

/* With the handlers, in which each cancelled timer ends. */
class ToldAsioTimers : public AsioTimers {
 public:
    void cancel(const Order& order) {
        AsioTimers::cancel(order);
        settle();
    }
};

using PlainWheel = WheelTimers<PlainTimer>;
using OperationWheel = WheelTimers<OperationTimer>;

BENCHMARK(run_insert<PlainWheel>)->Name("timer_insert/wheel")->Apply(in_rounds);
BENCHMARK(run_insert<OperationWheel>)->Name("timer_insert/wheel_in_operation")->Apply(in_rounds);
BENCHMARK(run_insert<UvTimers>)->Name("timer_insert/libuv")->Apply(in_rounds);
BENCHMARK(run_insert<AsioTimers>)->Name("timer_insert/asio")->Apply(in_rounds);
BENCHMARK(run_insert<HeapTimers>)->Name("timer_insert/std_heap")->Apply(in_rounds);
BENCHMARK(run_insert<SetTimers>)->Name("timer_insert/std_set")->Apply(in_rounds);

BENCHMARK(run_cancel<PlainWheel, in_order>)->Name("timer_cancel/wheel")->Apply(in_rounds);
BENCHMARK(run_cancel<OperationWheel, in_order>)
    ->Name("timer_cancel/wheel_in_operation")
    ->Apply(in_rounds);
BENCHMARK(run_cancel<UvTimers, in_order>)->Name("timer_cancel/libuv")->Apply(in_rounds);
BENCHMARK(run_cancel<AsioTimers, in_order>)->Name("timer_cancel/asio")->Apply(in_rounds);
BENCHMARK(run_cancel<ToldAsioTimers, in_order>)->Name("timer_cancel/asio_told")->Apply(in_rounds);
BENCHMARK(run_cancel<SetTimers, in_order>)->Name("timer_cancel/std_set")->Apply(in_rounds);

BENCHMARK(run_cancel<PlainWheel, shuffled>)->Name("timer_cancel_random/wheel")->Apply(in_rounds);
BENCHMARK(run_cancel<OperationWheel, shuffled>)
    ->Name("timer_cancel_random/wheel_in_operation")
    ->Apply(in_rounds);
BENCHMARK(run_cancel<UvTimers, shuffled>)->Name("timer_cancel_random/libuv")->Apply(in_rounds);
BENCHMARK(run_cancel<AsioTimers, shuffled>)->Name("timer_cancel_random/asio")->Apply(in_rounds);
BENCHMARK(run_cancel<SetTimers, shuffled>)->Name("timer_cancel_random/std_set")->Apply(in_rounds);

BENCHMARK(run_expire<PlainWheel>)->Name("timer_expire/wheel")->Apply(in_rounds);
BENCHMARK(run_expire<OperationWheel>)->Name("timer_expire/wheel_in_operation")->Apply(in_rounds);
BENCHMARK(run_expire<UvTimers>)->Name("timer_expire/libuv")->Apply(in_rounds);
BENCHMARK(run_expire<AsioTimers>)->Name("timer_expire/asio")->Apply(in_rounds);
BENCHMARK(run_expire<HeapTimers>)->Name("timer_expire/std_heap")->Apply(in_rounds);
BENCHMARK(run_expire<SetTimers>)->Name("timer_expire/std_set")->Apply(in_rounds);

}  // namespace

}  // namespace cport::perf
