// Records what the port calls back with, so that a test can wait for a callback and look at it.
#pragma once

#include <completionport/completion_port.h>
#include <sys/types.h>

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <ostream>
#include <string>
#include <vector>

namespace cport::test {

// What a callback said.
struct Outcome {
    COMPLETION_PORT_EPOLL_ACTION action;
    COMPLETION_PORT_RESULT result;
    int32_t amount;

    bool operator==(const Outcome&) const = default;
};

std::ostream& operator<<(std::ostream& stream, const Outcome& outcome);

// The outcomes that the contract knows.
Outcome received(size_t bytes);
Outcome sent(size_t bytes);
Outcome ready_to_read();
Outcome ready_to_write();
Outcome spurious_read();
Outcome end_of_stream();
Outcome hung_up();
Outcome closing(int64_t bytes = -1);
Outcome read_abandoned();
Outcome write_abandoned(int64_t bytes = -1);
Outcome read_failed(int64_t bytes = -1);
Outcome write_failed(int64_t bytes = -1);

struct Completion {
    Outcome outcome;
    int error;          // errno inside the callback
    pid_t thread;       // where it ran
    uint64_t sequence;  // its place among all completions of the recorder, from 1
};

// Opens once; any number of threads may wait for it.
class Gate {
 public:
    void open();
    void wait();
    bool is_open();

 private:
    std::mutex mutex_;
    std::condition_variable opened_;
    bool open_ = false;
};

class Recorder;

// One add (or the same add again and again), its buffer and its completions.
class Operation {
 public:
    using Hook = std::function<void(const Completion&)>;

    Operation(Recorder& recorder, std::string buffer);
    Operation(const Operation&) = delete;
    Operation& operator=(const Operation&) = delete;

    // Runs inside each callback, before the callback counts as seen. Set it before the add.
    Operation& then(Hook hook);

    // An empty buffer makes a readiness add. Returns what completion_port_add returned.
    int add(COMPLETION_PORT_HANDLE port, uint32_t epoll_op, int socket);

    // Waits for the first callback, or for the n-th.
    Outcome wait() { return wait_for(1).outcome; }
    Completion wait_for(size_t callbacks);

    size_t accepted() const { return accepted_.load(); }
    size_t callbacks();
    bool completed() { return callbacks() > 0; }
    // errno of the first callback; it must have come.
    int error();
    std::string& buffer() { return buffer_; }
    // The bytes that the first completion says were transferred.
    std::string bytes();

    static void on_complete(void* context, COMPLETION_PORT_EPOLL_ACTION action,
                            COMPLETION_PORT_RESULT result, int32_t amount);

 private:
    Recorder& recorder_;
    std::string buffer_;
    Hook hook_;
    std::atomic<size_t> accepted_{0};
    std::mutex mutex_;
    std::condition_variable completed_;
    std::vector<Completion> completions_;
};

// Keeps operations alive until the port that may call them back is gone.
class Recorder {
 public:
    Operation& operation(std::string buffer = {});
    uint64_t next_sequence() { return sequence_.fetch_add(1) + 1; }
    // Fails the running test for each accepted add that did not end exactly once. Call it when the
    // port has ended.
    void expect_each_add_ended_once();

 private:
    std::atomic<uint64_t> sequence_{0};
    std::mutex mutex_;
    std::deque<Operation> operations_;
};

}  // namespace cport::test
