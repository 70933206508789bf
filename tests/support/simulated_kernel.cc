#include "tests/support/simulated_kernel.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <string>
#include <string_view>

#include "tests/support/simulated_epoll.h"
#include "tests/support/simulated_listener.h"
#include "tests/support/simulated_others.h"
#include "tests/support/simulated_tcp.h"
#include "tests/support/simulated_unix.h"

namespace cport::test {
namespace {

// POLLNVAL, and what poll(2) reports unasked.
constexpr uint32_t kPollInvalid = 0x20;
constexpr uint32_t kPollAlways = EPOLLERR | EPOLLHUP;

std::string_view view(const void* buffer, size_t length) {
    return {static_cast<const char*>(buffer), length};
}

std::string gather(const struct iovec* parts, size_t count) {
    std::string bytes;
    for (size_t i = 0; i < count; ++i) {
        bytes.append(static_cast<const char*>(parts[i].iov_base), parts[i].iov_len);
    }
    return bytes;
}

size_t length_of(const struct iovec* parts, size_t count) {
    size_t length = 0;
    for (size_t i = 0; i < count; ++i) length += parts[i].iov_len;
    return length;
}

void scatter(std::string_view bytes, const struct iovec* parts, size_t count) {
    for (size_t i = 0; i < count && !bytes.empty(); ++i) {
        const size_t taken = std::min(bytes.size(), parts[i].iov_len);
        std::copy_n(bytes.data(), taken, static_cast<char*>(parts[i].iov_base));
        bytes.remove_prefix(taken);
    }
}

void copy_name(const std::string& name, struct sockaddr* address, uint32_t* length) {
    std::memcpy(address, name.data(), std::min<size_t>(name.size(), *length));
    *length = static_cast<uint32_t>(name.size());
}

}  // namespace

SimulatedKernel::SimulatedKernel(SimulatedSchedule& schedule, SimulatedPerturbation& perturbation,
                                 std::unique_ptr<SimulatedNumbers> numbers)
    : schedule_(schedule),
      perturbation_(perturbation),
      numbers_(std::move(numbers)),
      any_of_files_(std::make_shared<SimulatedRegularFile>(perturbation)),
      any_null_device_(std::make_shared<SimulatedNullDevice>(perturbation)) {
    schedule_.set_idle([this] { return perturbation_.deliver_one(); },
                       [this] { return perturbation_.pending(); });
}

template <typename Call>
auto SimulatedKernel::call(Call&& body) {
    SimulatedSchedule::Lock lock = schedule_.lock();
    schedule_.pass(lock);
    perturbation_.deliver_some();
    const auto answer = body(lock);
    schedule_.changed();
    // What the call found may be out of date before its caller looks at it.
    schedule_.pass(lock);
    return answer;
}

template <typename Call>
auto SimulatedKernel::call_on(int descriptor, Call&& body) {
    return call([&](SimulatedSchedule::Lock&) {
        SimulatedFile* file = find(descriptor);
        using Answer = decltype(body(*file));
        return file == nullptr ? static_cast<Answer>(-EBADF) : body(*file);
    });
}

SimulatedFile* SimulatedKernel::find(int descriptor) {
    const auto found = descriptors_.find(descriptor);
    if (found != descriptors_.end()) return found->second.get();
    return files_ == nullptr ? nullptr : find_file(descriptor);
}

int SimulatedKernel::install(File file, int flags) {
    const int number = numbers_->take(flags);
    if (number >= 0) descriptors_[number] = std::move(file);
    return number;
}

template <typename End>
Ends SimulatedKernel::install_pair() {
    Ends ends{};
    call([&](SimulatedSchedule::Lock&) {
        auto ours = std::make_shared<End>(perturbation_);
        auto theirs = std::make_shared<End>(perturbation_);
        End::connect(*ours, *theirs);
        ends.ours = install(std::move(ours));
        ends.theirs = install(std::move(theirs));
        return 0;
    });
    return ends;
}

void SimulatedKernel::last_close(SimulatedFile& file) {
    while (!file.watches().empty()) file.watches().front()->epoll->forget(file);
    file.close();
}

int SimulatedKernel::close_locked(int descriptor) {
    const auto found = descriptors_.find(descriptor);
    if (found == descriptors_.end()) return -EBADF;
    const File file = found->second;
    descriptors_.erase(found);
    numbers_->give_back(descriptor);
    release(file);
    return 0;
}

void SimulatedKernel::release(const File& file) {
    if (!has_descriptor(file) && held_.count(file.get()) == 0) last_close(*file);
}

bool SimulatedKernel::has_descriptor(const File& file) const {
    return std::any_of(descriptors_.begin(), descriptors_.end(),
                       [&file](const auto& entry) { return entry.second == file; });
}

SimulatedKernel::File SimulatedKernel::file_of(int descriptor) {
    const auto found = descriptors_.find(descriptor);
    return found == descriptors_.end() ? nullptr : found->second;
}

void SimulatedKernel::let_go(const File& file) {
    const auto holding = held_.find(file.get());
    if (--holding->second != 0) return;
    held_.erase(holding);
    if (!has_descriptor(file)) last_close(*file);
}

int SimulatedKernel::epoll_create() {
    return call([this](SimulatedSchedule::Lock&) {
        return install(std::make_shared<SimulatedEpoll>(perturbation_));
    });
}

int SimulatedKernel::epoll_ctl(int epoll, int operation, int descriptor, uint32_t events,
                               uint64_t data) {
    return call([&](SimulatedSchedule::Lock&) -> int {
        SimulatedFile* set = find(epoll);
        SimulatedFile* file = find(descriptor);
        if (set == nullptr || file == nullptr) return -EBADF;
        if (!file->can_be_watched()) return -EPERM;
        auto* watcher = dynamic_cast<SimulatedEpoll*>(set);
        if (watcher == nullptr || set == file) return -EINVAL;
        return watcher->control(operation, *file, descriptor, events, data);
    });
}

int SimulatedKernel::epoll_wait(int epoll, struct epoll_event* events, int events_max,
                                int64_t timeout_ns) {
    return call([&](SimulatedSchedule::Lock& lock) -> int {
        if (events_max <= 0) return -EINVAL;
        const auto found = descriptors_.find(epoll);
        if (found == descriptors_.end()) return -EBADF;
        // Holds the set open: another thread may close it meanwhile.
        const auto set = std::dynamic_pointer_cast<SimulatedEpoll>(found->second);
        if (set == nullptr) return -EINVAL;
        if (perturbation_.happens(&SimulatedChances::interrupted)) return -EINTR;
        const int64_t deadline_ns =
            timeout_ns < 0 ? SimulatedSchedule::kForEver_ns : schedule_.now_ns() + timeout_ns;
        for (;;) {
            const int count = set->collect(events, events_max);
            if (count != 0 || schedule_.now_ns() >= deadline_ns) return count;
            if (perturbation_.happens(&SimulatedChances::waits_empty)) return 0;
            schedule_.wait(
                lock, [&set] { return set->any_listed(); }, deadline_ns);
        }
    });
}

int SimulatedKernel::eventfd_create() {
    return call([this](SimulatedSchedule::Lock&) {
        return install(std::make_shared<SimulatedEventfd>(perturbation_));
    });
}

int SimulatedKernel::eventfd_signal(int eventfd) {
    return call_on(eventfd, [this](SimulatedFile& file) -> int {
        if (perturbation_.happens(&SimulatedChances::interrupted)) return -EINTR;
        const uint64_t one = 1;
        return static_cast<int>(file.write(view(&one, sizeof(one))));
    });
}

int SimulatedKernel::close(int descriptor) {
    return call([&](SimulatedSchedule::Lock&) { return close_locked(descriptor); });
}

int SimulatedKernel::descriptor_kind(int descriptor) {
    return call_on(descriptor, [](SimulatedFile& file) { return static_cast<int>(file.kind()); });
}

int SimulatedKernel::socket_type(int descriptor) {
    return call_on(descriptor, [](SimulatedFile& file) { return file.socket_type(); });
}

int SimulatedKernel::socket_protocol(int descriptor) {
    return call_on(descriptor, [](SimulatedFile& file) { return file.socket_protocol(); });
}

int SimulatedKernel::unread_bytes(int descriptor) {
    return call_on(descriptor, [](SimulatedFile& file) { return file.unread_bytes(); });
}

int SimulatedKernel::at_urgent_mark(int descriptor) {
    return call_on(descriptor, [](SimulatedFile& file) { return file.at_urgent_mark(); });
}

int SimulatedKernel::poll_now(int descriptor, uint32_t events) {
    return call([&](SimulatedSchedule::Lock&) -> int {
        SimulatedFile* file = find(descriptor);
        // As poll(2), which answers here instead of failing.
        if (file == nullptr) return static_cast<int>(kPollInvalid);
        const uint32_t asked = (events & 0xffff) | kPollAlways;
        const auto found = static_cast<int>(file->poll() & asked);
        if (found == 0 && perturbation_.happens(&SimulatedChances::interrupted)) return -EINTR;
        return found;
    });
}

int64_t SimulatedKernel::receive(int descriptor, void* buffer, size_t length, int flags) {
    return call_on(descriptor, [&](SimulatedFile& file) {
        const int64_t count = file.receive(static_cast<char*>(buffer), length, flags);
        return count > 1 && perturbation_.happens(&SimulatedChances::bytes_lost) ? count - 1
                                                                                 : count;
    });
}

int64_t SimulatedKernel::send(int descriptor, const void* buffer, size_t length) {
    return call_on(descriptor, [&](SimulatedFile& file) -> int64_t {
        if (file.kind() == platform::DescriptorKind::kSocket &&
            perturbation_.happens(&SimulatedChances::interrupted)) {
            return -EINTR;
        }
        const int64_t count = file.send(view(buffer, length));
        const bool wrong =
            count == -EPIPE && perturbation_.happens(&SimulatedChances::errnos_wrong);
        return wrong ? -ECONNRESET : count;
    });
}

int SimulatedKernel::is_non_blocking(int descriptor) {
    return call_on(descriptor, [this, descriptor](SimulatedFile&) {
        return numbers_->is_non_blocking(descriptor) ? 1 : 0;
    });
}

int64_t SimulatedKernel::receive_message(int descriptor, struct msghdr* message, int flags) {
    const size_t length = length_of(message->msg_iov, message->msg_iovlen);
    std::string bytes(length, ' ');
    const int64_t count = receive(descriptor, bytes.data(), length, flags & MSG_TRUNC);
    if (count < 0) return count;
    const size_t taken = std::min(static_cast<size_t>(count), length);
    scatter(std::string_view(bytes).substr(0, taken), message->msg_iov, message->msg_iovlen);
    message->msg_namelen = 0;
    message->msg_controllen = 0;
    message->msg_flags = static_cast<size_t>(count) > length ? MSG_TRUNC : 0;
    return count;
}

int64_t SimulatedKernel::send_message(int descriptor, const struct msghdr* message, int) {
    const std::string bytes = gather(message->msg_iov, message->msg_iovlen);
    return send(descriptor, bytes.data(), bytes.size());
}

int64_t SimulatedKernel::read_now(int descriptor, const struct iovec* parts, int count) {
    std::string bytes(length_of(parts, static_cast<size_t>(count)), ' ');
    const int64_t got = read(descriptor, bytes.data(), bytes.size());
    if (got > 0) {
        scatter(std::string_view(bytes).substr(0, static_cast<size_t>(got)), parts,
                static_cast<size_t>(count));
    }
    return got;
}

int64_t SimulatedKernel::write_now(int descriptor, const struct iovec* parts, int count) {
    return write(descriptor, gather(parts, static_cast<size_t>(count)));
}

int SimulatedKernel::take_socket_error(int descriptor) {
    return call_on(descriptor, [](SimulatedFile& file) { return file.take_error(); });
}

int SimulatedKernel::accept(int listener, struct sockaddr* address, uint32_t* address_length,
                            int flags) {
    return call_on(listener, [&](SimulatedFile& file) {
        // The number first: without one the connection waits on.
        const int number = numbers_->take((flags & SOCK_NONBLOCK) | O_CLOEXEC);
        if (number < 0) return number;
        File end;
        const int error = file.accept_end(end);
        if (error != 0) {
            numbers_->give_back(number);
            return error;
        }
        if (address != nullptr) copy_name(end->names().peer, address, address_length);
        descriptors_[number] = std::move(end);
        return number;
    });
}

int SimulatedKernel::connect(int descriptor, const struct sockaddr* address,
                             uint32_t address_length) {
    return call_on(descriptor, [&](SimulatedFile& file) {
        const std::string name(view(address, address_length));
        file.names().peer = name;
        if (auto* datagrams = dynamic_cast<SimulatedDatagrams*>(&file)) {
            datagrams->set_peer(datagrams_[name]);
            return 0;
        }
        const auto found = listeners_.find(name);
        return file.connect_to(found == listeners_.end() ? std::weak_ptr<SimulatedListener>()
                                                         : found->second);
    });
}

int SimulatedKernel::listener(bool is_tcp, const std::string& name, int backlog) {
    return call([&](SimulatedSchedule::Lock&) {
        auto made = std::make_shared<SimulatedListener>(perturbation_, is_tcp, backlog);
        made->names().own = name;
        listeners_[name] = made;
        return install(std::move(made));
    });
}

int SimulatedKernel::listener(bool is_tcp, int backlog) {
    return call([&](SimulatedSchedule::Lock&) {
        return install(std::make_shared<SimulatedListener>(perturbation_, is_tcp, backlog));
    });
}

int SimulatedKernel::connect_to(int descriptor, bool, int listener) {
    return call_on(descriptor, [&](SimulatedFile& file) {
        const auto found = descriptors_.find(listener);
        if (found == descriptors_.end()) return file.connect_to({});
        return file.connect_to(std::dynamic_pointer_cast<SimulatedListener>(found->second));
    });
}

int SimulatedKernel::fresh_socket(bool is_tcp) {
    return call([&](SimulatedSchedule::Lock&) {
        if (is_tcp) {
            auto socket = std::make_shared<SimulatedTcp>(perturbation_);
            socket->make_fresh();
            return install(std::move(socket));
        }
        auto socket = std::make_shared<SimulatedUnix>(perturbation_);
        socket->make_fresh();
        return install(std::move(socket));
    });
}

int SimulatedKernel::futex_wait(const uint32_t* word, uint32_t expected) {
    return futex_wait_until(word, expected, SimulatedSchedule::kForEver_ns);
}

int SimulatedKernel::futex_wait_until(const uint32_t* word, uint32_t expected,
                                      int64_t deadline_ns) {
    return call([&](SimulatedSchedule::Lock& lock) -> int {
        if (__atomic_load_n(word, __ATOMIC_SEQ_CST) != expected) return -EAGAIN;
        if (perturbation_.happens(&SimulatedChances::waits_empty)) return 0;
        const auto waiter = futex_waiters_.insert(futex_waiters_.end(), FutexWaiter{word});
        const bool woken = schedule_.wait(
            lock, [waiter] { return waiter->woken; }, deadline_ns);
        futex_waiters_.erase(waiter);
        return woken ? 0 : -ETIMEDOUT;
    });
}

// The word may be gone by now: only its address is used.
int SimulatedKernel::futex_wake(const uint32_t* word, int most) {
    return call([&](SimulatedSchedule::Lock&) {
        int count = 0;
        for (FutexWaiter& waiter : futex_waiters_) {
            if (count == most || waiter.word != word || waiter.woken) continue;
            waiter.woken = true;
            ++count;
        }
        return count;
    });
}

int SimulatedKernel::futex_wake_one(const uint32_t* word) { return futex_wake(word, 1); }
int SimulatedKernel::futex_wake_all(const uint32_t* word) { return futex_wake(word, INT_MAX); }

Ends SimulatedKernel::tcp_pair() { return install_pair<SimulatedTcp>(); }
Ends SimulatedKernel::unix_pair() { return install_pair<SimulatedUnix>(); }
Ends SimulatedKernel::datagram_pair() { return install_pair<SimulatedDatagrams>(); }

Ends SimulatedKernel::pipe() {
    Ends ends{};
    call([&](SimulatedSchedule::Lock&) {
        const auto pipe = std::make_shared<SimulatedPipe>();
        ends.ours = install(std::make_shared<SimulatedPipeReader>(perturbation_, pipe));
        ends.theirs = install(std::make_shared<SimulatedPipeWriter>(perturbation_, pipe));
        return 0;
    });
    return ends;
}

int SimulatedKernel::regular_file() {
    return call([this](SimulatedSchedule::Lock&) {
        return install(std::make_shared<SimulatedRegularFile>(perturbation_));
    });
}

int SimulatedKernel::duplicate(int descriptor) {
    return call([&](SimulatedSchedule::Lock&) {
        const auto found = descriptors_.find(descriptor);
        return found == descriptors_.end() ? -EBADF : install(found->second);
    });
}

int64_t SimulatedKernel::read(int descriptor, char* buffer, size_t length) {
    return call_on(descriptor, [&](SimulatedFile& file) { return file.read(buffer, length); });
}

int64_t SimulatedKernel::write(int descriptor, std::string_view bytes) {
    return call_on(descriptor, [&](SimulatedFile& file) { return file.write(bytes); });
}

int SimulatedKernel::shutdown(int descriptor, int how) {
    return call_on(descriptor, [how](SimulatedFile& file) { return file.shutdown(how); });
}

int SimulatedKernel::send_urgent(int descriptor, char byte) {
    return call_on(descriptor, [byte](SimulatedFile& file) { return file.send_urgent(byte); });
}

int SimulatedKernel::close_with_reset(int descriptor) {
    return call([&](SimulatedSchedule::Lock&) {
        SimulatedFile* file = find(descriptor);
        if (file != nullptr) file->make_close_reset();
        return close_locked(descriptor);
    });
}

size_t SimulatedKernel::open_descriptors() {
    SimulatedSchedule::Lock lock = schedule_.lock();
    return descriptors_.size();
}

}  // namespace cport::test
