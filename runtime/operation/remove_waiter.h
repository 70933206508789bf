// Threads that wait inside remove and its like, outside every callback.
#pragma once

#include <atomic>
#include <cstdint>

#include "platform/kernel.h"
#include "runtime/operation/task.h"

namespace cport {

struct Socket;

// Lives on the stack of the thread that waits, so that remove needs no memory.
class Waiter : public Task {
 public:
    using Task::Task;

    void wait(platform::Kernel& kernel) {
        // Acquire pairs with signal: what the socket's callbacks did is seen.
        while (done_.load(std::memory_order_acquire) == 0) kernel.futex_wait(word(), 0);
    }

    bool done() const { return done_.load(std::memory_order_acquire) != 0; }
    void wait_until(platform::Kernel& kernel, int64_t deadline_ns) {
        if (!done()) kernel.futex_wait_until(word(), 0, deadline_ns);
    }

    // After the store the waiter may be gone; waking then only names an address.
    void signal(platform::Kernel& kernel) {
        const uint32_t* address = word();
        done_.store(1, std::memory_order_release);
        kernel.futex_wake_all(address);
    }

 private:
    const uint32_t* word() const { return reinterpret_cast<const uint32_t*>(&done_); }

    std::atomic<uint32_t> done_ = 0;
    static_assert(sizeof(std::atomic<uint32_t>) == sizeof(uint32_t));
};

class RemoveWaiter : public Waiter {
 public:
    // `remover` is what the socket's word counts for this thread.
    RemoveWaiter(Socket& removed, uint64_t remover)
        : Waiter(TaskKind::kRemoveWaiter), socket(removed), counted(remover) {}

    Socket& socket;
    const uint64_t counted;
};

}  // namespace cport
