// Real descriptors for tests: connected pairs of every kind that the port serves, and what a peer
// does with them. Everything here aborts the test program with a message when the kernel refuses.
#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace cport::test {

// Owns one descriptor.
class Descriptor {
 public:
    Descriptor() = default;
    explicit Descriptor(int number) : number_(number) {}
    Descriptor(Descriptor&& other) noexcept : number_(other.release()) {}
    Descriptor& operator=(Descriptor&& other) noexcept;
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    ~Descriptor() { close(); }

    int get() const { return number_; }
    // Gives the number up without closing it.
    int release();
    void close();

 private:
    int number_ = -1;
};

// `ours` is handed to the port, `theirs` is driven by the test.
struct Pair {
    Descriptor ours;
    Descriptor theirs;
};

// Connected over loopback; `family` is AF_INET or AF_INET6. Nagle is off at both ends.
Pair tcp_pair(int family = AF_INET);
// As tcp_pair; the receive buffer of `ours` holds `bytes`. Nothing without CAP_NET_ADMIN.
std::optional<Pair> tcp_pair_with_receive_buffer(int bytes);
// Two UDP sockets, each connected to the other.
Pair udp_pair(int family = AF_INET);
// `type` is SOCK_STREAM, SOCK_DGRAM or SOCK_SEQPACKET.
Pair unix_pair(int type = SOCK_STREAM);
// `ours` is the read end, `theirs` the write end.
Pair pipe_pair();
// A TCP socket that is neither bound nor connected.
Descriptor fresh_tcp_socket();
// A UDP socket connected to a loopback port where nobody listens.
Descriptor udp_to_nobody();
// Readable for ever.
Descriptor ready_eventfd();
// Not readable until somebody writes to it.
Descriptor idle_eventfd();
// A number that is not open at the time of the call.
int closed_number();

// Blocking, whatever the flags of the descriptor.
void write_all(int socket, std::string_view bytes);
std::string read_exactly(int socket, size_t length);
// Everything up to the end of the stream.
std::string read_to_end(int socket);
// All that can be read without waiting.
std::string read_available(int socket);
// One byte of urgent data.
void write_urgent(int socket, char byte);
// `bytes` with a descriptor beside them.
void write_with_descriptor(int socket, std::string_view bytes, int descriptor);
// Sends until the kernel takes no more and will not unless the peer reads; the number of bytes.
size_t fill_send_buffer(int socket);
// The peer sees a reset instead of an orderly end.
void close_with_reset(Descriptor& socket);
void half_close(int socket);

// Waits until poll(2) reports any of `events`, or ERR or HUP; returns what it reported.
short wait_until_polled(int descriptor, short events);
// Waits until at least `bytes` can be read.
void wait_until_unread(int socket, size_t bytes);

// `length` bytes that differ from place to place and from seed to seed.
std::string pattern(size_t length, uint32_t seed = 1);

}  // namespace cport::test
