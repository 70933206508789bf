// Carries a sequence out: a port, four descriptors under test, their peers, and a ledger of it all.
#pragma once

#include <completionport/completion_port.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "tests/simulation/ledger.h"
#include "tests/simulation/sequence.h"
#include "tests/support/world.h"

namespace cport::test {

// The machine that a run is made on.
struct Ground {
    World& world;
    COMPLETION_PORT_HANDLE port;
    std::function<void()> until_quiet;
    std::function<void(int64_t)> advance_ns;
};

class PortRun {
 public:
    explicit PortRun(const Ground& ground);

    void act(const Action& action);
    // Gives the port back, reads what is left, and closes everything.
    void finish();

    // The first thing that was wrong; empty if nothing was.
    std::string breach();
    // How each add ended, with a hash of its bytes, in the order of the adds.
    std::vector<std::string> outcomes();
    size_t completions();

 private:
    struct CallbackContext {
        PortRun* run;
        Add add;
    };
    struct RemovalContext {
        PortRun* run;
        int slot;
        bool reopens;
        uint32_t kind;
        int calls = 0;
    };
    using Lock = std::unique_lock<std::mutex>;

    static void on_complete(void* context, COMPLETION_PORT_EPOLL_ACTION said,
                            COMPLETION_PORT_RESULT result, int32_t amount);
    static void on_removed(void* context, SOCKET_HANDLE socket);

    void blame(const std::string& what);  // under the lock
    void act_on_own(const Action& action, bool in_callback);
    void open(int slot, Kind kind);
    void add(const Action& action, bool in_callback);
    void check_add_code(const Add& add, int code, bool was_removing, bool is_removing);
    void complete(CallbackContext& context, Add said, int error);
    void remove(int slot, bool in_callback);
    void remove_async(const Action& action);
    void reopen(const Action& action, bool in_callback);
    void close_early(const Action& action);
    void peer_writes(const Action& action);
    void peer_reads(Connection& connection, size_t length);
    void peer_acts(const Action& action);
    void sweep();
    // Nothing waits that could go on.
    void check_liveness();
    void check_slot_liveness(Slot& slot, int slot_index);
    void drain(Connection& connection);

    const Ground ground_;
    std::mutex mutex_;
    std::deque<CallbackContext> adds_;
    std::deque<RemovalContext> removals_;
    Slot slots_[kSlots];
    bool busy_in_callback_[kSlots] = {};
    bool nobody_opens_ = false;  // the test's thread is about to reuse a number
    std::vector<int> duplicates_;
    uint64_t last_done_[kSlots][3][2] = {};
    size_t completions_ = 0;
    bool port_ends_ = false;
    std::string breach_;
};

}  // namespace cport::test
