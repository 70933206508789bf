#include "tests/simulation/connections_run.h"

#include <netinet/in.h>
#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace cport::test {
namespace {

// So small that clients meet a full one.
constexpr int kBacklog = 1;
constexpr int64_t kTimeMax_ns = 20'000'000;

template <typename Call>
auto uninterrupted(Call&& call) {
    for (;;) {
        const auto answer = call();
        if (answer != -EINTR) return answer;
    }
}

// A name as long as the shortest address that a connect takes.
std::string address_named(char name) { return std::string(2, name); }

int connect_to(SimulatedKernel& kernel, int descriptor, const std::string& address) {
    return kernel.connect(descriptor, reinterpret_cast<const struct sockaddr*>(address.data()),
                          static_cast<uint32_t>(address.size()));
}

}  // namespace

ConnectionsRun::ConnectionsRun(uint64_t seed, SimulatedMachine& machine,
                               COMPLETION_PORT_HANDLE port)
    : machine_(machine), port_(port), random_(seed), nobody_(address_named('n')) {
    ours_ = {listen(true, 'a'), listen(false, 'b')};
    theirs_ = {listen(true, 'c'), listen(false, 'd')};
}

ConnectionsRun::Listener ConnectionsRun::listen(bool is_tcp, char name) {
    Listener listener;
    listener.is_tcp = is_tcp;
    listener.name = address_named(name);
    listener.socket.number = machine_.kernel().listener(is_tcp, listener.name, kBacklog);
    return listener;
}

void ConnectionsRun::blame(const std::string& what) {
    if (breach_.empty()) breach_ = what;
}

std::string ConnectionsRun::breach() {
    Lock lock(mutex_);
    return breach_;
}

std::string ConnectionsRun::story() {
    Lock lock(mutex_);
    std::string text = breach_ + "\n";
    for (const std::string& step : steps_) text += "  " + step + "\n";
    for (const Operation& operation : operations_) text += "  " + describe(operation) + "\n";
    return text;
}

ConnectionsRun::Operation& ConnectionsRun::new_operation(uint32_t kind, Socket& socket) {
    Operation& operation = operations_.emplace_back();
    operation.run = this;
    operation.number = operations_.size();
    operation.kind = kind;
    operation.socket = &socket;
    // Taken back if it is refused: the callback may come first.
    operation.accepted = true;
    return operation;
}

void ConnectionsRun::hand_in(Operation& operation, COMPLETION_PORT_OPERATION& form) {
    form.kind = operation.kind;
    form.on_complete = on_complete;
    form.context = &operation;
    form.descriptor = operation.socket->number;
    form.deadline_ns = static_cast<uint64_t>(operation.time_ns);
    const int code = completion_port_submit(port_, &form, &operation.id, nullptr);
    Lock lock(mutex_);
    steps_.push_back(describe(operation));
    if (code == 0) return;
    operation.accepted = false;
    if (code != -ETIMEDOUT || operation.time_ns == 0) {
        blame(describe(operation) + " returned " + std::to_string(code));
    }
}

void ConnectionsRun::submit_accept(uint64_t choice) {
    const size_t which = choice % ours_.size();
    Operation* operation = nullptr;
    const int64_t now = now_ns();
    COMPLETION_PORT_ACCEPT_OPERATION form{};
    {
        Lock lock(mutex_);
        operation = &new_operation(COMPLETION_PORT_KIND_ACCEPT, ours_[which].socket);
        operation->listener = which;
        operation->multishot = (choice >> 4) % 3 == 0;
        if ((choice >> 8) % 4 == 0) {
            operation->time_ns = now + 1 + static_cast<int64_t>((choice >> 16) % kTimeMax_ns);
        }
    }
    form.common.size = sizeof(form);
    if (operation->multishot) form.common.flags = COMPLETION_PORT_FLAG_MULTISHOT;
    hand_in(*operation, form.common);
}

// Borrowed until the completion.
const std::string& ConnectionsRun::address_of(Target target) const {
    if (target == Target::kTcpTest) return theirs_[0].name;
    return target == Target::kUnixTest ? theirs_[1].name : nobody_;
}

