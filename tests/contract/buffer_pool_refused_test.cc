// What is refused of pools and of receives from them.
#include "tests/contract/buffer_pool_fixture.h"

namespace cport::test {
namespace {

class BufferPoolRefusedTest : public BufferPoolTest {
 protected:
    using Options = COMPLETION_PORT_BUFFER_POOL_OPTIONS;

    // The errno with which no pool was made; 0 if one was.
    int create(const Options* asked) {
        errno = 0;
        COMPLETION_PORT_BUFFER_POOL_HANDLE pool = completion_port_buffer_pool_create(port(), asked);
        if (pool == nullptr) return errno;
        completion_port_buffer_pool_destroy(pool);
        return 0;
    }
    int create(uint32_t smallest, uint32_t largest, uint64_t bytes_max) {
        const Options asked = options(smallest, largest, bytes_max);
        return create(&asked);
    }
    template <typename Change>
    int create_changed(Change change) {
        Options asked = options(kKib, kKib, kKib);
        change(asked);
        return create(&asked);
    }
};
CPORT_ON_EVERY_ENGINE(BufferPoolRefusedTest);

// Spec: CP-POOL-1
TEST_P(BufferPoolRefusedTest, PoolsOfBadForm) {
    EXPECT_EQ(create(nullptr), EINVAL);
    const Options good = options(kKib, kKib, kKib);
    EXPECT_EQ(completion_port_buffer_pool_create(nullptr, &good), nullptr);
    EXPECT_EQ(errno, EINVAL);
    EXPECT_EQ(create_changed([](Options& o) { o.size = 4; }), EINVAL);
    EXPECT_EQ(create_changed([](Options& o) { o.size = 8; }), EINVAL) << "no budget";
    EXPECT_EQ(create_changed([](Options& o) { o.flags = 1; }), EINVAL);
    EXPECT_EQ(create_changed([](Options& o) { o.reserved = 1; }), EINVAL);
    EXPECT_EQ(create_changed([](Options& o) { o.size = UINT32_MAX; }), E2BIG);
    struct {
        Options options;
        uint64_t tail;
    } longer{good, 1};
    longer.options.size = sizeof(longer);
    EXPECT_EQ(create(&longer.options), E2BIG);
    longer.tail = 0;
    EXPECT_EQ(create(&longer.options), 0);
}

// Spec: CP-POOL-1
TEST_P(BufferPoolRefusedTest, SizesOutOfRange) {
    constexpr uint64_t kLots = uint64_t{64} << 20;
    EXPECT_EQ(create(128, 0, kLots), EINVAL);
    EXPECT_EQ(create(3000, 0, kLots), EINVAL);
    EXPECT_EQ(create(2048 * kKib, 0, kLots), EINVAL);
    EXPECT_EQ(create(4 * kKib, 2 * kKib, kLots), EINVAL);
    EXPECT_EQ(create(4 * kKib, 6 * kKib, kLots), EINVAL);
    EXPECT_EQ(create(1024 * kKib, 2048 * kKib, kLots), EINVAL);
    EXPECT_EQ(create(kKib, 128 * kKib, kLots), EINVAL);
    EXPECT_EQ(create(kKib, kKib, 0), EINVAL);
    EXPECT_EQ(create(kKib, kKib, kKib - 1), EINVAL);
    EXPECT_EQ(create(0, 0, 4 * kKib - 1), EINVAL);
    EXPECT_EQ(create(256, 256, (uint64_t{1} << 28) + 256), EINVAL);
    EXPECT_EQ(create(256, 256, UINT64_MAX), EINVAL);

    EXPECT_EQ(create(0, 0, 4 * kKib), 0);
    EXPECT_EQ(create(256, 0, 256), 0);
    EXPECT_EQ(create(256, 16 * kKib, uint64_t{1} << 28), 0);
    EXPECT_EQ(create(1024 * kKib, 0, kLots), 0);
    EXPECT_EQ(create(16 * kKib, 1024 * kKib, kLots), 0);
}

// Spec: CP-POOL-9
TEST_P(BufferPoolRefusedTest, ReceivesOfBadForm) {
    COMPLETION_PORT_BUFFER_POOL_HANDLE pool = make_pool();
    const Pair& pair = keep(unix_pair());
    write_all(pair.theirs.get(), "waits");
    auto good = form<Pooled>(COMPLETION_PORT_KIND_RECEIVE_POOLED, pair.ours.get());
    good.pool = pool;
    expect_common_refusals(good);
    EXPECT_EQ(submit_changed(good, [](Pooled& p) { p.common.descriptor = -1; }), -EBADF);
    const int closed = closed_number();
    EXPECT_EQ(submit_changed(good, [&](Pooled& p) { p.common.descriptor = closed; }), -EBADF);
    const Descriptor directory(::open("/", O_RDONLY | O_CLOEXEC));
    EXPECT_EQ(submit_changed(good, [&](Pooled& p) { p.common.descriptor = directory.get(); }),
              -EPERM);
    EXPECT_EQ(submit_changed(good, [](Pooled& p) { p.pool = nullptr; }), -EINVAL);
    EXPECT_EQ(submit_changed(good, [](Pooled& p) { p.common.size = sizeof(p.common); }), -EINVAL);
    EXPECT_EQ(submit_changed(good, [](Pooled& p) { p.first_bytes = 1024 * kKib + 1; }), -EINVAL);
    EXPECT_EQ(submit_changed(good, [](Pooled& p) { p.reserved = 1; }), -EINVAL);
    Pooled both = good;
    both.common.flags = COMPLETION_PORT_FLAG_MULTISHOT | COMPLETION_PORT_FLAG_INLINE;
    COMPLETION_PORT_COMPLETION record{};
    EXPECT_EQ(completion_port_submit(port(), &both.common, nullptr, &record), -EINVAL);
    fence();
    EXPECT_EQ(in_use(pool), 0);
    EXPECT_EQ(read_available(pair.ours.get()), "waits");
}

// Spec: CP-POOL-9
TEST_P(BufferPoolRefusedTest, PoolsOfAnotherPort) {
    COMPLETION_PORT_HANDLE other = completion_port_create();
    const Options asked = options(kKib, kKib, kKib);
    COMPLETION_PORT_BUFFER_POOL_HANDLE foreign = completion_port_buffer_pool_create(other, &asked);
    ASSERT_NE(foreign, nullptr);
    const Pair& pair = keep(unix_pair());
    auto receive = form<Pooled>(COMPLETION_PORT_KIND_RECEIVE_POOLED, pair.ours.get());
    receive.pool = foreign;
    EXPECT_EQ(submit(receive), -EINVAL);
    completion_port_shutdown(other);
    EXPECT_EQ(completion_port_buffer_pool_create(other, &asked), nullptr);
    EXPECT_EQ(errno, ESHUTDOWN);
    completion_port_dec_ref(other);
    // It outlives its port.
    EXPECT_EQ(in_use(foreign), 0);
    completion_port_buffer_pool_destroy(foreign);
}

// Spec: CP-POOL-9
TEST_P(BufferPoolRefusedTest, WhatIsNoBufferInUse) {
    COMPLETION_PORT_BUFFER_POOL_HANDLE pool = make_pool();
    COMPLETION_PORT_BUFFER_POOL_HANDLE other = make_pool();
    const Pair& pair = keep(unix_pair());
    write_all(pair.theirs.get(), "x");
    const COMPLETION_PORT_COMPLETION record =
        submit_pooled(pair.ours.get(), pool).wait_for(1).record;
    EXPECT_EQ(completion_port_buffer_release(nullptr, record.buffer), -EINVAL);
    EXPECT_EQ(completion_port_buffer_release(pool, nullptr), -EINVAL);
    EXPECT_EQ(completion_port_buffer_release(pool, static_cast<char*>(record.buffer) + 1), -EINVAL);
    EXPECT_EQ(completion_port_buffer_release(other, record.buffer), -EINVAL);
    EXPECT_EQ(completion_port_buffer_release(pool, &pool), -EINVAL);
    EXPECT_EQ(in_use(pool), 4 * kKib);
    EXPECT_EQ(take(record, pool), "x");
    EXPECT_EQ(completion_port_buffer_release(pool, record.buffer), -EINVAL);
    EXPECT_EQ(completion_port_buffer_pool_in_use(nullptr), -EINVAL);
    completion_port_buffer_pool_destroy(nullptr);
}

COMPLETION_PORT_BUFFER_POOL_HANDLE parents_pool;
void* parents_buffer;

// Spec: CP-POOL-9
TEST_P(BufferPoolRefusedTest, EverythingInAForkedChild) {
    parents_pool = make_pool();
    const Pair& pair = keep(unix_pair());
    write_all(pair.theirs.get(), "x");
    const COMPLETION_PORT_COMPLETION record =
        submit_pooled(pair.ours.get(), parents_pool).wait_for(1).record;
    parents_buffer = record.buffer;
    const auto in_child = [](COMPLETION_PORT_HANDLE port, int socket) {
        Pooled receive{};
        receive.common.size = sizeof(receive);
        receive.common.kind = COMPLETION_PORT_KIND_RECEIVE_POOLED;
        receive.common.descriptor = socket;
        receive.pool = parents_pool;
        const Options asked = options(kKib, kKib, kKib);
        if (completion_port_submit(port, &receive.common, nullptr, nullptr) != -EPERM) return 1;
        if (completion_port_buffer_release(parents_pool, parents_buffer) != -EPERM) return 2;
        if (completion_port_buffer_pool_in_use(parents_pool) != -EPERM) return 3;
        if (completion_port_buffer_pool_create(port, &asked) != nullptr || errno != EPERM) return 4;
        completion_port_buffer_pool_destroy(parents_pool);
        return 0;
    };
    EXPECT_EQ(status_of_child(in_child, port(), pair.ours.get()), 0);
    EXPECT_EQ(take(record, parents_pool), "x");
}

}  // namespace
}  // namespace cport::test
