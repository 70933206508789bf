// Which calls can fail, and how the kernel's manual pages let them.
#include <array>
#include <cerrno>
#include <cstring>

#include "tests/support/fault_platform.h"

namespace cport::test {
namespace {

constexpr size_t kKernelCallCount = static_cast<size_t>(Call::kRingCreate);

struct CallFaults {
    const char* name;
    std::vector<Fault> faults;
};

Fault benign(Effect effect, int error = 0) {
    return Fault{.effect = effect, .error = error, .benign = true};
}

Fault benign_for_good(Effect effect, int error = 0) {
    return Fault{.effect = effect, .error = error, .for_good = true, .benign = true};
}

Fault fails(int error) { return Fault{.effect = Effect::kError, .error = error}; }

Fault fails_for_good(int error) {
    return Fault{.effect = Effect::kError, .error = error, .for_good = true};
}

const std::array<CallFaults, kKernelCallCount>& kernel_table() {
    static const Fault interrupted = benign(Effect::kError, EINTR);
    static const Fault not_now = benign(Effect::kError, EAGAIN);
    static const Fault no_memory{.effect = Effect::kNoMemory};
    static const Fault no_memory_for_good{.effect = Effect::kNoMemory, .for_good = true};
    static const std::array<CallFaults, kKernelCallCount> table{{
        {"epoll_create", {fails(EMFILE), fails(ENFILE), fails(ENOMEM)}},
        {"epoll_add", {fails(ENOMEM), fails(ENOSPC), fails(EBADF), fails_for_good(ENOSPC)}},
        {"epoll_modify", {fails(ENOENT), fails(EBADF)}},
        {"epoll_delete", {fails(ENOENT), fails(EBADF)}},
        {"epoll_wait",
         {interrupted, benign(Effect::kShort), benign(Effect::kEarly), benign(Effect::kFalseEvent),
          benign(Effect::kFalseHangup), benign(Effect::kStaleEvent)}},
        {"eventfd_create", {fails(EMFILE), fails(ENFILE), fails(ENOMEM)}},
        {"eventfd_signal", {interrupted, not_now}},
        {"close", {interrupted, benign(Effect::kError, EIO)}},
        {"descriptor_kind", {fails(EBADF), fails(ENOMEM), fails_for_good(ENOMEM)}},
        {"socket_type", {fails(EBADF), fails(ENOTSOCK), fails(ENOBUFS)}},
        {"socket_protocol", {fails(EBADF), fails(ENOTSOCK), fails(ENOBUFS)}},
        {"unread_bytes", {fails(EBADF), fails(EINVAL)}},
        {"at_urgent_mark", {fails(EBADF), fails(EINVAL)}},
        {"poll_now", {interrupted, fails(ENOMEM), fails_for_good(ENOMEM)}},
        {"receive",
         {interrupted, not_now, benign(Effect::kShort), fails(ECONNRESET), fails(ENOMEM),
          fails(ETIMEDOUT), fails_for_good(ENOMEM)}},
        {"send",
         {interrupted, not_now, benign(Effect::kShort), fails(EPIPE), fails(ECONNRESET),
          fails(ENOBUFS), fails_for_good(ENOBUFS)}},
        {"is_non_blocking", {fails(EBADF)}},
        {"take_socket_error", {fails(ECONNREFUSED), fails(ETIMEDOUT), fails(ENOBUFS)}},
        {"accept",
         {interrupted, not_now, benign(Effect::kError, ECONNABORTED),
          benign(Effect::kError, EPROTO), fails(EMFILE), fails(ENFILE), fails(ENOMEM),
          fails(ENOBUFS), fails(EPERM), fails_for_good(EMFILE)}},
        {"connect",
         {interrupted, fails(ECONNREFUSED), fails(ENETUNREACH), fails(EADDRNOTAVAIL),
          fails(ETIMEDOUT), fails(EACCES), fails(EAGAIN), fails_for_good(ENETUNREACH)}},
        {"shutdown", {fails(ENOTCONN), fails(ENOBUFS)}},
        {"receive_message",
         {interrupted, not_now, benign(Effect::kShort), fails(ECONNRESET), fails(ENOMEM),
          fails(ETIMEDOUT), fails_for_good(ENOMEM)}},
        {"send_message",
         {interrupted, not_now, benign(Effect::kShort), fails(EPIPE), fails(ECONNRESET),
          fails(ENOBUFS), fails(ETOOMANYREFS), fails_for_good(ENOBUFS)}},
        {"read_now",
         {interrupted, not_now, benign(Effect::kShort), fails(EIO), fails(EINVAL),
          fails_for_good(EIO)}},
        {"write_now",
         {interrupted, not_now, benign(Effect::kShort), fails(EPIPE), fails(EIO), fails(ENOSPC),
          fails_for_good(EIO)}},
        {"send_file",
         {interrupted, not_now, benign(Effect::kShort), fails(EPIPE), fails(ECONNRESET), fails(EIO),
          fails(EINVAL), fails(ENOMEM), fails(EOVERFLOW), fails_for_good(EIO)}},
        {"futex_wait", {interrupted, not_now, benign(Effect::kEarly)}},
        {"thread_start", {fails(EAGAIN)}},
        {"allocate", {no_memory, no_memory_for_good}},
        {"fork_mark", {no_memory}},
        {"file_kind", {fails(EBADF), fails(ENOMEM)}},
        {"read_at_once",
         {interrupted, not_now, benign(Effect::kShort), benign(Effect::kError, EOPNOTSUPP)}},
        {"read_at", {interrupted, benign(Effect::kShort), fails(EIO), fails_for_good(EIO)}},
        {"write_at",
         {interrupted, benign(Effect::kShort), fails(ENOSPC), fails(EIO), fails_for_good(ENOSPC)}},
        {"sync_file", {interrupted, fails(EIO), fails(ENOSPC)}},
        {"futex_wake", {}},
    }};
    return table;
}

const std::array<CallFaults, kCallCount - kKernelCallCount>& ring_table() {
    static const Fault interrupted = benign(Effect::kError, EINTR);
    static const Fault not_now = benign(Effect::kError, EAGAIN);
    static const std::array<CallFaults, kCallCount - kKernelCallCount> table{{
        {"ring_create",
         {benign(Effect::kError, ENOSYS), benign(Effect::kError, EPERM),
          benign(Effect::kError, EMFILE)}},
        {"ring_enable", {benign(Effect::kError, EEXIST), benign(Effect::kError, EPERM)}},
        {"ring_put", {not_now, benign_for_good(Effect::kError, EAGAIN)}},
        {"ring_results_max", {benign(Effect::kShort), benign_for_good(Effect::kShort)}},
        {"ring_wait", {interrupted, benign(Effect::kError, EBUSY), benign(Effect::kEarly)}},
        {"ring_take", {benign(Effect::kEarly), benign(Effect::kShort)}},
        {"ring_cancel", {not_now, benign(Effect::kError, ENOMEM), benign(Effect::kEarly)}},
        {"ring_receive",
         {interrupted, not_now, benign(Effect::kError, ECANCELED), benign(Effect::kShort),
          fails(ECONNRESET), fails(ENOMEM), fails(ETIMEDOUT), fails(EBADF),
          fails_for_good(ENOMEM)}},
        {"ring_send",
         {interrupted, not_now, benign(Effect::kError, ECANCELED), benign(Effect::kShort),
          fails(EPIPE), fails(ECONNRESET), fails(ENOBUFS), fails(EBADF), fails_for_good(ENOBUFS)}},
        {"ring_poll",
         {benign(Effect::kError, ECANCELED), benign(Effect::kError, ENOMEM),
          benign(Effect::kEarly)}},
    }};
    return table;
}

const CallFaults& faults_of(Call call) {
    const auto number = static_cast<size_t>(call);
    return is_of_ring(call) ? ring_table()[number - kKernelCallCount] : kernel_table()[number];
}

}  // namespace

const char* call_name(Call call) { return faults_of(call).name; }

std::string effect_name(const Fault& fault) {
    static constexpr std::array names{
        "nothing", "", "nullptr", "short", "early", "false_event", "false_hangup", "stale_event"};
    std::string name = fault.effect == Effect::kError ? strerrorname_np(fault.error)
                                                      : names[static_cast<size_t>(fault.effect)];
    return fault.for_good ? name + "_for_good" : name;
}

std::vector<Fault> legitimate_faults(Call call) {
    std::vector<Fault> faults = faults_of(call).faults;
    for (Fault& fault : faults) fault.call = call;
    return faults;
}

}  // namespace cport::test
