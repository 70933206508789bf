// How completions are obtained with io_uring: the kernel holds the operation at the head of a
// socket's queue, and one call hands over a round's operations and fetches results. What else is to
// be known of a descriptor, epoll tells, whose readiness the ring reports.
#pragma once

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <memory>

#include "platform/ring.h"
#include "runtime/engine/epoll_engine.h"

namespace cport {

class UringEngine {
 public:
    explicit UringEngine(EpollEngine& readiness) : readiness_(readiness) {}
    UringEngine(const UringEngine&) = delete;
    UringEngine& operator=(const UringEngine&) = delete;

    // 0, or why there is no ring, as platform::Rings::create.
    int open(platform::Rings* rings);
    bool is_open() const { return ring_ != nullptr; }
    void close() { ring_.reset(); }

    // The rest is the owner's.

    bool is_usable() { return enabled_ || enable(); }
    // Of a usable one. False: the kernel does not take it.
    bool start(const platform::RingRequest& request) {
        // Each of them has room for its result.
        if (put_ - taken_ >= static_cast<uint64_t>(ring_->results_max() - kResultsSpare) ||
            ring_->put(request) != 0) {
            return false;
        }
        ++put_;
        return true;
    }
    // Returns when `has_result` says so, which it does once the results that are there have been
    // handed on, and whatever the descriptor does.
    template <typename ResultSink, typename HasResult>
    void recall(uint64_t name, ResultSink&& on_result, HasResult&& has_result) {
        while (!has_result()) {
            // A request that the kernel is about to try again is not found, and may then wait in a
            // thread of the kernel's: so it is asked until there is a result.
            ring_->cancel(name);
            take(on_result);
            if (has_result()) return;
            ring_->wait(kAskAgain_ns);
            take(on_result);
        }
    }
    // As EpollEngine::wait. Each result goes to `on_result(name, value)`.
    template <typename EdgeSink, typename ResultSink>
    int wait(int64_t timeout_ns, EdgeSink&& on_edge, ResultSink&& on_result) {
        if (!is_usable()) return readiness_.wait(timeout_ns, on_edge);
        if (!polling_) poll_readiness();
        const int error = ring_->wait(readable_ || !polling_ ? 0 : timeout_ns);
        const int results = take(on_result);
        const bool failed = error < 0 && error != -EINTR;
        if (!readable_ && polling_ && !failed) return results > 0 ? results : error;
        // A ring that could not be entered has not waited; soon it is tried again.
        const bool waits = failed && results == 0 && timeout_ns != 0;
        const bool endless = timeout_ns < 0 || timeout_ns > kAskAgain_ns;
        const int64_t limit_ns = endless ? kAskAgain_ns : timeout_ns;
        const int edges = readiness_.wait(waits ? limit_ns : 0, on_edge);
        readable_ = edges == EpollEngine::kEventsMax || edges < 0;
        const int total = results + (edges > 0 ? edges : 0);
        if (total > 0) return total;
        return failed ? error : edges;
    }
    // Makes the numbers that any thread may read those of now.
    void publish() {
        if (!is_open()) return;
        requests_.store(put_, std::memory_order_relaxed);
        enters_.store(ring_->enters(), std::memory_order_relaxed);
    }
    uint64_t requests() const { return requests_.load(std::memory_order_relaxed); }
    uint64_t enters() const { return enters_.load(std::memory_order_relaxed); }

 private:
    static constexpr uint64_t kReadinessName = UINT64_MAX;
    static constexpr int64_t kAskAgain_ns = 1'000'000;
    static constexpr int kTakenMax = 64;
    // For the poll of readiness, and for cancels.
    static constexpr int kResultsSpare = 64;

    bool enable();
    void poll_readiness();

    template <typename ResultSink>
    int take(ResultSink&& on_result) {
        platform::RingResult results[kTakenMax];
        int total = 0;
        int count = 0;
        do {
            count = ring_->take(results, kTakenMax);
            for (int i = 0; i < count; ++i) {
                if (results[i].name == kReadinessName) {
                    readable_ = true;
                    polling_ = results[i].more;
                } else {
                    ++taken_;
                    on_result(results[i].name, results[i].value);
                }
            }
            total += count;
        } while (count == kTakenMax);
        return total;
    }

    EpollEngine& readiness_;
    std::unique_ptr<platform::Ring> ring_;
    bool enabled_ = false;   // by the worker's thread
    bool polling_ = false;   // the ring looks at the descriptor of `readiness_`
    bool readable_ = false;  // which may have more to tell
    uint64_t put_ = 0;
    uint64_t taken_ = 0;
    std::atomic<uint64_t> requests_ = 0;
    std::atomic<uint64_t> enters_ = 0;
};

}  // namespace cport
