#include "perf/micro/ready_operation.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>

namespace cport::perf {

ReadySockets::ReadySockets(Transport transport)
    : pairs_(transport, kReadySockets), sockets_(kReadySockets) {
    for (std::size_t i = 0; i < kReadySockets; ++i) {
        sockets_[i].descriptor = pairs_.near(i);
    }
}

void ReadySockets::fill() {
    static constexpr std::array<char, kUnitsPerSocket * kUnitBytes> kUnits{};
    for (std::size_t i = 0; i < kReadySockets; ++i) {
        const ssize_t sent = send(pairs_.far(i), kUnits.data(), kUnits.size(), MSG_NOSIGNAL);
        require(sent == static_cast<ssize_t>(kUnits.size()), "fill");
        sockets_[i].units = kUnitsPerSocket;
    }
}

namespace {

class PortReader {
 public:
    PortReader(ReadySockets& ready, Port::Kind kind)
        : readers_(kReadySockets), kick_(Transport::kUnix, 1), kind_(kind), port_(kind) {
        for (std::size_t i = 0; i < kReadySockets; ++i) {
            readers_[i] = {this, &ready.sockets()[i]};
        }
    }

    /* The first submissions come from a callback: all of the batch is the owner's. */
    std::uint64_t run_batch() {
        units_ = kUnitsPerBatch;
        port_.add(EPOLLOUT, kick_.near(0), on_kick, this);
        while (kind_ == Port::Kind::kDriven && units_ != 0) {
            port_.drive();
        }
        done_.wait();
        return end_ns_ - start_ns_;
    }

 private:
    struct Reader {
        PortReader* owner;
        ReadySocket* socket;
    };

    static void submit(Reader* reader) {
        COMPLETION_PORT_INGRESS_DATA data{};
        data.epoll_op = EPOLLIN;
        data.socket = reader->socket->descriptor;
        data.event_callback = on_read;
        data.event_callback_ctx = reader;
        data.buffer_data.buffer = reader->socket->buffer;
        data.buffer_data.length = kUnitBytes;
        require(completion_port_add(reader->owner->port_.handle(), &data) == 0,
                "completion_port_add");
    }

    static void on_kick(void* context, COMPLETION_PORT_EPOLL_ACTION /*action*/,
                        COMPLETION_PORT_RESULT /*result*/, std::int32_t /*amount*/) {
        auto* owner = static_cast<PortReader*>(context);
        owner->start_ns_ = now_ns();
        for (Reader& reader : owner->readers_) {
            submit(&reader);
        }
    }

    static void on_read(void* context, COMPLETION_PORT_EPOLL_ACTION /*action*/,
                        COMPLETION_PORT_RESULT /*result*/, std::int32_t amount) {
        auto* reader = static_cast<Reader*>(context);
        require(amount == kUnitBytes, "a read of the port");
        if (--reader->socket->units != 0) {
            submit(reader);
        }
        PortReader* owner = reader->owner;
        if (--owner->units_ == 0) {
            owner->end_ns_ = now_ns();
            owner->done_.raise();
        }
    }

    std::vector<Reader> readers_;
    SocketPairs kick_;
    Signal done_;
    std::uint64_t units_ = 0;
    std::uint64_t start_ns_ = 0;
    std::uint64_t end_ns_ = 0;
    const Port::Kind kind_;
    Port port_;
};

void run_port(benchmark::State& state, Transport transport, Port::Kind kind) {
    ReadySockets ready(transport);
    PortReader reader(ready, kind);
    time_batches(state, ready, [&reader] { return reader.run_batch(); });
}

/* ONESHOT is what one operation at a time costs without a runtime: the registration is renewed by
 * each submission. */
void run_epoll(benchmark::State& state, Transport transport, bool oneshot) {
    pin_to_cpu(kWorkerCpu);
    ReadySockets ready(transport);
    const int epoll = epoll_create1(EPOLL_CLOEXEC);
    const auto watch = [epoll, oneshot](int operation, ReadySocket& socket) {
        epoll_event event{};
        event.events = oneshot ? EPOLLIN | EPOLLONESHOT : EPOLLIN;
        event.data.ptr = &socket;
        require(epoll_ctl(epoll, operation, socket.descriptor, &event) == 0, "epoll_ctl");
    };
    for (ReadySocket& socket : ready.sockets()) {
        watch(EPOLL_CTL_ADD, socket);
    }
    time_batches(state, ready, [&] {
        const std::uint64_t start_ns = now_ns();
        std::array<epoll_event, kReadySockets> events;
        for (ReadySocket& socket : ready.sockets()) {
            if (oneshot) {
                watch(EPOLL_CTL_MOD, socket);
            }
        }
        for (std::uint64_t units = kUnitsPerBatch; units != 0;) {
            const int count = epoll_wait(epoll, events.data(), kReadySockets, -1);
            for (int i = 0; i < count; ++i) {
                auto* socket =
                    static_cast<ReadySocket*>(events[static_cast<std::size_t>(i)].data.ptr);
                const ssize_t read = recv(socket->descriptor, socket->buffer, kUnitBytes, 0);
                require(read == kUnitBytes, "recv");
                --units;
                if (--socket->units != 0 && oneshot) {
                    watch(EPOLL_CTL_MOD, *socket);
                }
            }
        }
        return now_ns() - start_ns;
    });
    close(epoll);
}

BENCHMARK_CAPTURE(run_port, unix, Transport::kUnix, Port::Kind::kWorker)
    ->Name("ready_unix/port")
    ->UseManualTime();
BENCHMARK_CAPTURE(run_port, tcp, Transport::kTcp, Port::Kind::kWorker)
    ->Name("ready_tcp/port")
    ->UseManualTime();
BENCHMARK_CAPTURE(run_port, unix_driven, Transport::kUnix, Port::Kind::kDriven)
    ->Name("ready_unix/port_driven")
    ->UseManualTime();
BENCHMARK_CAPTURE(run_port, tcp_driven, Transport::kTcp, Port::Kind::kDriven)
    ->Name("ready_tcp/port_driven")
    ->UseManualTime();
BENCHMARK_CAPTURE(run_epoll, unix, Transport::kUnix, false)
    ->Name("ready_unix/epoll_level")
    ->UseManualTime();
BENCHMARK_CAPTURE(run_epoll, tcp, Transport::kTcp, false)
    ->Name("ready_tcp/epoll_level")
    ->UseManualTime();
BENCHMARK_CAPTURE(run_epoll, unix_oneshot, Transport::kUnix, true)
    ->Name("ready_unix/epoll_oneshot")
    ->UseManualTime();
BENCHMARK_CAPTURE(run_epoll, tcp_oneshot, Transport::kTcp, true)
    ->Name("ready_tcp/epoll_oneshot")
    ->UseManualTime();

}  // namespace

}  // namespace cport::perf
