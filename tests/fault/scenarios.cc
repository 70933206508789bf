#include "tests/fault/scenarios.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <functional>
#include <latch>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "tests/support/sockets.h"

namespace cport::test {
namespace {

constexpr size_t kManyBytes = 1u << 20;
constexpr uint32_t kReadBytes = 64;
constexpr int kOneShotIn = static_cast<int>(EPOLLIN | EPOLLET | EPOLLONESHOT);

// As a peer that does not care whether anybody is left to read.
void offer(const Descriptor& socket, std::string_view bytes) {
    static_cast<void>(::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL));
}

void nothing(Stage&) {}

void read(Stage& stage) {
    Pair pair = tcp_pair();
    const int ours = pair.ours.get();
    std::string received;
    auto keep = [&received](const std::string& bytes) { received = bytes; };

    stage.read_all(ours, 10, keep);
    offer(pair.theirs, "later byte");
    stage.wait_for_all();
    stage.expect_if_undisturbed(received == "later byte", "bytes that came after the add are lost");

    offer(pair.theirs, "bytes before");
    stage.read_all(ours, 12, keep);
    stage.wait_for_all();
    stage.expect_if_undisturbed(received == "bytes before", "bytes before the add are lost");

    offer(pair.theirs, "last");
    pair.theirs.close();
    stage.read_all(ours, kReadBytes, keep);
    stage.wait_for_all();
    stage.expect_if_undisturbed(received == "last", "bytes before the end are lost");
    stage.remove(ours);
}

void datagrams(Stage& stage) {
    Pair pair = udp_pair();
    std::atomic<int> bytes = 0;
    auto count = [&bytes](const Ended& ended) { bytes += static_cast<int>(ended.bytes.size()); };
    // One add more than datagrams, since a false alarm may take one; what is left is removed.
    for (int i = 0; i < 3; ++i) stage.read(pair.ours.get(), kReadBytes, count);
    std::atomic<bool> sent = false;
    stage.write(pair.ours.get(), "out", [&sent](const Ended& ended) { sent = ended.ok(); });
    offer(pair.theirs, "one");
    offer(pair.theirs, "two");
    stage.watch(pair.ours.get(), EPOLLOUT);
    stage.remove(pair.ours.get());
    stage.expect(stage.waiting() == 0, "remove returned before the last callback");
    stage.expect(bytes <= 6, "a datagram was delivered twice");
}

void write_with_back_pressure(Stage& stage) {
    Pair pair = unix_pair();
    const std::string bytes = pattern(kManyBytes);
    std::string arrived;
    std::thread peer([&] { arrived = read_to_end(pair.theirs.get()); });
    std::atomic<bool> sent = false;
    stage.write(pair.ours.get(), bytes, [&](const Ended& ended) {
        sent = ended.ok() && ended.amount == static_cast<int32_t>(kManyBytes);
    });
    stage.wait_for_all();
    stage.remove(pair.ours.get());
    pair.ours.close();
    peer.join();
    stage.expect_if_undisturbed(sent, "the send did not end with its whole length");
    stage.expect(!sent || arrived == bytes, "other bytes were sent");
    stage.expect(bytes.compare(0, arrived.size(), arrived) == 0, "bytes were sent out of place");
}

// Sends back what comes, up to the end of the stream or the loss of the peer.
void echo(int socket) {
    char buffer[16384];
    for (;;) {
        const ssize_t count = ::recv(socket, buffer, sizeof(buffer), 0);
        if (count <= 0) return;
        for (ssize_t done = 0; done < count;) {
            const ssize_t sent =
                ::send(socket, buffer + done, static_cast<size_t>(count - done), MSG_NOSIGNAL);
            if (sent < 0) return;
            done += sent;
        }
    }
}

void duplex_with_half_close(Stage& stage) {
    Pair pair = tcp_pair();
    const int ours = pair.ours.get();
    const std::string bytes = pattern(kManyBytes);
    std::thread peer([&pair] {
        echo(pair.theirs.get());
        pair.theirs.close();
    });
    auto half_close_ours = [ours](const Ended&) { ::shutdown(ours, SHUT_WR); };
    if (!stage.write(ours, bytes, half_close_ours)) ::shutdown(ours, SHUT_WR);
    std::string echoed;
    stage.read_all(ours, kManyBytes + 1, [&](const std::string& received) {
        echoed = received;
        // With nobody to read the echo the peer stalls, and the send with it.
        if (received.size() < kManyBytes) stage.remove(ours);
    });
    stage.wait_for_all();
    stage.remove(ours);
    pair.ours.close();
    peer.join();
    stage.expect_if_undisturbed(echoed == bytes, "the echo differs");
}

void readiness(Stage& stage) {
    Pair tcp = tcp_pair();
    Pair pipe = pipe_pair();
    Descriptor event = idle_eventfd();
    std::atomic<int> ready = 0;
    auto count = [&ready](const Ended& ended) { ready += ended.ok() ? 1 : 0; };
    stage.watch(tcp.ours.get(), EPOLLIN, count);
    stage.watch(tcp.ours.get(), EPOLLOUT, count);
    std::atomic<bool> hung_up = false;
    stage.watch(tcp.ours.get(), EPOLLRDHUP, [&hung_up](const Ended& ended) {
        hung_up = ended.action == COMPLETION_PORT_EPOLL_EPOLLRDHUP;
    });
    std::atomic<bool> ended_after_data = false;
    stage.watch(tcp.ours.get(), EPOLLIN | EPOLLRDHUP, [&ended_after_data](const Ended& ended) {
        ended_after_data = ended.action == COMPLETION_PORT_EPOLL_EPOLLRDHUP;
    });
    stage.watch(event.get(), kOneShotIn, count);
    stage.watch(pipe.ours.get(), EPOLLIN, count);
    ::eventfd_t one = 1;
    stage.expect(::write(event.get(), &one, sizeof(one)) == sizeof(one), "eventfd");
    stage.expect(::write(pipe.theirs.get(), "x", 1) == 1, "pipe");
    tcp.theirs.close();
    stage.wait_for_all();
    stage.expect_if_undisturbed(ready == 4, "readiness was not reported");
    stage.expect_if_undisturbed(hung_up && ended_after_data, "the hang-up was not reported");
    for (int descriptor : {tcp.ours.get(), event.get(), pipe.ours.get()}) stage.remove(descriptor);
}

// Reads that wait, a send that is stalled, and readiness that does not come.
void add_what_stays_pending(Stage& stage, int socket) {
    stage.read(socket, kReadBytes);
    stage.read(socket, kReadBytes, {}, EPOLLRDHUP);
    stage.watch(socket, EPOLLIN);
    stage.watch(socket, EPOLLRDHUP);
    stage.write(socket, std::string(kManyBytes, 'x'));
    stage.write(socket, "after");
}

// Spec: CP-REMOVE-7
void remove_pending(Stage& stage) {
    Pair pair = unix_pair();
    add_what_stays_pending(stage, pair.ours.get());
    stage.remove(pair.ours.get());
    stage.expect(stage.waiting() == 0, "remove returned before the last callback");

    std::string received;
    stage.read_all(pair.ours.get(), 1, [&](const std::string& bytes) { received = bytes; });
    offer(pair.theirs, "y");
    stage.wait_for_all();
    stage.expect_if_undisturbed(received == "y", "a removed socket cannot be added again");
    stage.remove(pair.ours.get());
}

// In a callback the number may be closed and reused at once.
void remove_in_callback(Stage& stage) {
    Pair first = unix_pair();
    Pair second = unix_pair();
    const int number = first.ours.get();
    const bool watched = stage.watch(number, EPOLLIN, [&](const Ended&) {
        stage.remove(number);
        ::dup2(second.ours.get(), number);
        stage.read(number, kReadBytes);
    });
    add_what_stays_pending(stage, number);
    offer(first.theirs, "go");
    offer(second.theirs, "new");
    // Without the add that removes, nothing ends the rest.
    if (!watched) stage.remove(number);
    second.theirs.close();
    stage.wait_for_all();
    stage.remove(number);
}

void remove_asynchronously(Stage& stage) {
    Pair first = unix_pair();
    Pair second = unix_pair();
    const int number = first.ours.get();
    add_what_stays_pending(stage, number);
    stage.allow_refusal(ECANCELED);
    const bool accepted = stage.remove_async(number, [&] {
        ::dup2(second.ours.get(), number);
        stage.read(number, kReadBytes);
    });
    // Refused while the removal is under way, else an add to either socket.
    stage.watch(number, EPOLLOUT);
    if (!accepted) stage.remove(number);
    second.theirs.close();
    first.theirs.close();
    stage.wait_for_all();
    stage.remove(number);
}

void shutdown_with_pending(Stage& stage) {
    Pair first = unix_pair();
    Pair second = tcp_pair();
    Descriptor event = idle_eventfd();
    add_what_stays_pending(stage, first.ours.get());
    stage.read(second.ours.get(), kReadBytes, [&](const Ended&) {
        stage.read(second.ours.get(), kReadBytes);  // refused
    });
    stage.watch(event.get(), EPOLLIN);
    stage.shutdown();
    stage.expect(!stage.read(first.ours.get(), kReadBytes), "an ended port accepted an add");
    stage.wait_for_all();
    stage.release();
}

// The last reference is given back by a callback, so the worker frees its port.
void end_in_callback(Stage& stage) {
    Pair pair = unix_pair();
    Descriptor event = ready_eventfd();
    add_what_stays_pending(stage, pair.ours.get());
    stage.ends_in_callback();
    stage.allow_refusal(ESHUTDOWN);
    // The add must have returned before the port may go.
    std::latch added(1);
    const bool accepted = stage.watch(event.get(), EPOLLIN, [&](const Ended&) {
        added.wait();
        stage.release();
    });
    if (accepted) {
        added.count_down();
    } else {
        stage.release();
    }
    stage.wait_for_all();
}

void foreign_threads(Stage& stage) {
    constexpr int kAddsEach = 8;
    auto work = [&stage] {
        Pair pair = unix_pair();
        std::atomic<size_t> received = 0;
        auto count = [&received](const Ended& ended) { received += ended.bytes.size(); };
        for (int i = 0; i < kAddsEach; ++i) {
            offer(pair.theirs, "z");
            stage.read(pair.ours.get(), 1, count);
            stage.watch(pair.ours.get(), EPOLLOUT);
        }
        stage.remove(pair.ours.get());
        stage.expect(received <= kAddsEach, "bytes were delivered twice");
    };
    std::thread one(work);
    std::thread other(work);
    one.join();
    other.join();
    stage.wait_for_all();
}

void add_in_callbacks(Stage& stage) {
    Pair pair = tcp_pair();
    int rounds = 0;
    std::function<void(const Ended&)> again = [&](const Ended& ended) {
        if (!ended.ok() || ended.amount == 0) return;
        if (ended.amount > 0) {
            if (++rounds == 20) return;
            offer(pair.theirs, "n");
        }
        stage.read(pair.ours.get(), kReadBytes, again);
    };
    stage.read(pair.ours.get(), kReadBytes, again);
    offer(pair.theirs, "n");
    stage.wait_for_all();
    stage.expect_if_undisturbed(rounds == 20, "the chain of adds broke off");
    stage.remove(pair.ours.get());
}

// The number is closed and reused behind the port's back.
void closed_without_remove(Stage& stage) {
    Pair first = tcp_pair();
    Pair second = tcp_pair();
    Descriptor event = ready_eventfd();
    const int number = first.ours.get();
    stage.read(number, kReadBytes);
    // When this has ended the worker waits for an event of the first socket.
    stage.watch(event.get(), EPOLLIN);
    stage.remove(event.get());
    ::dup2(second.ours.get(), number);
    stage.read(number, kReadBytes);
    stage.read(number, kReadBytes);
    offer(second.theirs, "x");
    second.theirs.close();
    stage.remove(number);
    stage.expect(stage.waiting() == 0, "remove returned before the last callback");
}

}  // namespace

