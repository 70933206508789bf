/* The hand-off of hand_off.cc from four foreign threads at once, all on one CPU, to callbacks on
 * another: each thread hands over one operation and sleeps until its own callback has answered. */
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <array>
#include <asio.hpp>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

#include "perf/micro/support.h"

namespace cport::perf {

namespace {

constexpr std::size_t kProducers = 4;
constexpr std::uint64_t kTripsPerProducer = 500;

using Answers = std::array<Signal, kProducers>;

void answer(void* context) { static_cast<Signal*>(context)->raise(); }

class PortTarget {
 public:
    explicit PortTarget(Answers& answers)
        : answers_(answers), writable_(Transport::kUnix, kProducers) {}

    void hand_over(std::size_t producer) {
        port_.add(
            EPOLLOUT, writable_.near(producer),
            [](void* context, COMPLETION_PORT_EPOLL_ACTION /*action*/,
               COMPLETION_PORT_RESULT /*result*/, std::int32_t /*amount*/) { answer(context); },
            &answers_[producer]);
    }

 private:
    Answers& answers_;
    SocketPairs writable_;
    Port port_;
};

/* What one would write by hand: requests in a chain behind one atomic pointer, taken all at once,
 * and an eventfd that is signalled by who finds the chain empty. `looks`: the callback comes after
 * a look whether a descriptor is writable, which is what the port's add asks for. */
template <bool looks>
class BareTarget {
 public:
    explicit BareTarget(Answers& answers)
        : writable_(Transport::kUnix, kProducers), epoll_(epoll_create1(EPOLL_CLOEXEC)) {
        pin_to_cpu(kWorkerCpu);
        for (std::size_t i = 0; i < kProducers; ++i) {
            requests_[i] = {nullptr, answer, &answers[i], writable_.near(i)};
        }
        epoll_event interest{};
        interest.events = EPOLLIN;
        require(epoll_ctl(epoll_, EPOLL_CTL_ADD, wake_.descriptor(), &interest) == 0, "epoll_ctl");
        worker_ = std::thread([this] { serve(); });
    }
    BareTarget(const BareTarget&) = delete;
    BareTarget& operator=(const BareTarget&) = delete;
    ~BareTarget() {
        push(end_);
        worker_.join();
        close(epoll_);
    }

    void hand_over(std::size_t producer) { push(requests_[producer]); }

 private:
    struct Request {
        Request* next;
        void (*callback)(void*); /* nullptr: the end */
        void* context;
        int descriptor;
    };

    void push(Request& request) {
        Request* head = newest_.load(std::memory_order_relaxed);
        do {
            request.next = head;
            /* Release pairs with the exchange in take. */
        } while (!newest_.compare_exchange_weak(head, &request, std::memory_order_release,
                                                std::memory_order_relaxed));
        if (head == nullptr) {
            wake_.raise();
        }
    }

    /* All requests, oldest first. */
    Request* take() {
        Request* newest = newest_.exchange(nullptr, std::memory_order_acquire);
        Request* oldest = nullptr;
        while (newest != nullptr) {
            Request* next = newest->next;
            newest->next = oldest;
            oldest = newest;
            newest = next;
        }
        return oldest;
    }

    void serve() {
        for (;;) {
            epoll_event event;
            if (epoll_wait(epoll_, &event, 1, -1) != 1) {
                continue;
            }
            wake_.wait();
            for (Request* request = take(); request != nullptr;) {
                /* Its callback lets it be used again. */
                Request* next = request->next;
                if (request->callback == nullptr) {
                    return;
                }
                if (looks) {
                    pollfd writable{request->descriptor, POLLOUT, 0};
                    require(poll(&writable, 1, 0) == 1, "poll");
                }
                request->callback(request->context);
                request = next;
            }
        }
    }

    SocketPairs writable_;
    std::array<Request, kProducers> requests_{};
    Request end_{};
    Signal wake_;
    int epoll_;
    /* Beside nothing that the worker writes otherwise. */
    alignas(64) std::atomic<Request*> newest_{nullptr};
    alignas(64) std::thread worker_;
};

class AsioTarget {
 public:
    explicit AsioTarget(Answers& answers)
        : answers_(answers), work_(asio::make_work_guard(context_)) {
        pin_to_cpu(kWorkerCpu);
        worker_ = std::thread([this] { context_.run(); });
    }
    AsioTarget(const AsioTarget&) = delete;
    AsioTarget& operator=(const AsioTarget&) = delete;
    ~AsioTarget() {
        work_.reset();
        worker_.join();
    }

    void hand_over(std::size_t producer) {
        asio::post(context_, [&signal = answers_[producer]] { signal.raise(); });
    }

 private:
    Answers& answers_;
    asio::io_context context_{1};
    asio::executor_work_guard<asio::io_context::executor_type> work_;
    std::thread worker_;
};

template <typename Target>
void run_four(benchmark::State& state) {
    Answers answers;
    Target target(answers);
    pin_to_cpu(kForeignCpu);
    std::uint64_t total_ns = 0;
    std::uint64_t trips = 0;
    for ([[maybe_unused]] auto _ : state) {
        const std::uint64_t start_ns = now_ns();
        std::vector<std::thread> producers;
        for (std::size_t producer = 0; producer < kProducers; ++producer) {
            producers.emplace_back([&, producer] {
                for (std::uint64_t i = 0; i < kTripsPerProducer; ++i) {
                    target.hand_over(producer);
                    answers[producer].wait();
                }
            });
        }
        for (std::thread& producer : producers) {
            producer.join();
        }
        total_ns += now_ns() - start_ns;
        trips += kProducers * kTripsPerProducer;
    }
    report_operations(state, total_ns, trips);
}

BENCHMARK(run_four<PortTarget>)->Name("hand_off_four/port_add")->UseRealTime();
BENCHMARK(run_four<BareTarget<false>>)->Name("hand_off_four/eventfd")->UseRealTime();
BENCHMARK(run_four<BareTarget<true>>)->Name("hand_off_four/eventfd_and_poll")->UseRealTime();
BENCHMARK(run_four<AsioTarget>)->Name("hand_off_four/asio_post")->UseRealTime();

}  // namespace

}  // namespace cport::perf
