// Receives into buffers of a pool.
#include <sys/socket.h>

#include <algorithm>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "tests/contract/buffer_pool_fixture.h"
#include "tests/contract/stats_fixture.h"

namespace cport::test {
namespace {

CPORT_ON_EVERY_ENGINE(BufferPoolTest);

constexpr uint32_t kMultishot = COMPLETION_PORT_FLAG_MULTISHOT;

// Spec: CP-POOL-5
TEST_P(BufferPoolTest, ReceivesFromEveryKindOfDescriptor) {
    COMPLETION_PORT_BUFFER_POOL_HANDLE pool = make_pool();
    const std::function<Pair()> kinds[] = {[] { return tcp_pair(); },
                                           [] { return tcp_pair(AF_INET6); },
                                           [] { return udp_pair(); },
                                           [] { return unix_pair(); },
                                           [] { return unix_pair(SOCK_DGRAM); },
                                           [] { return unix_pair(SOCK_SEQPACKET); },
                                           [] { return pipe_pair(); }};
    for (const auto& make : kinds) {
        for (uint32_t flags : {0u, kMultishot}) {
            for (bool sent_before : {false, true}) {
                const Pair& pair = keep(make());
                const std::string sent = pattern(1000);
                if (sent_before) put(pair.theirs.get(), sent);
                Submission& receive = submit_pooled(pair.ours.get(), pool, flags);
                if (!sent_before) {
                    fence();
                    EXPECT_FALSE(receive.completed());
                    EXPECT_EQ(in_use(pool), 0);
                    put(pair.theirs.get(), sent);
                }
                const COMPLETION_PORT_COMPLETION record = receive.wait_for(1).record;
                EXPECT_EQ(ending_of(record), finished(1000));
                EXPECT_EQ(record.operation, receive.id());
                EXPECT_EQ(record.key, receive.key());
                EXPECT_EQ(record.kind, uint32_t{COMPLETION_PORT_KIND_RECEIVE_POOLED});
                EXPECT_EQ(record.flags, flags == 0 ? 0u : kMore);
                ASSERT_NE(record.buffer, nullptr);
                EXPECT_EQ(in_use(pool), 4 * kKib);
                EXPECT_EQ(take(record, pool), sent);
                completion_port_remove(port(), pair.ours.get());
                EXPECT_EQ(receive.records(), flags == 0 ? 1u : 2u);
            }
        }
    }
}

// Spec: CP-POOL-5 CP-POOL-6
TEST_P(BufferPoolTest, GoesOnInOrderUntilTheStreamEnds) {
    COMPLETION_PORT_BUFFER_POOL_HANDLE pool = make_pool(4 * kKib, 64 * kKib, 16 * 1024 * kKib);
    for (const auto& make : {+[] { return tcp_pair(); }, +[] { return unix_pair(); }}) {
        Pair pair = make();
        Submission& receive = submit_pooled(pair.ours.get(), pool, kMultishot);
        const std::string sent = pattern(3'000'000);
        std::string received;
        bool done = false;
        std::thread writer([&] {
            write_all(pair.theirs.get(), sent);
            half_close(pair.theirs.get());
        });
        for (size_t i = 1; !done; ++i) {
            const COMPLETION_PORT_COMPLETION record = receive.wait_for(i).record;
            ASSERT_EQ(record.result, COMPLETION_PORT_RESULT_OK);
            EXPECT_EQ(record.operation, receive.id());
            done = record.flags != kMore;
            EXPECT_EQ(done, record.value == 0);
            EXPECT_EQ(done, record.buffer == nullptr);
            received += take(record, pool);
        }
        writer.join();
        EXPECT_TRUE(received == sent);
        EXPECT_EQ(in_use(pool), 0);
        // The next one is told the same.
        EXPECT_EQ(submit_pooled(pair.ours.get(), pool).wait(), finished(0));
        completion_port_remove(port(), pair.ours.get());
    }
}

// Spec: CP-POOL-3
TEST_P(BufferPoolTest, IdleConnectionsHoldNoBuffer) {
    constexpr size_t kConnections = 1000;
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
    rlimit more = before;
    more.rlim_cur = std::min<rlim_t>(before.rlim_max, 4 * kConnections);
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &more), 0);
    if (more.rlim_cur < 3 * kConnections) GTEST_SKIP() << "too few descriptors";
    COMPLETION_PORT_BUFFER_POOL_HANDLE pool = make_pool(4 * kKib, 4 * kKib, 8 * kKib);
    std::vector<Pair> pairs;
    std::vector<Submission*> receives;
    for (size_t i = 0; i < kConnections; ++i) {
        pairs.push_back(i % 2 == 0 ? unix_pair() : tcp_pair());
        receives.push_back(&submit_pooled(pairs[i].ours.get(), pool, kMultishot));
    }
    fence();
    EXPECT_EQ(in_use(pool), 0);
    for (size_t i = 0; i < kConnections; ++i) {
        const std::string sent = pattern(64, static_cast<uint32_t>(i));
        write_all(pairs[i].theirs.get(), sent);
        EXPECT_EQ(take(receives[i]->wait_for(1).record, pool), sent);
    }
    fence();
    EXPECT_EQ(in_use(pool), 0);
    for (size_t i = 0; i < kConnections; ++i) {
        EXPECT_EQ(receives[i]->records(), 1u);
        completion_port_remove(port(), pairs[i].ours.get());
    }
    EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
}

