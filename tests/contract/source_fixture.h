// Sources for tests: counters behind an eventfd, or behind nothing, that note what is called.
#pragma once

#include <completionport/source.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "tests/contract/port_fixture.h"

namespace cport::test {

// Items are numbers of an atomic counter; the eventfd says that there may be some. Every callback
// is noted as a letter: d for a drain, a for an arm, x for on_detached.
class TestSource {
 public:
    TestSource() {
        form_.size = sizeof(form_);
        form_.descriptor = event_.get();
        form_.drain = [](void* context, uint32_t budget) {
            return static_cast<TestSource*>(context)->drain(budget);
        };
        form_.arm = [](void* context) { return static_cast<TestSource*>(context)->arm(); };
        form_.on_detached = [](void* context, int32_t error) {
            static_cast<TestSource*>(context)->detached(error);
        };
        form_.context = this;
    }
    TestSource(const TestSource&) = delete;
    TestSource& operator=(const TestSource&) = delete;

    TestSource& without_descriptor() {
        form_.descriptor = COMPLETION_PORT_SOURCE_NO_DESCRIPTOR;
        return *this;
    }
    COMPLETION_PORT_SOURCE& form() { return form_; }
    int attach(COMPLETION_PORT_HANDLE port) {
        port_ = port;
        return completion_port_source_attach(port, &form_, &id_);
    }
    int kick() { return completion_port_source_kick(port_, id_); }
    int detach() { return completion_port_source_detach(port_, id_); }
    uint64_t id() const { return id_; }

    // Any thread.
    void put(uint32_t items) { items_.fetch_add(items); }
    void signal() {
        // The eventfd orders memory, too, but a sanitizer only sees what the C library calls.
        put(0);
        EXPECT_EQ(::eventfd_write(event_.get(), 1), 0);
    }
    void put_and_signal(uint32_t items) {
        put(items);
        signal();
    }
    uint64_t taken() const { return taken_.load(); }
    void wait_until_taken(uint64_t items) {
        wait_until([&] { return taken_.load() >= items; });
    }
    std::string calls() {
        const std::lock_guard lock(mutex_);
        return calls_;
    }
    void forget_calls() {
        const std::lock_guard lock(mutex_);
        calls_.clear();
    }
    pid_t thread() const { return thread_.load(); }
    int32_t error() const { return error_.load(); }
    int endings() const { return endings_.load(); }
    Gate& gone() { return gone_; }
    Descriptor& event() { return event_; }

    // Run inside the callbacks, after their usual work; what they return is returned.
    std::function<int32_t(int32_t count)> in_drain;
    std::function<int32_t()> in_arm;
    std::function<void(int32_t error)> in_detached;
    bool reads_descriptor = true;

 private:
    static void wait_until(const std::function<bool()>& holds) {
        while (!holds()) ::sched_yield();
    }
    void note(char call) {
        thread_ = ::gettid();
        const std::lock_guard lock(mutex_);
        calls_.push_back(call);
    }
    void take_notifications() {
        eventfd_t ignored = 0;
        if (form_.descriptor >= 0 && reads_descriptor) ::eventfd_read(event_.get(), &ignored);
    }
    int32_t drain(uint32_t budget) {
        EXPECT_FALSE(inside_.exchange(true));
        EXPECT_EQ(endings_.load(), 0);
        note('d');
        if (form_.arm == nullptr) take_notifications();
        uint32_t there = items_.load();
        const uint32_t count = there < budget ? there : budget;
        items_.fetch_sub(count);
        int32_t result = static_cast<int32_t>(count);
        if (in_drain) result = in_drain(result);
        inside_ = false;
        // The last touch: a test that waits for it may go on.
        taken_.fetch_add(count);
        return result;
    }
    int32_t arm() {
        EXPECT_FALSE(inside_.exchange(true));
        EXPECT_EQ(endings_.load(), 0);
        note('a');
        take_notifications();
        const int32_t result = in_arm ? in_arm() : 0;
        inside_ = false;
        return result;
    }
    void detached(int32_t error) {
        EXPECT_FALSE(inside_.exchange(true));
        note('x');
        error_ = error;
        ++endings_;
        if (in_detached) in_detached(error);
        inside_ = false;
        gone_.open();
    }

    Descriptor event_{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    COMPLETION_PORT_SOURCE form_{};
    COMPLETION_PORT_HANDLE port_ = nullptr;
    uint64_t id_ = 0;
    std::atomic<uint32_t> items_{0};
    std::atomic<uint64_t> taken_{0};
    std::atomic<bool> inside_{false};
    std::atomic<pid_t> thread_{0};
    std::atomic<int32_t> error_{1};
    std::atomic<int> endings_{0};
    Gate gone_;
    std::mutex mutex_;
    std::string calls_;
};

// A port on the engine under test. Every source that was attached must have been detached once when
// the port is gone. Spec: CP-SOURCE-1
class SourceTest : public PortTest {
 protected:
    void TearDown() override {
        PortTest::TearDown();
        for (const auto& source : sources_) {
            EXPECT_EQ(source->endings(), source->id() == 0 ? 0 : 1);
        }
    }

    TestSource& source() { return *sources_.emplace_back(std::make_unique<TestSource>()); }
    // One that was attached, was found empty, and rests.
    TestSource& resting_source() {
        TestSource& made = source();
        EXPECT_EQ(made.attach(port()), 0);
        rest(made);
        return made;
    }
    // Returns when the source rests, with its calls forgotten.
    void rest(TestSource& resting) {
        fence();
        fence();
        resting.forget_calls();
    }

 private:
    std::vector<std::unique_ptr<TestSource>> sources_;
};

}  // namespace cport::test
