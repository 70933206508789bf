// A TCP client of the tests. Its receives give up after a time that only a hanging server needs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "runtime/services/echo/descriptor.h"

namespace cport::testing {

class Peer {
 public:
    static constexpr size_t kPingBytes = 14;

    explicit Peer(const std::string& url);

    [[nodiscard]] int descriptor() const { return socket_.get(); }
    [[nodiscard]] bool send(const std::string& bytes) const;
    // Up to `count` bytes; less at the end of the stream or at an error.
    [[nodiscard]] std::string receive(size_t count) const;
    // What comes until the server ends its side.
    [[nodiscard]] std::string receive_all() const;
    // Whether a message of kPingBytes comes back.
    [[nodiscard]] bool ping() const;
    void half_close() const;
    void close() { socket_.reset(); }
    // Closes with a RST.
    void reset();

 private:
    echo::Descriptor socket_;
};

// Reproducible bytes without a short period.
[[nodiscard]] std::string random_bytes(size_t count, uint32_t seed);

// A listening socket on a free loopback port.
struct Listening {
    echo::Descriptor socket;
    std::string url;
};
[[nodiscard]] Listening listen_on_loopback();

}  // namespace cport::testing
