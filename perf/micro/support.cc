#include "perf/micro/support.h"

#include <arpa/inet.h>
#include <completionport/completions.h>
#include <completionport/options.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace cport::perf {

namespace {

void connect_over_tcp(int (&ends)[2]) {
    const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof(address);
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    require(bind(listener, generic, length) == 0 && listen(listener, 1) == 0, "listen");
    require(getsockname(listener, generic, &length) == 0, "getsockname");
    ends[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    require(connect(ends[1], generic, length) == 0, "connect");
    ends[0] = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    require(ends[0] >= 0, "accept4");
    close(listener);
}

}  // namespace

void require(bool ok, const char* what) {
    if (!ok) {
        std::fprintf(stderr, "%s: %s\n", what, std::strerror(errno));
        std::exit(1);
    }
}

void pin_to_cpu(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<std::size_t>(cpu), &set);
    require(sched_setaffinity(0, sizeof(set), &set) == 0, "sched_setaffinity");
}

std::uint64_t now_ns() {
    return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                          std::chrono::steady_clock::now().time_since_epoch())
                                          .count());
}

void report_operations(benchmark::State& state, std::uint64_t total_ns, std::uint64_t operations) {
    state.counters["operation_ns"] =
        static_cast<double>(total_ns) / static_cast<double>(operations);
}

SocketPairs::SocketPairs(Transport transport, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
        int ends[2] = {-1, -1};
        if (transport == Transport::kTcp) {
            connect_over_tcp(ends);
        } else {
            require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0, "socketpair");
        }
        require(fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0, "fcntl");
        near_.push_back(ends[0]);
        far_.push_back(ends[1]);
    }
}

SocketPairs::~SocketPairs() {
    for (const int descriptor : near_) {
        close(descriptor);
    }
    for (const int descriptor : far_) {
        close(descriptor);
    }
}

Signal::Signal() : descriptor_(eventfd(0, EFD_CLOEXEC)) { require(descriptor_ >= 0, "eventfd"); }

Signal::~Signal() { close(descriptor_); }

void Signal::raise() { require(eventfd_write(descriptor_, 1) == 0, "eventfd_write"); }

void Signal::wait() {
    eventfd_t value = 0;
    require(eventfd_read(descriptor_, &value) == 0, "eventfd_read");
}

Port::Port(Kind kind) {
    pin_to_cpu(kWorkerCpu);
    COMPLETION_PORT_OPTIONS options{};
    options.size = sizeof(options);
    options.flags = COMPLETION_PORT_OPTION_CALLER_DRIVEN | COMPLETION_PORT_OPTION_SINGLE_THREADED;
    handle_ = kind == Kind::kWorker ? completion_port_create()
                                    : completion_port_create_with_options(&options);
    require(handle_ != nullptr, "completion_port_create");
}

void Port::drive() {
    COMPLETION_PORT_COMPLETION record;
    require(completion_port_wait(handle_, &record, 1, 0) == -ETIMEDOUT, "completion_port_wait");
}

Port::~Port() { completion_port_dec_ref(handle_); }

void Port::add(int operation, int socket, ON_COMPLETION_PORT_EVENT_COMPLETE callback,
               void* context) {
    COMPLETION_PORT_INGRESS_DATA data{};
    data.epoll_op = operation;
    data.socket = socket;
    data.event_callback = callback;
    data.event_callback_ctx = context;
    require(completion_port_add(handle_, &data) == 0, "completion_port_add");
}

}  // namespace cport::perf
