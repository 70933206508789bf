// What the port knows of one descriptor number. One cache line, which lives as long as its port.
#pragma once

#include <atomic>
#include <cstdint>

#include "runtime/operation/operation.h"
#include "runtime/operation/task.h"

namespace cport {

// The part of a socket that every thread reads, in one word: which incarnation of the number this
// is, whether adds are refused, and how many adds of other threads are on their way to the owner.
struct SocketWord {
    static constexpr uint64_t kPendingOne = 1;
    static constexpr uint64_t kPendingMask = (uint64_t{1} << 20) - 1;
    // Threads that wait inside remove.
    static constexpr uint64_t kRemoverOne = uint64_t{1} << 20;
    static constexpr uint64_t kRemoverMask = uint64_t{0xff} << 20;
    static constexpr uint64_t kRemoving = uint64_t{1} << 28;
    static constexpr uint64_t kKindKnown = uint64_t{1} << 29;
    static constexpr uint64_t kIsSocket = uint64_t{1} << 30;
    static constexpr int kGenerationShift = 32;
    static constexpr uint64_t kGenerationOne = uint64_t{1} << kGenerationShift;

    static uint32_t generation(uint64_t word) {
        return static_cast<uint32_t>(word >> kGenerationShift);
    }
    static bool is_socket(uint64_t word) { return (word & kIsSocket) != 0; }
    static bool adds_under_way(uint64_t word) { return (word & kPendingMask) != 0; }
    static bool removal_awaited(uint64_t word) { return (word & kRemoverMask) != 0; }
    static bool removers_full(uint64_t word) { return (word & kRemoverMask) == kRemoverMask; }
    // No add ever came to this number.
    static bool never_used(uint64_t word) { return word == kGenerationOne; }
    // The next incarnation: what was known of the descriptor is forgotten.
    static uint64_t next_generation(uint64_t word) {
        return (word & ~(kKindKnown | kIsSocket)) + kGenerationOne;
    }
};

// Flags of the owner.
enum SocketFlags : uint32_t {
    kWatched = 1u << 0,        // registered with epoll
    kWatchedOut = 1u << 1,     // ... for EPOLLOUT too
    kTryRead = 1u << 2,        // a read may succeed: try it
    kTryWrite = 1u << 3,       // a write may succeed: try it
    kTryHangup = 1u << 4,      // look for the peer's end
    kNeverDrained = 1u << 5,   // urgent data or a hang-up was seen: a short read proves nothing
    kReadSinceEdge = 1u << 6,  // a read took bytes: the next edge may be theirs
    kUnexplained = 1u << 7,    // an edge came that no read of ours explains
    kTypeKnown = 1u << 8,
    kStream = 1u << 9,     // bytes without borders
    kDatagram = 1u << 10,  // messages without connection; SOCK_SEQPACKET is neither
    kTcp = 1u << 11,
    kReady = 1u << 12,           // on the ready list
    kRemovalWaiting = 1u << 13,  // a removal waits for adds that are under way
    kWaitedLong = 1u << 14,      // was waiting at the last sweep
};

// As a task it is the notice that its generation moved.
struct alignas(64) Socket : Task {
    explicit Socket(int number) : Task(TaskKind::kSocketNotice), descriptor(number) {}

    // All threads.
    std::atomic<bool> notice_posted = false;
    // The owner's from here on, but for `word`.
    uint8_t read_error = 0;   // the kept errno of a stream
    uint8_t write_error = 0;  // as above, or EPIPE
    const int32_t descriptor;
    std::atomic<uint64_t> word = SocketWord::kGenerationOne;
    OperationQueue reads;
    OperationQueue writes;
    OperationQueue hangups;
    uint32_t generation = 0;  // which incarnation the owner's part describes
    uint32_t flags = 0;
    Socket* next_ready = nullptr;

    bool has(uint32_t any_of) const { return (flags & any_of) != 0; }
    void set(uint32_t bits) { flags |= bits; }
    void clear(uint32_t bits) { flags &= ~bits; }
    bool is_socket() const { return SocketWord::is_socket(word.load(std::memory_order_relaxed)); }
    bool waits() const { return !reads.empty() || !writes.empty() || !hangups.empty(); }

    // Whether one of its operations should be tried now.
    bool can_advance() const {
        return (has(kTryRead) && !reads.empty()) || (has(kTryWrite) && !writes.empty()) ||
               (has(kTryHangup) && !hangups.empty());
    }
};

static_assert(sizeof(Socket) == 64);

}  // namespace cport
