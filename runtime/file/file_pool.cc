#include "runtime/file/file_pool.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "runtime/file/file_work.h"

namespace cport {
namespace {

constexpr const char* kDefaultName = "cport";

const uint32_t* word_of(const std::atomic<uint32_t>& value) {
    static_assert(sizeof(value) == sizeof(uint32_t));
    return reinterpret_cast<const uint32_t*>(&value);
}

}  // namespace

FilePool::FilePool(const platform::Platform& platform, uint32_t threads_max, const char* name,
                   Return give_back, void* context)
    : kernel_(platform.kernel),
      platform_threads_(platform.threads),
      threads_max_(std::min<uint32_t>(threads_max, COMPLETION_PORT_FILE_THREADS_MAX)),
      give_back_(give_back),
      context_(context) {
    std::snprintf(name_.data(), name_.size(), "%.12s-io", name == nullptr ? kDefaultName : name);
}

int FilePool::start_threads() {
    MutexLock lock(starting_);
    uint32_t count = started_.load(std::memory_order_relaxed);
    if (count != 0) return 0;
    if (closed_) return -ESHUTDOWN;
    int error = 0;
    while (error == 0 && count < threads_max_) {
        Thread& thread = threads_[count];
        thread.pool = this;
        // Who submits may be a worker that has a CPU of its own.
        error = platform_threads_.start(&thread.handle, name_.data(),
                                        platform::Threads::kProcessCpus, &thread_main, &thread);
        if (error == 0) ++count;
    }
    // Fewer than wanted do the work, too.
    started_.store(count, std::memory_order_release);
    return count != 0 ? 0 : error;
}

void FilePool::stop() {
    uint32_t count = 0;
    {
        MutexLock lock(starting_);
        closed_ = true;
        count = started_.load(std::memory_order_relaxed);
    }
    if (count == 0) return;
    Thread* sleeper = nullptr;
    {
        MutexLock lock(mutex_);
        ending_ = true;
        sleeper = asleep_;
        asleep_ = nullptr;
    }
    while (sleeper != nullptr) {
        Thread* const next = sleeper->next_asleep;
        wake(*sleeper);
        sleeper = next;
    }
    for (uint32_t i = 0; i < count; ++i) platform_threads_.join(threads_[i].handle);
}

void FilePool::push(Operation& operation) {
    Thread* sleeper = nullptr;
    {
        MutexLock lock(mutex_);
        queue_.push(operation);
        sleeper = asleep_;
        if (sleeper != nullptr) asleep_ = sleeper->next_asleep;
    }
    if (sleeper != nullptr) wake(*sleeper);
}

bool FilePool::withdraw(Operation& operation) {
    MutexLock lock(mutex_);
    if (!FileQueue::holds(operation)) return false;
    queue_.remove(operation);
    return true;
}

void FilePool::wake(Thread& sleeper) {
    // Release pairs with take; the work itself is handed over under the lock.
    sleeper.woken.store(1, std::memory_order_release);
    kernel_.futex_wake_one(word_of(sleeper.woken));
}

Operation* FilePool::take(Thread& self) {
    for (;;) {
        {
            MutexLock lock(mutex_);
            Operation* const operation = queue_.front();
            if (operation != nullptr) {
                queue_.remove(*operation);
                return operation;
            }
            if (ending_) return nullptr;
            self.woken.store(0, std::memory_order_relaxed);
            self.next_asleep = asleep_;
            asleep_ = &self;
        }
        while (self.woken.load(std::memory_order_acquire) == 0) {
            kernel_.futex_wait(word_of(self.woken), 0);
        }
    }
}

void FilePool::thread_main(void* argument) {
    auto& self = *static_cast<Thread*>(argument);
    FilePool& pool = *self.pool;
    while (Operation* operation = pool.take(self)) {
        work_on_file(pool.kernel_, *operation);
        pool.give_back_(pool.context_, *operation);
    }
}

}  // namespace cport
