// What a call may touch while callbacks give the port back. Every block of the port comes from the
// heap here, where the sanitizers see a late touch.
#include <completionport/completion_port.h>
#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "platform/linux/linux_platform.h"
#include "runtime/abi/handle.h"

namespace cport {
namespace {

class HeapMemory final : public platform::Memory {
 public:
    void* allocate(size_t size, size_t alignment) override {
        void* memory = nullptr;
        if (::posix_memalign(&memory, alignment, size) != 0) return nullptr;
        ++blocks_;
        return std::memset(memory, 0, size);
    }
    void release(void* memory, size_t) override {
        std::free(memory);
        --blocks_;
    }
    const volatile uint32_t* fork_mark_create() override {
        return platform::linux_platform().memory.fork_mark_create();
    }
    void fork_mark_destroy(const volatile uint32_t* mark) override {
        platform::linux_platform().memory.fork_mark_destroy(mark);
    }
    void wait_until_empty() {
        while (blocks_ != 0) std::this_thread::yield();
    }

 private:
    std::atomic<int> blocks_{0};
};

void give_back(void* context, COMPLETION_PORT_EPOLL_ACTION, COMPLETION_PORT_RESULT, int32_t) {
    completion_port_dec_ref(static_cast<COMPLETION_PORT_HANDLE>(context));
}

// Spec: CP-WORKERS-10, CP-END-7
TEST(PortMemory, IsNotTouchedByAShutdownWhoseCallbacksGaveThePortBack) {
    const platform::Platform& real = platform::linux_platform();
    HeapMemory memory;
    const platform::Platform machine{real.kernel, real.threads, memory, real.clock};
    std::array<int, 2> ends{};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()), 0);
    for (const uint32_t workers : {1u, 3u}) {
        for (int round = 0; round < 200; ++round) {
            PortOptions options;
            options.workers = workers;
            COMPLETION_PORT_HANDLE port = create_handle(machine, options);
            ASSERT_NE(port, nullptr);
            COMPLETION_PORT_INGRESS_DATA add{};
            add.epoll_op = EPOLLIN;
            add.socket = ends[0];
            add.event_callback = give_back;
            add.event_callback_ctx = port;
            ASSERT_EQ(completion_port_add(port, &add), 0);
            EXPECT_EQ(completion_port_shutdown(port), 0);
            memory.wait_until_empty();
        }
    }
    for (const int end : ends) ::close(end);
}

}  // namespace
}  // namespace cport
