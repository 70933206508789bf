/* Making and ending a port, against the least that any runtime with a thread needs: an epoll, an
 * eventfd and a thread that waits in one for the other. */
#include <sys/epoll.h>
#include <unistd.h>

#include <cstdint>
#include <memory>
#include <thread>

#include "perf/micro/support.h"

namespace cport::perf {

namespace {

class BareWorker {
 public:
    BareWorker() : epoll_(epoll_create1(EPOLL_CLOEXEC)) {
        pin_to_cpu(kWorkerCpu);
        epoll_event interest{};
        interest.events = EPOLLIN;
        epoll_ctl(epoll_, EPOLL_CTL_ADD, request_.descriptor(), &interest);
        thread_ = std::thread([this] { serve(); });
    }

    BareWorker(const BareWorker&) = delete;
    BareWorker& operator=(const BareWorker&) = delete;

    ~BareWorker() {
        asks_for_end_ = true;
        request_.raise();
        thread_.join();
        close(epoll_);
    }

    void round_trip() {
        request_.raise();
        answer_.wait();
    }

 private:
    void serve() {
        for (;;) {
            epoll_event event;
            if (epoll_wait(epoll_, &event, 1, -1) != 1) {
                continue;
            }
            request_.wait();
            if (asks_for_end_) {
                return;
            }
            answer_.raise();
        }
    }

    Signal request_;
    Signal answer_;
    int epoll_;
    bool asks_for_end_ = false; /* ordered by the eventfd */
    std::thread thread_;
};

class PortWorker {
 public:
    PortWorker() : writable_(Transport::kUnix, 1) {}

    void round_trip() {
        port_.add(
            EPOLLOUT, writable_.near(0),
            [](void* context, COMPLETION_PORT_EPOLL_ACTION /*action*/,
               COMPLETION_PORT_RESULT /*result*/,
               std::int32_t /*amount*/) { static_cast<Signal*>(context)->raise(); },
            &answer_);
        answer_.wait();
    }

 private:
    Signal answer_;
    SocketPairs writable_;
    Port port_;
};

/* Ends it while its worker sleeps: a round trip has woken the worker and let it go again. The run
 * script says whether the end of a port keeps its limit. */
// Spec: CP-END-3
template <typename Worker>
void run_end_of_idle(benchmark::State& state) {
    std::uint64_t total_ns = 0;
    std::uint64_t ends = 0;
    for ([[maybe_unused]] auto _ : state) {
        auto worker = std::make_unique<Worker>();
        pin_to_cpu(kForeignCpu);
        worker->round_trip();
        const std::uint64_t start_ns = now_ns();
        worker.reset();
        const std::uint64_t end_ns = now_ns() - start_ns;
        state.SetIterationTime(static_cast<double>(end_ns) / 1e9);
        total_ns += end_ns;
        ++ends;
    }
    report_operations(state, total_ns, ends);
}

template <typename Make>
void time_lifetimes(benchmark::State& state, Make make) {
    std::uint64_t total_ns = 0;
    std::uint64_t lifetimes = 0;
    for ([[maybe_unused]] auto _ : state) {
        const std::uint64_t start_ns = now_ns();
        make();
        total_ns += now_ns() - start_ns;
        ++lifetimes;
    }
    report_operations(state, total_ns, lifetimes);
}

void run_port_lifetime(benchmark::State& state) {
    time_lifetimes(state, [] { const Port port; });
}

void run_bare_lifetime(benchmark::State& state) {
    time_lifetimes(state, [] { const BareWorker worker; });
}

BENCHMARK(run_port_lifetime)->Name("lifetime/port")->UseRealTime();
BENCHMARK(run_bare_lifetime)->Name("lifetime/bare_thread")->UseRealTime();
BENCHMARK_TEMPLATE(run_end_of_idle, PortWorker)->Name("end_of_idle/port")->UseManualTime();
BENCHMARK_TEMPLATE(run_end_of_idle, BareWorker)->Name("end_of_idle/bare_thread")->UseManualTime();

}  // namespace

}  // namespace cport::perf
