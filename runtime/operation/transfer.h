// Does the input and output of operations, and decides what their results mean.
#pragma once

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>

#include "platform/kernel.h"
#include "platform/ring.h"
#include "runtime/operation/operation.h"
#include "runtime/operation/outcome.h"
#include "runtime/operation/socket.h"

namespace cport {

enum class Step {
    kCompleted,  // the operation holds its completion
    kBlocked,    // the kernel has nothing for it: wait for an edge
    kPaused,     // the socket's bytes of this round are spent
    kAccepting,  // nothing was done: an accept that goes on is its owner's to drive
    kReceiving,  // the same of a receive from a pool
};

// One socket moves at most this many bytes a round in each direction, so that others get their
// turn.
constexpr uint32_t kRoundBytesMax = 1u << 20;

class Transfer {
 public:
    explicit Transfer(platform::Kernel& kernel) : kernel_(kernel) {}

    // By all operations so far, in both directions.
    uint64_t bytes_moved() const { return bytes_moved_; }

    // One step of the operation at the head of its socket's queue of that direction.
    Step advance(Socket& socket, Operation& operation, Direction direction) {
        const bool plain_read = direction == Direction::kRead && socket.has(kStream) &&
                                operation.record_kind <= COMPLETION_PORT_KIND_SEND &&
                                !operation.readiness_only();
        return plain_read ? read(socket, operation) : advance_any(socket, operation);
    }
    // One connection of an accept; after kCompleted that is OK it may be tried again.
    Step accept(Socket& socket, Operation& operation);
    // One buffer of a receive from a pool; as above.
    Step receive_pooled(Socket& socket, Operation& operation);

    // Whether a ring's result says that the operation was called back, or never begun.
    static bool begins_again(int32_t result) {
        return result == -ECANCELED || result == -EAGAIN || result == -EINTR;
    }
    // What the kernel is asked for by a ring. False: the descriptor cannot be asked, or something
    // else than the kernel decides the outcome.
    bool prepare(Socket& socket, const Operation& operation, platform::RingRequest& request);
    // The next step of an operation that a ring gave back with `result`.
    Step came_back(Socket& socket, Operation& operation, int32_t result);

    // Which of these poll(2) bits hold. `error` is set if the descriptor cannot be asked.
    uint32_t look(Socket& socket, uint32_t events, int& error);
    // Whether the bits that `look` found complete an operation that watches; if so it holds its
    // completion.
    static bool watched_for(const Socket& socket, Operation& operation, uint32_t found);

    // Completes an operation that its socket's end or removal cuts off.
    static void abandon(Operation& operation);
    // Completes one that its user cancelled, or that ran into its deadline.
    static void cut_off(Operation& operation, int error);

 private:
    void count_moved(int64_t bytes) { bytes_moved_ += static_cast<uint64_t>(bytes); }
    Step advance_any(Socket& socket, Operation& operation);
    int64_t receive(const Socket& socket, const Operation& operation, uint32_t chunk);
    int64_t send(const Socket& socket, const Operation& operation, uint32_t chunk);
    int poll(const Socket& socket, uint32_t events);

    Step advance_other(Socket& socket, Operation& operation);
    Step read(Socket& socket, Operation& operation);
    // What a system call's count means; `chunk` is what was asked for.
    Step have_read(Socket& socket, Operation& operation, int64_t count, uint32_t chunk);
    Step read_message(Socket& socket, Operation& operation);
    Step have_read_message(Socket& socket, Operation& operation, int64_t count);
    Step read_failed(Socket& socket, Operation& operation, int error);
    Step read_ended(Socket& socket, Operation& operation);
    Step write(Socket& socket, Operation& operation);
    Step have_written(Socket& socket, Operation& operation, int64_t count);
    Step write_failed(Socket& socket, Operation& operation, int error);
    Step check_readiness(Socket& socket, Operation& operation);
    int learn_type(Socket& socket);

    // connection_transfer.cc
    Step connect(Socket& socket, Operation& operation);
    Step have_connected(Socket& socket, Operation& operation, int error);
    Step shutdown(Socket& socket, Operation& operation);

    // message_transfer.cc: several pieces of memory, descriptors that are no sockets, messages.
    Step read_parts(Socket& socket, Operation& operation);
    Step write_parts(Socket& socket, Operation& operation);
    Step receive_message(Socket& socket, Operation& operation);
    Step send_message(Socket& socket, Operation& operation);

    // ring_transfer.cc
    static uint32_t chunk_of(const Socket& socket, const Operation& operation);
    // pooled_transfer.cc
    char* draw_buffer(const Socket& socket, const Operation& operation, uint32_t& size_class);
    Step found_no_buffer(Socket& socket, Operation& operation);
    int64_t receive_into(const Socket& socket, char* buffer, uint32_t room);
    Step have_received(Socket& socket, Operation& operation, int64_t count, uint32_t size_class);

    // file_transfer.cc
    Step send_file(Socket& socket, Operation& operation);

    platform::Kernel& kernel_;
    uint64_t bytes_moved_ = 0;
};

inline Step Transfer::have_read(Socket& socket, Operation& operation, int64_t count,
                                uint32_t chunk) {
    if (count < 0) return read_failed(socket, operation, static_cast<int>(-count));
    socket.set(kReadSinceEdge);
    socket.clear(kUnexplained);
    if (count == 0) return read_ended(socket, operation);

    count_moved(count);
    operation.transferred += static_cast<uint32_t>(count);
    const bool came_short = count < chunk;
    if (!came_short && operation.remaining() > 0) return Step::kPaused;
    // Only a watched TCP socket without urgent data promises an edge for whatever comes after a
    // short read.
    if (came_short && socket.has(kTcp) && socket.has(kWatched) && !socket.has(kNeverDrained)) {
        socket.clear(kTryRead);
    }
    operation.complete(COMPLETION_PORT_EPOLL_EPOLLIN, COMPLETION_PORT_RESULT_OK,
                       operation.transferred);
    return Step::kCompleted;
}

inline int64_t Transfer::receive(const Socket& socket, const Operation& operation, uint32_t chunk) {
    // MSG_TRUNC gives a message's real length; on TCP it would throw bytes away.
    const int flags = socket.has(kStream) ? 0 : MSG_TRUNC;
    int64_t count = 0;
    do {
        count = kernel_.receive(socket.descriptor, operation.buffer + operation.transferred, chunk,
                                flags);
    } while (count == -EINTR);
    return count;
}

inline Step Transfer::read(Socket& socket, Operation& operation) {
    const uint32_t chunk = std::min(operation.remaining(), kRoundBytesMax);
    return have_read(socket, operation, receive(socket, operation, chunk), chunk);
}

}  // namespace cport
