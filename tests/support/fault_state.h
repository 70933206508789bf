// What the decorators of one FaultPlatform share: the plan, the calls' numbers, what is held.
#pragma once

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/fault_platform.h"

namespace cport::test {

// It outlives the platform where a detached thread does.
class FaultState {
 public:
    FaultState(const platform::Platform& real, const Fault& fault) : real_(real), fault_(fault) {}

    const platform::Platform& real() const { return real_; }

    // Numbers a call, and says what is to happen to it.
    Fault enter(Call call) {
        if (const std::function<void()> hook = hook_of(call)) hook();
        std::lock_guard lock(mutex_);
        int ordinal = ++calls_[static_cast<size_t>(call)];
        if (call == Call::kAllocate && memory_exhausted_) return Fault{.effect = Effect::kNoMemory};
        bool hit = call == fault_.call && fault_.ordinal > 0 &&
                   (ordinal == fault_.ordinal || (fault_.for_good && ordinal > fault_.ordinal));
        if (!hit) return Fault{};
        fault_happened_ = true;
        return fault_;
    }

    void before_each(Call call, std::function<void()> hook) {
        std::lock_guard lock(mutex_);
        hooks_[static_cast<size_t>(call)] = std::move(hook);
    }

    int calls(Call call) const {
        std::lock_guard lock(mutex_);
        return calls_[static_cast<size_t>(call)];
    }
    bool fault_happened() const {
        std::lock_guard lock(mutex_);
        return fault_happened_;
    }
    std::vector<std::string> breaches() const {
        std::lock_guard lock(mutex_);
        return breaches_;
    }
    Holdings holdings() const {
        std::lock_guard lock(mutex_);
        Holdings holdings = holdings_;
        holdings.descriptors = static_cast<int>(descriptors_.size() + accepted_.size());
        holdings.asked_to_close = static_cast<int>(asked_to_close_.size());
        holdings.memory_blocks = static_cast<int64_t>(memory_.size());
        return holdings;
    }
    void exhaust_memory() {
        std::lock_guard lock(mutex_);
        memory_exhausted_ = true;
    }

    void descriptor_opened(int descriptor) {
        std::lock_guard lock(mutex_);
        if (descriptor >= 0) descriptors_.insert(descriptor);
    }
    // One that is the core's until somebody is told of it.
    void accepted(int descriptor) {
        std::lock_guard lock(mutex_);
        if (descriptor >= 0) accepted_.insert(descriptor);
    }
    bool take_over(int descriptor) {
        std::lock_guard lock(mutex_);
        return accepted_.erase(descriptor) == 1;
    }
    void ask_to_close(int descriptor) {
        std::lock_guard lock(mutex_);
        asked_to_close_.insert(descriptor);
    }
    bool take_back(int descriptor) {
        std::lock_guard lock(mutex_);
        return asked_to_close_.erase(descriptor) == 1;
    }
    // Says whether the descriptor is the core's to close.
    bool descriptor_closing(int descriptor) {
        std::lock_guard lock(mutex_);
        if (descriptors_.erase(descriptor) == 1 || accepted_.erase(descriptor) == 1 ||
            asked_to_close_.erase(descriptor) == 1) {
            return true;
        }
        breaches_.push_back("closed a descriptor that it had not opened");
        return false;
    }

    void memory_given(void* memory, size_t size) {
        std::lock_guard lock(mutex_);
        memory_[memory] = size;
    }
    // Says whether the block is the platform's to release.
    bool memory_returning(void* memory, size_t size) {
        std::lock_guard lock(mutex_);
        auto block = memory_.find(memory);
        if (block == memory_.end()) {
            breaches_.push_back("released memory that it did not hold");
            return false;
        }
        if (block->second != size) breaches_.push_back("released memory with another size");
        memory_.erase(block);
        return true;
    }

