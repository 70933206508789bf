// Scenarios with timers, with deadlines, and on a port of several workers.
#include <completionport/operations.h>
#include <completionport/timers.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "tests/fault/ledger.h"
#include "tests/fault/scenarios.h"
#include "tests/support/sockets.h"

namespace cport::test {
namespace {

void offer(const Descriptor& socket, std::string_view bytes) {
    static_cast<void>(::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL));
}

}  // namespace

void timers(Stage& stage) {
    Ledger ledger(stage);
    std::atomic<int> expired = 0;
    const auto count = [&](const COMPLETION_PORT_COMPLETION& record) {
        expired += record.result == COMPLETION_PORT_RESULT_OK ? 1 : 0;
    };
    for (int i = 1; i <= 5; ++i) ledger.timer(i * kMillisecond_ns, 0, count);
    // In its third callback a periodic one sets another and cancels itself.
    int rounds = 0;
    ledger.timer(kMillisecond_ns, kMillisecond_ns, [&](const COMPLETION_PORT_COMPLETION& record) {
        if (record.flags == 0 || ++rounds != 3) return;
        ledger.timer(kMillisecond_ns, 0, count);
        const int code = completion_port_cancel(stage.port(), record.operation);
        stage.expect(code == 0, "a timer cannot be cancelled in its callback");
    });
    const uint64_t moved = ledger.timer(kHour_ns, 0, count);
    const uint64_t cancelled = ledger.timer(kHour_ns);
    int codes[] = {-ENOENT, -ENOENT};
    if (moved != 0) {
        codes[0] = completion_port_timer_move(
            stage.port(), moved, static_cast<uint64_t>(now_ns() + 5 * kMillisecond_ns));
        ledger.expect_known(codes[0], "a move was refused without need");
    }
    if (cancelled != 0) codes[1] = completion_port_cancel(stage.port(), cancelled);
    ledger.expect_known(codes[1], "a cancel was refused without need");
    // What could be neither moved nor cancelled waits for the end.
    const bool all_end = (moved == 0 || codes[0] == 0) && (cancelled == 0 || codes[1] == 0);
    if (!all_end) stage.shutdown();
    ledger.wait_for_all();
    stage.expect_if_undisturbed(expired == 7, "a timer did not expire");
    ledger.timer(kHour_ns);
    ledger.timer(kHour_ns, kMillisecond_ns);
    stage.release();
    ledger.wait_for_all();
}

void deadlines(Stage& stage) {
    Ledger ledger(stage);
    const std::string many(4u << 20, 'x');
    Pair pair = tcp_pair();
    const int ours = pair.ours.get();
    std::atomic<int> expired = 0;
    const auto count = [&](const COMPLETION_PORT_COMPLETION& record) {
        expired += record.error == -ETIMEDOUT ? 1 : 0;
    };
    // Refused is what a slow thread submits after its deadline.
    if (ledger.receive(ours, 3 * kMillisecond_ns, count) == 0) ++expired;
    if (ledger.poll(ours, POLLIN, 3 * kMillisecond_ns, count) == 0) ++expired;
    ledger.wait_for_all();
    stage.expect_if_undisturbed(expired == 2, "a deadline did not end its operation");
    // Part of it is taken; then it expires, and what is behind it ends with it.
    ledger.send(ours, many, 20 * kMillisecond_ns);
    ledger.send(ours, "behind", 40 * kMillisecond_ns);
    ledger.wait_for_all();
    // Data, removal and cancel come before the deadline.
    ledger.receive(ours, kHour_ns);
    offer(pair.theirs, "in time");
    ledger.wait_for_all();
    const uint64_t cancelled = ledger.receive(ours, kHour_ns);
    ledger.receive(ours, kHour_ns);
    ledger.poll(ours, POLLPRI, kHour_ns);
    if (cancelled != 0) {
        ledger.expect_known(completion_port_cancel(stage.port(), cancelled),
                            "a cancel was refused without need");
    }
    stage.remove(ours);
    ledger.wait_for_all();
}

// More than one chunk of slots in each way that takes some: each growth may fail.
void growth(Stage& stage) {
    constexpr int kMany = 600;
    Ledger ledger(stage);
    std::vector<uint64_t> ids;
    for (int i = 0; i < kMany; ++i) ids.push_back(ledger.timer(kHour_ns));
    for (int i = 0; i < kMany; ++i) ledger.post(i, {}, false);
    ledger.take_records();
    // From a callback the owner's own slots are used up.
    std::vector<Pair> pairs(8);
    for (Pair& pair : pairs) pair = unix_pair();
    ledger.post(0, [&](const COMPLETION_PORT_COMPLETION&) {
        for (int i = 0; i < kMany; ++i) ledger.timer(kHour_ns);
        for (const Pair& pair : pairs) stage.remove_async(pair.ours.get());
        for (Pair& pair : pairs) ledger.close(std::move(pair.theirs));
    });
    for (const uint64_t id : ids) {
        if (id != 0) {
            ledger.expect_known(completion_port_cancel(stage.port(), id),
                                "a cancel was refused without need");
        }
    }
    stage.wait_for_all();
    stage.shutdown();
    ledger.wait_for_all();
}

// Each worker's callbacks add to, and remove, what belongs to the others.
void several_workers(Stage& stage) {
    constexpr size_t kPairs = 6;
    Ledger ledger(stage);
    std::array<Pair, kPairs> pairs;
    for (Pair& pair : pairs) pair = unix_pair();
    for (size_t i = 0; i < kPairs; ++i) {
        const int next = pairs[(i + 1) % kPairs].ours.get();
        stage.read(pairs[i].ours.get(), 8, [&stage, &ledger, next](const Ended& ended) {
            if (!ended.ok()) return;
            stage.watch(next, EPOLLOUT);
            stage.read(next, 8);
            ledger.timer(kMillisecond_ns);
            stage.remove(next);
        });
    }
    stage.allow_refusal(ECANCELED);
    stage.allow_refusal(EALREADY);
    std::vector<std::thread> threads;
    for (size_t t = 0; t < 2; ++t) {
        threads.emplace_back([&, t] {
            for (size_t i = t; i < kPairs; i += 2) {
                offer(pairs[i].theirs, "go");
                ledger.receive(pairs[i].ours.get(), kHour_ns);
                stage.remove_async(pairs[i].ours.get(), [] {});
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    for (const Pair& pair : pairs) stage.remove(pair.ours.get());
    stage.wait_for_all();
    // What a refused remove_async, or a timer's callback, left.
    stage.shutdown();
    stage.wait_for_all();
    ledger.wait_for_all();
}

}  // namespace cport::test
