#include "platform/linux/linux_ring.h"

#include <linux/io_uring.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <new>

// We speak io_uring ourselves: liburing 2.3 cannot hand over requests and run deferred work in one
// call without waiting for a result, which is what a busy worker does in each round.
namespace cport::platform {
namespace {

constexpr uint32_t kRequestsMax = 512;
constexpr uint32_t kResultsMax = 16384;

// One issuer, whose work is done when it asks for results. All of it is in Linux 6.1.
constexpr uint32_t kSetupFlags = IORING_SETUP_R_DISABLED | IORING_SETUP_SINGLE_ISSUER |
                                 IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG |
                                 IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE;
constexpr uint32_t kFeatures =
    IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP | IORING_FEAT_FAST_POLL | IORING_FEAT_EXT_ARG;
constexpr uint8_t kOperations[] = {IORING_OP_RECV, IORING_OP_SEND, IORING_OP_POLL_ADD,
                                   IORING_OP_ASYNC_CANCEL};
// Of cancels that found nothing to cancel.
constexpr uint64_t kNoName = UINT64_MAX - 1;

template <typename... Arguments>
int call(long number, Arguments... arguments) {
    const long result = ::syscall(number, arguments...);
    return result < 0 ? -errno : static_cast<int>(result);
}

int enter(uint32_t ring, uint32_t count, uint32_t results_min, uint32_t flags,
          const struct io_uring_getevents_arg* argument) {
    return call(__NR_io_uring_enter, ring, count, results_min, flags, argument, sizeof(*argument));
}

int register_with(int ring, uint32_t what, void* argument, uint32_t count) {
    return call(__NR_io_uring_register, ring, what, argument, count);
}

// A mapping of the ring's, which a forked child does not get.
class Mapping {
 public:
    Mapping() = default;
    ~Mapping() {
        if (memory_ != MAP_FAILED) ::munmap(memory_, size_);
    }
    Mapping(const Mapping&) = delete;
    Mapping& operator=(const Mapping&) = delete;

    int open(int ring, size_t size, off_t offset) {
        size_ = size;
        memory_ =
            ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring, offset);
        if (memory_ == MAP_FAILED) return -errno;
        return ::madvise(memory_, size, MADV_DONTFORK) < 0 ? -errno : 0;
    }
    template <typename Value>
    Value* at(uint32_t offset) const {
        return reinterpret_cast<Value*>(static_cast<char*>(memory_) + offset);
    }

 private:
    void* memory_ = MAP_FAILED;
    size_t size_ = 0;
};

class LinuxRing final : public Ring {
 public:
    LinuxRing() = default;
    ~LinuxRing() override {
        if (ring_ >= 0) ::close(ring_);
    }

    int open();
    int enable() override;
    int put(const RingRequest& request) override;
    int wait(int64_t timeout_ns) override;
    int take(RingResult* results, int results_max) override;
    int cancel(uint64_t name) override;
    uint64_t enters() const override { return enters_; }
    int results_max() const override { return static_cast<int>(cq_mask_) + 1; }

