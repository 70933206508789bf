// Random submissions of the newer kinds to a port in a simulated machine: receives and sends of one
// or several pieces and of messages, shutdown, close, timers, deadlines, cancels and posts.
#pragma once

#include <absl/functional/function_ref.h>
#include <completionport/connections.h>
#include <completionport/messages.h>
#include <completionport/timers.h>
#include <sys/uio.h>

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#include "tests/support/world.h"

namespace cport::test {

// The machine that a run is made on.
struct KindsGround {
    World& world;
    COMPLETION_PORT_HANDLE port;
    std::function<void()> until_quiet;
    std::function<void(int64_t)> advance_ns;
    std::function<int64_t()> now_ns;
    // Another machine does the same beside it: nothing is done whose result depends on how much
    // a machine holds.
    bool beside = false;
    bool may_be_late = false;  // what was sent, although the machine is quiet
};

class KindsRun {
 public:
    KindsRun(uint64_t seed, const KindsGround& ground);

    void act();
    // As act; returns when nothing goes on any more.
    void act_to_the_end() {
        act();
        ground_.until_quiet();
    }
    // What was seen since it was last forgotten, as far as machines may not differ in it.
    std::string told();
    void forget_told();
    // Gives the port back, reads what is left, and closes everything.
    void finish();
    // The first thing that was wrong; empty if nothing was.
    std::string breach();
    // What was done and how each operation ended.
    std::string story();
    size_t ended_ok() const { return ended_ok_; }

 private:
    static constexpr size_t kConnections = 3;
    static constexpr size_t kParts = 3;
    using Record = COMPLETION_PORT_COMPLETION;
    using Lock = std::unique_lock<std::mutex>;

    struct Connection {
        bool is_tcp = false;
        size_t number = 0;
        int ours = -1;
        int theirs = -1;
        std::string peer_sent;
        size_t received = 0;
        std::string sent;
        std::string peer_received;
        bool peer_ended = false;
        bool shut = false;     // a shutdown was asked for
        bool removed = false;  // at some time
        bool being_removed = false;
        bool closing = false;
        bool full = false;         // more was sent than the machine holds
        bool torn = false;         // a send ended with part of its bytes
        uint64_t last_ok[2] = {};  // numbers of the latest read and write that ended OK
    };
    struct Operation {
        KindsRun* run = nullptr;
        uint64_t number = 0;
        uint32_t kind = 0;
        std::shared_ptr<Connection> connection;  // nullptr: a timer or a post
        std::string bytes;
        std::array<iovec, kParts> parts{};
        msghdr message{};
        uint64_t id = 0;
        int64_t time_ns = 0;  // a deadline, or when a timer expires; 0: none
        bool accepted = false;
        bool cancelled = false;  // that was asked for
        bool again = false;      // its callback submits another
        int endings = 0;
        Record record{};
        bool is_read() const;
        bool is_write() const;
        bool waits() const { return accepted && endings == 0; }
    };

    uint64_t below(uint64_t limit) { return random_() % limit; }
    void blame(const std::string& what);  // under the lock
    int64_t now_ns() { return ground_.now_ns(); }
    void open(size_t place);
    Operation& new_operation(uint32_t kind, std::shared_ptr<Connection> connection);
    void submit(uint32_t kind, std::shared_ptr<Connection> connection, uint64_t choice);
    size_t length_of(const Operation& operation, uint64_t choice);
    int hand_in(Operation& operation);
    void cancel(uint64_t choice);
    void post();
    void remove(Connection& connection);
    void close(size_t place);
    void peer_writes(Connection& connection, size_t length);
    int64_t peer_reads(Connection& connection, size_t length);
    void peer_drains(Connection& connection);
    void read_all(absl::FunctionRef<int64_t()> read, absl::FunctionRef<bool()> is_all);
    void read_what_is_left(Connection& connection);
    bool any_waits_to_write(const Connection& connection);
    void check_quiet();

    static void on_complete(void* context, const Record* record);
    void complete(Operation& operation, const Record& record);
    std::string judge(Operation& operation, const Record& record);
    std::string judge_bytes(Operation& operation, const Record& record);
    std::string judge_end(const Operation& operation, const Record& record);
    static std::string describe(const Operation& operation);
    static std::string how_it_ended(const Operation& operation, const Record& record);
    // Under the lock.
    void tell_end(const Operation& operation);
    void tell_call(const Operation& operation, const char* call, int code);

    const KindsGround ground_;
    const COMPLETION_PORT_HANDLE port_;
    std::mt19937_64 random_;
    std::mutex mutex_;
    std::deque<Operation> operations_;
    std::vector<std::shared_ptr<Connection>> all_;
    std::array<std::shared_ptr<Connection>, kConnections> now_;
    std::vector<std::string> steps_;
    std::map<std::string, std::string> told_;
    int64_t last_posted_ = 0;
    int64_t last_post_ended_ = 0;
    size_t ended_ok_ = 0;
    bool port_ends_ = false;
    std::string breach_;
};

}  // namespace cport::test
