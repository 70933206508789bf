// What a test does with a machine beside the core's calls: it opens descriptors and acts as their
// peers. One for Linux, one for the simulation, so that a test can do the same to both.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "platform/kernel.h"

namespace cport::test {

// Two new descriptors, the first opened first.
struct Ends {
    int ours;
    int theirs;
};

// Nothing here blocks, and every call answers as the system call does: with a count, a descriptor,
// 0 or a negative errno.
class World {
 public:
    virtual ~World() = default;

    virtual platform::Kernel& kernel() = 0;

    virtual Ends tcp_pair() = 0;
    virtual Ends unix_pair() = 0;
    // UDP sockets, each connected to the other.
    virtual Ends datagram_pair() = 0;
    // `ours` is the read end.
    virtual Ends pipe() = 0;
    virtual int eventfd() = 0;
    virtual int regular_file() = 0;
    // The same open file under one more number.
    virtual int duplicate(int descriptor) = 0;

    // A stream socket on loopback that listens, and one that is not connected.
    virtual int listener(bool is_tcp, int backlog) = 0;
    virtual int fresh_socket(bool is_tcp) = 0;
    // To where `listener` listens; kNobody: where nobody does.
    static constexpr int kNobody = -1;
    virtual int connect_to(int descriptor, bool is_tcp, int listener) = 0;

    virtual int64_t read(int descriptor, char* buffer, size_t length) = 0;
    virtual int64_t write(int descriptor, std::string_view bytes) = 0;
    virtual int shutdown(int descriptor, int how) = 0;
    // TCP's urgent byte.
    virtual int send_urgent(int descriptor, char byte) = 0;
    // The peer of a TCP connection sees a reset.
    virtual int close_with_reset(int descriptor) = 0;
};

}  // namespace cport::test