void use_again(Stage& stage) {
    Pair pair = unix_pair();
    const bool over = stage.undisturbed() || stage.recovered();
    std::string received;
    stage.read_all(pair.ours.get(), 4, [&received](const std::string& bytes) { received = bytes; });
    offer(pair.theirs, "ping");
    stage.wait_for_all();
    stage.expect(!over || received == "ping", "the port cannot be used any more");
    stage.remove(pair.ours.get());
}

const std::vector<Scenario>& scenarios() {
    static const std::vector<Scenario> all{
        {"nothing", nothing},
        {"read", read},
        {"datagrams", datagrams},
        {"write_with_back_pressure", write_with_back_pressure},
        {"duplex_with_half_close", duplex_with_half_close},
        {"readiness", readiness},
        {"remove_pending", remove_pending},
        {"remove_in_callback", remove_in_callback},
        {"remove_asynchronously", remove_asynchronously},
        {"shutdown_with_pending", shutdown_with_pending},
        {"end_in_callback", end_in_callback},
        {"foreign_threads", foreign_threads},
        {"add_in_callbacks", add_in_callbacks},
        {"closed_without_remove", closed_without_remove},
        {"timers", timers},
        {"deadlines", deadlines},
        {"files", files},
        {"several_workers", several_workers, 3},
        {"growth", growth},
        {"growth_of_several_workers", growth, 2},
        {"accepts", accepts},
        {"accepts_that_go_on", accepts_that_go_on},
        {"connects", connects},
        {"connects_that_end_early", connects_that_end_early},
        {"shutdowns", shutdowns},
        {"closes", closes},
        {"vectors", vectors},
        {"messages", messages},
        {"sendfiles", sendfiles},
        {"pipes_and_eventfds", pipes_and_eventfds},
    };
    return all;
}

}  // namespace cport::test
