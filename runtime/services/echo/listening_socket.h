// Sockets that listen.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <vector>

#include "runtime/services/echo/descriptor.h"

namespace cport::echo {

// Binds `count` sockets to one address and listens on them; the kernel spreads connections over
// them. Where the address leaves the TCP port open, the first one's choice holds for all. Fails
// with -EADDRINUSE when anybody listens there, even a socket that would share its port.
[[nodiscard]] int listen_on(const sockaddr* address, socklen_t address_length, uint32_t count,
                            uint32_t backlog, std::vector<Descriptor>* sockets,
                            sockaddr_storage* bound);

}  // namespace cport::echo