// Spec: CP-POOL-7 CP-POOL-4
TEST_P(BufferPoolTest, APoolThatIsUsedUpEndsItAndNothingIsLost) {
    COMPLETION_PORT_BUFFER_POOL_HANDLE pool = make_pool(kKib, kKib, 2 * kKib);
    const std::function<Pair()> kinds[] = {[] { return tcp_pair(); }, [] { return unix_pair(); },
                                           [] { return pipe_pair(); }};
    for (const auto& make : kinds) {
        const Pair& pair = keep(make());
        const std::string sent = pattern(5 * kKib);
        put(pair.theirs.get(), sent);
        Submission& first = submit_pooled(pair.ours.get(), pool, kMultishot);
        EXPECT_EQ(ending_of(first.wait_for_last().record), failed(-ENOBUFS));
        ASSERT_EQ(first.records(), 3u);
        EXPECT_EQ(first.wait_for(3).record.buffer, nullptr);
        EXPECT_EQ(in_use(pool), 2 * kKib);
        // Without MULTISHOT the same.
        EXPECT_EQ(submit_pooled(pair.ours.get(), pool).wait(), failed(-ENOBUFS));
        std::string received = take_all(first, pool, 2 * kKib);
        Submission& second = submit_pooled(pair.ours.get(), pool, kMultishot);
        EXPECT_EQ(ending_of(second.wait_for_last().record), failed(-ENOBUFS));
        received += take_all(second, pool, 2 * kKib);
        Submission& third = submit_pooled(pair.ours.get(), pool);
        received += take(third.wait_for(1).record, pool);
        EXPECT_TRUE(received == sent);
        completion_port_remove(port(), pair.ours.get());
    }
}

// Spec: CP-FAIR-6
TEST_P(BufferPoolTest, ALongRunListDoesNotUseAPoolUp) {
    // A turn takes 64 of them, and its callbacks come behind the posts.
    COMPLETION_PORT_BUFFER_POOL_HANDLE pool = make_pool(kKib, kKib, 128 * kKib);
    const Pair& pair = keep(tcp_pair());
    const std::string sent = pattern(150 * kKib);
    write_all(pair.theirs.get(), sent);
    ::shutdown(pair.theirs.get(), SHUT_WR);
    std::string received;
    Submission& receive = pooled(pair.ours.get(), pool, kMultishot);
    receive.then([&](const COMPLETION_PORT_COMPLETION& record) { received += take(record, pool); });
    run_on_worker_of(pair.ours.get(), [&] {
        EXPECT_EQ(receive.submit(port()), 0);
        const auto nothing = [](void*, const COMPLETION_PORT_COMPLETION*) {};
        for (int i = 0; i < 2000; ++i) {
            EXPECT_EQ(completion_port_post(port(), 0, 0, nothing, nullptr), 0);
        }
    });
    EXPECT_EQ(ending_of(receive.wait_for_last().record), finished(0));
    EXPECT_TRUE(received == sent);
}

