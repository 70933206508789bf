#include "tests/simulation/kinds_run.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <utility>

namespace cport::test {
namespace {

constexpr size_t kSmallBytes = 64;
// More than a simulated connection holds.
constexpr size_t kLargeBytes = 40'000;
// More than a connection of any machine holds, and what each of them holds.
constexpr size_t kBlockingBytes = 500'000;
constexpr size_t kUnreadBytesMax = 12'000;
// What Linux may take to do what it has begun.
constexpr std::chrono::seconds kPatience{5};
constexpr int64_t kTimeMax_ns = 20'000'000;
constexpr std::array kReads{COMPLETION_PORT_KIND_RECEIVE, COMPLETION_PORT_KIND_RECEIVE_VECTOR,
                            COMPLETION_PORT_KIND_RECEIVE_MESSAGE};
constexpr std::array kWrites{COMPLETION_PORT_KIND_SEND, COMPLETION_PORT_KIND_SEND_VECTOR,
                             COMPLETION_PORT_KIND_SEND_MESSAGE};

template <typename Kinds>
bool is_among(const Kinds& kinds, uint32_t kind) {
    return std::any_of(kinds.begin(), kinds.end(),
                       [kind](auto each) { return static_cast<uint32_t>(each) == kind; });
}

// Neighbours, and operations, differ.
char byte_at(uint64_t which, uint64_t place) {
    return static_cast<char>(which * 57 + place * 13 + place / 256 * 3);
}

template <typename Call>
auto uninterrupted(Call&& call) {
    for (;;) {
        const auto answer = call();
        if (answer != -EINTR) return answer;
    }
}

union AnyForm {
    COMPLETION_PORT_OPERATION common;
    COMPLETION_PORT_RECEIVE_OPERATION receive;
    COMPLETION_PORT_SEND_OPERATION send;
    COMPLETION_PORT_RECEIVE_VECTOR_OPERATION vector;
    COMPLETION_PORT_RECEIVE_MESSAGE_OPERATION message;
    COMPLETION_PORT_SHUTDOWN_OPERATION shutdown;
    COMPLETION_PORT_TIMER_OPERATION timer;
};

}  // namespace

bool KindsRun::Operation::is_read() const { return is_among(kReads, kind); }
bool KindsRun::Operation::is_write() const { return is_among(kWrites, kind); }

KindsRun::KindsRun(uint64_t seed, const KindsGround& ground)
    : ground_(ground), port_(ground.port), random_(seed) {
    for (size_t place = 0; place < kConnections; ++place) open(place);
}

void KindsRun::blame(const std::string& what) {
    if (breach_.empty()) breach_ = what;
}

std::string KindsRun::breach() {
    Lock lock(mutex_);
    return breach_;
}

std::string KindsRun::story() {
    Lock lock(mutex_);
    std::string text = breach_ + "\n";
    for (const std::string& step : steps_) text += "  " + step + "\n";
    for (const Operation& operation : operations_) text += "  " + describe(operation) + "\n";
    return text;
}

void KindsRun::open(size_t place) {
    auto connection = std::make_shared<Connection>();
    connection->is_tcp = below(2) == 0;
    World& world = ground_.world;
    const Ends ends = connection->is_tcp ? world.tcp_pair() : world.unix_pair();
    connection->ours = ends.ours;
    connection->theirs = ends.theirs;
    Lock lock(mutex_);
    connection->number = all_.size();
    all_.push_back(connection);
    now_[place] = std::move(connection);
}

KindsRun::Operation& KindsRun::new_operation(uint32_t kind,
                                             std::shared_ptr<Connection> connection) {
    Operation& operation = operations_.emplace_back();
    operation.run = this;
    operation.number = operations_.size();
    operation.kind = kind;
    operation.connection = std::move(connection);
    // Taken back if it is refused: the callback may come first.
    operation.accepted = true;
    return operation;
}

// What fits into one of two machines and not into the other would make them differ.
size_t KindsRun::length_of(const Operation& operation, uint64_t choice) {
    const bool large = choice % 6 == 0;
    if (ground_.beside && large && operation.is_write()) {
        operation.connection->full = true;
        return kBlockingBytes;
    }
    return 1 + (choice >> 8) % (large ? kLargeBytes : kSmallBytes);
}

void KindsRun::submit(uint32_t kind, std::shared_ptr<Connection> connection, uint64_t choice) {
    Operation* operation = nullptr;
    const int64_t now = now_ns();
    bool removing = false;
    {
        Lock lock(mutex_);
        removing = connection && (connection->closing || connection->being_removed);
        operation = &new_operation(kind, std::move(connection));
        operation->bytes.resize(length_of(*operation, choice));
        if (operation->is_write()) {
            for (size_t i = 0; i < operation->bytes.size(); ++i) {
                operation->bytes[i] = byte_at(operation->number, i);
            }
        }
        const bool timed = kind == COMPLETION_PORT_KIND_TIMER || (choice >> 4) % 5 == 0;
        if (timed) {
            operation->time_ns = now + 1 + static_cast<int64_t>((choice >> 24) % kTimeMax_ns);
        }
        operation->again = (choice >> 2) % 3 == 0;
        if (kind == COMPLETION_PORT_KIND_SHUTDOWN) operation->connection->shut = true;
    }
    const int code = hand_in(*operation);
    Lock lock(mutex_);
    steps_.push_back(describe(*operation));
    tell_call(*operation, "submit ", code);
    if (code == 0) return;
    operation->accepted = false;
    const bool late = code == -ETIMEDOUT && operation->time_ns != 0;
    const Connection* const on = operation->connection.get();
    removing |= on != nullptr && (on->closing || on->being_removed);
    const bool closed = removing && (code == -ECANCELED || code == -EBADF);
    if (!late && !closed && !(port_ends_ && code == -ESHUTDOWN)) {
        blame(describe(*operation) + " returned " + std::to_string(code));
    }
}

int KindsRun::hand_in(Operation& operation) {
    AnyForm form{};
    std::string& bytes = operation.bytes;
    const size_t third = bytes.size() / 3;
    uint32_t count = 0;
    for (const size_t length : {third, third, bytes.size() - 2 * third}) {
        if (length == 0) continue;
        char* const from = count == 0 ? bytes.data()
                                      : static_cast<char*>(operation.parts[count - 1].iov_base) +
                                            operation.parts[count - 1].iov_len;
        operation.parts[count++] = {from, length};
    }
    operation.message = {};
    operation.message.msg_iov = operation.parts.data();
    operation.message.msg_iovlen = count;
    form.common.kind = operation.kind;
    form.common.on_complete = on_complete;
    form.common.context = &operation;
    form.common.descriptor = operation.connection ? operation.connection->ours : 0;
    form.common.deadline_ns = static_cast<uint64_t>(operation.time_ns);
    switch (operation.kind) {
        case COMPLETION_PORT_KIND_RECEIVE:
        case COMPLETION_PORT_KIND_SEND:
            form.common.size = sizeof(form.receive);
            form.receive.buffer = bytes.data();
            form.receive.length = static_cast<uint32_t>(bytes.size());
            break;
        case COMPLETION_PORT_KIND_RECEIVE_VECTOR:
        case COMPLETION_PORT_KIND_SEND_VECTOR:
            form.common.size = sizeof(form.vector);
            form.vector.vectors = operation.parts.data();
            form.vector.count = count;
            break;
        case COMPLETION_PORT_KIND_RECEIVE_MESSAGE:
        case COMPLETION_PORT_KIND_SEND_MESSAGE:
            form.common.size = sizeof(form.message);
            form.message.message = &operation.message;
            break;
        case COMPLETION_PORT_KIND_SHUTDOWN:
            form.common.size = sizeof(form.shutdown);
            form.shutdown.how = SHUT_WR;
            break;
        case COMPLETION_PORT_KIND_TIMER:
            form.common.size = sizeof(form.timer);
            form.common.deadline_ns = 0;
            form.timer.expires_ns = static_cast<uint64_t>(operation.time_ns);
            break;
        default:
            form.common.size = sizeof(form.common);
            form.common.deadline_ns = 0;
    }
    return completion_port_submit(port_, &form.common, &operation.id, nullptr);
}

void KindsRun::act() {
    const uint64_t choice = random_();
    const size_t place = below(kConnections);
    const std::shared_ptr<Connection> connection = now_[place];
    switch (below(24)) {
        case 0:
        case 1:
        case 2:
        case 3:
        case 4:
            return submit(kReads[below(kReads.size())], connection, choice);
        case 5:
        case 6:
        case 7:
        case 8:
        case 9:
            // Of a send that was cut off, nobody knows how much more fits behind it.
            if (ground_.beside && connection->full && !any_waits_to_write(*connection)) {
                peer_drains(*connection);
            }
            return submit(kWrites[below(kWrites.size())], connection, choice);
        case 10:
        case 11:
            return submit(COMPLETION_PORT_KIND_TIMER, nullptr, choice);
        case 12:
            return post();
        case 13:
        case 14:
            return cancel(choice);
        case 15:
        case 16:
        case 17:
            return peer_writes(*connection, 1 + choice % (choice % 5 == 0 ? 9000 : kSmallBytes));
        case 18:
        case 19:
            if (ground_.beside && connection->full) return peer_drains(*connection);
            peer_reads(*connection, 1 + choice % kLargeBytes);
            return;
        case 20:
            // Not between a worker's look at the clock and its sleep, which would come out longer.
            ground_.until_quiet();
            ground_.advance_ns(
                static_cast<int64_t>(choice % (ground_.beside ? kTimeMax_ns : 3'000'000)));
            return;
        case 21:
            if (choice % 3 == 0) return submit(COMPLETION_PORT_KIND_SHUTDOWN, connection, 1);
            if (choice % 3 == 1) return remove(*connection);
            return close(place);
        case 22:
            if (choice % 3 != 0) return;
            {
                Lock lock(mutex_);
                connection->peer_ended = true;
            }
            ground_.world.shutdown(connection->theirs, SHUT_WR);
            return;
        default:
            check_quiet();
    }
}

void KindsRun::cancel(uint64_t choice) {
    Operation* operation = nullptr;
    {
        Lock lock(mutex_);
        if (operations_.empty()) return;
        operation = &operations_[choice % operations_.size()];
        if (!operation->accepted || operation->id == 0 || operation->endings > 0) return;
        operation->cancelled = true;
    }
    const int code = completion_port_cancel(port_, operation->id);
    Lock lock(mutex_);
    steps_.push_back("cancel " + std::to_string(operation->number) + " said " +
                     std::to_string(code));
    tell_call(*operation, "cancel ", code);
    if (code != 0 && code != -ENOENT) blame("a cancel returned " + std::to_string(code));
}

void KindsRun::post() {
    Operation* operation = nullptr;
    {
        Lock lock(mutex_);
        operation = &new_operation(COMPLETION_PORT_KIND_POST, nullptr);
    }
    const int code = completion_port_post(port_, 0, ++last_posted_, on_complete, operation);
    Lock lock(mutex_);
    if (code != 0) blame("a post returned " + std::to_string(code));
}

void KindsRun::remove(Connection& connection) {
    size_t before = 0;
    {
        Lock lock(mutex_);
        connection.removed = connection.being_removed = true;
        before = operations_.size();
    }
    completion_port_remove(port_, connection.ours);
    Lock lock(mutex_);
    connection.being_removed = false;
    steps_.push_back("remove " + std::to_string(connection.ours));
    for (size_t i = 0; i < before; ++i) {
        const Operation& each = operations_[i];
        if (each.connection.get() == &connection && each.accepted && each.endings == 0) {
            blame(describe(each) + " after its removal has returned");
        }
    }
}

void KindsRun::close(size_t place) {
    const std::shared_ptr<Connection> connection = now_[place];
    {
        Lock lock(mutex_);
        connection->removed = connection->closing = true;
    }
    submit(COMPLETION_PORT_KIND_CLOSE, connection, 1);
    open(place);
}

void KindsRun::peer_writes(Connection& connection, size_t length) {
    std::string bytes(length, ' ');
    {
        Lock lock(mutex_);
        if (connection.peer_ended || connection.closing) return;
        const size_t unread = connection.peer_sent.size() - connection.received;
        if (ground_.beside && unread + length > kUnreadBytesMax) return;
        for (size_t i = 0; i < length; ++i) {
            bytes[i] = byte_at(7, connection.peer_sent.size() + i);
        }
        // Before it is written: its reader may be faster than this thread.
        connection.peer_sent += bytes;
    }
    const int64_t written = ground_.world.write(connection.theirs, bytes);
    Lock lock(mutex_);
    const size_t lost = length - static_cast<size_t>(std::max<int64_t>(written, 0));
    connection.peer_sent.resize(connection.peer_sent.size() - lost);
}

int64_t KindsRun::peer_reads(Connection& connection, size_t length) {
    std::string bytes(length, ' ');
    const int64_t count =
        uninterrupted([&] { return ground_.world.read(connection.theirs, bytes.data(), length); });
    if (count > 0) connection.peer_received.append(bytes, 0, static_cast<size_t>(count));
    return count;
}

// Machines differ in how much they hold: a part of what is sent would end different sends.
void KindsRun::peer_drains(Connection& connection) {
    read_all([&] { return peer_reads(connection, kLargeBytes); },
             [&] {
                 // Room comes when the peer has acknowledged, which it may do late.
                 if (any_waits_to_write(connection) ||
                     ground_.world.kernel().poll_now(connection.ours, EPOLLOUT) == 0) {
                     return false;
                 }
                 Lock lock(mutex_);
                 return connection.peer_received.size() >= connection.sent.size();
             });
    connection.full = false;
}

bool KindsRun::any_waits_to_write(const Connection& connection) {
    Lock lock(mutex_);
    return std::any_of(operations_.begin(), operations_.end(), [&](const Operation& each) {
        return each.connection.get() == &connection && each.is_write() && each.waits();
    });
}

// Until there is nothing more to come.
void KindsRun::read_all(absl::FunctionRef<int64_t()> read, absl::FunctionRef<bool()> is_all) {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    for (;;) {
        // Without a port nothing but the machine goes on.
        if (!port_ends_ || !ground_.may_be_late) ground_.until_quiet();
        const int64_t count = read();
        if (count > 0) continue;
        if (count != -EAGAIN || !ground_.may_be_late || is_all()) return;
        if (std::chrono::steady_clock::now() > deadline) return;
    }
}

void KindsRun::check_quiet() {
    ground_.until_quiet();
    // Bytes may come between the look and the judgement; there the other machine tells.
    if (ground_.may_be_late) return;
    for (const auto& connection : now_) {
        const auto found = static_cast<uint32_t>(uninterrupted(
            [&] { return ground_.world.kernel().poll_now(connection->ours, EPOLLIN | EPOLLOUT); }));
        Lock lock(mutex_);
        for (const Operation& each : operations_) {
            if (each.connection != connection || !each.accepted || each.endings > 0) continue;
            if (each.is_read() && (found & EPOLLIN) != 0) blame(describe(each) + ", readable");
            if (each.is_write() && (found & EPOLLOUT) != 0) blame(describe(each) + ", writable");
        }
    }
    const int64_t now = now_ns();
    Lock lock(mutex_);
    for (const Operation& each : operations_) {
        // A tick of the wheel is less than 2^20 ns.
        const bool late = each.time_ns != 0 && now > each.time_ns + (1 << 20);
        if (late && each.accepted && each.endings == 0) blame(describe(each) + ", too late");
    }
}

void KindsRun::read_what_is_left(Connection& connection) {
    std::string rest(kLargeBytes, ' ');
    const auto read = [&] {
        const int64_t count = uninterrupted(
            [&] { return ground_.world.read(connection.ours, rest.data(), rest.size()); });
        if (count <= 0) return count;
        const auto length = static_cast<size_t>(count);
        if (connection.peer_sent.compare(connection.received, length, rest, 0, length) != 0) {
            blame("what was left unread is not what comes next");
        }
        connection.received += length;
        return count;
    };
    read_all(read, [&] { return connection.received >= connection.peer_sent.size(); });
}

void KindsRun::finish() {
    check_quiet();
    {
        Lock lock(mutex_);
        port_ends_ = true;
    }
    completion_port_dec_ref(port_);
    for (const Operation& each : operations_) {
        if (each.endings != (each.accepted ? 1 : 0)) blame(describe(each) + " at the end");
    }
    World& world = ground_.world;
    for (const auto& connection : all_) {
        read_all([&] { return peer_reads(*connection, 2 * kLargeBytes); },
                 [&] { return connection->peer_received.size() >= connection->sent.size(); });
        // A close with bytes unread resets, and what was on its way is gone.
        const bool lossy = connection->closing && connection->is_tcp;
        const bool arrived = lossy ? connection->sent.starts_with(connection->peer_received)
                                   : connection->sent == connection->peer_received;
        if (!arrived) {
            blame("the peer of " + std::to_string(connection->ours) + " got " +
                  std::to_string(connection->peer_received.size()) + " bytes of " +
                  std::to_string(connection->sent.size()) + ", or other ones");
        }
        if (!connection->closing) read_what_is_left(*connection);
        if (!connection->closing && connection->received != connection->peer_sent.size()) {
            blame("bytes of the peer of " + std::to_string(connection->ours) + " are lost");
        }
        if (!connection->closing) world.kernel().close(connection->ours);
        world.kernel().close(connection->theirs);
    }
}

}  // namespace cport::test