 private:
    int check_operations() const;
    void map(const struct io_uring_params& params);
    // Empty; nullptr where the kernel takes none. It counts once it is pushed.
    struct io_uring_sqe* next_entry();
    void push_entry();
    // Calls the kernel with what was put. A negative timeout: for ever.
    int enter_kernel(uint32_t results_min, int64_t timeout_ns);
    uint32_t unsubmitted() const { return sq_tail_ - __atomic_load_n(sq_head_, __ATOMIC_ACQUIRE); }
    bool has_results() const { return __atomic_load_n(cq_tail_, __ATOMIC_ACQUIRE) != *cq_head_; }
    bool kernel_has_work() const {
        return (__atomic_load_n(sq_flags_, __ATOMIC_RELAXED) &
                (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
    }

    int ring_ = -1;
    uint32_t enter_ring_ = 0;  // its name in `enter`
    uint32_t enter_flags_ = 0;
    uint64_t enters_ = 0;
    Mapping rings_;
    Mapping entries_;
    uint32_t* sq_head_ = nullptr;
    uint32_t* sq_ktail_ = nullptr;
    const uint32_t* sq_flags_ = nullptr;
    uint32_t sq_tail_ = 0;
    uint32_t sq_mask_ = 0;
    struct io_uring_sqe* sqes_ = nullptr;
    uint32_t* cq_head_ = nullptr;
    const uint32_t* cq_tail_ = nullptr;
    uint32_t cq_mask_ = 0;
    const struct io_uring_cqe* cqes_ = nullptr;
};

// What it says where the kernel has rings, but not such ones.
int setup_error(int error) {
    switch (error) {
        case -EINVAL:
            return -EOPNOTSUPP;
        case -EACCES:
            return -EPERM;
        default:
            return error;
    }
}

int LinuxRing::open() {
    struct io_uring_params params = {};
    params.flags = kSetupFlags;
    params.cq_entries = kResultsMax;
    ring_ = call(__NR_io_uring_setup, kRequestsMax, &params);
    if (ring_ < 0) return setup_error(ring_);
    if ((params.features & kFeatures) != kFeatures) return -EOPNOTSUPP;
    const size_t rings_size =
        std::max<size_t>(params.sq_off.array + params.sq_entries * sizeof(uint32_t),
                         params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe));
    int error = rings_.open(ring_, rings_size, IORING_OFF_SQ_RING);
    if (error == 0) {
        error =
            entries_.open(ring_, params.sq_entries * sizeof(struct io_uring_sqe), IORING_OFF_SQES);
    }
    if (error != 0) return error;
    map(params);
    return check_operations();
}

void LinuxRing::map(const struct io_uring_params& params) {
    sq_head_ = rings_.at<uint32_t>(params.sq_off.head);
    sq_ktail_ = rings_.at<uint32_t>(params.sq_off.tail);
    sq_flags_ = rings_.at<uint32_t>(params.sq_off.flags);
    sq_mask_ = *rings_.at<uint32_t>(params.sq_off.ring_mask);
    sqes_ = entries_.at<struct io_uring_sqe>(0);
    auto* const array = rings_.at<uint32_t>(params.sq_off.array);
    for (uint32_t i = 0; i < params.sq_entries; ++i) array[i] = i;
    cq_head_ = rings_.at<uint32_t>(params.cq_off.head);
    cq_tail_ = rings_.at<uint32_t>(params.cq_off.tail);
    cq_mask_ = *rings_.at<uint32_t>(params.cq_off.ring_mask);
    cqes_ = rings_.at<struct io_uring_cqe>(params.cq_off.cqes);
}

// The operations one by one: a kernel may be built, or patched, without some.
int LinuxRing::check_operations() const {
    constexpr size_t kCount = IORING_OP_LAST;
    // The answer ends in an array.
    alignas(struct io_uring_probe)
        std::array<std::byte,
                   sizeof(struct io_uring_probe) + kCount * sizeof(struct io_uring_probe_op)>
            answer = {};
    if (register_with(ring_, IORING_REGISTER_PROBE, answer.data(), kCount) < 0) return -EOPNOTSUPP;
    const auto* known = reinterpret_cast<const struct io_uring_probe*>(answer.data());
    for (const uint8_t operation : kOperations) {
        if ((known->ops[operation].flags & IO_URING_OP_SUPPORTED) == 0) return -EOPNOTSUPP;
    }
    return 0;
}

int LinuxRing::enable() {
    const int error = register_with(ring_, IORING_REGISTER_ENABLE_RINGS, nullptr, 0);
    if (error < 0) return error;
    // Saves the look-up of the descriptor in each call. It works without.
    struct io_uring_rsrc_update update = {};
    update.offset = UINT32_MAX;
    update.data = static_cast<uint32_t>(ring_);
    enter_ring_ = static_cast<uint32_t>(ring_);
    if (register_with(ring_, IORING_REGISTER_RING_FDS, &update, 1) == 1) {
        enter_ring_ = update.offset;
        enter_flags_ = IORING_ENTER_REGISTERED_RING;
    }
    // A sandbox may allow the rest and not this.
    return enter_kernel(0, 0);
}

int LinuxRing::put(const RingRequest& request) {
    struct io_uring_sqe* room = next_entry();
    if (room == nullptr) return -EAGAIN;
    struct io_uring_sqe& entry = *room;
    entry.fd = request.descriptor;
    entry.user_data = request.name;
    switch (request.what) {
        case RingRequest::What::kReceive:
            entry.opcode = IORING_OP_RECV;
            entry.ioprio = request.expects_to_wait ? uint16_t{IORING_RECVSEND_POLL_FIRST} : 0;
            entry.addr = reinterpret_cast<uint64_t>(request.buffer);
            entry.len = request.length;
            entry.msg_flags = static_cast<uint32_t>(request.flags);
            break;
        case RingRequest::What::kSend:
            entry.opcode = IORING_OP_SEND;
            entry.addr = reinterpret_cast<uint64_t>(request.buffer);
            entry.len = request.length;
            entry.msg_flags = MSG_NOSIGNAL;
            break;
        case RingRequest::What::kPoll:
            entry.opcode = IORING_OP_POLL_ADD;
            entry.len = IORING_POLL_ADD_MULTI;
            entry.poll32_events = POLLIN;
            break;
    }
    push_entry();
    return 0;
}

struct io_uring_sqe* LinuxRing::next_entry() {
    if (unsubmitted() > sq_mask_ && (enter_kernel(0, 0) < 0 || unsubmitted() > sq_mask_)) {
        return nullptr;
    }
    struct io_uring_sqe* entry = &sqes_[sq_tail_ & sq_mask_];
    *entry = {};
    return entry;
}

void LinuxRing::push_entry() {
    // Release pairs with the kernel's look at the tail: the entry is whole.
    __atomic_store_n(sq_ktail_, ++sq_tail_, __ATOMIC_RELEASE);
}

int LinuxRing::enter_kernel(uint32_t results_min, int64_t timeout_ns) {
    constexpr int64_t kSecond_ns = 1'000'000'000;
    struct __kernel_timespec time = {};
    struct io_uring_getevents_arg argument = {};
    if (timeout_ns >= 0) {
        time.tv_sec = timeout_ns / kSecond_ns;
        time.tv_nsec = timeout_ns % kSecond_ns;
        argument.ts = reinterpret_cast<uint64_t>(&time);
    }
    ++enters_;
    const int result =
        enter(enter_ring_, unsubmitted(), results_min,
              IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG | enter_flags_, &argument);
    return result == -ETIME ? 0 : std::min(result, 0);
}

int LinuxRing::wait(int64_t timeout_ns) {
    const bool looks_only = timeout_ns == 0 || has_results();
    if (looks_only && unsubmitted() == 0 && !kernel_has_work()) return 0;
    return enter_kernel(looks_only ? 0 : 1, timeout_ns);
}

int LinuxRing::take(RingResult* results, int results_max) {
    uint32_t head = *cq_head_;
    const uint32_t tail = __atomic_load_n(cq_tail_, __ATOMIC_ACQUIRE);
    int count = 0;
    while (head != tail && count < results_max) {
        const struct io_uring_cqe& entry = cqes_[head++ & cq_mask_];
        if (entry.user_data == kNoName) continue;
        results[count++] =
            RingResult{entry.user_data, entry.res, (entry.flags & IORING_CQE_F_MORE) != 0};
    }
    // Release: the kernel may use the entries again.
    __atomic_store_n(cq_head_, head, __ATOMIC_RELEASE);
    return count;
}

int LinuxRing::cancel(uint64_t name) {
    // Not IORING_REGISTER_SYNC_CANCEL: it sleeps until a request that a kernel thread has ends, and
    // a ring that defers its work does not wake it then.
    struct io_uring_sqe* entry = next_entry();
    if (entry == nullptr) return -EAGAIN;
    entry->opcode = IORING_OP_ASYNC_CANCEL;
    entry->flags = IOSQE_CQE_SKIP_SUCCESS;
    entry->fd = -1;
    entry->addr = name;
    entry->user_data = kNoName;
    push_entry();
    return enter_kernel(0, 0);
}

}  // namespace

std::unique_ptr<Ring> LinuxRings::create(int& error) {
    std::unique_ptr<LinuxRing> ring(new (std::nothrow) LinuxRing);
    error = ring == nullptr ? -ENOMEM : ring->open();
    return error == 0 ? std::move(ring) : nullptr;
}

}  // namespace cport::platform