// Spec: CP-POOL-7
TEST_P(BufferPoolTest, APoolThatIsUsedUpLeavesThoseThatHaveNothingToReceive) {
    COMPLETION_PORT_BUFFER_POOL_HANDLE pool = make_pool(kKib, kKib, kKib);
    const Pair& busy = keep(unix_pair());
    const Pair& idle = keep(tcp_pair());
    write_all(busy.theirs.get(), "x");
    const COMPLETION_PORT_COMPLETION held = submit_pooled(busy.ours.get(), pool).wait_for(1).record;
    Submission& waiting = submit_pooled(idle.ours.get(), pool, kMultishot);
    fence();
    EXPECT_FALSE(waiting.completed());
    EXPECT_EQ(take(held, pool), "x");
    write_all(idle.theirs.get(), "y");
    EXPECT_EQ(take(waiting.wait_for(1).record, pool), "y");
    EXPECT_EQ(waiting.records(), 1u);
    completion_port_remove(port(), idle.ours.get());
}

// Spec: CP-STATS-17
TEST_P(BufferPoolTest, WhatIsDeliveredAndWhatEndsForWantOfABufferIsCounted) {
    COMPLETION_PORT_BUFFER_POOL_HANDLE pool = make_pool(kKib, kKib, 2 * kKib);
    const Pair& pair = keep(unix_pair());
    put(pair.theirs.get(), pattern(5 * kKib));
    Submission& receive = submit_pooled(pair.ours.get(), pool, kMultishot);
    EXPECT_EQ(ending_of(receive.wait_for_last().record), failed(-ENOBUFS));
    const COMPLETION_PORT_WORKER_STATS counted = stats_of(port()).total;
    EXPECT_EQ(counted.pool_buffers, 2u);
    EXPECT_EQ(counted.pool_bytes, 2 * kKib);
    EXPECT_EQ(counted.pool_drops, 1u);
    take_all(receive, pool, 2 * kKib);
    completion_port_remove(port(), pair.ours.get());
}

// Spec: CP-POOL-6 CP-POOL-7 CP-POOL-12
TEST_P(BufferPoolTest, ADatagramHasABufferOfItsOwn) {
    COMPLETION_PORT_BUFFER_POOL_HANDLE pool = make_pool(kKib, 4 * kKib, 8 * kKib);
    for (const auto& make : {+[] { return udp_pair(); }, +[] { return unix_pair(SOCK_DGRAM); }}) {
        const Pair& pair = keep(make());
        Submission& receive = submit_pooled(pair.ours.get(), pool, kMultishot);
        std::vector<COMPLETION_PORT_COMPLETION> records;
        const auto exchange = [&](size_t length) {
            const std::string sent = pattern(length, static_cast<uint32_t>(length));
            ASSERT_EQ(::send(pair.theirs.get(), sent.data(), length, 0),
                      static_cast<ssize_t>(length));
            records.push_back(receive.wait_for(records.size() + 1).record);
        };
        for (size_t length : {1, 0, 4096}) exchange(length);
        EXPECT_EQ(records[1].value, 0);
        EXPECT_EQ(records[1].buffer, nullptr);
        EXPECT_EQ(records[1].flags, kMore);
        EXPECT_EQ(in_use(pool), 5 * kKib);
        // None of the largest is left, and smaller ones that these fit.
        for (size_t length : {1024, 2000}) exchange(length);
        EXPECT_EQ(in_use(pool), 8 * kKib);
        EXPECT_EQ(take(records[0], pool), pattern(1, 1));
        // What does not fit the rest is not cut.
        exchange(1025);
        EXPECT_EQ(ending_of(records[5]), failed(-ENOBUFS));
        EXPECT_EQ(take(records[2], pool), pattern(4096, 4096));
        EXPECT_EQ(take(records[3], pool), pattern(1024, 1024));
        EXPECT_EQ(take(records[4], pool), pattern(2000, 2000));
        Submission& next = submit_pooled(pair.ours.get(), pool);
        EXPECT_EQ(take(next.wait_for(1).record, pool), pattern(1025, 1025));
        // Longer than the largest.
        const std::string longer = pattern(5000);
        ASSERT_EQ(::send(pair.theirs.get(), longer.data(), longer.size(), 0), 5000);
        Submission& cut = submit_pooled(pair.ours.get(), pool, kMultishot);
        const COMPLETION_PORT_COMPLETION last = cut.wait_for(1).record;
        EXPECT_EQ(ending_of(last), failed(-EMSGSIZE, 4096));
        EXPECT_EQ(last.flags, 0u);
        EXPECT_EQ(take(last, pool), longer.substr(0, 4096));
        completion_port_remove(port(), pair.ours.get());
    }
}

