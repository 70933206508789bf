// A decorator over the platform that makes one chosen call fail, of the kernel or of a ring, and
// that counts what the core holds, so that a leak after a failure shows.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "platform/platform.h"

namespace cport::test {

// The calls that can fail, each numbered on its own from 1.
enum class Call : uint8_t {
    kEpollCreate,
    kEpollAdd,
    kEpollModify,
    kEpollDelete,
    kEpollWait,
    kEventfdCreate,
    kEventfdSignal,
    kClose,
    kDescriptorKind,
    kSocketType,
    kSocketProtocol,
    kUnreadBytes,
    kAtUrgentMark,
    kPollNow,
    kReceive,
    kSend,
    kIsNonBlocking,
    kTakeSocketError,
    kAccept,
    kConnect,
    kShutdown,
    kReceiveMessage,
    kSendMessage,
    kReadNow,
    kWriteNow,
    kSendFile,
    kFutexWait,
    kThreadStart,
    kAllocate,
    kForkMark,
    kFileKind,
    kReadAtOnce,
    kReadAt,
    kWriteAt,
    kSyncFile,
    kFutexWake,
    kRingCreate,
    kRingEnable,
    kRingPut,
    kRingResultsMax,
    kRingWait,
    kRingTake,
    kRingCancel,
    kRingReceive,  // what a request ends with
    kRingSend,
    kRingPoll,
};
constexpr int kCallCount = static_cast<int>(Call::kRingPoll) + 1;
constexpr bool is_of_ring(Call call) { return call >= Call::kRingCreate; }

enum class Effect : uint8_t {
    kNone,
    kError,        // the call fails with `error`
    kNoMemory,     // nullptr
    kShort,        // one byte, event or result, instead of many; room for no result
    kEarly,        // epoll_wait and futex_wait return at once, with nothing; a ring's wait too; its
                   // results come later, its cancel finds nothing, its poll ends
    kFalseEvent,   // epoll_wait reports readiness that is not there
    kFalseHangup,  // the same with EPOLLHUP and EPOLLERR
    kStaleEvent,   // epoll_wait reports registrations that are no more
};

struct Fault {
    Call call = Call::kEpollCreate;
    int ordinal = 0;  // the call that fails, from 1; 0: none
    Effect effect = Effect::kNone;
    int error = 0;          // an errno, positive
    bool for_good = false;  // every later call of this function fails too
    bool benign = false;    // the core must get over it: nobody sees a difference
};

// "receive", "epoll_add", ...
const char* call_name(Call call);
// "ECONNRESET", "short", "nullptr for good", ...
std::string effect_name(const Fault& fault);
// The faults that the kernel's manual pages allow for a call; `ordinal` is left 0.
std::vector<Fault> legitimate_faults(Call call);

// What the core holds at a moment.
struct Holdings {
    int descriptors = 0;     // its own, and accepted ones that nobody was told of
    int asked_to_close = 0;  // the caller's, which it has accepted to close
    int64_t memory_blocks = 0;
    int fork_marks = 0;
    int rings = 0;
    int threads_running = 0;
    int threads_unclaimed = 0;  // started, neither joined nor detached

    bool empty() const {
        return descriptors == 0 && asked_to_close == 0 && memory_blocks == 0 && fork_marks == 0 &&
               rings == 0 && threads_running == 0 && threads_unclaimed == 0;
    }
    std::string to_string() const;
};

class FaultState;

class FaultPlatform {
 public:
    FaultPlatform(const platform::Platform& real, const Fault& fault);
    ~FaultPlatform();
    FaultPlatform(const FaultPlatform&) = delete;
    FaultPlatform& operator=(const FaultPlatform&) = delete;

    const platform::Platform& platform() const { return *platform_; }

    // How often a function was called so far.
    int calls(Call call) const;
    bool fault_happened() const;
    // From here on runs on the thread that makes such a call, before it.
    void before_each(Call call, std::function<void()> hook);
    Holdings holdings() const;
    // Breaches of the seam's own rules: a foreign descriptor closed, memory released twice, ...
    std::vector<std::string> breaches() const;

    // From here on no memory is given.
    void exhaust_memory();

    // The caller has been told of an accepted descriptor, which is its own from here on. False if
    // the core has none such to give.
    bool take_over(int descriptor);
    // The caller asks the core to close a descriptor of its own. `take_back`: the core refused;
    // false if it has closed it all the same.
    void ask_to_close(int descriptor);
    bool take_back(int descriptor);

    // Waits until each thread that was started has ended. Unlike join, this covers detached ones.
    void wait_for_threads();

 private:
    std::shared_ptr<FaultState> state_;
    std::unique_ptr<platform::Kernel> kernel_;
    std::unique_ptr<platform::Threads> threads_;
    std::unique_ptr<platform::Memory> memory_;
    std::unique_ptr<platform::Rings> rings_;
    std::unique_ptr<platform::Platform> platform_;
};

}  // namespace cport::test
