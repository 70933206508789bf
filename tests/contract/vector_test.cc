// Several pieces of memory in one operation.
#include <algorithm>
#include <numeric>

#include "tests/contract/kinds_fixture.h"

namespace cport::test {
namespace {

// Pieces of one string.
struct Pieces {
    explicit Pieces(std::string all, const std::vector<size_t>& lengths) : bytes(std::move(all)) {
        size_t from = 0;
        for (size_t length : lengths) {
            vectors.push_back({bytes.data() + from, length});
            from += length;
        }
        EXPECT_EQ(from, bytes.size());
    }
    explicit Pieces(const std::vector<size_t>& lengths)
        : Pieces(std::string(std::accumulate(lengths.begin(), lengths.end(), size_t{0}), '?'),
                 lengths) {}

    std::string bytes;
    std::vector<iovec> vectors;
};

class VectorTest : public KindsTest {
 protected:
    Submission& receive_into(int descriptor, const Pieces& pieces) {
        Submission& submitted = submission();
        fill(submitted.as<COMPLETION_PORT_RECEIVE_VECTOR_OPERATION>(
                 COMPLETION_PORT_KIND_RECEIVE_VECTOR, descriptor),
             pieces);
        return submitted;
    }
    Submission& send_from(int descriptor, const Pieces& pieces) {
        Submission& submitted = submission();
        fill(submitted.as<COMPLETION_PORT_SEND_VECTOR_OPERATION>(COMPLETION_PORT_KIND_SEND_VECTOR,
                                                                 descriptor),
             pieces);
        return submitted;
    }
    template <typename Structure>
    static void fill(Structure& structure, const Pieces& pieces) {
        structure.vectors = pieces.vectors.data();
        structure.count = static_cast<uint32_t>(pieces.vectors.size());
    }
    template <typename Structure>
    void expect_refusals(uint32_t kind) {
        Pair& pair = keep(tcp_pair());
        const Pieces pieces({2, 3});
        auto good = form<Structure>(kind, pair.ours.get());
        fill(good, pieces);
        expect_common_refusals(good);
        EXPECT_EQ(submit_changed(good, [](Structure& s) { s.common.descriptor = -1; }), -EBADF);
        EXPECT_EQ(submit_changed(good, [](Structure& s) { s.vectors = nullptr; }), -EINVAL);
        EXPECT_EQ(submit_changed(good, [](Structure& s) { s.count = 0; }), -EINVAL);
        EXPECT_EQ(submit_changed(good, [](Structure& s) { s.reserved = 1; }), -EINVAL);
        const Pieces too_many(std::vector<size_t>(COMPLETION_PORT_VECTORS_MAX + 1, 1));
        EXPECT_EQ(submit_changed(good, [&](Structure& s) { fill(s, too_many); }), -EINVAL);
        Pieces changed({2, 3});
        const auto with_changed = [&](Structure& s) { fill(s, changed); };
        changed.vectors[1].iov_len = 0;
        EXPECT_EQ(submit_changed(good, with_changed), -EINVAL);
        changed.vectors[1] = {nullptr, 3};
        EXPECT_EQ(submit_changed(good, with_changed), -EINVAL);
        changed.vectors[1] = {changed.bytes.data(), size_t{INT32_MAX} - 1};
        EXPECT_EQ(submit_changed(good, with_changed), -EINVAL);
        changed.vectors[1] = {changed.bytes.data(), SIZE_MAX};
        EXPECT_EQ(submit_changed(good, with_changed), -EINVAL);
        fence();
        EXPECT_EQ(read_available(pair.theirs.get()), "");
    }
    std::vector<Pair*> streams() { return {&keep(tcp_pair()), &keep(unix_pair())}; }
};
CPORT_ON_EVERY_ENGINE(VectorTest);

// Spec: CP-VECTOR-1
TEST_P(VectorTest, SendsThePiecesOneAfterTheOther) {
    for (Pair* pair : streams()) {
        const Pieces pieces("one, two, three", {3, 6, 1, 5});
        Submission& send = send_from(pair->ours.get(), pieces);
        ASSERT_EQ(send.submit(port()), 0);
        const COMPLETION_PORT_COMPLETION record = send.wait_for(1).record;
        EXPECT_EQ(ending_of(record), finished(15));
        EXPECT_EQ(record.kind, static_cast<uint32_t>(COMPLETION_PORT_KIND_SEND_VECTOR));
        EXPECT_EQ(record.buffer, pieces.vectors.data());
        EXPECT_EQ(read_exactly(pair->theirs.get(), 15), "one, two, three");
    }
}

// Spec: CP-VECTOR-1
TEST_P(VectorTest, ReceivesWhatIsThereIntoThePieces) {
    for (Pair* pair : streams()) {
        const Pieces pieces({2, 4, 8});
        Submission& receive = receive_into(pair->ours.get(), pieces);
        ASSERT_EQ(receive.submit(port()), 0);
        fence();
        write_all(pair->theirs.get(), "12345");
        EXPECT_EQ(receive.wait(), finished(5));
        EXPECT_EQ(pieces.bytes, "12345?????????");
        half_close(pair->theirs.get());
        Submission& end = receive_into(pair->ours.get(), pieces);
        ASSERT_EQ(end.submit(port()), 0);
        EXPECT_EQ(end.wait(), finished(0));
    }
}

// Spec: CP-VECTOR-2
TEST_P(VectorTest, GoesOnInTheMiddleOfAPiece) {
    constexpr size_t kBytes = 12u << 20;
    // As many as there may be, of all lengths: some are longer than a round's bytes.
    std::vector<size_t> lengths;
    for (size_t i = 1; i < COMPLETION_PORT_VECTORS_MAX; ++i) lengths.push_back(i);
    lengths.push_back(kBytes - std::accumulate(lengths.begin(), lengths.end(), size_t{0}));
    for (Pair* pair : streams()) {
        const Pieces sent(pattern(kBytes), lengths);
        std::reverse(lengths.begin(), lengths.end());
        const Pieces received(lengths);
        Submission& send = send_from(pair->ours.get(), sent);
        ASSERT_EQ(send.submit(port()), 0);
        // In parts, since a receive ends when it has taken what is there.
        size_t taken = 0;
        while (taken < kBytes) {
            Pieces rest(std::string(kBytes - taken, '?'), {kBytes - taken});
            Submission& receive = taken == 0 ? receive_into(pair->theirs.get(), received)
                                             : receive_into(pair->theirs.get(), rest);
            ASSERT_EQ(receive.submit(port()), 0);
            const Ending ending = receive.wait();
            ASSERT_EQ(ending.result, COMPLETION_PORT_RESULT_OK);
            ASSERT_GT(ending.value, 0);
            const auto count = static_cast<size_t>(ending.value);
            const std::string& bytes = taken == 0 ? received.bytes : rest.bytes;
            ASSERT_TRUE(bytes.compare(0, count, sent.bytes, taken, count) == 0);
            taken += count;
        }
        EXPECT_EQ(send.wait(), finished(kBytes));
    }
}

// Spec: CP-VECTOR-3
TEST_P(VectorTest, ADatagramIsOneMessage) {
    for (bool is_unix : {false, true}) {
        Pair& pair = keep(is_unix ? unix_pair(SOCK_DGRAM) : udp_pair());
        const Pieces sent("datagram", {1, 2, 5});
        Submission& send = send_from(pair.ours.get(), sent);
        ASSERT_EQ(send.submit(port()), 0);
        EXPECT_EQ(send.wait(), finished(8));
        const Pieces received({6, 6});
        Submission& receive = receive_into(pair.theirs.get(), received);
        ASSERT_EQ(receive.submit(port()), 0);
        EXPECT_EQ(receive.wait(), finished(8));
        EXPECT_EQ(received.bytes, "datagram????");
        const Pieces small({1, 3});
        Submission& cut = receive_into(pair.theirs.get(), small);
        ASSERT_EQ(cut.submit(port()), 0);
        write_all(pair.ours.get(), "too long");
        EXPECT_EQ(cut.wait(), failed(-EMSGSIZE, 4));
        EXPECT_EQ(small.bytes, "too ");
    }
}

// Spec: CP-VECTOR-4
TEST_P(VectorTest, RefusesBadForms) {
    expect_refusals<COMPLETION_PORT_RECEIVE_VECTOR_OPERATION>(COMPLETION_PORT_KIND_RECEIVE_VECTOR);
    expect_refusals<COMPLETION_PORT_SEND_VECTOR_OPERATION>(COMPLETION_PORT_KIND_SEND_VECTOR);
}

// Spec: CP-VECTOR-5
TEST_P(VectorTest, CancelDeadlineAndRemoveEndThem) {
    for (Pair* pair : streams()) {
        const Pieces pieces({2, 2});
        Submission& cancelled = receive_into(pair->ours.get(), pieces);
        Submission& late = receive_into(pair->ours.get(), pieces);
        late.with_deadline(static_cast<int64_t>(now_ns() + kSoon_ns));
        Submission& removed = receive_into(pair->ours.get(), pieces);
        for (Submission* each : {&cancelled, &late, &removed}) ASSERT_EQ(each->submit(port()), 0);
        fence();
        expect_cancelled(cancelled);
        EXPECT_EQ(late.wait(), failed(-ETIMEDOUT));
        completion_port_remove(port(), pair->ours.get());
        EXPECT_EQ(removed.wait(), abandoned(-ECANCELED));

        const Pieces large(pattern(16u << 20), {1u << 20, 15u << 20});
        Submission& send = send_from(pair->ours.get(), large);
        Submission& behind = send_from(pair->ours.get(), pieces);
        ASSERT_EQ(send.submit(port()), 0);
        ASSERT_EQ(behind.submit(port()), 0);
        wait_until_polled(pair->theirs.get(), POLLIN);
        fence();
        EXPECT_EQ(completion_port_cancel(port(), send.id()), 0);
        const Ending ending = send.wait();
        EXPECT_EQ(ending.result, COMPLETION_PORT_RESULT_ABANDONED);
        EXPECT_GT(ending.value, 0);
        // A part went out, and what is behind it would not follow it.
        EXPECT_EQ(behind.wait(), failed(-ECANCELED));
        const auto sent = static_cast<size_t>(ending.value);
        EXPECT_TRUE(read_exactly(pair->theirs.get(), sent) == large.bytes.substr(0, sent));
    }
}

// Spec: CP-VECTOR-5
TEST_P(VectorTest, ABrokenConnectionAbandonsASend) {
    for (Pair* pair : streams()) {
        pair->theirs.close();
        const Pieces pieces("lost", {1, 3});
        for (int i = 0; i < 2; ++i) {
            Submission& send = send_from(pair->ours.get(), pieces);
            ASSERT_EQ(send.submit(port()), 0);
            const Ending ending = send.wait();
            if (i == 1 || ending.result != COMPLETION_PORT_RESULT_OK) {
                EXPECT_EQ(ending.result, COMPLETION_PORT_RESULT_ABANDONED);
            }
            // The reset that answers the first bytes.
            wait_until_polled(pair->ours.get(), 0);
        }
    }
}

}  // namespace
}  // namespace cport::test
