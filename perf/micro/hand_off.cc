/* From a foreign thread to a callback and back: the caller, on a CPU of its own, hands over one
 * operation and sleeps until the callback has answered. Both sides sleep and are woken each time;
 * the answer always goes through the same eventfd. */
#include <sys/epoll.h>
#include <unistd.h>
#include <uv.h>

#include <asio.hpp>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>

#include "perf/micro/support.h"

namespace cport::perf {

namespace {

template <typename HandOver>
void time_round_trips(benchmark::State& state, Signal& answer, HandOver hand_over) {
    pin_to_cpu(kForeignCpu);
    std::uint64_t total_ns = 0;
    std::uint64_t trips = 0;
    for ([[maybe_unused]] auto _ : state) {
        const std::uint64_t start_ns = now_ns();
        hand_over();
        answer.wait();
        total_ns += now_ns() - start_ns;
        ++trips;
    }
    report_operations(state, total_ns, trips);
}

void run_port(benchmark::State& state) {
    Signal answer;
    const SocketPairs writable(Transport::kUnix, 1);
    Port port;
    time_round_trips(state, answer, [&] {
        port.add(
            EPOLLOUT, writable.near(0),
            [](void* context, COMPLETION_PORT_EPOLL_ACTION /*action*/,
               COMPLETION_PORT_RESULT /*result*/,
               std::int32_t /*amount*/) { static_cast<Signal*>(context)->raise(); },
            &answer);
    });
}

/* The bare hand-off: a thread in epoll_wait, an eventfd that wakes it. */
void run_eventfd(benchmark::State& state) {
    pin_to_cpu(kWorkerCpu);
    Signal request;
    Signal answer;
    std::atomic<bool> ends{false};
    const int epoll = epoll_create1(EPOLL_CLOEXEC);
    epoll_event interest{};
    interest.events = EPOLLIN;
    require(epoll_ctl(epoll, EPOLL_CTL_ADD, request.descriptor(), &interest) == 0, "epoll_ctl");
    std::thread worker([&] {
        for (;;) {
            epoll_event event;
            if (epoll_wait(epoll, &event, 1, -1) != 1) {
                continue;
            }
            request.wait();
            /* Pairs with the release store below. */
            if (ends.load(std::memory_order_acquire)) {
                return;
            }
            answer.raise();
        }
    });
    time_round_trips(state, answer, [&] { request.raise(); });
    ends.store(true, std::memory_order_release);
    request.raise();
    worker.join();
    close(epoll);
}

void run_condition_variable(benchmark::State& state) {
    pin_to_cpu(kWorkerCpu);
    Signal answer;
    std::mutex mutex;
    std::condition_variable asked;
    int requests = 0;
    bool ends = false;
    std::thread worker([&] {
        std::unique_lock lock(mutex);
        for (;;) {
            asked.wait(lock, [&] { return requests != 0 || ends; });
            if (ends) {
                return;
            }
            --requests;
            answer.raise();
        }
    });
    time_round_trips(state, answer, [&] {
        {
            const std::lock_guard lock(mutex);
            ++requests;
        }
        asked.notify_one();
    });
    {
        const std::lock_guard lock(mutex);
        ends = true;
    }
    asked.notify_one();
    worker.join();
}

void run_asio(benchmark::State& state) {
    pin_to_cpu(kWorkerCpu);
    Signal answer;
    asio::io_context context(1);
    auto work = asio::make_work_guard(context);
    std::thread worker([&context] { context.run(); });
    time_round_trips(state, answer, [&] { asio::post(context, [&answer] { answer.raise(); }); });
    work.reset();
    worker.join();
}

struct UvWorker {
    uv_loop_t loop;
    uv_async_t asked;
    Signal answer;
    std::atomic<bool> ends{false};
};

void run_libuv(benchmark::State& state) {
    pin_to_cpu(kWorkerCpu);
    UvWorker uv;
    uv_loop_init(&uv.loop);
    uv_async_init(&uv.loop, &uv.asked, [](uv_async_t* asked) {
        auto* self = static_cast<UvWorker*>(asked->data);
        /* Pairs with the release store below. */
        if (self->ends.load(std::memory_order_acquire)) {
            uv_close(reinterpret_cast<uv_handle_t*>(asked), nullptr);
        } else {
            self->answer.raise();
        }
    });
    uv.asked.data = &uv;
    std::thread worker([&uv] { uv_run(&uv.loop, UV_RUN_DEFAULT); });
    time_round_trips(state, uv.answer, [&uv] { uv_async_send(&uv.asked); });
    uv.ends.store(true, std::memory_order_release);
    uv_async_send(&uv.asked);
    worker.join();
    uv_loop_close(&uv.loop);
}

BENCHMARK(run_port)->Name("hand_off/port_add")->UseRealTime();
BENCHMARK(run_eventfd)->Name("hand_off/eventfd")->UseRealTime();
BENCHMARK(run_condition_variable)->Name("hand_off/condition_variable")->UseRealTime();
BENCHMARK(run_asio)->Name("hand_off/asio_post")->UseRealTime();
BENCHMARK(run_libuv)->Name("hand_off/libuv_async")->UseRealTime();

}  // namespace

}  // namespace cport::perf