void ConnectionsRun::submit_connect(uint64_t choice) {
    const auto target = static_cast<Target>((choice >> 4) % 6 < 4 ? choice % 2 : choice % 4);
    const bool is_tcp = target == Target::kTcpTest || target == Target::kTcpNobody;
    const int number = machine_.kernel().fresh_socket(is_tcp);
    const int64_t now = now_ns();
    Operation* connect = nullptr;
    Operation* send = nullptr;
    Socket* socket = nullptr;
    {
        Lock lock(mutex_);
        socket = &sockets_.emplace_back();
        *socket = {number, false, target, ++last_mark_};
        connect = &new_operation(COMPLETION_PORT_KIND_CONNECT, *socket);
        if ((choice >> 8) % 4 == 0) {
            connect->time_ns = now + 1 + static_cast<int64_t>((choice >> 16) % kTimeMax_ns);
        }
    }
    COMPLETION_PORT_CONNECT_OPERATION form{};
    const std::string& address = address_of(target);
    form.common.size = sizeof(form);
    form.address = reinterpret_cast<const struct sockaddr*>(address.data());
    form.address_length = static_cast<uint32_t>(address.size());
    hand_in(*connect, form.common);
    if ((choice >> 12) % 2 == 0) return;
    {
        Lock lock(mutex_);
        send = &new_operation(COMPLETION_PORT_KIND_SEND, *socket);
        send->connect = connect;
    }
    COMPLETION_PORT_SEND_OPERATION bytes{};
    bytes.common.size = sizeof(bytes);
    bytes.buffer = &socket->mark;
    bytes.length = sizeof(socket->mark);
    hand_in(*send, bytes.common);
}

void ConnectionsRun::act() {
    const uint64_t choice = random_();
    switch (below(20)) {
        case 0:
        case 1:
        case 2:
        case 3:
            return submit_accept(choice);
        case 4:
        case 5:
        case 6:
        case 7:
        case 8:
            return client_connects(choice);
        case 9:
            return client_gives_up(choice);
        case 10:
        case 11:
        case 12:
            return submit_connect(choice);
        case 13:
        case 14:
            return accept_all(theirs_[choice % theirs_.size()]);
        case 15:
        case 16:
            return cancel(choice);
        case 17:
            return remove(choice);
        case 18:
            machine_.run_until_quiet();
            machine_.advance(static_cast<int64_t>(choice % kTimeMax_ns));
            return;
        default:
            check_quiet();
    }
}

void ConnectionsRun::cancel(uint64_t choice) {
    Operation* operation = nullptr;
    {
        Lock lock(mutex_);
        if (operations_.empty()) return;
        operation = &operations_[choice % operations_.size()];
        if (!operation->waits() || operation->id == 0) return;
        operation->cancelled = true;
    }
    const int code = completion_port_cancel(port_, operation->id);
    Lock lock(mutex_);
    steps_.push_back("cancel " + std::to_string(operation->number));
    if (code != 0 && code != -ENOENT) blame("a cancel returned " + std::to_string(code));
}

void ConnectionsRun::remove(uint64_t choice) {
    Socket* socket = nullptr;
    size_t before = 0;
    {
        Lock lock(mutex_);
        if (operations_.empty()) return;
        socket = operations_[choice % operations_.size()].socket;
        before = operations_.size();
        socket->removed = true;
    }
    completion_port_remove(port_, socket->number);
    Lock lock(mutex_);
    steps_.push_back("remove " + std::to_string(socket->number));
    for (size_t i = 0; i < before; ++i) {
        const Operation& each = operations_[i];
        if (each.socket == socket && each.waits()) {
            blame(describe(each) + " after its removal has returned");
        }
    }
}

void ConnectionsRun::client_connects(uint64_t choice) {
    const size_t which = choice % ours_.size();
    SimulatedKernel& kernel = machine_.kernel();
    const int descriptor = kernel.fresh_socket(ours_[which].is_tcp);
    const int code = connect_to(kernel, descriptor, ours_[which].name);
    if (code == -EAGAIN) {
        kernel.close(descriptor);
        return;
    }
    Lock lock(mutex_);
    if (code != (ours_[which].is_tcp ? -EINPROGRESS : 0)) {
        blame("a client's connect returned " + std::to_string(code));
    }
    clients_.push_back({descriptor, which, ++last_mark_});
    steps_.push_back("client " + std::to_string(last_mark_) + " of " + std::to_string(which));
}

