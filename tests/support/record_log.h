// Records what operations of operations.h end in, so that a test can wait for a record and look at
// it.
#pragma once

#include <completionport/operations.h>
#include <completionport/timers.h>
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

// What a record says of how its operation ended.
struct Ending {
    int32_t result;  // COMPLETION_PORT_RESULT
    int64_t value;
    int32_t error;

    bool operator==(const Ending&) const = default;
};

std::ostream& operator<<(std::ostream& stream, const Ending& ending);

Ending ending_of(const COMPLETION_PORT_COMPLETION& record);
Ending finished(int64_t value);
Ending abandoned(int32_t error, int64_t value = 0);
Ending failed(int32_t error, int64_t value = 0);

struct Recorded {
    COMPLETION_PORT_COMPLETION record;
    pid_t thread;       // where the callback ran
    uint64_t sequence;  // its place among all records of the log, from 1
};

class RecordLog;

// One operation (or the same again and again), its buffer and its records.
class Submission {
 public:
    using Hook = std::function<void(const COMPLETION_PORT_COMPLETION&)>;

    Submission(RecordLog& log, uint64_t key, std::string buffer);
    Submission(const Submission&) = delete;
    Submission& operator=(const Submission&) = delete;

    // What it shall be; each returns the submission itself.
    Submission& as_receive(int socket);
    Submission& as_send(int socket);
    Submission& as_poll(int descriptor, uint32_t events);
    Submission& as_timer(int64_t expires_ns, int64_t period_ns = 0);
    Submission& with_deadline(int64_t deadline_ns);
    // Of any other kind: its structure, whose own fields are zero at first.
    template <typename Structure>
    Structure& as(uint32_t kind, int descriptor) {
        static_assert(sizeof(Structure) <= sizeof(any_));
        prepare(kind, sizeof(Structure), descriptor);
        return reinterpret_cast<Structure&>(any_);
    }
    // Its record goes to completion_port_wait.
    Submission& for_waiters();
    // Runs inside each callback, before the record counts as seen.
    Submission& then(Hook hook);

    // Each returns what the port returned.
    int submit(COMPLETION_PORT_HANDLE port);
    int submit_inline(COMPLETION_PORT_HANDLE port, COMPLETION_PORT_COMPLETION& completed);
    // Accepted by a batch.
    void accept(uint64_t id);

    COMPLETION_PORT_OPERATION& common() { return any_.common; }
    COMPLETION_PORT_RECEIVE_OPERATION& receive() { return any_.receive; }
    COMPLETION_PORT_SEND_OPERATION& send() { return any_.send; }
    COMPLETION_PORT_POLL_OPERATION& poll() { return any_.poll; }
    COMPLETION_PORT_TIMER_OPERATION& timer() { return any_.timer; }

    // Wait for the first record, or for the n-th.
    Ending wait() { return ending_of(wait_for(1).record); }
    Recorded wait_for(size_t records);

    uint64_t id() const { return id_; }
    uint64_t key() const { return any_.common.key; }
    std::string& buffer() { return buffer_; }
    // The bytes that the first record says were transferred.
    std::string bytes();
    size_t records();
    bool completed() { return records() > 0; }
    // Waits for the record without MORE.
    Recorded wait_for_last();
    // How many times it was accepted, and how many records said that they were its last.
    size_t expected_endings() const { return expected_.load(); }
    size_t endings();

 private:
    static void on_complete(void* context, const COMPLETION_PORT_COMPLETION* completion);
    void prepare(uint32_t kind, size_t size, int descriptor);
    int submit_to(COMPLETION_PORT_HANDLE port, COMPLETION_PORT_COMPLETION* completed);
    void note_time(uint64_t time_ns);
    bool renew_times();

    RecordLog& log_;
    std::string buffer_;
    union {
        COMPLETION_PORT_OPERATION common;
        COMPLETION_PORT_RECEIVE_OPERATION receive;
        COMPLETION_PORT_SEND_OPERATION send;
        COMPLETION_PORT_POLL_OPERATION poll;
        COMPLETION_PORT_TIMER_OPERATION timer;
        char room[128];
    } any_;
    uint64_t id_ = 0;
    uint64_t ahead_ns_ = 0;  // its time, if that lay ahead when it was chosen
    Hook hook_;
    std::atomic<size_t> expected_{0};
    std::mutex mutex_;
    std::condition_variable recorded_;
    std::vector<Recorded> records_;
};

// Keeps submissions alive until the port that may call them back is gone.
class RecordLog {
 public:
    Submission& submission(std::string buffer = {});
    uint64_t next_sequence() { return sequence_.fetch_add(1) + 1; }
    // Fails the running test for each accepted submission that did not end exactly once.
    // Call it when the port has ended.
    void expect_each_ended_once();

 private:
    std::atomic<uint64_t> sequence_{0};
    std::mutex mutex_;
    std::deque<Submission> submissions_;
};

}  // namespace cport::test
