#include "tests/simulation/ledger.h"

#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

namespace cport::test {
namespace {

// Takes the bytes as the next of the connection. False if they are not.
bool take_stream(Connection& connection, std::string_view bytes) {
    uint64_t place = connection.received;
    for (const char byte : bytes) {
        while (place < connection.peer_sent && byte != peer_byte(connection.incarnation, place) &&
               connection.urgent.count(place) != 0) {
            ++place;
        }
        if (place >= connection.peer_sent) return false;
        if (byte != peer_byte(connection.incarnation, place)) return false;
        ++place;
    }
    connection.received = place;
    return true;
}

bool take_datagram(Connection& connection, std::string_view bytes, bool truncated) {
    if (connection.datagrams.empty()) return false;
    const std::string& next = connection.datagrams.front();
    const bool fits =
        truncated ? next.size() > bytes.size() && next.starts_with(bytes) : next == bytes;
    if (!fits) return false;
    connection.datagrams.pop_front();
    return true;
}

bool take_from(Connection& connection, std::string_view bytes, bool truncated) {
    return connection.kind == Kind::kDatagram ? take_datagram(connection, bytes, truncated)
                                              : take_stream(connection, bytes);
}

// The connection that the operation may have met: its own, or one that took over its number.
template <typename Fits>
bool met_any(Add& add, Slot& slot, Fits&& fits) {
    if (fits(*add.connection)) return true;
    if (!add.connection->closed_early) return false;
    return std::any_of(slot.all.begin(), slot.all.end(), [&](const auto& connection) {
        return connection->incarnation > add.connection->incarnation && fits(*connection);
    });
}

std::string judge_bytes(Add& add, Slot& slot, bool truncated) {
    const std::string_view bytes =
        std::string_view(add.buffer).substr(0, static_cast<size_t>(add.amount));
    const bool taken = met_any(
        add, slot, [&](Connection& connection) { return take_from(connection, bytes, truncated); });
    return taken ? "" : "bytes that are not the next ones of its peer";
}

std::string judge_ok_read(Add& add, Slot& slot) {
    if (add.amount > static_cast<int64_t>(add.buffer.size())) return "more bytes than fit";
    if (add.amount > 0) return judge_bytes(add, slot, false);
    if (add.amount < 0) return "";  // readiness that proved spurious
    const bool has_cause = met_any(add, slot, [&](Connection& connection) {
        return connection.kind == Kind::kDatagram ? take_datagram(connection, "", false)
                                                  : connection.peer_ended;
    });
    return has_cause ? "" : "an end of the stream, though the peer goes on";
}

void note_sent(Add& add) {
    if (!add.writes() || !add.has_buffer()) return;
    Connection& connection = *add.connection;
    if (add.amount <= 0) return;
    const std::string bytes = add.buffer.substr(0, static_cast<size_t>(add.amount));
    if (connection.kind == Kind::kDatagram) {
        connection.sent_datagrams.push_back(bytes);
    } else {
        connection.sent += bytes;
    }
}

std::string judge_ok(Add& add, Slot& slot) {
    const auto own = add.reads() ? COMPLETION_PORT_EPOLL_EPOLLIN : COMPLETION_PORT_EPOLL_EPOLLOUT;
    if (add.said != own) return "the action of another operation";
    if (!add.has_buffer()) return add.amount == -1 ? "" : "an amount for mere readiness";
    if (add.reads()) return judge_ok_read(add, slot);
    return add.amount == static_cast<int64_t>(add.buffer.size()) ? "" : "a part of a send is OK";
}

std::string judge_error(Add& add, Slot& slot) {
    if (add.error == 0) return "a failure without errno";
    if (add.error == EMSGSIZE && add.reads()) return judge_bytes(add, slot, true);
    if (add.error == ECONNREFUSED) {
        const bool refused = met_any(add, slot, [](const Connection& connection) {
            return connection.kind == Kind::kDatagram && connection.peer_closed;
        });
        return refused ? "" : "refused, though the peer is there";
    }
    // The number named something else, or nothing.
    return add.on_stale || add.connection->closed_early ? "" : "a failure without cause";
}

std::string judge_abandoned(Add& add, Slot& slot, bool port_ends) {
    if (add.said == COMPLETION_PORT_CLOSING) {
        const bool ended = port_ends || slot.removals > add.removals_before || add.on_stale ||
                           add.connection->closed_early;
        return ended ? "" : "closing, though nobody ended it";
    }
    if (add.said == COMPLETION_PORT_EPOLL_EPOLLRDHUP) {
        if ((add.events & EPOLLRDHUP) == 0) return "a hang-up that it did not ask for";
        const bool ended =
            met_any(add, slot, [](const Connection& connection) { return connection.peer_ended; });
        return ended ? "" : "a hang-up, though the peer goes on";
    }
    if (add.error != ECONNRESET && add.error != EPIPE) return "abandoned with an odd errno";
    const bool broken = met_any(add, slot, [](const Connection& connection) {
        return connection.reset || connection.peer_closed;
    });
    // An error that was kept of the number's earlier descriptor.
    return broken || add.on_stale ? "" : "a broken connection that is whole";
}

}  // namespace

bool Add::reads() const { return (events & EPOLLIN) != 0; }
bool Add::writes() const { return (events & EPOLLOUT) != 0; }

char peer_byte(uint32_t incarnation, uint64_t place) {
    const uint64_t mixed = place * 11 + place / 64 * 5;
    return static_cast<char>((incarnation & 3) << 6 | (mixed & 63));
}

char add_byte(uint64_t add, uint64_t place) {
    return static_cast<char>(add * 57 + place * 13 + place / 256 * 3);
}

std::string judge(Add& add, Slot& slot, bool port_ends) {
    note_sent(add);
    switch (add.result) {
        case COMPLETION_PORT_RESULT_OK:
            return judge_ok(add, slot);
        case COMPLETION_PORT_RESULT_ERROR:
            return judge_error(add, slot);
        case COMPLETION_PORT_RESULT_ABANDONED:
            return judge_abandoned(add, slot, port_ends);
        case COMPLETION_PORT_RESULT_INVALID:
            break;
    }
    return "no result at all";
}

void note_peer_read(Connection& connection, std::string_view bytes) {
    connection.peer_received += bytes;
    if (connection.kind == Kind::kDatagram) connection.peer_received += '\n';
}

std::string judge_rest(Connection& connection, std::string_view bytes) {
    if (take_from(connection, bytes, false) || connection.closed_early) return "";
    return "what was left unread is not what comes next: " + std::to_string(bytes.size()) +
           " bytes behind " + std::to_string(connection.received) + " of " +
           std::to_string(connection.peer_sent) + ", kind " +
           std::to_string(static_cast<int>(connection.kind));
}

std::string judge_end(const Connection& connection) {
    if (!is_socket(connection.kind) || connection.closed_early) return "";
    std::string sent = connection.sent;
    for (const std::string& datagram : connection.sent_datagrams) sent += datagram + '\n';
    const bool peer_lost = connection.reset || connection.peer_closed;
    const std::string& arrived = connection.peer_received;
    const bool as_sent = peer_lost ? sent.starts_with(arrived) : sent == arrived;
    if (!as_sent && !connection.overtaken) {
        return "the peer got " + std::to_string(arrived.size()) + " bytes of " +
               std::to_string(sent.size()) + ", or other ones";
    }
    // A reset throws away what was on its way; a send to a closed peer is answered by one.
    const bool answered = connection.kind == Kind::kTcp && connection.peer_closed;
    if (connection.reset || (answered && connection.we_sent)) return "";
    uint64_t place = connection.received;
    while (connection.urgent.count(place) != 0) ++place;
    if (place != connection.peer_sent || !connection.datagrams.empty()) {
        return "of " + std::to_string(connection.peer_sent) + " bytes from the peer " +
               std::to_string(connection.received) + " came";
    }
    return "";
}

std::string describe(const Add& add) {
    auto name = [](const char* text) { return std::string(text == nullptr ? "?" : text); };
    std::string text = "add " + std::to_string(add.id) + " (slot " + std::to_string(add.slot) +
                       ", events " + std::to_string(add.events) + ", " +
                       std::to_string(add.buffer.size()) + " bytes)";
    if (!add.done()) return text + " waits";
    return text + " ended " + name(MU_COMPLETION_PORT_EPOLL_ACTION_ToString(add.said)) + " " +
           name(MU_COMPLETION_PORT_RESULT_ToString(add.result)) + " " + std::to_string(add.amount) +
           " errno " + std::to_string(add.error);
}

}  // namespace cport::test