void ConnectionsRun::client_gives_up(uint64_t choice) {
    if (clients_.empty()) return;
    Client& client = clients_[choice % clients_.size()];
    if (std::exchange(client.gave_up, true)) return;
    machine_.kernel().close_with_reset(client.descriptor);
}

void ConnectionsRun::accept_all(Listener& listener) {
    for (;;) {
        const int end = machine_.kernel().accept(listener.socket.number, nullptr, nullptr, 0);
        if (end == -EINTR || end == -ECONNABORTED) continue;
        if (end < 0) return;
        listener.taken.push_back(end);
    }
}

void ConnectionsRun::check_quiet() {
    machine_.run_until_quiet();
    const int64_t now = now_ns();
    for (size_t i = 0; i < operations_.size(); ++i) {
        const Operation& each = operations_[i];
        const uint32_t asked = each.kind == COMPLETION_PORT_KIND_ACCEPT ? EPOLLIN : EPOLLOUT;
        const auto found = static_cast<uint32_t>(
            uninterrupted([&] { return machine_.kernel().poll_now(each.socket->number, asked); }));
        Lock lock(mutex_);
        if (!each.waits()) continue;
        if (found != 0) blame(describe(each) + ", ready " + std::to_string(found));
        // A tick of the wheel is less than 2^20 ns.
        if (each.time_ns != 0 && now > each.time_ns + (1 << 20)) {
            blame(describe(each) + ", too late");
        }
    }
}

std::vector<uint64_t> ConnectionsRun::read_marks(const Listener& listener) {
    std::vector<uint64_t> marks;
    for (const int end : listener.taken) {
        uint64_t mark = 0;
        const int64_t count = uninterrupted([&] {
            return machine_.kernel().read(end, reinterpret_cast<char*>(&mark), sizeof(mark));
        });
        if (count == sizeof(mark)) marks.push_back(mark);
        if (machine_.kernel().close(end) != 0) blame("a connection that is none");
    }
    return marks;
}

void ConnectionsRun::finish() {
    check_quiet();
    {
        Lock lock(mutex_);
        port_ends_ = true;
    }
    completion_port_dec_ref(port_);
    for (const Operation& each : operations_) {
        if (each.endings != (each.accepted ? 1 : 0)) blame(describe(each) + " at the end");
    }
    // What follows asks where everything is, and is no test of its own.
    machine_.perturbation().switch_off();
    // Each round makes room for those that wait outside.
    for (Listener* each : {&ours_[0], &ours_[1], &theirs_[0], &theirs_[1]}) {
        for (size_t before = SIZE_MAX; before != each->taken.size();) {
            before = each->taken.size();
            machine_.run_until_quiet();
            accept_all(*each);
        }
    }
    SimulatedKernel& kernel = machine_.kernel();
    std::array<std::vector<uint64_t>, 2> sent_to_ours;
    for (const Client& client : clients_) {
        if (client.gave_up) continue;
        const std::string bytes(reinterpret_cast<const char*>(&client.mark), sizeof(client.mark));
        kernel.write(client.descriptor, bytes);
        sent_to_ours[client.listener].push_back(client.mark);
    }
    std::array<std::vector<uint64_t>, 2> sent_to_theirs;
    for (const Operation& each : operations_) {
        if (each.kind != COMPLETION_PORT_KIND_SEND || each.record.error != 0 || !each.accepted) {
            continue;
        }
        sent_to_theirs[each.socket->target == Target::kTcpTest ? 0 : 1].push_back(
            each.socket->mark);
    }
    machine_.run_until_quiet();
    for (size_t i = 0; i < ours_.size(); ++i) {
        check_marks(ours_[i], sent_to_ours[i]);
        check_marks(theirs_[i], sent_to_theirs[i]);
        kernel.close(ours_[i].socket.number);
        kernel.close(theirs_[i].socket.number);
    }
    for (const Client& client : clients_) {
        if (!client.gave_up) kernel.close(client.descriptor);
    }
    for (const Socket& socket : sockets_) kernel.close(socket.number);
}