    void breach(const std::string& what) {
        std::lock_guard lock(mutex_);
        breaches_.push_back(what);
    }
    void rings_changed(int by) {
        std::lock_guard lock(mutex_);
        holdings_.rings += by;
    }
    bool has_rings() const {
        std::lock_guard lock(mutex_);
        return holdings_.rings != 0;
    }
    void fork_marks_changed(int by) {
        std::lock_guard lock(mutex_);
        holdings_.fork_marks += by;
    }
    void thread_started() {
        std::lock_guard lock(mutex_);
        ++holdings_.threads_running;
        ++holdings_.threads_unclaimed;
    }
    void thread_not_started() {
        std::lock_guard lock(mutex_);
        --holdings_.threads_running;
        --holdings_.threads_unclaimed;
    }
    void thread_claimed() {
        std::lock_guard lock(mutex_);
        --holdings_.threads_unclaimed;
    }
    void thread_ended() {
        std::lock_guard lock(mutex_);
        --holdings_.threads_running;
        thread_ended_.notify_all();
    }
    void wait_for_threads() {
        std::unique_lock lock(mutex_);
        thread_ended_.wait(lock, [this] { return holdings_.threads_running == 0; });
    }

    void registered(int epoll, int descriptor, uint32_t events, uint64_t data) {
        std::lock_guard lock(mutex_);
        registrations_[{epoll, descriptor}] = {events, data};
    }
    void unregistered(int epoll, int descriptor) {
        std::lock_guard lock(mutex_);
        auto registration = registrations_.find({epoll, descriptor});
        if (registration == registrations_.end()) return;
        stale_names_.push_back(registration->second.second);
        if (stale_names_.size() > kStaleNamesMax) stale_names_.erase(stale_names_.begin());
        registrations_.erase(registration);
    }

    // The kernel gives no edge for what it did not hide. Where this decorator hides bytes or space,
    // the registration is touched, as if they had come a moment later.
    void edge_again(int descriptor) {
        std::lock_guard lock(mutex_);
        for (const auto& [name, interest] : registrations_) {
            if (name.second != descriptor) continue;
            real_.kernel.epoll_ctl(name.first, EPOLL_CTL_MOD, descriptor, interest.first,
                                   interest.second);
        }
    }

    // Events that the kernel did not report, of what is or was registered with `epoll`.
    int invent_events(int epoll, struct epoll_event* events, int events_max, Effect effect) {
        std::lock_guard lock(mutex_);
        std::vector<uint64_t> names;
        if (effect == Effect::kStaleEvent) names = stale_names_;
        if (effect != Effect::kStaleEvent) {
            for (const auto& [name, interest] : registrations_) {
                if (name.first == epoll) names.push_back(interest.second);
            }
        }
        uint32_t bits = EPOLLIN | EPOLLOUT;
        if (effect == Effect::kFalseHangup) bits |= EPOLLHUP | EPOLLERR;
        int count = std::min(events_max, static_cast<int>(names.size()));
        for (int i = 0; i < count; ++i) {
            events[i].events = bits;
            events[i].data.u64 = names[static_cast<size_t>(i)];
        }
        return count;
    }

 private:
    std::function<void()> hook_of(Call call) const {
        std::lock_guard lock(mutex_);
        return hooks_[static_cast<size_t>(call)];
    }

    static constexpr size_t kStaleNamesMax = 8;

    const platform::Platform real_;
    const Fault fault_;
    mutable std::mutex mutex_;
    std::condition_variable thread_ended_;
    std::array<int, kCallCount> calls_{};
    std::array<std::function<void()>, kCallCount> hooks_;
    bool fault_happened_ = false;
    bool memory_exhausted_ = false;
    Holdings holdings_;
    std::set<int> descriptors_;
    std::set<int> accepted_;
    std::set<int> asked_to_close_;
    std::map<void*, size_t> memory_;
    std::map<std::pair<int, int>, std::pair<uint32_t, uint64_t>> registrations_;
    std::vector<uint64_t> stale_names_;
    std::vector<std::string> breaches_;
};

}  // namespace cport::test
