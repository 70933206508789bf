/* Adding an operation that stays pending and removing it again, with its callback. */
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <asio.hpp>
#include <cstddef>
#include <cstdint>

#include "perf/micro/support.h"

namespace cport::perf {

namespace {

constexpr std::uint64_t kCyclesPerBatch = 10000;

/* Each cycle is an add, a remove, and the callback with CLOSING, which starts the next one. */
class OwnerCycle {
 public:
    explicit OwnerCycle(std::size_t bystanders)
        : target_(Transport::kUnix, 1),
          kick_(Transport::kUnix, 1),
          bystanders_(Transport::kUnix, bystanders) {
        for (std::size_t i = 0; i < bystanders_.size(); ++i) {
            port_.add(EPOLLIN, bystanders_.near(i), ignore, nullptr);
        }
    }

    std::uint64_t run_batch() {
        cycles_ = kCyclesPerBatch;
        port_.add(EPOLLOUT, kick_.near(0), on_kick, this);
        done_.wait();
        return end_ns_ - start_ns_;
    }

 private:
    static void ignore(void* /*context*/, COMPLETION_PORT_EPOLL_ACTION /*action*/,
                       COMPLETION_PORT_RESULT /*result*/, std::int32_t /*amount*/) {}

    static void on_kick(void* context, COMPLETION_PORT_EPOLL_ACTION /*action*/,
                        COMPLETION_PORT_RESULT /*result*/, std::int32_t /*amount*/) {
        auto* self = static_cast<OwnerCycle*>(context);
        self->start_ns_ = now_ns();
        self->cycle();
    }

    static void on_closing(void* context, COMPLETION_PORT_EPOLL_ACTION action,
                           COMPLETION_PORT_RESULT /*result*/, std::int32_t /*amount*/) {
        require(action == COMPLETION_PORT_CLOSING, "a removed add");
        auto* self = static_cast<OwnerCycle*>(context);
        if (--self->cycles_ != 0) {
            self->cycle();
            return;
        }
        self->end_ns_ = now_ns();
        self->done_.raise();
    }

    void cycle() {
        port_.add(EPOLLIN, target_.near(0), on_closing, this);
        completion_port_remove(port_.handle(), target_.near(0));
    }

    SocketPairs target_;
    SocketPairs kick_;
    SocketPairs bystanders_;
    Signal done_;
    std::uint64_t cycles_ = 0;
    std::uint64_t start_ns_ = 0;
    std::uint64_t end_ns_ = 0;
    Port port_;
};

void run_port_owner(benchmark::State& state, std::size_t bystanders) {
    OwnerCycle cycle(bystanders);
    std::uint64_t total_ns = 0;
    std::uint64_t cycles = 0;
    for ([[maybe_unused]] auto _ : state) {
        const std::uint64_t batch_ns = cycle.run_batch();
        state.SetIterationTime(static_cast<double>(batch_ns) / 1e9);
        total_ns += batch_ns;
        cycles += kCyclesPerBatch;
    }
    report_operations(state, total_ns, cycles);
}

/* Times `cycle()` in batches, so that reading the clock costs nothing. */
template <typename Cycle>
void time_cycles(benchmark::State& state, std::uint64_t cycles_per_batch, Cycle cycle) {
    std::uint64_t total_ns = 0;
    std::uint64_t cycles = 0;
    for ([[maybe_unused]] auto _ : state) {
        const std::uint64_t start_ns = now_ns();
        for (std::uint64_t i = 0; i < cycles_per_batch; ++i) {
            cycle();
        }
        total_ns += now_ns() - start_ns;
        cycles += cycles_per_batch;
    }
    report_operations(state, total_ns, cycles);
}

/* What the kernel asks for a registration that comes and goes. */
void run_epoll(benchmark::State& state) {
    pin_to_cpu(kWorkerCpu);
    const SocketPairs target(Transport::kUnix, 1);
    const int epoll = epoll_create1(EPOLL_CLOEXEC);
    time_cycles(state, kCyclesPerBatch, [&] {
        epoll_event event{};
        event.events = EPOLLIN;
        require(epoll_ctl(epoll, EPOLL_CTL_ADD, target.near(0), &event) == 0, "epoll_ctl");
        require(epoll_ctl(epoll, EPOLL_CTL_DEL, target.near(0), nullptr) == 0, "epoll_ctl");
    });
    close(epoll);
}

/* asio keeps its registration over a cancel: the cheapest it offers, and less than a remove. */
void run_asio(benchmark::State& state) {
    pin_to_cpu(kWorkerCpu);
    const SocketPairs target(Transport::kUnix, 1);
    asio::io_context context(1);
    asio::basic_stream_socket<asio::generic::stream_protocol, asio::io_context::executor_type>
        socket(context, asio::generic::stream_protocol(AF_UNIX, 0), dup(target.near(0)));
    time_cycles(state, kCyclesPerBatch, [&] {
        socket.async_wait(asio::socket_base::wait_read, [](const asio::error_code& error) {
            require(error == asio::error::operation_aborted, "a cancelled wait");
        });
        socket.cancel();
        context.restart();
        context.run();
    });
}

void run_port_foreign(benchmark::State& state) {
    constexpr std::uint64_t kForeignCyclesPerBatch = 100;
    const SocketPairs target(Transport::kUnix, 1);
    Port port;
    pin_to_cpu(kForeignCpu);
    time_cycles(state, kForeignCyclesPerBatch, [&] {
        port.add(
            EPOLLIN, target.near(0),
            [](void* /*context*/, COMPLETION_PORT_EPOLL_ACTION /*action*/,
               COMPLETION_PORT_RESULT /*result*/, std::int32_t /*amount*/) {},
            nullptr);
        completion_port_remove(port.handle(), target.near(0));
    });
}

BENCHMARK(run_epoll)->Name("add_remove/epoll_ctl")->UseRealTime();
BENCHMARK(run_asio)->Name("add_remove/asio_cancel")->UseRealTime();
BENCHMARK_CAPTURE(run_port_owner, alone, 0)->Name("add_remove/port_owner")->UseManualTime();
BENCHMARK_CAPTURE(run_port_owner, crowded, 1000)
    ->Name("add_remove/port_owner_1000_idle")
    ->UseManualTime();
BENCHMARK(run_port_foreign)->Name("hand_off/port_add_remove_foreign")->UseRealTime();

}  // namespace

}  // namespace cport::perf
