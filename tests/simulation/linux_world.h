// The world on Linux itself.
#pragma once

#include <vector>

#include "tests/support/sockets.h"
#include "tests/support/world.h"

namespace cport::test {

class LinuxWorld final : public World {
 public:
    LinuxWorld();

    platform::Kernel& kernel() override;
    Ends tcp_pair() override;
    Ends unix_pair() override;
    Ends datagram_pair() override;
    Ends pipe() override;
    int eventfd() override;
    int regular_file() override;
    int duplicate(int descriptor) override;
    int listener(bool is_tcp, int backlog) override;
    int fresh_socket(bool is_tcp) override;
    int connect_to(int descriptor, bool is_tcp, int listener) override;
    int64_t read(int descriptor, char* buffer, size_t length) override;
    int64_t write(int descriptor, std::string_view bytes) override;
    int shutdown(int descriptor, int how) override;
    int send_urgent(int descriptor, char byte) override;
    int close_with_reset(int descriptor) override;

    // From now on new TCP connections hold at most some 256 KiB, however long they live.
    void bound_buffers() { bounded_ = true; }

    // Every number from here on is free.
    int first_free_descriptor() const { return first_free_; }

 private:
    Descriptor listener_;
    Descriptor tcp_nobody_;
    Descriptor unix_nobody_;
    std::vector<Descriptor> fillers_;
    int first_free_ = 0;
    bool bounded_ = false;
};

}  // namespace cport::test