// A unix socket is connected when the call returns: one thread's calls have an order.
void ConnectionsRun::check_marks(const Listener& listener, std::vector<uint64_t> expected) {
    std::vector<uint64_t> found = read_marks(listener);
    if (listener.is_tcp || &listener == &theirs_[1]) {
        std::sort(found.begin(), found.end());
        std::sort(expected.begin(), expected.end());
    }
    if (found == expected) return;
    blame("of " + std::to_string(expected.size()) + " connections to " + listener.name + " " +
          std::to_string(found.size()) + " came, or in another order");
}

void ConnectionsRun::on_complete(void* context, const Record* record) {
    auto& operation = *static_cast<Operation*>(context);
    operation.run->complete(operation, *record);
}

void ConnectionsRun::complete(Operation& operation, const Record& record) {
    const int64_t now = now_ns();
    Lock lock(mutex_);
    if (operation.endings > 0) blame(describe(operation) + " once more");
    operation.record = record;
    const bool more = (record.flags & COMPLETION_PORT_COMPLETION_MORE) != 0;
    if (!more) ++operation.endings;
    const std::string wrong = judge(operation, record);
    if (!wrong.empty()) blame(describe(operation) + ": " + wrong);
    if (record.error == -ETIMEDOUT && now < operation.time_ns) {
        blame(describe(operation) + " expired early");
    }
}

std::string ConnectionsRun::judge(Operation& operation, const Record& record) {
    const bool goes_on = operation.multishot && record.error == 0;
    if (record.flags != (goes_on ? COMPLETION_PORT_COMPLETION_MORE : 0)) return "odd flags";
    if (record.kind != operation.kind || record.operation != operation.id) return "another record";
    if ((record.error == 0) != (record.result == COMPLETION_PORT_RESULT_OK)) return "odd result";
    if (record.error != 0) return judge_end(operation, record);
    switch (operation.kind) {
        case COMPLETION_PORT_KIND_ACCEPT:
            ++taken_;
            operation.went_on += goes_on;
            ours_[operation.listener].taken.push_back(static_cast<int>(record.value));
            return record.value >= 0 ? "" : "no descriptor";
        case COMPLETION_PORT_KIND_CONNECT: {
            ++connected_;
            const Target target = operation.socket->target;
            if (record.value != 0) return "a value";
            return target == Target::kTcpTest || target == Target::kUnixTest ? "" : "to nobody";
        }
        default:
            return record.value == sizeof(uint64_t) ? "" : "a part of a send is OK";
    }
}

std::string ConnectionsRun::judge_end(const Operation& operation, const Record& record) {
    const Target target = operation.socket->target;
    const bool connects = operation.kind == COMPLETION_PORT_KIND_CONNECT;
    const Operation* const connect = operation.connect;
    switch (record.error) {
        case -ECANCELED:
            return operation.cancelled || operation.socket->removed || port_ends_
                       ? ""
                       : "cancelled, though nobody asked";
        case -ETIMEDOUT:
            return operation.time_ns != 0 ? "" : "expired without a deadline";
        default:
            break;
    }
    // What waits behind a connect that failed fails with it.
    if (connect != nullptr) {
        const bool stands = connect->record.error == 0 && connect->endings > 0;
        return stands ? "a failure on a connection that stands" : "";
    }
    if (connects && record.error == -ECONNREFUSED) {
        return target == Target::kTcpNobody || target == Target::kUnixNobody ? "" : "refused";
    }
    if (connects && record.error == -EAGAIN) {
        return target == Target::kUnixTest ? "" : "a full backlog of another kind";
    }
    return "a failure without cause";
}

std::string ConnectionsRun::describe(const Operation& operation) {
    std::string text = "operation " + std::to_string(operation.number) + " of kind " +
                       std::to_string(operation.kind) + " on " +
                       std::to_string(operation.socket->number);
    if (operation.multishot) text += " multishot, went on " + std::to_string(operation.went_on);
    if (operation.time_ns != 0) text += " time " + std::to_string(operation.time_ns);
    if (!operation.accepted) return text + " was refused";
    if (operation.endings == 0) return text + " waits";
    return text + " ended " + std::to_string(operation.record.result) + " value " +
           std::to_string(operation.record.value) + " error " +
           std::to_string(operation.record.error);
}

}  // namespace cport::test
