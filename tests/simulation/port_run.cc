#include "tests/simulation/port_run.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

namespace cport::test {
namespace {

// Datagrams stay small enough for none to be dropped.
constexpr size_t kDatagramBytesMax = 600;

constexpr std::array kKinds{Kind::kTcp, Kind::kUnix,     Kind::kDatagram,   Kind::kTcp,
                            Kind::kTcp, Kind::kUnix,     Kind::kPipeReader, Kind::kEventfd,
                            Kind::kTcp, Kind::kDatagram, Kind::kPipeWriter};

// Whether this thread is inside completion_port_add: no callback may come there.
thread_local bool inside_add = false;

struct Form {
    uint32_t events;
    bool has_buffer;
};

constexpr std::array kForms{Form{EPOLLIN, true},     Form{EPOLLIN | EPOLLRDHUP, true},
                            Form{EPOLLOUT, true},    Form{EPOLLIN, true},
                            Form{EPOLLOUT, true},    Form{EPOLLIN, false},
                            Form{EPOLLOUT, false},   Form{EPOLLIN | EPOLLRDHUP, false},
                            Form{EPOLLRDHUP, false}, Form{EPOLLIN | EPOLLOUT, true},
                            Form{EPOLLPRI, false}};

bool is_bad(uint32_t events) {
    return events == (EPOLLIN | EPOLLOUT) || events == static_cast<uint32_t>(EPOLLPRI);
}

size_t direction_of(const Add& add) { return add.reads() ? 0 : add.writes() ? 1 : 2; }

}  // namespace

PortRun::PortRun(const Ground& ground) : ground_(ground) {
    for (int slot = 0; slot < kSlots; ++slot) open(slot, kKinds[static_cast<size_t>(slot)]);
}

void PortRun::blame(const std::string& what) {
    if (breach_.empty()) breach_ = what;
}

std::string PortRun::breach() {
    Lock lock(mutex_);
    return breach_;
}

size_t PortRun::completions() {
    Lock lock(mutex_);
    return completions_;
}

std::vector<std::string> PortRun::outcomes() {
    Lock lock(mutex_);
    std::vector<std::string> outcomes;
    for (const CallbackContext& context : adds_) {
        const Add& add = context.add;
        std::string text = describe(add);
        if (add.reads() && add.has_buffer() && add.amount > 0) {
            text += " of hash " +
                    std::to_string(std::hash<std::string_view>{}(
                        std::string_view(add.buffer).substr(0, static_cast<size_t>(add.amount))));
        }
        outcomes.push_back(std::move(text));
    }
    return outcomes;
}

void PortRun::open(int slot, Kind kind) {
    auto connection = std::make_shared<Connection>();
    connection->kind = kind;
    World& world = ground_.world;
    Ends ends{-1, -1};
    switch (connection->kind) {
        case Kind::kTcp:
            ends = world.tcp_pair();
            break;
        case Kind::kUnix:
            ends = world.unix_pair();
            break;
        case Kind::kDatagram:
            ends = world.datagram_pair();
            break;
        case Kind::kPipeReader:
            ends = world.pipe();
            break;
        case Kind::kPipeWriter:
            ends = world.pipe();
            std::swap(ends.ours, ends.theirs);
            break;
        case Kind::kEventfd:
            ends.ours = world.eventfd();
    }
    connection->ours = ends.ours;
    connection->theirs = ends.theirs;
    Lock lock(mutex_);
    connection->overtaken = std::exchange(slots_[slot].overtakes, false);
    connection->incarnation = static_cast<uint32_t>(slots_[slot].all.size());
    slots_[slot].all.push_back(connection);
    slots_[slot].now = std::move(connection);
}

void PortRun::act(const Action& action) {
    Slot& slot = slots_[action.slot];
    {
        Lock lock(mutex_);
        // A callback is exchanging the descriptor: the caller knows not to name it now.
        if (busy_in_callback_[action.slot]) return;
        slot.in_use = true;
    }
    act_on_own(action, false);
    {
        Lock lock(mutex_);
        slot.in_use = false;
    }
    if (action.verb == Verb::kQuiet) {
        ground_.until_quiet();
        check_liveness();
        Lock lock(mutex_);
        for (CallbackContext& context : adds_) context.add.tried = true;
    }
}

void PortRun::act_on_own(const Action& action, bool in_callback) {
    switch (action.verb) {
        case Verb::kAdd:
            add(action, in_callback);
            break;
        case Verb::kRemove:
            remove(action.slot, in_callback);
            break;
        case Verb::kRemoveAsync:
            remove_async(action);
            break;
        case Verb::kReopen:
            reopen(action, in_callback);
            break;
        case Verb::kCloseEarly:
            close_early(action);
            break;
        case Verb::kDuplicate: {
            const int copy = ground_.world.duplicate(slots_[action.slot].now->ours);
            if (copy >= 0) duplicates_.push_back(copy);
            break;
        }
        case Verb::kSweep:
            sweep();
            break;
        case Verb::kQuiet:
            break;
        default:
            peer_acts(action);
    }
}

void PortRun::add(const Action& action, bool in_callback) {
    const Form& form = kForms[action.choice % kForms.size()];
    CallbackContext* context = nullptr;
    COMPLETION_PORT_INGRESS_DATA data{};
    bool was_removing = false;
    {
        Lock lock(mutex_);
        Slot& slot = slots_[action.slot];
        context = &adds_.emplace_back(CallbackContext{this, {}});
        Add& add = context->add;
        add.id = adds_.size();
        add.slot = action.slot;
        add.action = action;
        add.connection = slot.now;
        add.events = form.events;
        add.by_callback = in_callback;
        add.on_stale = slot.stale;
        add.removals_before = slot.removals;
        was_removing = slot.removing;
        size_t length = form.has_buffer ? action.length : 0;
        if (slot.now->kind == Kind::kDatagram) length = std::min(length, kDatagramBytesMax);
        add.buffer.resize(length);
        if (add.writes()) {
            for (size_t i = 0; i < length; ++i) add.buffer[i] = add_byte(add.id, i);
        }
        if (add.writes()) slot.now->we_sent = true;
        data.epoll_op = static_cast<int>(form.events);
        if ((action.choice >> 8) % 4 == 0) data.epoll_op |= static_cast<int>(EPOLLET);
        if ((action.choice >> 10) % 4 == 0) data.epoll_op |= EPOLLONESHOT;
        data.socket = slot.now->ours;
        data.event_callback = on_complete;
        data.event_callback_ctx = context;
        data.buffer_data = {length == 0 ? nullptr : add.buffer.data(),
                            static_cast<uint32_t>(length)};
        // Taken back if it is refused: the callback may come first.
        add.accepted = true;
    }
    inside_add = true;
    const int code = completion_port_add(ground_.port, &data);
    inside_add = false;
    Lock lock(mutex_);
    if (code != 0) context->add.accepted = false;
    check_add_code(context->add, code, was_removing, slots_[action.slot].removing);
}

void PortRun::check_add_code(const Add& add, int code, bool was_removing, bool is_removing) {
    const Slot& slot = slots_[add.slot];
    int expected = 0;
    if (is_bad(add.events)) {
        expected = -EINVAL;
    } else if (add.on_stale || slot.stale || add.connection->closed_early) {
        return;
    } else if (add.has_buffer() && !is_socket(add.connection->kind)) {
        expected = -ENOTSOCK;
    }
    if (code == -ECANCELED && expected != -EINVAL) {
        if (was_removing || is_removing || (add.by_callback && slot.in_use)) return;
    } else if (code == expected) {
        return;
    }
    blame(describe(add) + " returned " + std::to_string(code));
}

void PortRun::on_complete(void* context, COMPLETION_PORT_EPOLL_ACTION said,
                          COMPLETION_PORT_RESULT result, int32_t amount) {
    const int error = errno;
    auto& own = *static_cast<CallbackContext*>(context);
    Add outcome;
    outcome.said = said;
    outcome.result = result;
    outcome.amount = amount;
    own.run->complete(own, std::move(outcome), error);
}

void PortRun::complete(CallbackContext& context, Add said, int error) {
    std::vector<Action> next;
    Add& add = context.add;
    {
        Lock lock(mutex_);
        Slot& slot = slots_[add.slot];
        ++completions_;
        if (inside_add) blame(describe(add) + " called back inside an add");
        if (++add.callbacks > 1) blame(describe(add) + " ended again");
        if (!add.accepted) blame(describe(add) + " was refused and calls back");
        add.said = said.said;
        add.result = said.result;
        add.amount = said.amount;
        add.error = error;
        const std::string wrong = judge(add, slot, port_ends_);
        if (!wrong.empty()) blame(describe(add) + ": " + wrong);
        uint64_t& last = last_done_[add.slot][direction_of(add)][add.by_callback];
        if (add.id < last && !add.on_stale && !add.connection->closed_early) {
            blame(describe(add) + " ended after one that was added later");
        }
        last = std::max(last, add.id);
        // What its caller does next concerns this descriptor only.
        if (!port_ends_ && !slot.in_use && !nobody_opens_) next = add.action.in_callback;
        if (next.empty() || next[0].slot != add.slot) return;
        busy_in_callback_[next[0].slot] = true;
    }
    act_on_own(next[0], true);
    Lock lock(mutex_);
    busy_in_callback_[next[0].slot] = false;
}

void PortRun::remove(int slot_index, bool in_callback) {
    int socket = -1;
    uint64_t before = 0;
    {
        Lock lock(mutex_);
        ++slots_[slot_index].removals;
        socket = slots_[slot_index].now->ours;
        before = adds_.size();
    }
    completion_port_remove(ground_.port, socket);
    Lock lock(mutex_);
    slots_[slot_index].stale = false;
    if (in_callback) return;
    for (uint64_t i = 0; i < before; ++i) {
        const Add& add = adds_[i].add;
        if (add.slot == slot_index && add.accepted && !add.done() &&
            add.connection->ours == socket) {
            blame(describe(add) + " after its removal has returned");
        }
    }
}

void PortRun::remove_async(const Action& action) {
    RemovalContext* context = nullptr;
    int socket = -1;
    bool was_removing = false;
    {
        Lock lock(mutex_);
        Slot& slot = slots_[action.slot];
        was_removing = slot.removing;
        if (!was_removing) ++slot.removals;
        slot.removing = true;
        slot.stale = false;
        socket = slot.now->ours;
        context = &removals_.emplace_back(
            RemovalContext{this, action.slot, action.choice % 2 == 0, action.choice / 2, 0});
    }
    const int code = completion_port_remove_async(ground_.port, socket, on_removed, context);
    Lock lock(mutex_);
    if (code != 0) context->calls = 1;
    if (code == 0 || (code == -EALREADY && was_removing)) return;
    blame("remove_async returned " + std::to_string(code));
}

void PortRun::on_removed(void* context, SOCKET_HANDLE socket) {
    auto& removal = *static_cast<RemovalContext*>(context);
    PortRun& run = *removal.run;
    Slot& slot = run.slots_[removal.slot];
    bool reopens = false;
    {
        Lock lock(run.mutex_);
        if (++removal.calls > 1) run.blame("on_removed came again");
        if (slot.now->ours != socket) run.blame("on_removed names another socket");
        slot.removing = false;
        for (const CallbackContext& each : run.adds_) {
            // One that is being added at this moment may come after it.
            if (each.add.slot == removal.slot && each.add.accepted && !each.add.done() &&
                each.add.connection->ours == socket && !slot.in_use) {
                run.blame(describe(each.add) + " waits after on_removed");
            }
        }
        reopens = removal.reopens && !slot.in_use && !run.port_ends_ && !run.nobody_opens_;
        if (reopens) run.busy_in_callback_[removal.slot] = true;
    }
    if (!reopens) return;
    run.reopen(Action{Verb::kReopen, removal.slot, removal.kind, 0, {}}, true);
    Lock lock(run.mutex_);
    run.busy_in_callback_[removal.slot] = false;
}

void PortRun::reopen(const Action& action, bool in_callback) {
    remove(action.slot, in_callback);
    int socket = -1;
    {
        Lock lock(mutex_);
        Slot& slot = slots_[action.slot];
        // Until on_removed the number must stay what it is.
        if (slot.removing) return;
        socket = slot.now->ours;
        slot.now->ours = -1;
        slot.now->reset = true;
    }
    ground_.world.kernel().close(socket);
    open(action.slot, kKinds[action.choice % kKinds.size()]);
}

void PortRun::close_early(const Action& action) {
    int socket = -1;
    // What the port knows of the number stays, so another kind would be treated as this one.
    const Kind kind = slots_[action.slot].now->kind;
    // Its own end is the second that is opened.
    if (kind == Kind::kPipeWriter) return;
    // Else an edge that was fetched before may try an add on the new one, and leave it there.
    const bool waits_for_edges = action.choice % 2 == 0;
    if (waits_for_edges) ground_.until_quiet();
    {
        Lock lock(mutex_);
        Slot& slot = slots_[action.slot];
        if (slot.removing ||
            std::count(std::begin(busy_in_callback_), std::end(busy_in_callback_), true) != 0) {
            return;
        }
        nobody_opens_ = true;
        slot.stale = true;
        slot.now->closed_early = true;
        for (CallbackContext& context : adds_) {
            Add& add = context.add;
            if (add.slot != action.slot || !add.accepted || add.done()) continue;
            add.left_over |= add.tried && waits_for_edges;
            slot.overtakes = true;
        }
        slot.now->reset = true;
        socket = std::exchange(slot.now->ours, -1);
    }
    // The number is the lowest free one then, and so the next that is given out.
    platform::Kernel& kernel = ground_.world.kernel();
    std::vector<int> fillers;
    do {
        fillers.push_back(ground_.world.eventfd());
    } while (fillers.back() < socket);
    kernel.close(socket);
    open(action.slot, kind);
    for (const int filler : fillers) kernel.close(filler);
    Lock lock(mutex_);
    if (slots_[action.slot].now->ours != socket) blame("the number was not reused");
    nobody_opens_ = false;
}

}  // namespace cport::test