// Spec: CP-POOL-11
TEST_P(BufferPoolTest, ItsBuffersGrowAndShrinkWithWhatComes) {
    COMPLETION_PORT_BUFFER_POOL_HANDLE pool = make_pool(kKib, 8 * kKib);
    const Pair& pair = keep(unix_pair());
    const auto sizes_of = [&](Submission& receive, size_t from, size_t length) {
        std::vector<int64_t> sizes;
        for (size_t sum = 0; sum < length; sum += static_cast<size_t>(sizes.back())) {
            const COMPLETION_PORT_COMPLETION record = receive.wait_for(from++).record;
            sizes.push_back(record.value);
            take(record, pool);
            if (record.value == 0) break;
        }
        return sizes;
    };
    write_all(pair.theirs.get(), pattern(31 * kKib));
    Submission& receive = submit_pooled(pair.ours.get(), pool, kMultishot);
    EXPECT_EQ(sizes_of(receive, 1, 31 * kKib),
              (std::vector<int64_t>{1024, 2048, 4096, 8192, 8192, 8192}));
    for (size_t i = 0; i < 4; ++i) {
        write_all(pair.theirs.get(), "short");
        EXPECT_EQ(sizes_of(receive, 7 + i, 5), (std::vector<int64_t>{5}));
    }
    {
        WorkerHold hold(*this);
        write_all(pair.theirs.get(), pattern(12 * kKib));
    }
    EXPECT_EQ(sizes_of(receive, 11, 12 * kKib), (std::vector<int64_t>{4096, 8192}));
    completion_port_remove(port(), pair.ours.get());

    write_all(pair.theirs.get(), pattern(8 * kKib));
    Submission& large = submit_pooled(pair.ours.get(), pool, 0, 5 * kKib);
    EXPECT_EQ(sizes_of(large, 1, 1), (std::vector<int64_t>{8192}));
}

// Spec: CP-POOL-12
TEST_P(BufferPoolTest, HoldsWhatItReceivedNotWhatItAskedFor) {
    COMPLETION_PORT_BUFFER_POOL_HANDLE pool = make_pool(4 * kKib, 256 * kKib, 256 * kKib);
    const Pair& pair = keep(tcp_pair());
    Submission& receive = submit_pooled(pair.ours.get(), pool, kMultishot, 256 * kKib);
    std::vector<COMPLETION_PORT_COMPLETION> records;
    for (size_t i = 1; i <= 3; ++i) {
        write_all(pair.theirs.get(), pattern(100, static_cast<uint32_t>(i)));
        records.push_back(receive.wait_for(i).record);
        EXPECT_EQ(in_use(pool), static_cast<int64_t>(i) * 4 * kKib);
    }
    for (uint32_t i = 0; i < 3; ++i) EXPECT_EQ(take(records[i], pool), pattern(100, i + 1));
    completion_port_remove(port(), pair.ours.get());
}

