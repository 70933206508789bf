// Does the input and output of operations, and decides what their results mean.
#pragma once

#include <cstdint>

#include "platform/kernel.h"
#include "runtime/operation/operation.h"
#include "runtime/operation/socket.h"

namespace cport {

enum class Step {
    kCompleted,  // the operation holds its completion
    kBlocked,    // the kernel has nothing for it: wait for an edge
    kPaused,     // the socket's bytes of this round are spent
};

// One socket moves at most this many bytes a round in each direction, so that others get their
// turn.
constexpr uint32_t kRoundBytesMax = 1u << 20;

class Transfer {
 public:
    explicit Transfer(platform::Kernel& kernel) : kernel_(kernel) {}

    // One step of the operation at the head of its socket's queue.
    Step advance(Socket& socket, Operation& operation);

    // Whether the peer has ended its side: for operations that wait for just that. `error` is set
    // if the descriptor cannot be asked.
    bool peer_ended(Socket& socket, int& error);

    // Completes an operation that its socket's end or removal cuts off.
    static void abandon(Operation& operation);

 private:
    int64_t receive(const Socket& socket, Operation& operation, uint32_t chunk);
    int64_t send(const Socket& socket, const Operation& operation, uint32_t chunk);
    int poll(const Socket& socket, uint32_t events);

    Step read(Socket& socket, Operation& operation);
    Step read_message(Socket& socket, Operation& operation);
    Step read_failed(Socket& socket, Operation& operation, int error);
    Step read_ended(Socket& socket, Operation& operation);
    Step write(Socket& socket, Operation& operation);
    Step write_failed(Socket& socket, Operation& operation, int error);
    Step check_readiness(Socket& socket, Operation& operation);
    int learn_type(Socket& socket);

    platform::Kernel& kernel_;
};

}  // namespace cport
