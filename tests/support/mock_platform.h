// GoogleMock stand-ins for the interfaces of platform/.
#pragma once

#include <gmock/gmock.h>

#include <cstddef>
#include <cstdint>

#include "platform/platform.h"

namespace cport::test {

class MockKernel : public platform::Kernel {
 public:
    MOCK_METHOD(int, epoll_create, (), (override));
    MOCK_METHOD(int, epoll_ctl,
                (int epoll, int operation, int descriptor, uint32_t events, uint64_t data),
                (override));
    MOCK_METHOD(int, epoll_wait,
                (int epoll, struct epoll_event* events, int events_max, int timeout_ms),
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
    MOCK_METHOD(int, futex_wait, (const uint32_t* word, uint32_t expected), (override));
    MOCK_METHOD(int, futex_wake_all, (const uint32_t* word), (override));
};

class MockThreads : public platform::Threads {
 public:
    MOCK_METHOD(int, start, (pthread_t * thread, const char* name, Body body, void* argument),
                (override));
    MOCK_METHOD(void, join, (pthread_t thread), (override));
    MOCK_METHOD(void, detach, (pthread_t thread), (override));
};

class MockMemory : public platform::Memory {
 public:
    MOCK_METHOD(void*, allocate, (size_t size, size_t alignment), (override));
    MOCK_METHOD(void, release, (void* memory, size_t size), (override));
    MOCK_METHOD(const volatile uint32_t*, fork_mark_create, (), (override));
    MOCK_METHOD(void, fork_mark_destroy, (const volatile uint32_t* mark), (override));
};

class MockClock : public platform::Clock {
 public:
    MOCK_METHOD(int64_t, now_ns, (), (override));
};

}  // namespace cport::test
