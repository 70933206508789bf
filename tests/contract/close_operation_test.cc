// Closing a descriptor behind everything that is under way on it.
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <thread>
#include <vector>

#include "tests/contract/kinds_fixture.h"

namespace cport::test {
namespace {

class CloseOperationTest : public KindsTest {
 protected:
    Submission& close_of(int descriptor) {
        Submission& submitted = submission();
        submitted.as<COMPLETION_PORT_CLOSE_OPERATION>(COMPLETION_PORT_KIND_CLOSE, descriptor);
        return submitted;
    }
    static bool is_open(int descriptor) { return ::fcntl(descriptor, F_GETFD) >= 0; }
};
CPORT_ON_EVERY_ENGINE(CloseOperationTest);

// Spec: CP-CLOSE-1
TEST_P(CloseOperationTest, EndsEverythingAndComesLast) {
    for (bool on_owner : {false, true}) {
        for (bool is_unix : {false, true}) {
            Pair pair = is_unix ? unix_pair() : tcp_pair();
            const int number = pair.ours.release();
            fill_send_buffer(number);
            Submission& receive = submit_receive(number, 4);
            Submission& send = submit_send(number, "x");
            Submission& poll = submit_poll(number, POLLPRI);
            Operation& add = this->receive(number, 4);
            fence();
            Submission& close = close_of(number);
            bool was_open = true;
            close.then([&](const COMPLETION_PORT_COMPLETION&) { was_open = is_open(number); });
            if (on_owner) {
                run_on_worker_of(number, [&] { ASSERT_EQ(close.submit(port()), 0); });
            } else {
                ASSERT_EQ(close.submit(port()), 0);
            }
            const COMPLETION_PORT_COMPLETION record = close.wait_for(1).record;
            EXPECT_EQ(ending_of(record), finished(0));
            EXPECT_EQ(record.kind, static_cast<uint32_t>(COMPLETION_PORT_KIND_CLOSE));
            EXPECT_EQ(record.operation, close.id());
            EXPECT_FALSE(was_open);
            for (Submission* ended : {&receive, &send, &poll}) {
                ASSERT_TRUE(ended->completed());
                EXPECT_EQ(ended->wait(), abandoned(-ECANCELED));
                EXPECT_LT(ended->wait_for(1).sequence, close.wait_for(1).sequence);
            }
            EXPECT_EQ(add.wait(), closing());
        }
    }
}

// Spec: CP-CLOSE-1
TEST_P(CloseOperationTest, ThePeerSeesTheEnd) {
    for (bool is_unix : {false, true}) {
        Pair pair = is_unix ? unix_pair() : tcp_pair();
        const int number = pair.ours.release();
        EXPECT_EQ(submit_send(number, "bye").wait(), finished(3));
        ASSERT_EQ(close_of(number).submit(port()), 0);
        EXPECT_EQ(read_to_end(pair.theirs.get()), "bye");
    }
}

// Spec: CP-CLOSE-2
TEST_P(CloseOperationTest, RefusesAddsUntilItIsDone) {
    Pair pair = tcp_pair();
    const int number = pair.ours.release();
    submit_receive(number, 4).then([&](const COMPLETION_PORT_COMPLETION&) {
        // The close is under way.
        Submission& refused = submission("?").as_receive(number);
        EXPECT_EQ(refused.submit(port()), -ECANCELED);
        EXPECT_EQ(close_of(number).submit(port()), -EALREADY);
    });
    fence();
    Submission& close = close_of(number);
    ASSERT_EQ(close.submit(port()), 0);
    EXPECT_EQ(close.wait(), finished(0));
}

// Spec: CP-CLOSE-2
TEST_P(CloseOperationTest, TheNumberMayBeReusedInItsCallback) {
    Pair pair = tcp_pair();
    const int number = pair.ours.release();
    submit_receive(number, 4);
    Pair fresh = unix_pair();
    Submission& receive = submission("????").as_receive(number);
    Submission& close = close_of(number);
    close.then([&](const COMPLETION_PORT_COMPLETION&) {
        EXPECT_EQ(::dup2(fresh.ours.get(), number), number);
        EXPECT_EQ(receive.submit(port()), 0);
    });
    ASSERT_EQ(close.submit(port()), 0);
    EXPECT_EQ(close.wait(), finished(0));
    fence();
    write_all(fresh.theirs.get(), "new!");
    EXPECT_EQ(receive.wait(), finished(4));
    Submission& again = close_of(number);
    ASSERT_EQ(again.submit(port()), 0);
    EXPECT_EQ(again.wait(), finished(0));
}

// Spec: CP-CLOSE-3
TEST_P(CloseOperationTest, RefusesBadForms) {
    using Close = COMPLETION_PORT_CLOSE_OPERATION;
    Pair& pair = keep(tcp_pair());
    const auto good = form<Close>(COMPLETION_PORT_KIND_CLOSE, pair.ours.get());
    EXPECT_EQ(submit_changed(good, [](Close& c) { c.common.descriptor = -1; }), -EBADF);
    const int closed = closed_number();
    EXPECT_EQ(submit_changed(good, [&](Close& c) { c.common.descriptor = closed; }), -EBADF);
    const auto flagged = [](Close& c) { c.common.flags = COMPLETION_PORT_FLAG_MULTISHOT; };
    EXPECT_EQ(submit_changed(good, flagged), -EINVAL);
    EXPECT_EQ(submit_changed(good, [](Close& c) { c.common.deadline_ns = now_ns() + kSoon_ns; }),
              -EINVAL);
    Close at_once = good;
    at_once.common.flags = COMPLETION_PORT_FLAG_INLINE;
    COMPLETION_PORT_COMPLETION record{};
    EXPECT_EQ(completion_port_submit(port(), &at_once.common, nullptr, &record), -EINVAL);
    Descriptor& directory = keep(Descriptor(::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC)));
    EXPECT_EQ(submit_changed(good, [&](Close& c) { c.common.descriptor = directory.get(); }),
              -EPERM);
    ASSERT_EQ(completion_port_shutdown(port()), 0);
    EXPECT_EQ(submit(good), -ESHUTDOWN);
    end();
    EXPECT_TRUE(is_open(pair.ours.get()));
    EXPECT_TRUE(is_open(directory.get()));
}

// Spec: CP-CLOSE-3
TEST_P(CloseOperationTest, ANumberThatWasClosedMeanwhileIsRefused) {
    Pair pair = tcp_pair();
    EXPECT_EQ(submit_send(pair.ours.get(), "x").wait(), finished(1));
    const int number = pair.ours.get();
    pair.ours.close();
    EXPECT_EQ(close_of(number).submit(port()), -EBADF);
}

// Spec: CP-CLOSE-4
TEST_P(CloseOperationTest, CannotBeCancelledAndHappensWhateverBecomesOfThePort) {
    Pair pair = tcp_pair();
    const int number = pair.ours.release();
    Submission& close = close_of(number);
    Submission& idle = close_of(idle_eventfd().release());
    {
        WorkerHold hold(*this);
        ASSERT_EQ(close.submit(port()), 0);
        ASSERT_EQ(idle.submit(port()), 0);
        const int cancel = completion_port_cancel(port(), close.id());
        EXPECT_TRUE(cancel == 0 || cancel == -ENOENT);
        ASSERT_EQ(completion_port_shutdown(port()), 0);
    }
    EXPECT_EQ(close.wait(), finished(0));
    EXPECT_EQ(idle.wait(), finished(0));
    EXPECT_FALSE(is_open(number));
}

// Spec: CP-CLOSE-5
TEST_P(CloseOperationTest, AddsThatRaceItCompleteBeforeItOrAreRefused) {
    // An adder that is so far ahead waits for the close, however long that thread rests.
    constexpr size_t kAhead = 500;
    const int rounds = scaled(400, 50);
    for (int i = 0; i < rounds; ++i) {
        Pair pair = unix_pair();
        const int number = pair.ours.release();
        std::array<std::vector<Submission*>, 2> accepted;
        std::array<Gate, 2> begun;
        std::array<std::thread, 2> adders;
        std::atomic<bool> closing{false};
        std::atomic<bool> told{false};
        for (size_t k = 0; k < adders.size(); ++k) {
            adders[k] = std::thread([&, k] {
                // Until the close refuses it. One that came right before the number was closed made
                // the port know it again, and until that meets its end nothing refuses the others.
                while (!told.load()) {
                    Submission& receive = submission("?").as_receive(number);
                    if (receive.submit(port()) != 0) return;
                    accepted[k].push_back(&receive);
                    if (accepted[k].size() == 2) begun[k].open();
                    if (accepted[k].size() == kAhead) closing.wait(false);
                }
            });
        }
        for (Gate& gate : begun) gate.wait();
        Submission& close = close_of(number);
        // Held back, so that no add meets the number after it was closed.
        Gate adders_ended;
        close.then([&](const COMPLETION_PORT_COMPLETION&) {
            told.store(true);
            adders_ended.wait();
        });
        closing.store(true);
        closing.notify_all();
        ASSERT_EQ(close.submit(port()), 0);
        for (std::thread& adder : adders) adder.join();
        adders_ended.open();
        const Recorded last = close.wait_for(1);
        EXPECT_EQ(ending_of(last.record), finished(0));
        for (const auto& receives : accepted) {
            for (Submission* receive : receives) {
                const Recorded ended = receive->wait_for(1);
                // Else it came when nothing refused it any more, and nothing was open either.
                if (ended.sequence > last.sequence) {
                    const Ending ending = ending_of(ended.record);
                    EXPECT_TRUE(ending == failed(-EBADF) || ending == abandoned(-ECANCELED))
                        << ::testing::PrintToString(ending);
                }
            }
        }
        EXPECT_EQ(read_to_end(pair.theirs.get()), "");
    }
}

}  // namespace
}  // namespace cport::test
