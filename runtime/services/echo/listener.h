// A listening socket of one shard: accepts in bounded rounds, survives every error of accept.
#pragma once

#include <completionport/completion_port.h>
#include <sys/socket.h>

#include <cstdint>
#include <vector>

#include "runtime/services/echo/descriptor.h"

namespace cport::echo {

class Shard;

// Binds `count` sockets to one address and listens on them; the kernel spreads connections over
// them. Where the address leaves the TCP port open, the first one's choice holds for all. Fails
// with -EADDRINUSE when anybody listens there, even a socket that would share its port.
[[nodiscard]] int listen_on(const sockaddr* address, socklen_t address_length, uint32_t count,
                            uint32_t backlog, std::vector<Descriptor>* sockets,
                            sockaddr_storage* bound);

class Listener {
 public:
    Listener(Shard& shard, Descriptor socket);

    [[nodiscard]] int start();
    // Accepts again after a shortage of descriptors or memory.
    void retry();
    // Accepts what the kernel has connected already: closing the listener would reset those peers.
    void take_backlog();
    void end();

 private:
    enum class Round { kMore, kDone, kShortage };
    enum class State { kIdle, kWaiting, kParked, kEnded };

    static void on_readable(void* context, COMPLETION_PORT_EPOLL_ACTION action,
                            COMPLETION_PORT_RESULT result, int32_t amount);
    void accept_round();
    [[nodiscard]] Round accept_one();
    [[nodiscard]] Round on_accept_error(int error);
    [[nodiscard]] Round refuse_one();
    [[nodiscard]] int wait();
    void park();

    Shard& shard_;
    Descriptor socket_;
    State state_ = State::kIdle;
};

}  // namespace cport::echo
