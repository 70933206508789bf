// One thread of a port: takes mail, advances its sockets, runs callbacks, waits for the kernel.
#pragma once

#include <pthread.h>

#include <cstdint>

#include "platform/platform.h"
#include "runtime/engine/epoll_engine.h"
#include "runtime/operation/operation.h"
#include "runtime/operation/remove_waiter.h"
#include "runtime/operation/slab.h"
#include "runtime/operation/task.h"
#include "runtime/port/descriptor_table.h"
#include "runtime/port/mailbox.h"
#include "runtime/port/owner.h"

namespace cport {

class Worker {
 public:
    // The kernel is looked at again after this many completions.
    static constexpr int kRoundCompletionsMax = 64;
    static constexpr int kIdleWait_ms = 2000;
    static constexpr uint32_t kSweepLookRounds = 64;

    Worker(const platform::Platform& platform, DescriptorTable& table);
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;

    // 0 or a negative errno. Before `run`.
    int open() { return engine_.open(); }
    // Returns when the port has ended and every callback has run.
    void run();

    // The worker whose thread this is, of any port; nullptr elsewhere. A worker's thread runs user
    // code in callbacks only.
    static Worker* current();

    // Any thread. False: the worker has ended, and the task is still the caller's.
    bool post(Task& task);
    void post_end() { post(end_); }

    Slab& slab() { return slab_; }
    // The worker's thread only.
    Owner& owner() { return owner_; }

 private:
    void take_mail();
    void receive_task(Task& task);
    void run_round();
    void run_completed(Task& task);
    void run_callback(Operation& operation);
    void run_waiter(RemoveWaiter& waiter);
    void run_removed(Operation& removal);
    void wait_for_kernel();
    bool has_ended();

    platform::Kernel& kernel_;
    platform::Clock& clock_;
    EpollEngine engine_;
    TaskList completed_;
    Owner owner_;
    Slab slab_;
    Mailbox mailbox_;
    Task end_{TaskKind::kPortEnd};
    bool ending_ = false;
    int64_t swept_at_ns_ = 0;
    uint32_t rounds_awake_ = 0;
};

}  // namespace cport
