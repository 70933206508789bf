// Ports with a limit of the threads that process records, and threads that wait on them.
#pragma once

#include <completionport/options.h>
#include <completionport/stats.h>
#include <unistd.h>

#include <atomic>
#include <deque>
#include <thread>
#include <utility>

#include "tests/contract/operations_fixture.h"
#include "tests/contract/process_facts.h"

namespace cport::test {

inline constexpr int64_t kForever_ns = -1;
// Of the port that its callers drive.
inline constexpr size_t kNoWorkers = 0;

inline COMPLETION_PORT_HANDLE create_limited(const EngineUnderTest& engine, uint32_t running_max) {
    COMPLETION_PORT_OPTIONS options{};
    options.size = sizeof(options);
    options.engine = engine.engine;
    options.workers = static_cast<uint32_t>(engine.workers);
    if (engine.workers == kNoWorkers) options.flags = COMPLETION_PORT_OPTION_CALLER_DRIVEN;
    options.waiters_running_max = running_max;
    return completion_port_create_with_options(&options);
}

inline int wait_one(COMPLETION_PORT_HANDLE port, int64_t timeout_ns, uint64_t* key = nullptr) {
    COMPLETION_PORT_COMPLETION record{};
    const int count = completion_port_wait(port, &record, 1, timeout_ns);
    if (count == 1 && key != nullptr) *key = record.key;
    return count;
}

// A thread that waits once, and keeps what it gets until it is told to go on. It ends with leave.
class Waiter {
 public:
    Waiter(COMPLETION_PORT_HANDLE port, int64_t timeout_ns)
        : thread_([this, port, timeout_ns] {
              thread_id_.store(::gettid());
              result_.store(wait_one(port, timeout_ns, &key_));
              returned_.open();
              goes_on_.wait();
              leave_result_ = completion_port_wait_leave(port);
          }) {}
    Waiter(const Waiter&) = delete;
    Waiter& operator=(const Waiter&) = delete;
    ~Waiter() { leave(); }

    bool has_returned() { return returned_.is_open(); }
    void wait_until_asleep() {
        wait_until([this] { return thread_id_.load() != 0 && is_asleep(thread_id_.load()); });
    }
    int result() {
        returned_.wait();
        return result_.load();
    }
    uint64_t key() {
        returned_.wait();
        return key_;
    }
    // What its leave said.
    int leave() {
        goes_on_.open();
        if (thread_.joinable()) thread_.join();
        return leave_result_;
    }

 private:
    std::atomic<pid_t> thread_id_{0};
    std::atomic<int> result_{0};
    uint64_t key_ = 0;
    int leave_result_ = 1;
    Gate returned_;
    Gate goes_on_;
    std::thread thread_;
};

class WaitLimitTest : public ::testing::TestWithParam<EngineUnderTest> {
 protected:
    void open(uint32_t running_max) {
        port_ = create_limited(GetParam(), running_max);
        ASSERT_NE(port_, nullptr);
    }
    void TearDown() override {
        // Those that sleep hear of the end.
        if (port_ != nullptr) completion_port_shutdown(port_);
        for (Waiter& waiter : waiters_) waiter.leave();
        completion_port_dec_ref(std::exchange(port_, nullptr));
    }

    void post(uint64_t key) { ASSERT_EQ(completion_port_post(port_, key, 0, nullptr, nullptr), 0); }
    int wait(int64_t timeout_ns = kForever_ns) { return wait_one(port_, timeout_ns); }
    int leave() { return completion_port_wait_leave(port_); }
    // A thread that sleeps inside its wait.
    Waiter& asleep() {
        Waiter& waiter = waiters_.emplace_back(port_, kForever_ns);
        waiter.wait_until_asleep();
        return waiter;
    }
    // A thread that holds a place.
    Waiter& running() {
        Waiter& waiter = waiters_.emplace_back(port_, kForever_ns);
        post(0);
        EXPECT_EQ(waiter.result(), 1);
        return waiter;
    }
    COMPLETION_PORT_STATS stats() {
        COMPLETION_PORT_STATS all{};
        all.size = sizeof(all);
        EXPECT_EQ(completion_port_stats(port_, &all), 0);
        return all;
    }
    size_t returned() {
        size_t count = 0;
        for (Waiter& waiter : waiters_) count += waiter.has_returned() ? 1 : 0;
        return count;
    }

    COMPLETION_PORT_HANDLE port_ = nullptr;
    std::deque<Waiter> waiters_;
};

}  // namespace cport::test
