// What callers were promised and what came, so that a loss, a doubling, a disorder or an answer
// without cause is noticed.
#pragma once

#include <completionport/completion_port.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "tests/simulation/sequence.h"

namespace cport::test {

enum class Kind : uint8_t { kTcp, kUnix, kDatagram, kPipeReader, kPipeWriter, kEventfd };

inline bool is_socket(Kind kind) { return kind <= Kind::kDatagram; }

// One pair of descriptors, from its opening on.
struct Connection {
    Kind kind = Kind::kTcp;
    uint32_t incarnation = 0;  // of its slot
    int ours = -1;
    int theirs = -1;

    // Towards us.
    uint64_t peer_sent = 0;
    uint64_t received = 0;
    std::set<uint64_t> urgent;  // places of bytes that may be missing
    std::deque<std::string> datagrams;
    uint64_t datagrams_made = 0;
    // Towards the peer.
    std::string sent;
    std::string peer_received;
    std::deque<std::string> sent_datagrams;

    bool we_sent = false;     // or wanted to
    bool peer_ended = false;  // it sends no more
    bool peer_closed = false;
    bool reset = false;         // bytes may be lost
    bool overtaken = false;     // bytes of its predecessor's operations may have met it
    bool closed_early = false;  // operations of before may meet what comes after
};

struct Add {
    uint64_t id = 0;
    int slot = 0;
    Action action = {};
    std::shared_ptr<Connection> connection;
    uint32_t events = 0;  // without modifiers
    bool by_callback = false;
    bool on_stale = false;  // its slot was stale
    uint32_t removals_before = 0;
    std::string buffer;

    bool tried = false;      // it was quiet since
    bool left_over = false;  // it was tried, then its number named something else
    bool accepted = false;
    int callbacks = 0;
    COMPLETION_PORT_EPOLL_ACTION said = COMPLETION_PORT_EPOLL_ACTION_INVALID;
    COMPLETION_PORT_RESULT result = COMPLETION_PORT_RESULT_INVALID;
    int32_t amount = 0;
    int error = 0;

    bool done() const { return callbacks > 0; }
    bool has_buffer() const { return !buffer.empty(); }
    bool reads() const;
    bool writes() const;
};

struct Slot {
    std::shared_ptr<Connection> now;
    std::vector<std::shared_ptr<Connection>> all;
    uint32_t removals = 0;
    bool removing = false;   // remove_async was called; on_removed has not started
    bool in_use = false;     // the test's own thread is about to name its descriptor
    bool overtakes = false;  // operations wait that may meet the next connection
    bool stale = false;      // closed without remove, and not yet swept
};

// The byte at a place of what a peer sends; neighbours and incarnations differ.
char peer_byte(uint32_t incarnation, uint64_t place);
char add_byte(uint64_t add, uint64_t place);

// Judges one completion. Empty, or what is wrong with it.
std::string judge(Add& add, Slot& slot, bool port_ends);
// What must hold when both ends have been read to their ends.
std::string judge_end(const Connection& connection);
// A peer has read these bytes.
void note_peer_read(Connection& connection, std::string_view bytes);

// These bytes of the peer had not been read when the port ended.
std::string judge_rest(Connection& connection, std::string_view bytes);

std::string describe(const Add& add);

}  // namespace cport::test
