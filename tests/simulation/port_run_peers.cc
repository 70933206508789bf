// What the peers of a run do, and what is looked at when it is quiet and in the end.
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "tests/simulation/port_run.h"

namespace cport::test {
namespace {

constexpr size_t kDatagramBytesMax = 600;
constexpr int64_t kSweepPeriod_ns = 2'100'000'000;
constexpr size_t kDrainBytes = 64 * 1024;

std::string peer_bytes(uint32_t incarnation, uint64_t place, size_t length) {
    std::string bytes(length, ' ');
    for (size_t i = 0; i < length; ++i) bytes[i] = peer_byte(incarnation, place + i);
    return bytes;
}

template <typename Call>
auto uninterrupted(Call&& call) {
    for (;;) {
        const auto answer = call();
        if (answer != -EINTR) return answer;
    }
}

}  // namespace

void PortRun::peer_acts(const Action& action) {
    const std::shared_ptr<Connection> connection = slots_[action.slot].now;
    World& world = ground_.world;
    const bool pipe_writer = connection->kind == Kind::kPipeWriter;
    if (connection->kind == Kind::kEventfd) {
        if (action.verb == Verb::kPeerWrite) world.kernel().eventfd_signal(connection->ours);
        return;
    }
    if (connection->theirs < 0) return;
    switch (action.verb) {
        case Verb::kPeerWrite:
            if (!pipe_writer) peer_writes(action);
            break;
        case Verb::kPeerRead:
            if (connection->kind != Kind::kPipeReader) peer_reads(*connection, action.length);
            break;
        case Verb::kPeerUrgent: {
            if (connection->kind != Kind::kTcp) return;
            char byte = 0;
            {
                Lock lock(mutex_);
                byte = peer_byte(connection->incarnation, connection->peer_sent);
                connection->urgent.insert(connection->peer_sent);
                ++connection->peer_sent;
            }
            const bool failed = world.send_urgent(connection->theirs, byte) < 0;
            Lock lock(mutex_);
            if (failed) connection->urgent.erase(--connection->peer_sent);
            break;
        }
        case Verb::kPeerShutdown: {
            if (connection->kind != Kind::kTcp && connection->kind != Kind::kUnix) return;
            {
                Lock lock(mutex_);
                connection->peer_ended = true;
            }
            world.shutdown(connection->theirs, SHUT_WR);
            break;
        }
        default: {
            const bool resets = action.verb == Verb::kPeerReset && connection->kind == Kind::kTcp;
            int theirs = -1;
            {
                Lock lock(mutex_);
                connection->peer_ended = connection->peer_closed = true;
                connection->reset |= resets;
                theirs = std::exchange(connection->theirs, -1);
            }
            resets ? world.close_with_reset(theirs) : world.kernel().close(theirs);
        }
    }
}

void PortRun::peer_writes(const Action& action) {
    const std::shared_ptr<Connection> connection = slots_[action.slot].now;
    std::string bytes;
    const bool datagram = connection->kind == Kind::kDatagram;
    {
        Lock lock(mutex_);
        // Now and then an empty datagram.
        const size_t length = !datagram ? action.length
                              : action.choice % 8 == 0
                                  ? 0
                                  : std::min<size_t>(action.length, kDatagramBytesMax);
        const uint64_t place = datagram ? 64 * connection->datagrams_made++ : connection->peer_sent;
        bytes = peer_bytes(connection->incarnation, place, length);
        // Before it is written: its reader may be faster than this thread.
        if (datagram) {
            connection->datagrams.push_back(bytes);
        } else {
            connection->peer_sent += length;
        }
    }
    const int64_t written = ground_.world.write(connection->theirs, bytes);
    Lock lock(mutex_);
    if (!datagram) {
        connection->peer_sent -= bytes.size() - static_cast<size_t>(std::max<int64_t>(written, 0));
    } else if (written < 0) {
        // A datagram socket says once that an earlier datagram was refused.
        connection->datagrams.pop_back();
    }
}

void PortRun::peer_reads(Connection& connection, size_t length) {
    std::string bytes(std::max<size_t>(length, kDatagramBytesMax), ' ');
    if (connection.kind != Kind::kDatagram) bytes.resize(length);
    const int64_t count = uninterrupted(
        [&] { return ground_.world.read(connection.theirs, bytes.data(), bytes.size()); });
    if (count < 0 || (count == 0 && connection.kind != Kind::kDatagram)) return;
    Lock lock(mutex_);
    note_peer_read(connection, std::string_view(bytes).substr(0, static_cast<size_t>(count)));
}

void PortRun::sweep() {
    // Asked after at the second look: once to mark what waits, once to ask.
    for (int i = 0; i < 3; ++i) {
        ground_.until_quiet();
        ground_.advance_ns(kSweepPeriod_ns);
    }
    ground_.until_quiet();
    Lock lock(mutex_);
    for (const CallbackContext& context : adds_) {
        const Add& add = context.add;
        if (add.accepted && !add.done() && add.left_over) {
            blame(describe(add) + " though its descriptor was closed long ago");
        }
    }
}

void PortRun::check_liveness() {
    for (int slot = 0; slot < kSlots; ++slot) check_slot_liveness(slots_[slot], slot);
}

void PortRun::check_slot_liveness(Slot& slot, int slot_index) {
    if (slot.now->ours < 0 || slot.stale) return;
    const auto found = static_cast<uint32_t>(uninterrupted([&] {
        return ground_.world.kernel().poll_now(slot.now->ours, EPOLLIN | EPOLLOUT | EPOLLRDHUP);
    }));
    const bool socket = is_socket(slot.now->kind);
    Lock lock(mutex_);
    bool seen[3] = {};
    for (const CallbackContext& context : adds_) {
        const Add& add = context.add;
        if (add.slot != slot_index || !add.accepted || add.done()) continue;
        const size_t direction = add.reads() ? 0 : add.writes() ? 1 : 2;
        // Only the first of a direction can go on.
        if (std::exchange(seen[direction], true)) continue;
        uint32_t enough = add.reads() ? EPOLLIN | EPOLLERR : EPOLLOUT | EPOLLERR;
        if (!add.has_buffer()) enough |= EPOLLHUP;
        if (direction == 2) enough = socket ? EPOLLRDHUP : EPOLLHUP | EPOLLERR;
        if ((found & enough) != 0) {
            blame(describe(add) + " though poll says " + std::to_string(found));
        }
    }
}

void PortRun::drain(Connection& connection) {
    for (;;) {
        ground_.until_quiet();
        bool any = false;
        std::string bytes(kDrainBytes, ' ');
        if (connection.theirs >= 0 && connection.kind != Kind::kPipeReader) {
            const size_t before = connection.peer_received.size();
            peer_reads(connection, kDrainBytes);
            any = connection.peer_received.size() != before;
        }
        if (connection.ours >= 0 && is_socket(connection.kind)) {
            const int64_t count = uninterrupted(
                [&] { return ground_.world.read(connection.ours, bytes.data(), bytes.size()); });
            // Told before the datagrams that wait.
            if (count == -ECONNREFUSED) any = true;
            if (count > 0 || (count == 0 && connection.kind == Kind::kDatagram)) {
                any = true;
                bytes.resize(static_cast<size_t>(count));
                const std::string wrong = judge_rest(connection, bytes);
                Lock lock(mutex_);
                if (!wrong.empty()) blame(wrong);
            }
        }
        if (!any) return;
    }
}

void PortRun::finish() {
    ground_.until_quiet();
    check_liveness();
    {
        Lock lock(mutex_);
        port_ends_ = true;
    }
    completion_port_dec_ref(ground_.port);
    for (const CallbackContext& context : adds_) {
        const Add& add = context.add;
        if (add.callbacks != (add.accepted ? 1 : 0)) blame(describe(add) + " at the end");
    }
    for (const RemovalContext& removal : removals_) {
        if (removal.calls != 1) blame("on_removed never came");
    }
    for (Slot& slot : slots_) {
        for (const auto& connection : slot.all) {
            drain(*connection);
            const std::string wrong = judge_end(*connection);
            if (!wrong.empty()) blame(wrong);
            for (const int end : {connection->ours, connection->theirs}) {
                if (end >= 0) ground_.world.kernel().close(end);
            }
        }
    }
    for (const int copy : duplicates_) ground_.world.kernel().close(copy);
}

}  // namespace cport::test