// Spec: CP-POOL-8
TEST_P(BufferPoolTest, BuffersOutliveThePoolAndThePort) {
    COMPLETION_PORT_BUFFER_POOL_HANDLE pool = own_pool(kKib, kKib, 4 * kKib);
    const Pair& pair = keep(tcp_pair());
    const Pair& idle = keep(tcp_pair());
    write_all(pair.theirs.get(), "one");
    Submission& receive = submit_pooled(pair.ours.get(), pool, kMultishot);
    Submission& waiting = submit_pooled(idle.ours.get(), pool, kMultishot);
    const COMPLETION_PORT_COMPLETION one = receive.wait_for(1).record;
    fence();
    completion_port_buffer_pool_destroy(pool);
    EXPECT_EQ(in_use(pool), kKib);
    fence();
    EXPECT_EQ(receive.records(), 1u);
    EXPECT_FALSE(waiting.completed());
    EXPECT_EQ(pooled(pair.ours.get(), pool).submit(port()), -EINVAL);
    write_all(pair.theirs.get(), "two");
    EXPECT_EQ(ending_of(receive.wait_for(2).record), failed(-ENOBUFS));
    EXPECT_EQ(submit_receive(pair.ours.get(), 3).bytes(), "two");
    end();
    EXPECT_EQ(waiting.wait(), abandoned(-ECANCELED));
    EXPECT_EQ(take(one, pool), "one");
}

// Spec: CP-POOL-14
TEST_P(BufferPoolTest, ACancelADeadlineAndARemovalEndIt) {
    COMPLETION_PORT_BUFFER_POOL_HANDLE pool = make_pool();
    for (uint32_t flags : {0u, kMultishot}) {
        const Pair& pair = keep(unix_pair());
        const int ours = pair.ours.get();
        Submission& cancelled = submit_pooled(ours, pool, flags);
        fence();
        expect_cancelled(cancelled);
        Submission& late = pooled(ours, pool, flags);
        late.with_deadline(static_cast<int64_t>(now_ns() + kSoon_ns));
        ASSERT_EQ(late.submit(port()), 0);
        EXPECT_EQ(late.wait(), failed(-ETIMEDOUT));
        Submission& removed = submit_pooled(ours, pool, flags);
        fence();
        completion_port_remove(port(), ours);
        EXPECT_EQ(removed.wait(), abandoned(-ECANCELED));
        write_all(pair.theirs.get(), "still there");
        EXPECT_EQ(take(submit_pooled(ours, pool).wait_for(1).record, pool), "still there");
        Submission& ended = submit_pooled(ours, pool, flags);
        if (flags == 0) continue;
        end();
        EXPECT_EQ(ended.wait(), abandoned(-ECANCELED));
    }
}

// Spec: CP-POOL-14
TEST_P(BufferPoolTest, RemoveAndCancelLoseNoByte) {
    COMPLETION_PORT_BUFFER_POOL_HANDLE pool = make_pool();
    const int rounds = scaled(300, 60);
    for (int i = 0; i < rounds; ++i) {
        const Pair pair = unix_pair();
        const uint32_t flags = i % 2 == 0 ? 0 : kMultishot;
        Submission& receive = submit_pooled(pair.ours.get(), pool, flags);
        write_all(pair.theirs.get(), "abc");
        if (i % 4 < 2) {
            completion_port_remove(port(), pair.ours.get());
        } else {
            completion_port_cancel(port(), receive.id());
        }
        receive.wait_for_last();
        std::string received = take(receive.wait_for(1).record, pool);
        received += read_available(pair.ours.get());
        EXPECT_EQ(received, "abc") << "round " << i;
        completion_port_remove(port(), pair.ours.get());
    }
    EXPECT_EQ(in_use(pool), 0);
}

