// The fixture of the contract tests: a port on the engine under test, the operations and sockets of
// the test, and fences. Whose callbacks a test means matters where the port has several workers.
// Whatever a test does, each accepted add must have ended exactly once when the port is gone.
// Spec: CP-ONCE-1
#pragma once

#include <completionport/completion_port.h>
#include <gtest/gtest.h>
#include <sys/epoll.h>

#include <deque>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "tests/contract/engine_under_test.h"
#include "tests/support/recorder.h"
#include "tests/support/sockets.h"

namespace cport::test {

class PortTest : public ::testing::TestWithParam<EngineUnderTest> {
 protected:
    void SetUp() override;
    void TearDown() override;

    COMPLETION_PORT_HANDLE port() const { return port_; }
    // Whether receives and sends, with their descriptors, are the kernel's until they complete.
    bool kernel_holds() const;
    // Gives the test's reference back; waits for the port's end.
    void end();
    // Gives the test's reference to the caller.
    COMPLETION_PORT_HANDLE hand_over();

    // Descriptors that outlive the port.
    Pair& keep(Pair pair);
    Descriptor& keep(Descriptor descriptor);

    Operation& operation(std::string buffer = {}) { return recorder_.operation(std::move(buffer)); }
    // Adds that must be accepted.
    Operation& receive(int socket, size_t length, uint32_t more_events = 0);
    Operation& send(int socket, std::string bytes, uint32_t more_events = 0);
    Operation& watch(int descriptor, uint32_t epoll_op);

    // Returns when the workers have dealt with every event and every message of before. An event
    // that had a callback to cause has caused it by then, so "does not fire" can be said.
    void fence();
    // Runs `body` in a callback of this port, always on the same worker, and waits for it.
    void run_on_worker(std::function<void()> body);
    // The same where the callbacks of `socket` run: a socket that may be added.
    void run_on_worker_of(int socket, const std::function<void()>& body);

    Recorder recorder_;

 private:
    friend class WorkerHold;

    // What belongs to one of the workers.
    struct Anchor {
        Descriptor always_ready = ready_eventfd();
        Pair fence = unix_pair();
    };

    void anchor_each_worker();
    void run_on(const Anchor& anchor, const std::function<void()>& body);
    void fence(const Anchor& anchor);

    std::deque<Pair> pairs_;
    std::deque<Descriptor> descriptors_;
    COMPLETION_PORT_HANDLE port_ = nullptr;
    std::vector<Anchor> anchors_;
};

// Keeps every worker of the test's port inside a callback from construction until release().
class WorkerHold {
 public:
    explicit WorkerHold(PortTest& test);
    WorkerHold(const WorkerHold&) = delete;
    WorkerHold& operator=(const WorkerHold&) = delete;
    // Waits until the callbacks have returned.
    ~WorkerHold();

    void release() { released_.open(); }

 private:
    Gate released_;
    std::vector<Operation*> holders_;
};

}  // namespace cport::test
