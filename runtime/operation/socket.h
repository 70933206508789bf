// What the port knows of one descriptor number. One cache line, which lives as long as its port.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "runtime/operation/operation.h"
#include "runtime/operation/task.h"

namespace cport {

// The part of a socket that every thread reads, in one word: which incarnation of the number this
// is, whether adds are refused, and how many adds of other threads are on their way to the owner,
// operations on files among them until they are complete.
struct SocketWord {
    static constexpr uint64_t kPendingOne = 1;
    static constexpr uint64_t kPendingMask = (uint64_t{1} << 20) - 1;
    // Threads that wait inside remove.
    static constexpr uint64_t kRemoverOne = uint64_t{1} << 20;
    static constexpr uint64_t kRemoverMask = uint64_t{0x7f} << 20;
    // Counts among its owner's descriptors: from its first add, or an accept that saw to its owner,
    // until it is removed.
    static constexpr uint64_t kLive = uint64_t{1} << 27;
    static constexpr uint64_t kRemoving = uint64_t{1} << 28;
    static constexpr uint64_t kKindKnown = uint64_t{1} << 29;
    static constexpr uint64_t kIsSocket = uint64_t{1} << 30;
    // An operation on a file came to it: no kind is known of files, but somebody may wait.
    static constexpr uint64_t kUsedAsFile = uint64_t{1} << 31;
    static constexpr int kGenerationShift = 32;
    static constexpr uint64_t kGenerationOne = uint64_t{1} << kGenerationShift;

    static uint32_t generation(uint64_t word) {
        return static_cast<uint32_t>(word >> kGenerationShift);
    }
    static bool is_socket(uint64_t word) { return (word & kIsSocket) != 0; }
    static bool adds_under_way(uint64_t word) { return (word & kPendingMask) != 0; }
    static bool removal_awaited(uint64_t word) { return (word & kRemoverMask) != 0; }
    // Whether the owner may add whatever it likes: a socket, and no removal under way.
    static bool takes_any_add(uint64_t word) {
        return (word & (kRemoving | kRemoverMask | kKindKnown | kIsSocket)) ==
               (kKindKnown | kIsSocket);
    }
    static bool removers_full(uint64_t word) { return (word & kRemoverMask) == kRemoverMask; }
    // No add ever came to this number.
    static bool never_used(uint64_t word) { return word == kGenerationOne; }
    // The next incarnation: what was known of the descriptor is forgotten.
    static uint64_t next_generation(uint64_t word) {
        return (word & ~(kKindKnown | kIsSocket | kLive)) + kGenerationOne;
    }
};

// Flags of the owner.
enum SocketFlags : uint32_t {
    kTryRead = 1u << 0,        // a read may succeed: try it
    kTryWrite = 1u << 1,       // a write may succeed: try it
    kTryWatch = 1u << 2,       // what is watched for may hold: look
    kWatched = 1u << 3,        // registered with epoll
    kWatchedOut = 1u << 4,     // ... for EPOLLOUT too
    kNeverDrained = 1u << 5,   // urgent data or a hang-up was seen: a short read proves nothing
    kReadSinceEdge = 1u << 6,  // a read took bytes: the next edge may be theirs
    kUnexplained = 1u << 7,    // an edge came that no read of ours explains
    kTypeKnown = 1u << 8,
    kStream = 1u << 9,     // bytes without borders
    kDatagram = 1u << 10,  // messages without connection; SOCK_SEQPACKET is neither
    kTcp = 1u << 11,
    kBulk = 1u << 12,            // its last turn that moved anything moved much
    kRemovalWaiting = 1u << 13,  // a removal waits for adds that are under way
    kWaitedLong = 1u << 14,      // was waiting at the last sweep
    kWatchesAll = 1u << 15,      // watched for more than the peer's end
    kReadsMayHold = 1u << 16,    // kTryRead was cleared by what is no read of bytes
    kNamed = 1u << 17,           // registered with epoll, for no edges
    // On the ring. What has come back holds its result until its socket advances.
    kReadWithKernel = 1u << 18,
    kWriteWithKernel = 1u << 19,
    kReadCameBack = 1u << 20,
    kWriteCameBack = 1u << 21,
    kDrained = 1u << 22,    // the last receive came short
    kFilesAway = 1u << 23,  // what is under way may be with the threads for files
};

constexpr int kWriteErrorShift = 24;
constexpr uint32_t kFlagsMask = (1u << kWriteErrorShift) - 1;

constexpr uint32_t try_flag_of(Direction direction) {
    return uint32_t{kTryRead} << static_cast<uint32_t>(direction);
}
static_assert(try_flag_of(Direction::kWatch) == kTryWatch);

// Of reads and writes.
constexpr uint32_t with_kernel_flag_of(Direction direction) {
    return uint32_t{kReadWithKernel} << static_cast<uint32_t>(direction);
}
constexpr uint32_t came_back_flag_of(Direction direction) {
    return uint32_t{kReadCameBack} << static_cast<uint32_t>(direction);
}
static_assert(came_back_flag_of(Direction::kWrite) == kWriteCameBack);

// As a task it is the notice that its generation moved.
struct alignas(64) Socket : Task {
    explicit Socket(int number) : Task(TaskKind::kSocketNotice), descriptor(number) {}

    // All threads.
    std::atomic<bool> notice_posted = false;
    std::atomic<uint8_t> owner = 0;  // the worker, from 1; 0: none yet. Once set it stays.
    // The owner's from here on, but for `word`.
    uint8_t read_error = 0;  // the kept errno of a stream
    const int32_t descriptor;
    std::atomic<uint64_t> word = SocketWord::kGenerationOne;
    std::array<OperationQueue, kDirections> queues;
    uint32_t generation = 0;       // which incarnation the owner's part describes
    uint32_t flags = 0;            // the highest byte is the kept errno of writes
    Socket* next_ready = nullptr;  // nullptr: on no list; the last one leads to itself

    bool has(uint32_t any_of) const { return (flags & any_of) != 0; }
    void set(uint32_t bits) { flags |= bits; }
    void clear(uint32_t bits) { flags &= ~bits; }
    // As read_error, or EPIPE.
    int write_error() const { return static_cast<int>(flags >> kWriteErrorShift); }
    void set_write_error(int error) {
        flags = (flags & kFlagsMask) | (static_cast<uint32_t>(error) << kWriteErrorShift);
    }
    bool is_socket() const { return SocketWord::is_socket(word.load(std::memory_order_relaxed)); }
    OperationQueue& queue(Direction direction) { return queues[static_cast<size_t>(direction)]; }
    bool is_registered() const { return has(kWatched | kNamed); }
    bool is_ready() const { return next_ready != nullptr; }
    bool waits() const { return !queues[0].empty() || !queues[1].empty() || !queues[2].empty(); }

    // Whether one of its operations should be tried now.
    bool can_advance() const {
        // Most that have just had their turn wait for nothing.
        return waits() &&
               ((has(kTryRead) && !queues[0].empty()) || (has(kTryWrite) && !queues[1].empty()) ||
                (has(kTryWatch) && !queues[2].empty()));
    }
};

static_assert(sizeof(Socket) == 64);

}  // namespace cport
