// Deadlines of operations: what they end, what they leave alone, and what they leave behind.
#include <errno.h>
#include <poll.h>

#include <array>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include "tests/contract/operations_fixture.h"
#include "tests/contract/timing.h"

namespace cport::test {
namespace {

constexpr int64_t kSoon_ns = 100 * kMillisecond_ns;
// More than any socket buffer takes.
constexpr size_t kManyBytes = 16u << 20;

class DeadlineTest : public OperationsTest {
 protected:
    Submission& accepted(Submission& submission, int64_t deadline_ns) {
        submission.with_deadline(deadline_ns);
        submission.then([=](const COMPLETION_PORT_COMPLETION& record) {
            EXPECT_TRUE(record.error != -ETIMEDOUT || now_ns() >= deadline_ns);
        });
        EXPECT_EQ(submission.submit(port()), 0);
        return submission;
    }
    Submission& receive_by(int64_t deadline_ns, int socket, size_t length = 8) {
        return accepted(submission(std::string(length, '\0')).as_receive(socket), deadline_ns);
    }
    Submission& send_by(int64_t deadline_ns, int socket, std::string bytes) {
        return accepted(submission(std::move(bytes)).as_send(socket), deadline_ns);
    }
    Submission& poll_by(int64_t deadline_ns, int socket, uint32_t events) {
        return accepted(submission().as_poll(socket, events), deadline_ns);
    }
};
CPORT_ON_EVERY_ENGINE(DeadlineTest);

// Spec: CP-DEADLINE-1
TEST_P(DeadlineTest, WhatDoesNotCompleteInTimeFails) {
    for (Pair* pair : {&keep(tcp_pair()), &keep(udp_pair()), &keep(unix_pair())}) {
        const int ours = pair->ours.get();
        const int64_t deadline_ns = now_ns() + kSoon_ns;
        Submission& receive = receive_by(deadline_ns, ours);
        Submission& poll = poll_by(deadline_ns, ours, POLLIN);
        EXPECT_EQ(receive.wait(), failed(-ETIMEDOUT));
        EXPECT_EQ(poll.wait(), failed(-ETIMEDOUT));
        EXPECT_EQ(receive.wait_for(1).record.operation, receive.id());
        EXPECT_EQ(receive.wait_for(1).record.buffer, receive.buffer().data());
        // The socket is as it was.
        write_all(pair->theirs.get(), "later");
        EXPECT_EQ(submit_receive(ours, 8).wait(), finished(5));
    }
    Pair& full = keep(tcp_pair());
    fill_send_buffer(full.ours.get());
    EXPECT_EQ(send_by(now_ns() + kSoon_ns, full.ours.get(), "x").wait(), failed(-ETIMEDOUT));
    EXPECT_EQ(poll_by(now_ns() + kSoon_ns, full.ours.get(), POLLOUT).wait(), failed(-ETIMEDOUT));
    EXPECT_EQ(poll_by(now_ns() + kSoon_ns, keep(idle_eventfd()).get(), POLLIN).wait(),
              failed(-ETIMEDOUT));
}

// Spec: CP-DEADLINE-1
TEST_P(DeadlineTest, ADeadlineThatPassesOnTheWayEndsWhatCannotComplete) {
    Pair& pair = keep(tcp_pair());
    Submission* receive = nullptr;
    {
        WorkerHold hold(*this);
        const int64_t deadline_ns = now_ns() + kSoon_ns;
        receive = &receive_by(deadline_ns, pair.ours.get());
        wait_until_time(deadline_ns);
    }
    EXPECT_EQ(receive->wait(), failed(-ETIMEDOUT));
}

// Spec: CP-DEADLINE-1
TEST_P(DeadlineTest, BytesThatAnExpiredReceiveDidNotTakeGoToTheNext) {
    Pair& pair = keep(tcp_pair());
    Submission* receive = nullptr;
    {
        WorkerHold hold(*this);
        const int64_t deadline_ns = now_ns() + kSoon_ns;
        receive = &receive_by(deadline_ns, pair.ours.get());
        wait_until_time(deadline_ns);
        write_all(pair.theirs.get(), "bytes");
        wait_until_unread(pair.ours.get(), 5);
    }
    if (receive->wait() == failed(-ETIMEDOUT)) {
        EXPECT_EQ(submit_receive(pair.ours.get(), 8).bytes(), "bytes");
    } else {
        EXPECT_EQ(receive->bytes(), "bytes");
    }
}

// Spec: CP-DEADLINE-2
TEST_P(DeadlineTest, WhatCompletesInTimeLeavesNothing) {
    Pair& pair = keep(tcp_pair());
    const int ours = pair.ours.get();
    for (int round = 0; round < 3; ++round) {
        const int64_t deadline_ns = now_ns() + 2 * kSoon_ns;
        Submission& receive = receive_by(deadline_ns, ours, 4);
        Submission& send = send_by(deadline_ns, ours, "pong");
        Submission& poll = poll_by(deadline_ns, ours, POLLOUT);
        write_all(pair.theirs.get(), "ping");
        const bool in_time = receive.wait() == finished(4);
        EXPECT_EQ(poll.wait(), finished(POLLOUT));
        EXPECT_EQ(send.wait(), finished(4));
        EXPECT_EQ(read_exactly(pair.theirs.get(), 4), "pong");
        // The slots of before are these ones'. Had anything stayed in the wheel, it would end them.
        std::vector<Submission*> later;
        for (int i = 0; i < 8; ++i) later.push_back(&submit_receive(ours, 4));
        wait_until_time(deadline_ns + 2 * kMillisecond_ns);
        fence();
        for (Submission* receiving : later) EXPECT_EQ(receiving->records(), in_time ? 0u : 1u);
        completion_port_remove(port(), ours);
        ASSERT_TRUE(in_time);
    }
}

// Spec: CP-DEADLINE-3
TEST_P(DeadlineTest, OthersInTheQueueGoOnInTheirOrder) {
    Pair& pair = keep(tcp_pair());
    const int ours = pair.ours.get();
    const int64_t deadline_ns = now_ns() + kSoon_ns;
    Submission& first = submit_receive(ours, 1);
    Submission& second = receive_by(deadline_ns, ours, 1);
    Submission& third = submit_receive(ours, 1);
    Submission& fourth = receive_by(deadline_ns, ours, 1);
    Submission& fifth = receive_by(now_ns() + kHour_ns, ours, 1);
    EXPECT_EQ(second.wait(), failed(-ETIMEDOUT));
    EXPECT_EQ(fourth.wait(), failed(-ETIMEDOUT));
    EXPECT_FALSE(first.completed());
    write_all(pair.theirs.get(), "abc");
    EXPECT_EQ(first.bytes() + third.bytes() + fifth.bytes(), "abc");
}

// Spec: CP-DEADLINE-3
TEST_P(DeadlineTest, TheHeadExpiresAndAReadinessAddBehindItIsLookedAt) {
    Pair& pair = keep(tcp_pair());
    Submission& receive = receive_by(now_ns() + kSoon_ns, pair.ours.get(), 1);
    Operation& ready = watch(pair.ours.get(), EPOLLIN);
    EXPECT_EQ(receive.wait(), failed(-ETIMEDOUT));
    write_all(pair.theirs.get(), "x");
    EXPECT_EQ(ready.wait(), ready_to_read());
}

// Spec: CP-DEADLINE-3
TEST_P(DeadlineTest, ASendThatHasNotBegunEndsAlone) {
    Pair& pair = keep(tcp_pair());
    const int ours = pair.ours.get();
    Submission& first = submit_send(ours, std::string(kManyBytes, '1'));
    Submission& second = send_by(now_ns() + kSoon_ns, ours, "2");
    Submission& third = submit_send(ours, "3");
    EXPECT_EQ(second.wait(), failed(-ETIMEDOUT));
    EXPECT_FALSE(first.completed());
    EXPECT_EQ(read_exactly(pair.theirs.get(), kManyBytes + 1), std::string(kManyBytes, '1') + "3");
    EXPECT_EQ(first.wait(), finished(kManyBytes));
    EXPECT_EQ(third.wait(), finished(1));
}

// Spec: CP-DEADLINE-4
TEST_P(DeadlineTest, ASendThatExpiresHalfWayFailsThoseBehindIt) {
    Pair& pair = keep(tcp_pair());
    const int ours = pair.ours.get();
    Submission& half = send_by(now_ns() + 3 * kSoon_ns, ours, std::string(kManyBytes, '1'));
    Submission& behind = submit_send(ours, "2");
    Operation& added = send(ours, "3");
    Submission& hurried = send_by(now_ns() + kHour_ns, ours, "4");
    Submission& receive = submit_receive(ours, 1);
    const COMPLETION_PORT_COMPLETION record = half.wait_for(1).record;
    EXPECT_EQ(record.result, COMPLETION_PORT_RESULT_ERROR);
    EXPECT_EQ(record.error, -ETIMEDOUT);
    ASSERT_GT(record.value, 0);
    ASSERT_LT(record.value, static_cast<int64_t>(kManyBytes));
    EXPECT_EQ(behind.wait(), failed(-ECANCELED));
    EXPECT_EQ(added.wait(), write_failed());
    EXPECT_EQ(added.error(), ECANCELED);
    EXPECT_EQ(hurried.wait(), failed(-ECANCELED));
    EXPECT_FALSE(receive.completed());
    // The peer gets what was counted, and what is sent from now on.
    Submission& next = submit_send(ours, "5");
    EXPECT_EQ(read_exactly(pair.theirs.get(), static_cast<size_t>(record.value) + 1),
              std::string(static_cast<size_t>(record.value), '1') + "5");
    EXPECT_EQ(next.wait(), finished(1));
}

// Spec: CP-DEADLINE-5
TEST_P(DeadlineTest, RemoveCancelAndTheEndComeFirst) {
    std::vector<Submission*> removed;
    std::vector<Submission*> cancelled;
    Pair& pair = keep(tcp_pair());
    Pair& other = keep(tcp_pair());
    const int64_t deadline_ns = now_ns() + 3 * kSoon_ns;
    for (int i = 0; i < 4; ++i) {
        removed.push_back(&receive_by(deadline_ns, pair.ours.get()));
        removed.push_back(&poll_by(deadline_ns, pair.ours.get(), POLLIN));
        cancelled.push_back(&receive_by(deadline_ns, other.ours.get()));
        cancelled.push_back(&poll_by(deadline_ns, other.ours.get(), POLLIN));
    }
    completion_port_remove(port(), pair.ours.get());
    for (Submission* submission : cancelled) {
        const int result = completion_port_cancel(port(), submission->id());
        EXPECT_TRUE(result == 0 || result == -ENOENT) << result;
    }
    const auto ended_before = [](const Ending& ending) {
        // Under load the deadline may have been first.
        return ending == abandoned(-ECANCELED) || ending == failed(-ETIMEDOUT);
    };
    for (Submission* submission : removed) EXPECT_TRUE(ended_before(submission->wait()));
    for (Submission* submission : cancelled) EXPECT_TRUE(ended_before(submission->wait()));
    wait_until_time(deadline_ns + 2 * kMillisecond_ns);
    fence();
    std::vector<Submission*> last;
    for (int i = 0; i < 4; ++i) last.push_back(&receive_by(now_ns() + kHour_ns, pair.ours.get()));
    last.push_back(&poll_by(now_ns() + kHour_ns, keep(idle_eventfd()).get(), POLLIN));
    end();
    for (Submission* submission : last) EXPECT_EQ(submission->wait(), abandoned(-ECANCELED));
}

// Spec: CP-DEADLINE-6
TEST_P(DeadlineTest, SuccessAtOnceLeavesNothing) {
    Pair& pair = keep(tcp_pair());
    const int ours = pair.ours.get();
    Submission& claims = submit_receive(ours, 2);
    write_all(pair.theirs.get(), "12");
    EXPECT_EQ(claims.wait(), finished(2));
    write_all(pair.theirs.get(), "now");
    wait_until_unread(ours, 3);
    const int64_t deadline_ns = now_ns() + 2 * kSoon_ns;
    Submission& at_once = submission(std::string(3, '\0')).as_receive(ours);
    Submission& waits = submission(std::string(3, '\0')).as_receive(ours);
    at_once.with_deadline(deadline_ns);
    waits.with_deadline(now_ns() + kHour_ns);
    bool told_inline = false;
    run_on_worker_of(ours, [&] {
        COMPLETION_PORT_COMPLETION record{};
        told_inline = at_once.submit_inline(port(), record) == 1;
        EXPECT_EQ(record.value, 3);
        EXPECT_EQ(waits.submit_inline(port(), record), 0);
    });
    EXPECT_TRUE(told_inline);
    wait_until_time(deadline_ns + 2 * kMillisecond_ns);
    fence();
    EXPECT_FALSE(waits.completed());
}

// Spec: CP-DEADLINE-6
TEST_P(DeadlineTest, WhatHasToWaitInlineExpires) {
    Pair& pair = keep(tcp_pair());
    const int ours = pair.ours.get();
    Submission& receive = submission(std::string(3, '\0')).as_receive(ours);
    Submission& poll = submission().as_poll(ours, POLLIN);
    run_on_worker_of(ours, [&] {
        COMPLETION_PORT_COMPLETION record{};
        EXPECT_EQ(receive.with_deadline(now_ns() + kSoon_ns).submit_inline(port(), record), 0);
        EXPECT_EQ(poll.with_deadline(now_ns() + kSoon_ns).submit_inline(port(), record), 0);
    });
    EXPECT_EQ(receive.wait(), failed(-ETIMEDOUT));
    EXPECT_EQ(poll.wait(), failed(-ETIMEDOUT));
}

// Spec: CP-DEADLINE-7
TEST_P(DeadlineTest, Refuses) {
    Pair& pair = keep(tcp_pair());
    const auto refuse = [&] {
        const auto result_of = [&](uint64_t deadline_ns) {
            Submission& receive = submission("?").as_receive(pair.ours.get());
            receive.common().deadline_ns = deadline_ns;
            return receive.submit(port());
        };
        const auto latest = static_cast<uint64_t>(COMPLETION_PORT_TIME_MAX_NS);
        EXPECT_EQ(result_of(1), -ETIMEDOUT);
        EXPECT_EQ(result_of(static_cast<uint64_t>(now_ns() - 1)), -ETIMEDOUT);
        EXPECT_EQ(result_of(latest + 1), -ERANGE);
        EXPECT_EQ(result_of(UINT64_MAX), -ERANGE);
    };
    refuse();
    run_on_worker(refuse);
    Submission& latest = receive_by(COMPLETION_PORT_TIME_MAX_NS, pair.ours.get(), 1);
    fence();
    EXPECT_FALSE(latest.completed());
    write_all(pair.theirs.get(), "x");
    EXPECT_EQ(latest.wait(), finished(1));
}

// Spec: CP-DEADLINE-1
TEST_P(DeadlineTest, RecordsWithoutCallbackGoToWaiters) {
    Pair& pair = keep(tcp_pair());
    Submission& receive = submission("?").as_receive(pair.ours.get()).for_waiters();
    receive.with_deadline(now_ns() + kSoon_ns);
    ASSERT_EQ(receive.submit(port()), 0);
    const COMPLETION_PORT_COMPLETION record = wait_for_record();
    EXPECT_EQ(ending_of(record), failed(-ETIMEDOUT));
    EXPECT_EQ(record.operation, receive.id());
}

// Spec: CP-DEADLINE-8
TEST_P(DeadlineTest, ExpiriesAgainstData) {
    const size_t kSubmissions = static_cast<size_t>(scaled(20'000, 2'000));
    const uint32_t seed = std::random_device{}();
    std::cout << "seed " << seed << std::endl;
    std::mt19937 random(seed);
    std::array<Pair*, 4> pairs{};
    for (Pair*& pair : pairs) pair = &keep(unix_pair());
    std::vector<Submission*> receives;
    std::array<std::string, 4> received;
    std::array<std::string, 4> written;
    for (size_t i = 0; i < kSubmissions; ++i) {
        const size_t which = random() % pairs.size();
        const int64_t delay_ns = static_cast<int64_t>(random() % 600'000);
        Submission& receive = submission(std::string(2, '\0')).as_receive(pairs[which]->ours.get());
        receive.then([&, which](const COMPLETION_PORT_COMPLETION& record) {
            received[which].append(receive.buffer(), 0, static_cast<size_t>(record.value));
        });
        if (receive.with_deadline(now_ns() + 50'000 + delay_ns).submit(port()) == 0) {
            receives.push_back(&receive);
        }
        const std::string byte(1, static_cast<char>('a' + random() % 26));
        if (::send(pairs[which]->theirs.get(), byte.data(), 1, MSG_DONTWAIT) == 1) {
            written[which] += byte;
        }
    }
    for (Submission* receive : receives) {
        const Ending ending = receive->wait();
        EXPECT_TRUE(ending == failed(-ETIMEDOUT) ||
                    (ending.result == COMPLETION_PORT_RESULT_OK && ending.value > 0));
        EXPECT_EQ(receive->records(), 1u);
    }
    for (size_t i = 0; i < pairs.size(); ++i) {
        EXPECT_EQ(received[i] + read_available(pairs[i]->ours.get()), written[i]);
    }
}

}  // namespace
}  // namespace cport::test
