#include "tests/simulation/linux_world.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "platform/linux/linux_platform.h"

namespace cport::test {
namespace {

// What the test cannot do without.
int must(int result, const char* what) {
    if (result >= 0) return result;
    std::perror(what);
    std::abort();
}

template <typename Result>
Result or_errno(Result result) {
    return result < 0 ? static_cast<Result>(-errno) : result;
}

struct sockaddr_in address_of(int socket) {
    struct sockaddr_in address = {};
    socklen_t length = sizeof(address);
    must(::getsockname(socket, reinterpret_cast<struct sockaddr*>(&address), &length), "address");
    return address;
}

int bound_socket(int type) {
    const int number = must(::socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), "socket");
    struct sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    must(::bind(number, reinterpret_cast<struct sockaddr*>(&address), sizeof(address)), "bind");
    return number;
}

// With a name of the kernel's choice.
int bound_unix_socket() {
    const int number =
        must(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), "socket");
    struct sockaddr address = {};
    address.sa_family = AF_UNIX;
    must(::bind(number, &address, sizeof(address.sa_family)), "bind");
    return number;
}

int connect_socket(int socket, const struct sockaddr_in& address) {
    return ::connect(socket, reinterpret_cast<const struct sockaddr*>(&address), sizeof(address));
}

// Linux lets the buffers of others grow. A window holds two segments of loopback at least.
void bound_buffers_of(int socket) {
    const int send_bytes = 32 * 1024;
    const int receive_bytes = 128 * 1024;
    must(::setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &send_bytes, sizeof(send_bytes)), "SO_SNDBUF");
    must(::setsockopt(socket, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof(receive_bytes)),
         "SO_RCVBUF");
}

bool end_is_on_its_way(int socket) {
    struct tcp_info info = {};
    socklen_t length = sizeof(info);
    if (::getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &length) < 0) return false;
    const int state = info.tcpi_state;
    return state == TCP_FIN_WAIT1 || state == TCP_LAST_ACK || state == TCP_CLOSING;
}

int highest_open_descriptor() {
    int highest = -1;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
        highest = std::max(highest, std::stoi(entry.path().filename().string()));
    }
    return highest;
}

}  // namespace

LinuxWorld::LinuxWorld()
    : listener_(bound_socket(SOCK_STREAM)),
      tcp_nobody_(bound_socket(SOCK_STREAM)),
      unix_nobody_(bound_unix_socket()) {
    must(::listen(listener_.get(), 16), "listen");
    // A pipe whose reader is gone answers EPIPE here, as the simulation does.
    ::signal(SIGPIPE, SIG_IGN);
    // So that the next numbers follow without a gap.
    const int highest = highest_open_descriptor();
    do {
        fillers_.emplace_back(must(::fcntl(listener_.get(), F_DUPFD_CLOEXEC, 0), "dup"));
    } while (fillers_.back().get() <= highest);
    first_free_ = fillers_.back().get();
    fillers_.pop_back();
}

platform::Kernel& LinuxWorld::kernel() { return platform::linux_platform().kernel; }

Ends LinuxWorld::tcp_pair() {
    const int ours = must(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
    must(connect_socket(ours, address_of(listener_.get())), "connect");
    struct sockaddr_in peer = {};
    // The connection is complete on loopback when connect has returned, but may not be queued yet.
    int theirs = -1;
    while (theirs < 0) {
        socklen_t length = sizeof(peer);
        theirs = ::accept4(listener_.get(), reinterpret_cast<struct sockaddr*>(&peer), &length,
                           SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (theirs < 0 && errno != EAGAIN) must(theirs, "accept");
    }
    const int on = 1;
    for (const int end : {ours, theirs}) {
        must(::setsockopt(end, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)), "TCP_NODELAY");
        must(::fcntl(end, F_SETFL, O_NONBLOCK), "O_NONBLOCK");
        if (bounded_) bound_buffers_of(end);
    }
    return {ours, theirs};
}

Ends LinuxWorld::unix_pair() {
    int ends[2];
    must(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), "socketpair");
    return {ends[0], ends[1]};
}

Ends LinuxWorld::datagram_pair() {
    const int ours = bound_socket(SOCK_DGRAM);
    const int theirs = bound_socket(SOCK_DGRAM);
    must(connect_socket(ours, address_of(theirs)), "connect");
    must(connect_socket(theirs, address_of(ours)), "connect");
    return {ours, theirs};
}

Ends LinuxWorld::pipe() {
    int ends[2];
    must(::pipe2(ends, O_CLOEXEC | O_NONBLOCK), "pipe");
    return {ends[0], ends[1]};
}

int LinuxWorld::eventfd() { return must(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd"); }

int LinuxWorld::regular_file() { return must(::memfd_create("file", MFD_CLOEXEC), "memfd"); }

int LinuxWorld::duplicate(int descriptor) { return or_errno(::fcntl(descriptor, F_DUPFD, 0)); }

int LinuxWorld::listener(bool is_tcp, int backlog) {
    const int number = is_tcp ? bound_socket(SOCK_STREAM) : bound_unix_socket();
    must(::listen(number, backlog), "listen");
    return number;
}

int LinuxWorld::fresh_socket(bool is_tcp) {
    return must(::socket(is_tcp ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0),
                "socket");
}

int LinuxWorld::connect_to(int descriptor, bool is_tcp, int listener) {
    const Descriptor& nobody = is_tcp ? tcp_nobody_ : unix_nobody_;
    struct sockaddr_storage storage = {};
    auto* const address = reinterpret_cast<struct sockaddr*>(&storage);
    socklen_t length = sizeof(storage);
    must(::getsockname(listener == kNobody ? nobody.get() : listener, address, &length), "address");
    return or_errno(::connect(descriptor, address, length));
}

int64_t LinuxWorld::read(int descriptor, char* buffer, size_t length) {
    const int64_t count = or_errno<int64_t>(::read(descriptor, buffer, length));
    const int now = 1;
    // An acknowledgement that waits for company holds the sender up.
    if (bounded_) ::setsockopt(descriptor, IPPROTO_TCP, TCP_QUICKACK, &now, sizeof(now));
    return count;
}

int64_t LinuxWorld::write(int descriptor, std::string_view bytes) {
    const int64_t sent = ::send(descriptor, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent >= 0 || errno != ENOTSOCK) return or_errno(sent);
    return or_errno<int64_t>(::write(descriptor, bytes.data(), bytes.size()));
}

int LinuxWorld::shutdown(int descriptor, int how) {
    const int result = or_errno(::shutdown(descriptor, how));
    // The peer may acknowledge late, and that wakes our watchers.
    while (result == 0 && end_is_on_its_way(descriptor)) {
    }
    return result;
}

int LinuxWorld::send_urgent(int descriptor, char byte) {
    return static_cast<int>(
        or_errno(::send(descriptor, &byte, 1, MSG_OOB | MSG_NOSIGNAL | MSG_DONTWAIT)));
}

int LinuxWorld::close_with_reset(int descriptor) {
    const struct linger at_once = {1, 0};
    ::setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    return or_errno(::close(descriptor));
}

}  // namespace cport::test
