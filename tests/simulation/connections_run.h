// Random accepts and connects of a port in a simulated machine, with sends behind the connects,
// deadlines, cancels and removals.
#pragma once

#include <completionport/connections.h>

#include <array>
#include <cstdint>
#include <deque>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#include "tests/support/simulated_machine.h"

namespace cport::test {

class ConnectionsRun {
 public:
    ConnectionsRun(uint64_t seed, SimulatedMachine& machine, COMPLETION_PORT_HANDLE port);

    void act();
    // Gives the port back, accepts what is left, and closes everything.
    void finish();
    // The first thing that was wrong; empty if nothing was.
    std::string breach();
    std::string story();
    size_t accepted() const { return taken_; }
    size_t connected() const { return connected_; }

 private:
    using Record = COMPLETION_PORT_COMPLETION;
    using Lock = std::unique_lock<std::mutex>;

    enum class Target : uint8_t { kTcpTest, kUnixTest, kTcpNobody, kUnixNobody };
    struct Socket {
        int number = -1;
        bool removed = false;
        Target target = Target::kTcpTest;  // of one that connects
        uint64_t mark = 0;                 // what it sends first
    };
    struct Operation {
        ConnectionsRun* run = nullptr;
        uint64_t number = 0;
        uint32_t kind = 0;
        bool multishot = false;
        Socket* socket = nullptr;
        size_t listener = 0;           // of an accept
        Operation* connect = nullptr;  // which a send waits behind
        int64_t time_ns = 0;
        uint64_t id = 0;
        bool accepted = false;
        bool cancelled = false;
        size_t went_on = 0;
        int endings = 0;
        Record record{};
        bool waits() const { return accepted && endings == 0; }
    };
    // Of a listener of the port's, or of the test's.
    struct Listener {
        Socket socket;
        bool is_tcp = false;
        std::string name;
        std::vector<int> taken;  // descriptors, in the order of their accepts
    };
    struct Client {
        int descriptor = -1;
        size_t listener = 0;
        uint64_t mark = 0;
        bool gave_up = false;
    };

    uint64_t below(uint64_t limit) { return random_() % limit; }
    int64_t now_ns() { return machine_.platform().clock.now_ns(); }
    void blame(const std::string& what);  // under the lock
    Listener listen(bool is_tcp, char name);
    Operation& new_operation(uint32_t kind, Socket& socket);
    void hand_in(Operation& operation, COMPLETION_PORT_OPERATION& form);
    void submit_accept(uint64_t choice);
    const std::string& address_of(Target target) const;
    void submit_connect(uint64_t choice);
    void cancel(uint64_t choice);
    void remove(uint64_t choice);
    void client_connects(uint64_t choice);
    void client_gives_up(uint64_t choice);
    void accept_all(Listener& listener);
    void check_quiet();
    void check_marks(const Listener& listener, std::vector<uint64_t> expected);
    std::vector<uint64_t> read_marks(const Listener& listener);

    static void on_complete(void* context, const Record* record);
    void complete(Operation& operation, const Record& record);
    std::string judge(Operation& operation, const Record& record);
    std::string judge_end(const Operation& operation, const Record& record);
    static std::string describe(const Operation& operation);

    SimulatedMachine& machine_;
    const COMPLETION_PORT_HANDLE port_;
    std::mt19937_64 random_;
    const std::string nobody_;  // an address where nobody listens
    std::mutex mutex_;
    std::deque<Operation> operations_;
    std::deque<Socket> sockets_;
    std::array<Listener, 2> ours_;    // TCP and unix
    std::array<Listener, 2> theirs_;  // the test's
    std::vector<Client> clients_;
    std::vector<std::string> steps_;
    uint64_t last_mark_ = 0;
    size_t taken_ = 0;
    size_t connected_ = 0;
    bool port_ends_ = false;
    std::string breach_;
};

}  // namespace cport::test
