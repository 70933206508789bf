// Completions from the kernel, as an interface: requests go in, results come out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace cport::platform {

struct RingRequest {
    enum class What : uint8_t {
        kReceive,  // recv(2): waits for bytes, whether or not the descriptor blocks
        kSend,     // send(2) with MSG_NOSIGNAL, likewise
        kPoll,     // a result for each time that the descriptor becomes readable
    };

    What what;
    bool expects_to_wait;  // of kReceive: look for bytes only once the descriptor is readable
    int descriptor;
    void* buffer;
    uint32_t length;
    int flags;      // MSG_... of kReceive
    uint64_t name;  // what its results are known by
};

struct RingResult {
    uint64_t name;
    int32_t value;  // as of the system call; a negative errno
    bool more;      // its request is still with the kernel
};

// For one thread: the one that enables it. Every call returns 0, a
// count, or a negative errno.
class Ring {
 public:
    virtual ~Ring() = default;

    // Before anything else.
    virtual int enable() = 0;
    // Whether there is room for it. It reaches the kernel with the next `wait` or `cancel`, if not
    // earlier; from then on its memory is the kernel's, until it has a last result.
    virtual int put(const RingRequest& request) = 0;
    // Hands over what was put; returns when there is a result, or when so much time has passed. A
    // negative timeout waits for ever.
    virtual int wait(int64_t timeout_ns) = 0;
    // The results that there are, at most so many.
    virtual int take(RingResult* results, int results_max) = 0;
    // Has the kernel end a request: its last result comes without anything else happening. Asking
    // may fail for want of memory.
    virtual int cancel(uint64_t name) = 0;
    // How many system calls it has made.
    virtual uint64_t enters() const = 0;
    // How many results it has room for, so that none is lost.
    virtual int results_max() const = 0;
};

class Rings {
 public:
    virtual ~Rings() = default;

    // nullptr with a negative errno: -ENOSYS (this kernel has no rings), -EPERM (they are denied),
    // -EOPNOTSUPP (it lacks something that we need), -ENOMEM, -EMFILE, -ENFILE.
    virtual std::unique_ptr<Ring> create(int& error) = 0;
};

}  // namespace cport::platform
