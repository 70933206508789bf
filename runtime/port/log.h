// The user's log: lines of a fixed length, written where no lock is held and nothing is allocated.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "completionport/log.h"
#include "runtime/port/request.h"

namespace cport {

class Log {
 public:
    explicit Log(const PortOptions& options);

    // One line, behind the port's name, if it is severe enough. Keeps errno.
    [[gnu::format(printf, 3, 4)]] void write(uint32_t level, const char* format, ...) const;

 private:
    const ON_COMPLETION_PORT_LOG on_log_;  // nullptr: nobody listens
    void* const context_;
    const uint32_t level_;
    std::array<char, 16> name_{};
};

// For what may repeat very often: it is said once, and again only after a period without it.
class Alarm {
 public:
    // Any thread: it happened. True: say so.
    bool ring() {
        count_.fetch_add(1, std::memory_order_relaxed);
        return !silent_.exchange(true, std::memory_order_relaxed);
    }
    // One thread, from time to time.
    void end_period() {
        const uint64_t now = count();
        if (now == counted_) silent_.store(false, std::memory_order_relaxed);
        counted_ = now;
    }
    // How often it happened.
    uint64_t count() const { return count_.load(std::memory_order_relaxed); }

 private:
    std::atomic<uint64_t> count_ = 0;
    std::atomic<bool> silent_ = false;
    uint64_t counted_ = 0;
};

// What concerns one worker.
class WorkerLog {
 public:
    WorkerLog(const PortOptions& options, uint32_t worker) : log_(options), worker_(worker) {}

    // Of the worker's thread.
    void started() const;
    void ended() const;
    void found_closed(int descriptor) const;
    void watch_failed(int descriptor, int error);
    void wait_failed(int error);
    void end_period();

    // Any thread: an operation found no slot, for -ENOBUFS or -ENOMEM.
    void slot_refused(int error, uint32_t slots_max);
    uint64_t refused_by_limit() const { return limit_.count(); }
    uint64_t refused_for_memory() const { return memory_.count(); }

 private:
    const Log log_;
    const uint32_t worker_;
    Alarm limit_;
    Alarm memory_;
    Alarm watch_;
    Alarm wait_;
};

}  // namespace cport
