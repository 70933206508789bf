// Scenarios with operations that begin and end connections.
#include <completionport/connections.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "tests/fault/ledger.h"
#include "tests/fault/scenarios.h"
#include "tests/support/listener.h"

namespace cport::test {
namespace {

using Record = COMPLETION_PORT_COMPLETION;

COMPLETION_PORT_CONNECT_OPERATION connect_form(const Listener& listener) {
    COMPLETION_PORT_CONNECT_OPERATION form{};
    form.address = listener.where();
    form.address_length = listener.length;
    return form;
}

// Where nobody listens: the port of a listener that has gone.
Listener gone_listener() {
    Listener listener = listen_on(AF_INET);
    listener.socket.close();
    return listener;
}

// Connections that callbacks were given.
class Accepted {
 public:
    void add(Descriptor descriptor) {
        if (descriptor.get() < 0) return;
        std::lock_guard lock(mutex_);
        all_.push_back(std::move(descriptor));
    }
    size_t count() {
        std::lock_guard lock(mutex_);
        return all_.size();
    }

 private:
    std::mutex mutex_;
    std::vector<Descriptor> all_;
};

}  // namespace

void accepts(Stage& stage) {
    constexpr int kAccepts = 3;
    Ledger ledger(stage);
    Accepted accepted;
    const Listener listener = listen_on(AF_INET);
    const int number = listener.socket.get();
    sockaddr_storage from{};
    uint32_t length = sizeof(from);
    for (int i = 0; i < kAccepts; ++i) {
        COMPLETION_PORT_ACCEPT_OPERATION form{};
        if (i == 0) {
            form.address = reinterpret_cast<sockaddr*>(&from);
            form.address_length = &length;
        }
        form.accept_flags = SOCK_NONBLOCK;
        ledger.submit(form, COMPLETION_PORT_KIND_ACCEPT, number,
                      [&](const Record& record) { accepted.add(ledger.take_over(record)); });
    }
    std::array<Descriptor, kAccepts> clients;
    for (Descriptor& client : clients) client = connect_to(listener);
    ledger.wait_for_all();
    stage.expect_if_undisturbed(accepted.count() == kAccepts, "a connection was not accepted");

    // One that a waiter takes, and one that nobody takes: that is the port's to close.
    COMPLETION_PORT_ACCEPT_OPERATION form{};
    ledger.submit_for_waiters(form, COMPLETION_PORT_KIND_ACCEPT, number, [&](const Record& record) {
        accepted.add(ledger.take_over(record));
    });
    Descriptor taken = connect_to(listener);
    ledger.take_records();
    ledger.submit_for_waiters(form, COMPLETION_PORT_KIND_ACCEPT, number);
    ledger.submit(form, COMPLETION_PORT_KIND_ACCEPT, number,
                  [&](const Record& record) { accepted.add(ledger.take_over(record)); });
    Descriptor untaken = connect_to(listener);
    Descriptor last = connect_to(listener);
    ledger.wait_for_all();
    stage.remove(number);
}

void accepts_that_go_on(Stage& stage) {
    constexpr size_t kConnections = 5;
    Ledger ledger(stage);
    Accepted accepted;
    const Listener listener = listen_on(AF_UNIX);
    const int number = listener.socket.get();
    COMPLETION_PORT_ACCEPT_OPERATION form{};
    form.common.flags = COMPLETION_PORT_FLAG_MULTISHOT;
    const auto take = [&](const Record& record) {
        accepted.add(ledger.take_over(record));
        if ((record.flags & COMPLETION_PORT_COMPLETION_MORE) == 0) return;
        if (accepted.count() != kConnections) return;
        ledger.expect_known(completion_port_cancel(stage.port(), record.operation),
                            "an accept cannot be cancelled in its callback");
    };
    ledger.submit(form, COMPLETION_PORT_KIND_ACCEPT, number, take);
    std::array<Descriptor, kConnections> clients;
    for (Descriptor& client : clients) client = connect_to(listener);
    ledger.wait_for_all();
    stage.expect_if_undisturbed(accepted.count() == kConnections, "a connection was not accepted");

    // What waits when it ends early, or is removed, is left to the next.
    Descriptor left = connect_to(listener);
    COMPLETION_PORT_ACCEPT_OPERATION one{};
    ledger.submit(one, COMPLETION_PORT_KIND_ACCEPT, number,
                  [&](const Record& record) { accepted.add(ledger.take_over(record)); });
    ledger.wait_for_all();
    ledger.submit(form, COMPLETION_PORT_KIND_ACCEPT, number, take);
    stage.remove(number);
    ledger.wait_for_all();
}

void connects(Stage& stage) {
    Ledger ledger(stage);
    ledger.allow(ECONNREFUSED);
    // What a connect leaves that failed in another way than the kernel knows of.
    if (!stage.undisturbed()) {
        ledger.allow(ENOTCONN);
        ledger.allow(ECONNABORTED);
    }
    for (const int family : {AF_INET, AF_UNIX}) {
        const Listener listener = listen_on(family);
        const Descriptor ours = socket_of_family(family, SOCK_NONBLOCK);
        if (family == AF_INET) {
            const Listener gone = gone_listener();
            COMPLETION_PORT_CONNECT_OPERATION refused = connect_form(gone);
            ledger.submit(refused, COMPLETION_PORT_KIND_CONNECT, ours.get());
            ledger.wait_for_all();
        }
        // After a failure the same socket may connect again.
        std::atomic<bool> connected = false;
        std::atomic<bool> sent = false;
        const auto note = [](std::atomic<bool>& what) {
            return [&what](const Record& record) {
                what = record.result == COMPLETION_PORT_RESULT_OK;
            };
        };
        COMPLETION_PORT_CONNECT_OPERATION form = connect_form(listener);
        const std::string greeting = "hello";
        const uint64_t connecting =
            ledger.submit(form, COMPLETION_PORT_KIND_CONNECT, ours.get(), note(connected));
        if (connecting != 0) ledger.send(ours.get(), greeting, 0, note(sent));
        ledger.wait_for_all();
        stage.expect(connected || !sent, "a send went before its connect");
        stage.expect_if_undisturbed(sent, "a connect failed without need");
        if (sent) {
            const Descriptor theirs(::accept(listener.socket.get(), nullptr, nullptr));
            stage.expect(read_exactly(theirs.get(), greeting.size()) == greeting,
                         "other bytes were sent");
        }
        stage.remove(ours.get());
    }
}

// One that is cancelled and one that expires: nobody answers them.
void connects_that_end_early(Stage& stage) {
    Ledger ledger(stage);
    ledger.allow(EINPROGRESS);
    // A backlog that is full answers no more.
    const Listener listener = listen_on(AF_INET, 0);
    std::array<Descriptor, 3> fillers;
    for (Descriptor& filler : fillers) {
        filler = socket_of_family(AF_INET, SOCK_NONBLOCK);
        static_cast<void>(::connect(filler.get(), listener.where(), listener.length));
    }
    std::array<Descriptor, 3> sockets;
    for (Descriptor& socket : sockets) socket = socket_of_family(AF_INET, SOCK_NONBLOCK);
    COMPLETION_PORT_CONNECT_OPERATION form = connect_form(listener);
    const uint64_t cancelled = ledger.submit(form, COMPLETION_PORT_KIND_CONNECT, sockets[0].get());
    ledger.submit(form, COMPLETION_PORT_KIND_CONNECT, sockets[1].get());
    COMPLETION_PORT_CONNECT_OPERATION expires = connect_form(listener);
    expires.common.deadline_ns = static_cast<uint64_t>(now_ns() + 3 * kMillisecond_ns);
    ledger.submit(expires, COMPLETION_PORT_KIND_CONNECT, sockets[2].get());
    if (cancelled != 0) {
        ledger.expect_known(completion_port_cancel(stage.port(), cancelled),
                            "a cancel was refused without need");
    }
    stage.remove(sockets[0].get());
    stage.remove(sockets[1].get());
    ledger.wait_for_all();
    stage.remove(sockets[2].get());
}

void shutdowns(Stage& stage) {
    Ledger ledger(stage);
    ledger.allow(EPIPE);
    Pair pair = tcp_pair();
    const int ours = pair.ours.get();
    const std::string bytes = "the last bytes";
    COMPLETION_PORT_SHUTDOWN_OPERATION form{};
    form.how = SHUT_WR;
    std::atomic<bool> sent = false;
    std::atomic<bool> shut = false;
    ledger.send(ours, bytes, 0,
                [&](const Record& record) { sent = record.result == COMPLETION_PORT_RESULT_OK; });
    ledger.submit(form, COMPLETION_PORT_KIND_SHUTDOWN, ours,
                  [&](const Record& record) { shut = record.result == COMPLETION_PORT_RESULT_OK; });
    ledger.wait_for_all();
    if (!shut) ::shutdown(ours, SHUT_WR);
    const std::string arrived = read_to_end(pair.theirs.get());
    stage.expect(!sent || arrived == bytes, "a shutdown cut off what was sent before it");
    stage.expect_if_undisturbed(shut && sent, "a shutdown failed without need");

    // A receive that waits ends with the reading side.
    const Pair other = unix_pair();
    const int reading = other.ours.get();
    ledger.receive(reading);
    form.how = SHUT_RD;
    const auto end_otherwise = [&](const Record& record) {
        if (record.result != COMPLETION_PORT_RESULT_OK) stage.remove(reading);
    };
    if (ledger.submit(form, COMPLETION_PORT_KIND_SHUTDOWN, reading, end_otherwise) == 0) {
        stage.remove(reading);
    }
    ledger.wait_for_all();
    stage.remove(ours);
    stage.remove(reading);
}

void closes(Stage& stage) {
    Ledger ledger(stage);
    const std::string many(1u << 20, 'x');
    Pair pair = unix_pair();
    const int ours = pair.ours.get();
    ledger.receive(ours);
    ledger.poll(ours, EPOLLIN);
    ledger.send(ours, many);
    ledger.send(ours, many);
    ledger.close(std::move(pair.ours));
    ledger.wait_for_all();
    // From a callback; its record closes another one, and the number may be in use again there.
    Pair second = tcp_pair();
    Pair third = tcp_pair();
    ledger.post(1, [&](const Record&) {
        ledger.close(std::move(second.ours), [&](const Record&) {
            Pair reused = unix_pair();
            ledger.receive(reused.ours.get());
            ledger.close(std::move(reused.ours));
        });
    });
    ledger.wait_for_all();
    // One that nobody waits for happens all the same.
    COMPLETION_PORT_CLOSE_OPERATION form{};
    const int last = third.ours.get();
    stage.faults().ask_to_close(last);
    if (ledger.submit_for_waiters(form, COMPLETION_PORT_KIND_CLOSE, last) != 0) {
        third.ours.release();
    } else {
        stage.expect(stage.faults().take_back(last), "a refused close closed the descriptor");
    }
    stage.shutdown();
    ledger.wait_for_all();
    stage.wait_for_all();
}

}  // namespace cport::test
