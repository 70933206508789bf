/* One event of a pair that is always active, while few or very many other descriptors wait: the
 * two ends of the pair send each other a byte. Each end is tried, found empty and waited for, so
 * that every byte comes as an event of the kernel's. */
#include <completionport/completions.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>

#include "perf/micro/idle_connections.h"
#include "perf/micro/support.h"

namespace cport::perf {

namespace {

constexpr std::size_t kFew = 10;
constexpr std::size_t kMany = 15'000;
constexpr std::uint64_t kEventsPerBatch = 10'000;
constexpr char kByte = 1;

void send_byte(int descriptor) { require(send(descriptor, &kByte, 1, MSG_NOSIGNAL) == 1, "send"); }

class PortPair {
 public:
    explicit PortPair(const IdleConnections& idle) : pair_(Transport::kUnix, 1) {
        for (std::size_t i = 0; i < idle.size(); ++i) {
            port_.add(EPOLLIN, idle[i], ignore, nullptr);
        }
        ends_ = {End{this, pair_.near(0)}, End{this, pair_.far(0)}};
        for (End& end : ends_) {
            receive(end);
        }
    }

    /* The first byte comes from elsewhere; the last event of a batch sends none. */
    std::uint64_t run_batch() {
        events_ = kEventsPerBatch + 1;
        send_byte(ends_[0].descriptor);
        done_.wait();
        return end_ns_ - start_ns_;
    }

 private:
    struct End {
        PortPair* pair;
        int descriptor;
        char byte = 0;
    };

    static void ignore(void* /*context*/, COMPLETION_PORT_EPOLL_ACTION /*action*/,
                       COMPLETION_PORT_RESULT /*result*/, std::int32_t /*amount*/) {}

    static void on_byte(void* context, COMPLETION_PORT_EPOLL_ACTION /*action*/,
                        COMPLETION_PORT_RESULT result, std::int32_t amount) {
        auto* end = static_cast<End*>(context);
        PortPair* pair = end->pair;
        if (result != COMPLETION_PORT_RESULT_OK) {
            return;
        }
        require(amount == 1, "a byte");
        pair->receive(*end);
        pair->next(*end);
    }

    void receive(End& end) {
        COMPLETION_PORT_INGRESS_DATA data{};
        data.epoll_op = EPOLLIN;
        data.socket = end.descriptor;
        data.event_callback = on_byte;
        data.event_callback_ctx = &end;
        data.buffer_data.buffer = &end.byte;
        data.buffer_data.length = 1;
        require(completion_port_add(port_.handle(), &data) == 0, "completion_port_add");
    }

    void next(const End& end) {
        if (events_ == kEventsPerBatch + 1) {
            start_ns_ = now_ns();
        }
        if (--events_ != 0) {
            send_byte(end.descriptor);
            return;
        }
        end_ns_ = now_ns();
        done_.raise();
    }

    SocketPairs pair_;
    Signal done_;
    std::array<End, 2> ends_{};
    std::uint64_t events_ = 0;
    std::uint64_t start_ns_ = 0;
    std::uint64_t end_ns_ = 0;
    Port port_;
};

/* By hand, edge-triggered as the port: one receive an event, and one to find the end empty. */
class EpollPair {
 public:
    explicit EpollPair(const IdleConnections& idle)
        : pair_(Transport::kUnix, 1), epoll_(epoll_create1(EPOLL_CLOEXEC)) {
        pin_to_cpu(kWorkerCpu);
        for (std::size_t i = 0; i < idle.size(); ++i) {
            watch(idle[i]);
        }
        watch(pair_.near(0));
        watch(pair_.far(0));
    }
    EpollPair(const EpollPair&) = delete;
    EpollPair& operator=(const EpollPair&) = delete;
    ~EpollPair() { close(epoll_); }

    std::uint64_t run_batch() {
        send_byte(pair_.near(0));
        const std::uint64_t start_ns = now_ns();
        for (std::uint64_t events = kEventsPerBatch; events != 0; --events) {
            epoll_event event;
            require(epoll_wait(epoll_, &event, 1, -1) == 1, "epoll_wait");
            char byte = 0;
            require(recv(event.data.fd, &byte, 1, MSG_DONTWAIT) == 1, "recv");
            if (events != 1) {
                send_byte(event.data.fd);
            }
            require(recv(event.data.fd, &byte, 1, MSG_DONTWAIT) == -1, "an empty end");
        }
        return now_ns() - start_ns;
    }

 private:
    void watch(int descriptor) const {
        epoll_event interest{};
        interest.events = EPOLLIN | EPOLLRDHUP | EPOLLET;
        interest.data.fd = descriptor;
        require(epoll_ctl(epoll_, EPOLL_CTL_ADD, descriptor, &interest) == 0, "epoll_ctl");
    }

    SocketPairs pair_;
    int epoll_;
};

template <typename Pair, std::size_t idle_count>
void run_events(benchmark::State& state) {
    if (!descriptors_allowed(state, idle_count)) {
        return;
    }
    IdleConnections idle(idle_count);
    idle.open(idle_count);
    Pair pair(idle);
    /* All that is idle is registered before it is timed. */
    pair.run_batch();
    std::uint64_t total_ns = 0;
    std::uint64_t events = 0;
    for ([[maybe_unused]] auto _ : state) {
        const std::uint64_t batch_ns = pair.run_batch();
        state.SetIterationTime(static_cast<double>(batch_ns) / 1e9);
        total_ns += batch_ns;
        events += kEventsPerBatch;
    }
    report_operations(state, total_ns, events);
}

BENCHMARK((run_events<PortPair, kFew>))->Name("idle_event/port_10")->UseManualTime();
BENCHMARK((run_events<PortPair, kMany>))->Name("idle_event/port_15000")->UseManualTime();
BENCHMARK((run_events<EpollPair, kFew>))->Name("idle_event/epoll_10")->UseManualTime();
BENCHMARK((run_events<EpollPair, kMany>))->Name("idle_event/epoll_15000")->UseManualTime();

}  // namespace

}  // namespace cport::perf
