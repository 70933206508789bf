// GoogleMock stand-ins for the interfaces of platform/. What each of them is made of (constructors,
// tables of virtual functions) is compiled once, in mock_platform.cc, not in each test anew.
#pragma once

#include <gmock/gmock.h>

#include <cstddef>
#include <cstdint>

#include "platform/platform.h"

namespace cport::test {

class MockKernel : public platform::Kernel {
 public:
    MockKernel();
    ~MockKernel() override;
    MOCK_METHOD(int, epoll_create, (), (override));
    MOCK_METHOD(int, epoll_ctl,
                (int epoll, int operation, int descriptor, uint32_t events, uint64_t data),
                (override));
    MOCK_METHOD(int, epoll_wait,
                (int epoll, struct epoll_event* events, int events_max, int64_t timeout_ns),
                (override));
    MOCK_METHOD(int, eventfd_create, (), (override));
    MOCK_METHOD(int, eventfd_signal, (int eventfd), (override));
    MOCK_METHOD(int, close, (int descriptor), (override));
    MOCK_METHOD(int, descriptor_kind, (int descriptor), (override));
    MOCK_METHOD(int, socket_type, (int descriptor), (override));
    MOCK_METHOD(int, socket_protocol, (int descriptor), (override));
    MOCK_METHOD(int, unread_bytes, (int descriptor), (override));
    MOCK_METHOD(int, at_urgent_mark, (int descriptor), (override));
    MOCK_METHOD(int, poll_now, (int descriptor, uint32_t events), (override));
    MOCK_METHOD(int64_t, receive, (int descriptor, void* buffer, size_t length, int flags),
                (override));
    MOCK_METHOD(int64_t, send, (int descriptor, const void* buffer, size_t length), (override));
    MOCK_METHOD(int, is_non_blocking, (int descriptor), (override));
    MOCK_METHOD(int, take_socket_error, (int descriptor), (override));
    MOCK_METHOD(int, accept,
                (int listener, struct sockaddr* address, uint32_t* address_length, int flags),
                (override));
    MOCK_METHOD(int, connect,
                (int descriptor, const struct sockaddr* address, uint32_t address_length),
                (override));
    MOCK_METHOD(int, shutdown, (int descriptor, int how), (override));
    MOCK_METHOD(int64_t, receive_message, (int descriptor, struct msghdr* message, int flags),
                (override));
    MOCK_METHOD(int64_t, send_message, (int descriptor, const struct msghdr* message, int flags),
                (override));
    MOCK_METHOD(int64_t, read_now, (int descriptor, const struct iovec* parts, int count),
                (override));
    MOCK_METHOD(int64_t, write_now, (int descriptor, const struct iovec* parts, int count),
                (override));
    MOCK_METHOD(int64_t, send_file, (int descriptor, int file, int64_t offset, size_t length),
                (override));
    MOCK_METHOD(int, file_kind, (int descriptor), (override));
    MOCK_METHOD(int64_t, read_at,
                (int descriptor, const struct iovec* parts, int count, int64_t offset,
                 bool at_once),
                (override));
    MOCK_METHOD(int64_t, write_at,
                (int descriptor, const struct iovec* parts, int count, int64_t offset), (override));
    MOCK_METHOD(int, sync_file, (int descriptor, bool data_only), (override));
    MOCK_METHOD(int, futex_wait, (const uint32_t* word, uint32_t expected), (override));
    MOCK_METHOD(int, futex_wait_until,
                (const uint32_t* word, uint32_t expected, int64_t deadline_ns), (override));
    MOCK_METHOD(int, futex_wake_one, (const uint32_t* word), (override));
    MOCK_METHOD(int, futex_wake_all, (const uint32_t* word), (override));
};

class MockThreads : public platform::Threads {
 public:
    MockThreads();
    ~MockThreads() override;
    MOCK_METHOD(int, start,
                (pthread_t * thread, const char* name, int cpu, Body body, void* argument),
                (override));
    MOCK_METHOD(void, join, (pthread_t thread), (override));
    MOCK_METHOD(void, detach, (pthread_t thread), (override));
};

class MockMemory : public platform::Memory {
 public:
    MockMemory();
    ~MockMemory() override;
    MOCK_METHOD(void*, allocate, (size_t size, size_t alignment), (override));
    MOCK_METHOD(void, release, (void* memory, size_t size), (override));
    MOCK_METHOD(const volatile uint32_t*, fork_mark_create, (), (override));
    MOCK_METHOD(void, fork_mark_destroy, (const volatile uint32_t* mark), (override));
};

// What a test does not script is done by `real`.
inline void hand_on(MockMemory& memory, platform::Memory& real) {
    using ::testing::_;
    ON_CALL(memory, allocate(_, _)).WillByDefault([&real](size_t size, size_t alignment) {
        return real.allocate(size, alignment);
    });
    ON_CALL(memory, release(_, _)).WillByDefault([&real](void* block, size_t size) {
        real.release(block, size);
    });
    ON_CALL(memory, fork_mark_create()).WillByDefault([&real] { return real.fork_mark_create(); });
    ON_CALL(memory, fork_mark_destroy(_)).WillByDefault([&real](const volatile uint32_t* mark) {
        real.fork_mark_destroy(mark);
    });
}

class MockNuma : public platform::Numa {
 public:
    MockNuma();
    ~MockNuma() override;
    MOCK_METHOD(bool, has_node, (int node), (override));
    MOCK_METHOD(int, node_of_cpu, (int cpu), (override));
    MOCK_METHOD(void, prefer, (void* memory, size_t size, int node), (override));
};

class MockClock : public platform::Clock {
 public:
    MockClock();
    ~MockClock() override;
    MOCK_METHOD(int64_t, now_ns, (), (override));
};

}  // namespace cport::test

namespace testing {

extern template class NiceMock<cport::test::MockKernel>;
extern template class NiceMock<cport::test::MockThreads>;
extern template class NiceMock<cport::test::MockMemory>;
extern template class NiceMock<cport::test::MockNuma>;
extern template class NiceMock<cport::test::MockClock>;
extern template class StrictMock<cport::test::MockKernel>;
extern template class StrictMock<cport::test::MockMemory>;
extern template class StrictMock<cport::test::MockClock>;

}  // namespace testing
