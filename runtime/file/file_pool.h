// The threads that wait for files, so that no worker has to.
//
// Operations come from their owners and go back to them. Until a thread has begun one, its owner
// can take it back. Each thread that finds nothing sleeps on a word of its own and stands in the
// list of those that do: who brings work takes one off and wakes it, so nobody is woken twice, and
// no call is made while all are busy.
#pragma once

#include <pthread.h>

#include <array>
#include <atomic>
#include <cstdint>

#include "completionport/options.h"
#include "platform/platform.h"
#include "runtime/file/file_queue.h"
#include "runtime/mutex.h"
#include "runtime/operation/operation.h"
#include "runtime/operation/task.h"

namespace cport {

class FilePool {
 public:
    // Hands an operation back to its owner; on one of the pool's threads.
    using Return = void (*)(void* context, Operation& operation);

    // `name` is the port's; nullptr: the default. It is read during the call only.
    FilePool(const platform::Platform& platform, uint32_t threads_max, const char* name,
             Return give_back, void* context);
    FilePool(const FilePool&) = delete;
    FilePool& operator=(const FilePool&) = delete;

    // Any thread. 0 where at least one thread runs; those are started by the first call.
    int start() { return started_.load(std::memory_order_acquire) != 0 ? 0 : start_threads(); }
    // When no operation is left, and none will come: ends the threads, and waits for that.
    void stop() ABSL_LOCKS_EXCLUDED(starting_, mutex_);

    // The owners.
    void push(Operation& operation) ABSL_LOCKS_EXCLUDED(mutex_);
    // False: a thread has begun it, and it will be given back.
    bool withdraw(Operation& operation) ABSL_LOCKS_EXCLUDED(mutex_);
    // All that no thread has begun and for which `wanted` holds, to `withdrawn`.
    template <typename Wanted>
    void withdraw_all(Wanted&& wanted, TaskList& withdrawn) ABSL_LOCKS_EXCLUDED(mutex_) {
        MutexLock lock(mutex_);
        for (Operation* operation = queue_.front(); operation != nullptr;) {
            Operation* const behind = FileQueue::behind(*operation);
            if (wanted(*operation)) {
                queue_.remove(*operation);
                withdrawn.push(operation);
            }
            operation = behind;
        }
    }

 private:
    struct Thread {
        FilePool* pool = nullptr;
        pthread_t handle{};
        std::atomic<uint32_t> woken = 0;
        Thread* next_asleep = nullptr;  // guarded by the pool's mutex_
    };

    static void thread_main(void* argument);
    int start_threads() ABSL_LOCKS_EXCLUDED(starting_);
    // The next operation, or nullptr at the end.
    Operation* take(Thread& self) ABSL_LOCKS_EXCLUDED(mutex_);
    void wake(Thread& sleeper);

    platform::Kernel& kernel_;
    platform::Threads& platform_threads_;
    const uint32_t threads_max_;
    const Return give_back_;
    void* const context_;
    std::array<char, 16> name_{};
    Mutex starting_;
    bool closed_ ABSL_GUARDED_BY(starting_) = false;
    std::atomic<uint32_t> started_ = 0;
    std::array<Thread, COMPLETION_PORT_FILE_THREADS_MAX> threads_;
    Mutex mutex_;
    FileQueue queue_ ABSL_GUARDED_BY(mutex_);
    Thread* asleep_ ABSL_GUARDED_BY(mutex_) = nullptr;
    bool ending_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace cport
