#include "tests/support/fault_platform.h"

#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "tests/support/fault_ring.h"
#include "tests/support/fault_state.h"

namespace cport::test {

std::string Holdings::to_string() const {
    return std::to_string(descriptors) + " descriptors, " + std::to_string(asked_to_close) +
           " descriptors to close, " + std::to_string(memory_blocks) + " memory blocks, " +
           std::to_string(fork_marks) + " fork marks, " + std::to_string(rings) + " rings, " +
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

    int epoll_wait(int epoll, struct epoll_event* events, int events_max,
                   int64_t timeout_ns) override {
        Fault fault = state_.enter(Call::kEpollWait);
        // A ring reports each readiness once, so a look must find all that there is.
        const bool finds_all = timeout_ns == 0 && state_.has_rings();
        switch (fault.effect) {
            case Effect::kError:
                return -fault.error;
            case Effect::kEarly:
                if (finds_all) break;
                return 0;
            case Effect::kShort:
                if (finds_all) break;
                return real_.epoll_wait(epoll, events, 1, timeout_ns);
            case Effect::kFalseEvent:
            case Effect::kFalseHangup:
            case Effect::kStaleEvent: {
                const int count = state_.invent_events(epoll, events, events_max, fault.effect);
                if (!finds_all || count == events_max) return count;
                const int found = real_.epoll_wait(epoll, events + count, events_max - count, 0);
                return count + std::max(found, 0);
            }
            default:
                break;
        }
        return real_.epoll_wait(epoll, events, events_max, timeout_ns);
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
        const Fault fault = state_.enter(Call::kReceive);
        if (fault.effect == Effect::kError) return failed_on(descriptor, fault);
        if (fault.effect != Effect::kShort || !takes_parts(descriptor)) {
            return real_.receive(descriptor, buffer, length, flags);
        }
        const size_t most = std::min<size_t>(length, 1);
        return moved_on(descriptor, real_.receive(descriptor, buffer, most, flags));
    }
    int64_t send(int descriptor, const void* buffer, size_t length) override {
        const Fault fault = state_.enter(Call::kSend);
        if (fault.effect == Effect::kError) return failed_on(descriptor, fault);
        if (fault.effect != Effect::kShort || !takes_parts(descriptor)) {
            return real_.send(descriptor, buffer, length);
        }
        return moved_on(descriptor, real_.send(descriptor, buffer, std::min<size_t>(length, 1)));
    }

    int is_non_blocking(int descriptor) override {
        const Fault fault = state_.enter(Call::kIsNonBlocking);
        return fault.effect == Effect::kError ? -fault.error : real_.is_non_blocking(descriptor);
    }
    int take_socket_error(int descriptor) override {
        const Fault fault = state_.enter(Call::kTakeSocketError);
        return fault.effect == Effect::kError ? -fault.error : real_.take_socket_error(descriptor);
    }

    int accept(int listener, struct sockaddr* address, uint32_t* address_length,
               int flags) override {
        const Fault fault = state_.enter(Call::kAccept);
        if (fault.effect == Effect::kError) return failed_on(listener, fault);
        const int accepted = real_.accept(listener, address, address_length, flags);
        state_.accepted(accepted);
        return accepted;
    }
    int connect(int descriptor, const struct sockaddr* address, uint32_t address_length) override {
        const Fault fault = state_.enter(Call::kConnect);
        if (fault.effect != Effect::kError) {
            return real_.connect(descriptor, address, address_length);
        }
        // An interrupted connect goes on.
        if (fault.error == EINTR) {
            static_cast<void>(real_.connect(descriptor, address, address_length));
        }
        return -fault.error;
    }
    int shutdown(int descriptor, int how) override {
        const Fault fault = state_.enter(Call::kShutdown);
        return fault.effect == Effect::kError ? -fault.error : real_.shutdown(descriptor, how);
    }

    int64_t receive_message(int descriptor, struct msghdr* message, int flags) override {
        const Fault fault = state_.enter(Call::kReceiveMessage);
        if (fault.effect == Effect::kError) return failed_on(descriptor, fault);
        if (fault.effect != Effect::kShort || !takes_parts(descriptor)) {
            return real_.receive_message(descriptor, message, flags);
        }
        struct iovec first = first_byte(message->msg_iov, message->msg_iovlen);
        struct msghdr part = *message;
        part.msg_iov = &first;
        part.msg_iovlen = 1;
        const int64_t count = real_.receive_message(descriptor, &part, flags);
        message->msg_namelen = part.msg_namelen;
        message->msg_controllen = part.msg_controllen;
        message->msg_flags = part.msg_flags;
        return moved_on(descriptor, count);
    }
    int64_t send_message(int descriptor, const struct msghdr* message, int flags) override {
        const Fault fault = state_.enter(Call::kSendMessage);
        if (fault.effect == Effect::kError) return failed_on(descriptor, fault);
        if (fault.effect != Effect::kShort || !takes_parts(descriptor)) {
            return real_.send_message(descriptor, message, flags);
        }
        struct iovec first = first_byte(message->msg_iov, message->msg_iovlen);
        struct msghdr part = *message;
        part.msg_iov = &first;
        part.msg_iovlen = 1;
        return moved_on(descriptor, real_.send_message(descriptor, &part, flags));
    }

    int64_t read_now(int descriptor, const struct iovec* parts, int count) override {
        const Fault fault = state_.enter(Call::kReadNow);
        if (fault.effect == Effect::kError) return failed_on(descriptor, fault);
        if (fault.effect != Effect::kShort || !takes_parts(descriptor)) {
            return real_.read_now(descriptor, parts, count);
        }
        const struct iovec first = first_byte(parts, static_cast<size_t>(count));
        return moved_on(descriptor, real_.read_now(descriptor, &first, 1));
    }
    int64_t write_now(int descriptor, const struct iovec* parts, int count) override {
        const Fault fault = state_.enter(Call::kWriteNow);
        if (fault.effect == Effect::kError) return failed_on(descriptor, fault);
        if (fault.effect != Effect::kShort || !takes_parts(descriptor)) {
            return real_.write_now(descriptor, parts, count);
        }
        const struct iovec first = first_byte(parts, static_cast<size_t>(count));
        return moved_on(descriptor, real_.write_now(descriptor, &first, 1));
    }
    int64_t send_file(int descriptor, int file, int64_t offset, size_t length) override {
        const Fault fault = state_.enter(Call::kSendFile);
        if (fault.effect == Effect::kError) return failed_on(descriptor, fault);
        const size_t most = fault.effect == Effect::kShort ? 1 : length;
        return real_.send_file(descriptor, file, offset, most);
    }

    int file_kind(int descriptor) override {
        const Fault fault = state_.enter(Call::kFileKind);
        return fault.effect == Effect::kError ? -fault.error : real_.file_kind(descriptor);
    }
    int64_t read_at(int descriptor, const struct iovec* parts, int count, int64_t offset,
                    bool at_once) override {
        const Fault fault = state_.enter(at_once ? Call::kReadAtOnce : Call::kReadAt);
        if (fault.effect == Effect::kError) return -fault.error;
        const struct iovec first = first_byte(parts, static_cast<size_t>(count));
        if (fault.effect == Effect::kShort) {
            return real_.read_at(descriptor, &first, 1, offset, at_once);
        }
        return real_.read_at(descriptor, parts, count, offset, at_once);
    }
    int64_t write_at(int descriptor, const struct iovec* parts, int count,
                     int64_t offset) override {
        const Fault fault = state_.enter(Call::kWriteAt);
        if (fault.effect == Effect::kError) return -fault.error;
        const struct iovec first = first_byte(parts, static_cast<size_t>(count));
        if (fault.effect == Effect::kShort) return real_.write_at(descriptor, &first, 1, offset);
        return real_.write_at(descriptor, parts, count, offset);
    }
    int sync_file(int descriptor, bool data_only) override {
        const Fault fault = state_.enter(Call::kSyncFile);
        return fault.effect == Effect::kError ? -fault.error
                                              : real_.sync_file(descriptor, data_only);
    }

    int futex_wait(const uint32_t* word, uint32_t expected) override {
        Fault fault = state_.enter(Call::kFutexWait);
        if (fault.effect == Effect::kError) return -fault.error;
        return fault.effect == Effect::kEarly ? 0 : real_.futex_wait(word, expected);
    }
    int futex_wait_until(const uint32_t* word, uint32_t expected, int64_t deadline_ns) override {
        const Fault fault = state_.enter(Call::kFutexWait);
        if (fault.effect == Effect::kError) return -fault.error;
        if (fault.effect == Effect::kEarly) return 0;
        return real_.futex_wait_until(word, expected, deadline_ns);
    }
    int futex_wake_one(const uint32_t* word) override {
        state_.enter(Call::kFutexWake);
        return real_.futex_wake_one(word);
    }
    int futex_wake_all(const uint32_t* word) override {
        state_.enter(Call::kFutexWake);
        return real_.futex_wake_all(word);
    }

 private:
    // What is there though EAGAIN was said is told of by an edge.
    int failed_on(int descriptor, const Fault& fault) {
        if (fault.error == EAGAIN) state_.edge_again(descriptor);
        return -fault.error;
    }
    // So is what a short count left.
    int64_t moved_on(int descriptor, int64_t count) {
        if (count > 0) state_.edge_again(descriptor);
        return count;
    }
    // Streams and pipes: a datagram, or an eventfd's number, is never cut by the kernel.
    bool takes_parts(int descriptor) {
        struct stat status = {};
        return real_.socket_type(descriptor) == SOCK_STREAM ||
               (::fstat(descriptor, &status) == 0 && S_ISFIFO(status.st_mode));
    }
    static struct iovec first_byte(const struct iovec* parts, size_t count) {
        for (size_t i = 0; i < count; ++i) {
            if (parts[i].iov_len > 0) return {parts[i].iov_base, 1};
        }
        return {nullptr, 0};
    }

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

    int start(pthread_t* thread, const char* name, int cpu, Body body, void* argument) override {
        Fault fault = state_->enter(Call::kThreadStart);
        if (fault.effect == Effect::kError) return -fault.error;
        auto wrapped = std::make_unique<ThreadBody>(ThreadBody{state_, body, argument});
        state_->thread_started();
        int result =
            state_->real().threads.start(thread, name, cpu, run_thread_body, wrapped.get());
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
      rings_(real.rings == nullptr ? nullptr : make_fault_rings(state_)),
      platform_(std::make_unique<platform::Platform>(
          platform::Platform{*kernel_, *threads_, *memory_, real.clock, rings_.get()})) {}

FaultPlatform::~FaultPlatform() = default;

int FaultPlatform::calls(Call call) const { return state_->calls(call); }
bool FaultPlatform::fault_happened() const { return state_->fault_happened(); }
void FaultPlatform::before_each(Call call, std::function<void()> hook) {
    state_->before_each(call, std::move(hook));
}
Holdings FaultPlatform::holdings() const { return state_->holdings(); }
std::vector<std::string> FaultPlatform::breaches() const { return state_->breaches(); }
void FaultPlatform::exhaust_memory() { state_->exhaust_memory(); }
bool FaultPlatform::take_over(int descriptor) { return state_->take_over(descriptor); }
void FaultPlatform::ask_to_close(int descriptor) { state_->ask_to_close(descriptor); }
bool FaultPlatform::take_back(int descriptor) { return state_->take_back(descriptor); }
void FaultPlatform::wait_for_threads() { state_->wait_for_threads(); }

}  // namespace cport::test
