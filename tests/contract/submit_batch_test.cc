// Several operations in one call.
#include <errno.h>

#include <array>
#include <atomic>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "tests/contract/operations_fixture.h"

namespace cport::test {
namespace {

class SubmitBatchTest : public OperationsTest {
 protected:
    // Submits these; what was accepted must end. Returns what the port returned.
    int submit_batch(const std::vector<Submission*>& submissions) {
        std::vector<const COMPLETION_PORT_OPERATION*> operations;
        for (Submission* submitted : submissions) operations.push_back(&submitted->common());
        ids_.assign(submissions.size(), 0);
        const int accepted = completion_port_submit_batch(
            port(), operations.data(), static_cast<uint32_t>(operations.size()), ids_.data());
        for (int i = 0; i < accepted; ++i) {
            const auto index = static_cast<size_t>(i);
            submissions[index]->accept(ids_[index]);
        }
        return accepted;
    }

    std::vector<uint64_t> ids_;
};
CPORT_ON_EVERY_ENGINE(SubmitBatchTest);

// Spec: CP-SUBMIT-13
TEST_P(SubmitBatchTest, OperationsOfDifferentKinds) {
    Pair& tcp = keep(tcp_pair());
    Pair& udp = keep(udp_pair());
    Descriptor& event = keep(ready_eventfd());
    Submission& receive = submission("????").as_receive(tcp.ours.get());
    Submission& send = submission("send").as_send(udp.ours.get());
    Submission& poll = submission().as_poll(event.get(), POLLIN);
    ASSERT_EQ(submit_batch({&receive, &send, &poll}), 3);
    EXPECT_EQ(std::set<uint64_t>(ids_.begin(), ids_.end()).size(), 3u);
    write_all(tcp.theirs.get(), "four");
    EXPECT_EQ(receive.wait(), finished(4));
    EXPECT_EQ(send.wait(), finished(4));
    EXPECT_EQ(poll.wait(), finished(POLLIN));
    for (Submission* submitted : {&receive, &send, &poll}) {
        EXPECT_NE(submitted->id(), 0u);
        EXPECT_EQ(submitted->wait_for(1).record.operation, submitted->id());
    }
}

// Spec: CP-SUBMIT-13
TEST_P(SubmitBatchTest, ItsOrderIsKept) {
    Pair& tcp = keep(tcp_pair());
    std::vector<Submission*> sends;
    std::string expected;
    for (int i = 0; i < 100; ++i) {
        const std::string bytes = std::to_string(i) + ",";
        expected += bytes;
        sends.push_back(&submission(bytes).as_send(tcp.ours.get()));
    }
    ASSERT_EQ(submit_batch(sends), 100);
    EXPECT_EQ(read_exactly(tcp.theirs.get(), expected.size()), expected);
    for (size_t i = 1; i < sends.size(); ++i) {
        EXPECT_LT(sends[i - 1]->wait_for(1).sequence, sends[i]->wait_for(1).sequence);
    }
}

// Spec: CP-SUBMIT-13 CP-SUBMIT-4
TEST_P(SubmitBatchTest, ARefusedOneInTheMiddleEndsIt) {
    Descriptor& event = keep(ready_eventfd());
    Submission& first = submission().as_poll(event.get(), POLLIN);
    Submission& refused = submission().as_poll(event.get(), 0);
    Submission& behind = submission().as_poll(event.get(), POLLIN);
    ASSERT_EQ(submit_batch({&first, &refused, &behind}), 1);
    EXPECT_EQ(first.wait(), finished(POLLIN));
    EXPECT_EQ(ids_[1], 0u);
    EXPECT_EQ(ids_[2], 0u);
    refused.as_poll(closed_number(), POLLIN);
    run_on_worker([&] { EXPECT_EQ(submit_batch({&behind, &refused, &first}), 1); });
    EXPECT_EQ(behind.wait(), finished(POLLIN));
    fence();
    EXPECT_FALSE(refused.completed());
    EXPECT_EQ(first.records(), 1u);
}

// Spec: CP-SUBMIT-13
TEST_P(SubmitBatchTest, TheErrorOfTheFirstIsReturned) {
    Descriptor& event = keep(ready_eventfd());
    Submission& behind = submission().as_poll(event.get(), POLLIN);
    Submission& refused = submission().as_poll(event.get(), 0);
    EXPECT_EQ(submit_batch({&refused, &behind}), -EINVAL);
    refused.as_poll(-1, POLLIN);
    EXPECT_EQ(submit_batch({&refused, &behind}), -EBADF);
    const COMPLETION_PORT_OPERATION* nothing[] = {nullptr};
    EXPECT_EQ(completion_port_submit_batch(port(), nothing, 1, nullptr), -EINVAL);
    fence();
    EXPECT_FALSE(behind.completed());
    ASSERT_EQ(completion_port_shutdown(port()), 0);
    EXPECT_EQ(submit_batch({&behind}), -ESHUTDOWN);
}

// Spec: CP-SUBMIT-14
TEST_P(SubmitBatchTest, WhatIsRefusedAsAWhole) {
    Descriptor& event = keep(ready_eventfd());
    Submission& poll = submission().as_poll(event.get(), POLLIN);
    const COMPLETION_PORT_OPERATION* operations[] = {&poll.common()};
    EXPECT_EQ(completion_port_submit_batch(nullptr, operations, 1, nullptr), -EINVAL);
    EXPECT_EQ(completion_port_submit_batch(port(), nullptr, 1, nullptr), -EINVAL);
    EXPECT_EQ(completion_port_submit_batch(port(), operations, 0, nullptr), -EINVAL);
    EXPECT_EQ(completion_port_submit_batch(port(), operations, UINT32_MAX, nullptr), -EINVAL);
    poll.common().flags = COMPLETION_PORT_FLAG_INLINE;
    EXPECT_EQ(submit_batch({&poll}), -EINVAL);
    run_on_worker([&] { EXPECT_EQ(submit_batch({&poll}), -EINVAL); });
    fence();
    EXPECT_FALSE(poll.completed());
}

// Spec: CP-SUBMIT-13
TEST_P(SubmitBatchTest, IdsMayBeLeftOut) {
    Descriptor& event = keep(ready_eventfd());
    Submission& poll = submission().as_poll(event.get(), POLLIN);
    const COMPLETION_PORT_OPERATION* operations[] = {&poll.common(), &poll.common()};
    ASSERT_EQ(completion_port_submit_batch(port(), operations, 2, nullptr), 2);
    poll.accept(0);
    poll.accept(0);
    EXPECT_EQ(ending_of(poll.wait_for(2).record), finished(POLLIN));
}

// Spec: CP-SUBMIT-15
TEST_P(SubmitBatchTest, TheOnlyReferenceGoesWhileTheBatchReturns) {
    const int kRounds = scaled(500, 100);
    constexpr size_t kOperations = 64;
    struct Last {
        COMPLETION_PORT_HANDLE port;
        std::atomic<size_t> records{0};
    };
    Descriptor& ready = keep(ready_eventfd());
    for (int round = 0; round < kRounds; ++round) {
        Last last{GetParam().create(), {}};
        COMPLETION_PORT_POLL_OPERATION poll{};
        poll.common.size = sizeof(poll);
        poll.common.kind = COMPLETION_PORT_KIND_POLL;
        poll.common.descriptor = ready.get();
        poll.common.context = &last;
        poll.common.on_complete = [](void* context, const COMPLETION_PORT_COMPLETION*) {
            auto* self = static_cast<Last*>(context);
            if (self->records.fetch_add(1) == 0) completion_port_dec_ref(self->port);
        };
        poll.events = POLLIN;
        std::array<const COMPLETION_PORT_OPERATION*, kOperations> batch;
        batch.fill(&poll.common);
        const int accepted =
            completion_port_submit_batch(last.port, batch.data(), batch.size(), nullptr);
        ASSERT_GT(accepted, 0);
        while (last.records.load() < static_cast<size_t>(accepted)) std::this_thread::yield();
    }
}

}  // namespace
}  // namespace cport::test
