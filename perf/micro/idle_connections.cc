#include "perf/micro/idle_connections.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <string>

namespace cport::perf {

namespace {

/* Connections that wait to be accepted: fewer than a listener can hold, since the kernel asks again
 * for one that it had no room for only after a second. */
constexpr std::size_t kBatch = 64;
/* Descriptors of a process besides its connections. */
constexpr std::size_t kOthers = 64;

int listen_on_loopback(sockaddr_in& address) {
    const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof(address);
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    require(bind(listener, generic, length) == 0 && listen(listener, 2 * kBatch) == 0, "listen");
    require(getsockname(listener, generic, &length) == 0, "getsockname");
    return listener;
}

/* Its far end is reset in the end, so that no port number stays taken for a minute. */
void connect_one(const sockaddr_in& address) {
    const int far = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const linger at_once{1, 0};
    require(setsockopt(far, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)) == 0, "SO_LINGER");
    require(connect(far, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0,
            "connect");
}

/* The child: as many as each message says, until the other end is gone. */
[[noreturn]] void keep_far_ends(const sockaddr_in& address, int control) {
    std::uint32_t count = 0;
    while (read(control, &count, sizeof(count)) == sizeof(count)) {
        for (; count > 0; --count) {
            connect_one(address);
        }
    }
    _exit(0);
}

}  // namespace

bool descriptors_allowed(benchmark::State& state, std::size_t count) {
    rlimit limit{};
    require(getrlimit(RLIMIT_NOFILE, &limit) == 0, "getrlimit");
    const rlim_t needed = count + kOthers;
    if (limit.rlim_cur >= needed) {
        return true;
    }
    if (limit.rlim_max >= needed) {
        limit.rlim_cur = needed;
        require(setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit");
        return true;
    }
    const std::string said = "needs " + std::to_string(needed) + " descriptors, and " +
                             std::to_string(limit.rlim_max) + " are allowed (ulimit -Hn)";
    state.SkipWithError(said.c_str());
    return false;
}

IdleConnections::IdleConnections(std::size_t count_max) {
    sockaddr_in address;
    listener_ = listen_on_loopback(address);
    int control[2];
    require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, control) == 0, "socketpair");
    child_ = fork();
    require(child_ >= 0, "fork");
    if (child_ == 0) {
        close(control[0]);
        close(listener_);
        keep_far_ends(address, control[1]);
    }
    close(control[1]);
    control_ = control[0];
    near_.reserve(count_max);
}

void IdleConnections::open(std::size_t count) {
    while (count > 0) {
        const auto batch = static_cast<std::uint32_t>(std::min(count, kBatch));
        require(write(control_, &batch, sizeof(batch)) == sizeof(batch),
                "the process of the far ends");
        for (std::uint32_t i = 0; i < batch; ++i) {
            const int near = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
            require(near >= 0, "accept4");
            near_.push_back(near);
        }
        count -= batch;
    }
}

IdleConnections::~IdleConnections() {
    close(listener_);
    close(control_);
    require(waitpid(child_, nullptr, 0) == child_, "waitpid");
    for (const int near : near_) {
        if (near >= 0) {
            close(near);
        }
    }
}

}  // namespace cport::perf
