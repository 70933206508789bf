// The places of threads that process records: as many of them as may run at once.
#pragma once

#include <pthread.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "platform/memory.h"
#include "runtime/operation/task.h"

namespace cport {

// Tells a driver, who waits for the kernel beside records that nobody may take, that one may now.
struct PlaceNotice : Task {
    PlaceNotice() : Task(TaskKind::kPlaceNotice) {}
    std::atomic<bool> posted{false};
};

// Whoever uses it holds the lock of the queue whose records they are.
class WaiterPlaces {
 public:
    explicit WaiterPlaces(platform::Memory& memory) : memory_(memory) {}
    ~WaiterPlaces() {
        if (holders_ != nullptr) memory_.release(holders_, bytes());
    }
    WaiterPlaces(const WaiterPlaces&) = delete;
    WaiterPlaces& operator=(const WaiterPlaces&) = delete;

    // 0 or -ENOMEM. Before anything else; without it, or with 0, there is no limit.
    int open(uint32_t places);

    // Stays as open left it, so that it may be asked without the lock.
    bool limited() const { return holders_ != nullptr; }
    uint32_t held() const { return held_; }
    // Without a limit always.
    bool has_free() const { return !limited() || held_ < places_; }
    // Whether this thread would find one free once it has given back its own.
    bool would_have_free() const { return has_free() || find() < held_; }

    // For this thread, which holds none; one is free.
    void take() {
        if (limited()) holders_[held_++] = pthread_self();
    }
    // This thread's. False: it holds none.
    bool give_back();

 private:
    size_t bytes() const { return sizeof(pthread_t) * places_; }
    // Where this thread stands; held() if it does not.
    uint32_t find() const;

    platform::Memory& memory_;
    uint32_t places_ = 0;
    uint32_t held_ = 0;
    pthread_t* holders_ = nullptr;  // the first `held_`, in no order
};

}  // namespace cport
