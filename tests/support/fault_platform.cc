#include "tests/support/fault_platform.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "tests/support/fault_state.h"

namespace cport::test {

namespace {

struct CallFaults {
    const char* name;
    std::vector<Fault> faults;
};

Fault benign(Effect effect, int error = 0) {
    return Fault{.effect = effect, .error = error, .benign = true};
}

Fault fails(int error) { return Fault{.effect = Effect::kError, .error = error}; }

Fault fails_for_good(int error) {
    return Fault{.effect = Effect::kError, .error = error, .for_good = true};
}

const std::array<CallFaults, kCallCount>& call_table() {
    static const Fault interrupted = benign(Effect::kError, EINTR);
    static const Fault not_now = benign(Effect::kError, EAGAIN);
    static const Fault no_memory{.effect = Effect::kNoMemory};
    static const Fault no_memory_for_good{.effect = Effect::kNoMemory, .for_good = true};
    static const std::array<CallFaults, kCallCount> table{{
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
        {"futex_wait", {interrupted, not_now, benign(Effect::kEarly)}},
        {"thread_start", {fails(EAGAIN)}},
        {"allocate", {no_memory, no_memory_for_good}},
        {"fork_mark", {no_memory}},
    }};
    return table;
}

}  // namespace

const char* call_name(Call call) { return call_table()[static_cast<size_t>(call)].name; }

std::string effect_name(const Fault& fault) {
    static constexpr std::array names{
        "nothing", "", "nullptr", "short", "early", "false_event", "false_hangup", "stale_event"};
    std::string name = fault.effect == Effect::kError ? strerrorname_np(fault.error)
                                                      : names[static_cast<size_t>(fault.effect)];
    return fault.for_good ? name + "_for_good" : name;
}

std::vector<Fault> legitimate_faults(Call call) {
    std::vector<Fault> faults = call_table()[static_cast<size_t>(call)].faults;
    for (Fault& fault : faults) fault.call = call;
    return faults;
}

std::string Holdings::to_string() const {
    return std::to_string(descriptors) + " descriptors, " + std::to_string(memory_blocks) +
           " memory blocks, " + std::to_string(fork_marks) + " fork marks, " +
           std::to_string(threads_running) + " running threads, " +
           std::to_string(threads_unclaimed) + " threads neither joined nor detached";
}

namespace {

class FaultKernel : public platform::Kernel {
 public:
    explicit FaultKernel(FaultState& state) : state_(state), real_(state.real().kernel) {}

    int epoll_create() override {
        Fault fault = state_.enter(Call::kEpollCreate);
        if (fault.effect == Effect::kError) return -fault.error;
        int epoll = real_.epoll_create();
        state_.descriptor_opened(epoll);
        return epoll;
    }

    int epoll_ctl(int epoll, int operation, int descriptor, uint32_t events,
                  uint64_t data) override {
        Fault fault = state_.enter(operation == EPOLL_CTL_ADD   ? Call::kEpollAdd
                                   : operation == EPOLL_CTL_MOD ? Call::kEpollModify
                                                                : Call::kEpollDelete);
        if (fault.effect == Effect::kError) {
            // MOD and DEL fail only where the kernel has dropped the registration by itself.
            if (operation != EPOLL_CTL_ADD) {
                real_.epoll_ctl(epoll, EPOLL_CTL_DEL, descriptor, 0, 0);
                state_.unregistered(epoll, descriptor);
            }
            return -fault.error;
        }
        // Known before the kernel can report it; forgotten after the kernel has forgotten it.
        int result = real_.epoll_ctl(epoll, operation, descriptor, events, data);
        if (operation == EPOLL_CTL_DEL) state_.unregistered(epoll, descriptor);
        if (operation != EPOLL_CTL_DEL && result == 0) {
            state_.registered(epoll, descriptor, events, data);
        }
        return result;
    }

