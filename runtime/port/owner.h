// The sockets of one worker: their queues, which of them may advance, and how they end. Only that
// worker's thread comes here. Operations go in; completed ones come out in `completed`.
#pragma once

#include <cstdint>

#include "platform/platform.h"
#include "runtime/engine/epoll_engine.h"
#include "runtime/operation/operation.h"
#include "runtime/operation/socket.h"
#include "runtime/operation/task.h"
#include "runtime/operation/transfer.h"
#include "runtime/port/descriptor_table.h"

namespace cport {

class Owner {
 public:
    // One sweep looks at this many sockets, and asks the kernel about this many.
    static constexpr int kSweepSocketsMax = 4096;
    static constexpr int kSweepQuestionsMax = 256;

    Owner(platform::Kernel& kernel, EpollEngine& engine, DescriptorTable& table,
          TaskList& completed)
        : engine_(engine), transfer_(kernel), table_(table), completed_(completed) {}

    // An operation of this thread's own.
    void accept(Operation& operation);
    // One that came through the mailbox.
    void arrive(Operation& operation);

    // Ends what the socket's earlier incarnations left.
    void catch_up(Socket& socket);
    // As catch_up; then `last` joins the completed tasks behind the socket's callbacks.
    void end_socket(Socket& socket, Task& last);

    void on_edge(const Edge& edge);

    bool has_ready() const { return ready_head_ != nullptr; }
    // One step of the socket that has waited longest.
    void advance_next();

    // Asks, for operations that have waited since the last sweep, whether their descriptors still
    // name what they were added for.
    void sweep();

    // Ends every operation, also those that arrive later.
    void end_all();
    // Whether a removal still waits for an add that is on its way.
    bool removal_waits() const { return !waiting_.empty(); }

 private:
    void enqueue(Socket& socket, Operation& operation);
    // The number was closed and reused: the next incarnation begins here.
    // False: a removal came first; what was accepted before it is over.
    bool renew(Socket& socket);
    // Carries an operation over to the next incarnation, or ends it if a removal came first.
    bool join_renewed(Socket& socket, Operation& operation);
    void abandon_all(Socket& socket);
    void abandon_queue(OperationQueue& queue);
    void release_waiting(Socket& socket);

    void make_ready(Socket& socket);
    void advance(Socket& socket, OperationQueue& queue, uint32_t try_flag);
    void advance_hangups(Socket& socket);
    // Registers for edges after `operation`, the head of `queue`, was blocked.
    void wait_for_edge(Socket& socket, OperationQueue& queue, Operation& operation);
    void complete_head(Socket& socket, OperationQueue& queue, uint32_t try_flag);

    EpollEngine& engine_;
    Transfer transfer_;
    DescriptorTable& table_;
    TaskList& completed_;
    TaskList waiting_;  // kRemoval and kRemoveWaiter of sockets with kRemovalWaiting
    bool ended_ = false;
    Socket* ready_head_ = nullptr;
    Socket* ready_tail_ = nullptr;
    int sweep_from_ = 0;
};

}  // namespace cport