// Spec: CP-POOL-14
TEST_P(BufferPoolTest, AResetComesAfterTheDataAndEndsIt) {
    COMPLETION_PORT_BUFFER_POOL_HANDLE pool = make_pool();
    Pair& pair = keep(tcp_pair());
    Submission& receive = submit_pooled(pair.ours.get(), pool, kMultishot);
    write_all(pair.theirs.get(), "last words");
    EXPECT_EQ(take(receive.wait_for(1).record, pool), "last words");
    close_with_reset(pair.theirs);
    const COMPLETION_PORT_COMPLETION last = receive.wait_for(2).record;
    EXPECT_EQ(ending_of(last), abandoned(-ECONNRESET));
    EXPECT_EQ(last.buffer, nullptr);
    EXPECT_EQ(submit_pooled(pair.ours.get(), pool).wait(), abandoned(-ECONNRESET));
}

// Spec: CP-POOL-15
TEST_P(BufferPoolTest, RecordsForWaitersKeepTheirBuffers) {
    COMPLETION_PORT_BUFFER_POOL_HANDLE pool = make_pool();
    const Pair& pair = keep(unix_pair());
    const Pair& other = keep(udp_pair());
    Submission& receive = pooled(pair.ours.get(), pool, kMultishot).for_waiters();
    ASSERT_EQ(receive.submit(port()), 0);
    write_all(pair.theirs.get(), "seen");
    const COMPLETION_PORT_COMPLETION seen = wait_for_record();
    EXPECT_EQ(seen.operation, receive.id());
    EXPECT_EQ(seen.flags, kMore);
    write_all(pair.theirs.get(), "not seen");
    write_all(other.theirs.get(), "nor this");
    ASSERT_EQ(pooled(other.ours.get(), pool).for_waiters().submit(port()), 0);
    fence();
    completion_port_remove(port(), pair.ours.get());
    EXPECT_EQ(in_use(pool), 12 * kKib);
    end();
    EXPECT_EQ(in_use(pool), 4 * kKib);
    EXPECT_EQ(take(seen, pool), "seen");
}

// Spec: CP-POOL-5
TEST_P(BufferPoolTest, SucceedsInline) {
    COMPLETION_PORT_BUFFER_POOL_HANDLE pool = make_pool();
    const Pair& pair = keep(unix_pair());
    write_all(pair.theirs.get(), "at once");
    EXPECT_EQ(submit_poll(pair.ours.get(), POLLIN).wait(), finished(POLLIN));
    Submission& receive = pooled(pair.ours.get(), pool);
    Submission& nothing = pooled(pair.ours.get(), pool);
    COMPLETION_PORT_COMPLETION record{};
    COMPLETION_PORT_COMPLETION none{};
    run_on_worker_of(pair.ours.get(), [&] {
        EXPECT_EQ(receive.submit_inline(port(), record), 1);
        EXPECT_EQ(nothing.submit_inline(port(), none), 0);
    });
    EXPECT_EQ(record.value, 7);
    EXPECT_EQ(take(record, pool), "at once");
    write_all(pair.theirs.get(), "later");
    EXPECT_EQ(take(nothing.wait_for(1).record, pool), "later");
}

// Spec: CP-POOL-5
TEST_P(BufferPoolTest, TakesItsTurnAmongTheReads) {
    COMPLETION_PORT_BUFFER_POOL_HANDLE pool = make_pool(kKib, kKib);
    const Pair& pair = keep(unix_pair());
    Submission& first = submit_receive(pair.ours.get(), 3);
    Submission& second = submit_pooled(pair.ours.get(), pool);
    Submission& third = submit_receive(pair.ours.get(), 3);
    fence();
    write_all(pair.theirs.get(), "abc");
    EXPECT_EQ(first.bytes(), "abc");
    write_all(pair.theirs.get(), "def");
    EXPECT_EQ(take(second.wait_for(1).record, pool), "def");
    write_all(pair.theirs.get(), "ghi");
    EXPECT_EQ(third.bytes(), "ghi");
}

}  // namespace
}  // namespace cport::test