    int epoll_wait(int epoll, struct epoll_event* events, int events_max, int timeout_ms) override {
        Fault fault = state_.enter(Call::kEpollWait);
        switch (fault.effect) {
            case Effect::kError:
                return -fault.error;
            case Effect::kEarly:
                return 0;
            case Effect::kShort:
                return real_.epoll_wait(epoll, events, 1, timeout_ms);
            case Effect::kFalseEvent:
            case Effect::kFalseHangup:
            case Effect::kStaleEvent:
                return state_.invent_events(epoll, events, events_max, fault.effect);
            default:
                return real_.epoll_wait(epoll, events, events_max, timeout_ms);
        }
    }

    int eventfd_create() override {
        Fault fault = state_.enter(Call::kEventfdCreate);
        if (fault.effect == Effect::kError) return -fault.error;
        int eventfd = real_.eventfd_create();
        state_.descriptor_opened(eventfd);
        return eventfd;
    }

    int eventfd_signal(int eventfd) override {
        Fault fault = state_.enter(Call::kEventfdSignal);
        // EAGAIN means that the counter is full: whoever waits for it is woken.
        if (fault.error != EINTR) {
            int result = real_.eventfd_signal(eventfd);
            return fault.effect == Effect::kError ? -fault.error : result;
        }
        return -fault.error;
    }

    int close(int descriptor) override {
        Fault fault = state_.enter(Call::kClose);
        // A foreign descriptor is left open, so that the scenario's own checks go on.
        if (!state_.descriptor_closing(descriptor)) return -EBADF;
        int result = real_.close(descriptor);
        return fault.effect == Effect::kError ? -fault.error : result;
    }

    int descriptor_kind(int descriptor) override {
        Fault fault = state_.enter(Call::kDescriptorKind);
        return fault.effect == Effect::kError ? -fault.error : real_.descriptor_kind(descriptor);
    }
    int socket_type(int descriptor) override {
        Fault fault = state_.enter(Call::kSocketType);
        return fault.effect == Effect::kError ? -fault.error : real_.socket_type(descriptor);
    }
    int socket_protocol(int descriptor) override {
        Fault fault = state_.enter(Call::kSocketProtocol);
        return fault.effect == Effect::kError ? -fault.error : real_.socket_protocol(descriptor);
    }
    int at_urgent_mark(int descriptor) override {
        Fault fault = state_.enter(Call::kAtUrgentMark);
        return fault.effect == Effect::kError ? -fault.error : real_.at_urgent_mark(descriptor);
    }
    int unread_bytes(int descriptor) override {
        Fault fault = state_.enter(Call::kUnreadBytes);
        return fault.effect == Effect::kError ? -fault.error : real_.unread_bytes(descriptor);
    }
    int poll_now(int descriptor, uint32_t events) override {
        Fault fault = state_.enter(Call::kPollNow);
        return fault.effect == Effect::kError ? -fault.error : real_.poll_now(descriptor, events);
    }

    int64_t receive(int descriptor, void* buffer, size_t length, int flags) override {
        Fault fault = state_.enter(Call::kReceive);
        if (fault.effect == Effect::kError) {
            if (fault.error == EAGAIN) state_.edge_again(descriptor);
            return -fault.error;
        }
        // A datagram is never cut by the kernel.
        if (fault.effect == Effect::kShort && real_.socket_type(descriptor) == SOCK_STREAM) {
            int64_t count = real_.receive(descriptor, buffer, std::min<size_t>(length, 1), flags);
            if (count > 0) state_.edge_again(descriptor);
            return count;
        }
        return real_.receive(descriptor, buffer, length, flags);
    }

    int64_t send(int descriptor, const void* buffer, size_t length) override {
        Fault fault = state_.enter(Call::kSend);
        if (fault.effect == Effect::kError) {
            if (fault.error == EAGAIN) state_.edge_again(descriptor);
            return -fault.error;
        }
        if (fault.effect == Effect::kShort && real_.socket_type(descriptor) == SOCK_STREAM) {
            int64_t count = real_.send(descriptor, buffer, std::min<size_t>(length, 1));
            if (count > 0) state_.edge_again(descriptor);
            return count;
        }
        return real_.send(descriptor, buffer, length);
    }

