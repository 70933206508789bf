// One thread of a port: takes mail, advances its sockets, runs callbacks, waits for the kernel.
#pragma once

#include <pthread.h>

#include <array>
#include <atomic>
#include <cstdint>

#include "platform/platform.h"
#include "runtime/engine/epoll_engine.h"
#include "runtime/engine/uring_engine.h"
#include "runtime/operation/operation.h"
#include "runtime/operation/remove_waiter.h"
#include "runtime/operation/slab.h"
#include "runtime/operation/task.h"
#include "runtime/port/completion_queue.h"
#include "runtime/port/descriptor_table.h"
#include "runtime/port/log.h"
#include "runtime/port/mailbox.h"
#include "runtime/port/owner.h"
#include "runtime/port/request.h"
#include "runtime/port/source_set.h"
#include "runtime/port/worker_counters.h"

namespace cport {

class Worker {
 public:
    // The kernel is looked at again after this many completions.
    static constexpr int kRoundCompletionsMax = 64;
    static constexpr int64_t kIdleWait_ns = 2'000'000'000;
    static constexpr int64_t kForever_ns = -1;
    static constexpr uint32_t kSweepLookRounds = 64;

    // `number` counts the port's workers from 0. `port` is what its thread gets.
    Worker(const platform::Platform& platform, uint32_t number, void* port, DescriptorTable& table,
           CompletionQueue& results, const PortOptions& options);
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;

    // 0 or a negative errno. Before `run`.
    int open() { return engine_.open(); }
    // After open. 0, or why there is no ring.
    int open_ring(platform::Rings* rings);
    void give_up_ring();
    // Returns when the port has ended and every callback has run. In a Turn of the caller's.
    void run();

    // One round, for a caller that drives. In a Turn. False: as after run.
    bool step();
    // Waits for the kernel or for mail, at most so long; negative: as long as it likes.
    void wait_for_kernel(int64_t limit_ns = kForever_ns);
    // What is polled is armed, as before a sleep.
    void rest_sources() {
        if (sources_.has_polled()) sources_.rest_polled();
    }
    // From here on mail wakes whoever waits for the engine's descriptor.
    void doze();
    // How long it would sleep. 0: there is something to do. Negative: for ever.
    int64_t longest_sleep_ns();
    int engine_descriptor() const { return engine_.descriptor(); }

    // Makes the calling thread the worker's for as long as this lives.
    class Turn {
     public:
        explicit Turn(Worker& worker);
        ~Turn();
        Turn(const Turn&) = delete;
        Turn& operator=(const Turn&) = delete;

     private:
        Worker* const previous_;
    };

    // The worker whose thread this is, of any port; nullptr elsewhere. A worker's thread runs user
    // code in callbacks only.
    static Worker* current();

    // Another thread: room for one request, which is given back when the worker takes it from the
    // mailbox, or by who did not post it. False: the limit is reached.
    bool reserve_mail() { return mail_max_ == 0 || reserve_limited_mail(); }
    void give_back_mail(uint32_t requests) {
        // Only a count: what is in the mailbox is ordered by the mailbox.
        if (mail_max_ != 0) mail_reserved_.fetch_sub(requests, std::memory_order_relaxed);
    }

    // Any thread. False: the worker has ended, and the task is still the caller's.
    bool post(Task& task);
    void post_end() { post(end_); }

    Slab& slab() { return slab_; }
    const platform::MemoryHome& home() const { return home_; }
    SourceSet& sources() { return sources_; }
    EpollEngine& engine() { return engine_; }
    const char* name() const { return name_.data(); }
    void* const port;
    pthread_t thread{};

    // The worker's thread only.
    Owner& owner() { return owner_; }
    // Hears what other threads have posted; runs no callback.
    void take_mail();
    // Completes on the run list.
    void complete(Operation& operation) { completed_.push(&operation); }
    // Tells of what its counters do not count step by step.
    void publish();
    WorkerCounters& counters() { return counters_; }

    // Any thread.
    void add_to(COMPLETION_PORT_WORKER_STATS& stats) const;
    WorkerLog& log() { return log_; }

 private:
    bool reserve_limited_mail();
    void receive_task(Task& task);
    void run_round();
    void run_tasks();
    void run_completed(Task& task);
    [[gnu::noinline]] void run_other(Task& task);
    void run_callback(Operation& operation);
    void count_pooled(const Operation& operation);
    void run_record(Operation& operation);
    void receive_source(Task& task);
    void run_waiter(RemoveWaiter& waiter);
    void run_removed(Operation& removal);
    void run_closing(Operation& closing);
    int look_at_kernel(int64_t timeout_ns);
    void on_edge(const Edge& edge);
    // longest_sleep_ns, but not beyond a limit; negative: none.
    int64_t sleep_within(int64_t limit_ns);
    // Drains what is polled. True: there were items, or there is work now.
    bool sources_bring_work();
    bool has_ended();

    // Looks for work before a sleep of at most so long. Returns how long that may still be; 0:
    // there is work.
    int64_t spin(int64_t longest_ns);

    platform::Kernel& kernel_;
    platform::Clock& clock_;
    const int64_t spin_ns_;
    const int64_t idle_wait_ns_;
    std::array<char, 16> name_{};
    WorkerLog log_;
    const platform::MemoryHome home_;
    Slab slab_;
    EpollEngine engine_;
    UringEngine ring_;
    TaskList completed_;
    Owner owner_;
    SourceSet sources_;
    CompletionQueue& results_;
    Mailbox mailbox_;
    const uint32_t mail_max_;
    std::atomic<uint32_t> mail_reserved_{0};
    std::atomic<uint64_t> mail_refused_{0};
    Task end_{TaskKind::kPortEnd};
    bool ending_ = false;
    bool timers_due_ = false;
    int* errno_ = nullptr;  // of the worker's thread
    int64_t swept_at_ns_ = 0;
    uint32_t rounds_awake_ = 0;
    uint64_t ran_ = 0;  // tasks of the run list so far
    // When so many ran. All that a socket's turn completes is told before the next turn, so that
    // the run list stays short and gives back what it holds; what those callbacks cause is not.
    uint64_t sockets_turn_at_ = 0;
    uint64_t mail_slots_ = 0;  // that came by mail
    uint64_t queued_ = 0;      // that went to the queue of records
    WorkerCounters counters_;
};

}  // namespace cport