    int futex_wait(const uint32_t* word, uint32_t expected) override {
        Fault fault = state_.enter(Call::kFutexWait);
        if (fault.effect == Effect::kError) return -fault.error;
        return fault.effect == Effect::kEarly ? 0 : real_.futex_wait(word, expected);
    }
    int futex_wake_all(const uint32_t* word) override { return real_.futex_wake_all(word); }

 private:
    FaultState& state_;
    platform::Kernel& real_;
};

struct ThreadBody {
    std::shared_ptr<FaultState> state;
    platform::Threads::Body body;
    void* argument;
};

void run_thread_body(void* argument) {
    std::unique_ptr<ThreadBody> thread(static_cast<ThreadBody*>(argument));
    thread->body(thread->argument);
    thread->state->thread_ended();
}

class FaultThreads : public platform::Threads {
 public:
    explicit FaultThreads(const std::shared_ptr<FaultState>& state) : state_(state) {}

    int start(pthread_t* thread, const char* name, Body body, void* argument) override {
        Fault fault = state_->enter(Call::kThreadStart);
        if (fault.effect == Effect::kError) return -fault.error;
        auto wrapped = std::make_unique<ThreadBody>(ThreadBody{state_, body, argument});
        state_->thread_started();
        int result = state_->real().threads.start(thread, name, run_thread_body, wrapped.get());
        if (result != 0) {
            state_->thread_not_started();
            return result;
        }
        // The thread owns it now.
        static_cast<void>(wrapped.release());
        return 0;
    }
    void join(pthread_t thread) override {
        state_->real().threads.join(thread);
        state_->thread_claimed();
    }
    void detach(pthread_t thread) override {
        state_->real().threads.detach(thread);
        state_->thread_claimed();
    }

 private:
    std::shared_ptr<FaultState> state_;
};

class FaultMemory : public platform::Memory {
 public:
    explicit FaultMemory(FaultState& state) : state_(state), real_(state.real().memory) {}

    void* allocate(size_t size, size_t alignment) override {
        if (state_.enter(Call::kAllocate).effect == Effect::kNoMemory) return nullptr;
        void* memory = real_.allocate(size, alignment);
        if (memory != nullptr) state_.memory_given(memory, size);
        return memory;
    }
    void release(void* memory, size_t size) override {
        if (memory != nullptr && state_.memory_returning(memory, size)) real_.release(memory, size);
    }
    const volatile uint32_t* fork_mark_create() override {
        if (state_.enter(Call::kForkMark).effect == Effect::kNoMemory) return nullptr;
        const volatile uint32_t* mark = real_.fork_mark_create();
        if (mark != nullptr) state_.fork_marks_changed(1);
        return mark;
    }
    void fork_mark_destroy(const volatile uint32_t* mark) override {
        if (mark == nullptr) return;
        real_.fork_mark_destroy(mark);
        state_.fork_marks_changed(-1);
    }

 private:
    FaultState& state_;
    platform::Memory& real_;
};

}  // namespace

FaultPlatform::FaultPlatform(const platform::Platform& real, const Fault& fault)
    : state_(std::make_shared<FaultState>(real, fault)),
      kernel_(std::make_unique<FaultKernel>(*state_)),
      threads_(std::make_unique<FaultThreads>(state_)),
      memory_(std::make_unique<FaultMemory>(*state_)),
      platform_(std::make_unique<platform::Platform>(
          platform::Platform{*kernel_, *threads_, *memory_, real.clock})) {}

FaultPlatform::~FaultPlatform() = default;

int FaultPlatform::calls(Call call) const { return state_->calls(call); }
bool FaultPlatform::fault_happened() const { return state_->fault_happened(); }
Holdings FaultPlatform::holdings() const { return state_->holdings(); }
std::vector<std::string> FaultPlatform::breaches() const { return state_->breaches(); }
void FaultPlatform::exhaust_memory() { state_->exhaust_memory(); }
void FaultPlatform::wait_for_threads() { state_->wait_for_threads(); }

}  // namespace cport::test
