// The simulated kernel's calls for a program that the descriptors belong to.
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "tests/support/simulated_kernel.h"
#include "tests/support/simulated_listener.h"
#include "tests/support/simulated_others.h"
#include "tests/support/simulated_tcp.h"
#include "tests/support/simulated_unix.h"

namespace cport::test {

SimulatedFile* SimulatedKernel::find_file(int descriptor) {
    constexpr auto kFile = static_cast<int>(platform::DescriptorKind::kFileOrDirectory);
    constexpr auto kOther = static_cast<int>(platform::DescriptorKind::kOther);
    const int kind = files_->descriptor_kind(descriptor);
    if (kind == kFile) return any_of_files_.get();
    if (kind != kOther) return nullptr;
    const int answer = files_->epoll_ctl(probe_, EPOLL_CTL_ADD, descriptor, 0, 0);
    if (answer == 0) files_->epoll_ctl(probe_, EPOLL_CTL_DEL, descriptor, 0, 0);
    return answer == -EPERM ? any_null_device_.get() : nullptr;
}

void SimulatedKernel::set_files(platform::Kernel& files) {
    files_ = &files;
    probe_ = files.epoll_create();
}

bool SimulatedKernel::has(int descriptor) {
    SimulatedSchedule::Lock lock = schedule_.lock();
    return descriptors_.count(descriptor) != 0;
}

int SimulatedKernel::poll(struct pollfd* polled, size_t count, int64_t timeout_ns) {
    SimulatedSchedule::Lock lock = schedule_.lock();
    int found = 0;
    const auto look = [&] {
        found = 0;
        for (size_t i = 0; i < count; ++i) {
            SimulatedFile* file = find(polled[i].fd);
            const uint32_t asked = static_cast<uint16_t>(polled[i].events) | POLLERR | POLLHUP;
            polled[i].revents =
                static_cast<short>(file == nullptr ? POLLNVAL : file->poll() & asked);
            if (polled[i].revents != 0) ++found;
        }
        return found != 0;
    };
    const int64_t deadline_ns =
        timeout_ns < 0 ? SimulatedSchedule::kForEver_ns : schedule_.now_ns() + timeout_ns;
    schedule_.wait(lock, look, deadline_ns);
    return found;
}

int SimulatedKernel::install_two(File one, File other, int flags, Ends& ends) {
    ends.ours = install(std::move(one), flags);
    if (ends.ours < 0) return ends.ours;
    ends.theirs = install(std::move(other), flags);
    if (ends.theirs >= 0) return 0;
    close_locked(ends.ours);
    return ends.theirs;
}

int SimulatedKernel::open_unix_pair(int type, int flags, Ends& ends) {
    SimulatedSchedule::Lock lock = schedule_.lock();
    auto one = std::make_shared<SimulatedUnix>(perturbation_);
    auto other = std::make_shared<SimulatedUnix>(perturbation_);
    one->set_type(type);
    other->set_type(type);
    SimulatedUnix::connect(*one, *other);
    return install_two(std::move(one), std::move(other), flags, ends);
}

int SimulatedKernel::open_pipe(int flags, Ends& ends) {
    SimulatedSchedule::Lock lock = schedule_.lock();
    const auto pipe = std::make_shared<SimulatedPipe>();
    return install_two(std::make_shared<SimulatedPipeReader>(perturbation_, pipe),
                       std::make_shared<SimulatedPipeWriter>(perturbation_, pipe), flags, ends);
}

int SimulatedKernel::open_eventfd(uint64_t count, int flags) {
    SimulatedSchedule::Lock lock = schedule_.lock();
    auto made = std::make_shared<SimulatedEventfd>(perturbation_);
    made->write({reinterpret_cast<const char*>(&count), sizeof(count)});
    return install(std::move(made), flags);
}

int SimulatedKernel::open_stream_socket(bool is_tcp, int flags) {
    SimulatedSchedule::Lock lock = schedule_.lock();
    if (is_tcp) {
        auto socket = std::make_shared<SimulatedTcp>(perturbation_);
        socket->make_fresh();
        return install(std::move(socket), flags);
    }
    auto socket = std::make_shared<SimulatedUnix>(perturbation_);
    socket->make_fresh();
    return install(std::move(socket), flags);
}

int SimulatedKernel::open_datagram_socket(int flags) {
    SimulatedSchedule::Lock lock = schedule_.lock();
    return install(std::make_shared<SimulatedDatagrams>(perturbation_), flags);
}

int SimulatedKernel::duplicate_from(int descriptor, int least, int flags) {
    SimulatedSchedule::Lock lock = schedule_.lock();
    const File file = file_of(descriptor);
    if (file == nullptr) return -EBADF;
    const int number = numbers_->take_again(descriptor, least, flags);
    if (number >= 0) descriptors_[number] = file;
    return number;
}

int SimulatedKernel::duplicate_onto(int descriptor, int number, int flags) {
    SimulatedSchedule::Lock lock = schedule_.lock();
    const File file = file_of(descriptor);
    if (file == nullptr) return -EBADF;
    const int error = numbers_->move_onto(descriptor, number, flags);
    if (error < 0) return error;
    const File replaced = std::exchange(descriptors_[number], file);
    if (replaced != nullptr) release(replaced);
    schedule_.changed();
    return number;
}

void SimulatedKernel::forget(int descriptor) {
    SimulatedSchedule::Lock lock = schedule_.lock();
    const auto found = descriptors_.find(descriptor);
    if (found == descriptors_.end()) return;
    const File file = found->second;
    descriptors_.erase(found);
    release(file);
    schedule_.changed();
}

int SimulatedKernel::name(int descriptor, const std::string& name) {
    SimulatedSchedule::Lock lock = schedule_.lock();
    const File file = file_of(descriptor);
    if (file == nullptr) return -EBADF;
    if (listeners_.count(name) != 0 && !listeners_[name].expired()) return -EADDRINUSE;
    if (const auto datagrams = std::dynamic_pointer_cast<SimulatedDatagrams>(file)) {
        datagrams_[name] = datagrams;
    }
    file->names().own = name;
    return 0;
}

int SimulatedKernel::names(int descriptor, SimulatedNames& names) {
    SimulatedSchedule::Lock lock = schedule_.lock();
    SimulatedFile* file = find(descriptor);
    if (file == nullptr) return -EBADF;
    names = file->names();
    return 0;
}

int SimulatedKernel::listen(int descriptor, int backlog) {
    SimulatedSchedule::Lock lock = schedule_.lock();
    const File file = file_of(descriptor);
    if (file == nullptr) return -EBADF;
    if (dynamic_cast<SimulatedListener*>(file.get()) != nullptr) return 0;
    if (file->socket_type() != SOCK_STREAM) return -EOPNOTSUPP;
    const bool is_tcp = file->socket_protocol() == IPPROTO_TCP;
    const auto made = std::make_shared<SimulatedListener>(perturbation_, is_tcp, backlog);
    made->names() = file->names();
    listeners_[made->names().own] = made;
    for (auto& [number, each] : descriptors_) {
        if (each == file) each = made;
    }
    return 0;
}

int SimulatedKernel::reset_when_closed(int descriptor) {
    SimulatedSchedule::Lock lock = schedule_.lock();
    SimulatedFile* file = find(descriptor);
    if (file == nullptr) return -EBADF;
    file->make_close_reset();
    return 0;
}

int64_t SimulatedKernel::send_file(int descriptor, int file, int64_t offset, size_t length) {
    if (files_ == nullptr) return -ENOSYS;
    constexpr size_t kPiece_bytes = 64 * 1024;
    std::string bytes(std::min(length, kPiece_bytes), ' ');
    const struct iovec whole = {bytes.data(), bytes.size()};
    const int64_t count = files_->read_at(file, &whole, 1, offset, false);
    if (count == -EISDIR) return -EINVAL;
    return count <= 0 ? count : write(descriptor, {bytes.data(), static_cast<size_t>(count)});
}

int SimulatedKernel::file_kind(int descriptor) {
    if (has(descriptor)) return static_cast<int>(platform::FileKind::kNone);
    return files_ == nullptr ? -EBADF : files_->file_kind(descriptor);
}

int64_t SimulatedKernel::read_at(int descriptor, const struct iovec* parts, int count,
                                 int64_t offset, bool at_once) {
    return files_ == nullptr ? -ENOSYS : files_->read_at(descriptor, parts, count, offset, at_once);
}

int64_t SimulatedKernel::write_at(int descriptor, const struct iovec* parts, int count,
                                  int64_t offset) {
    return files_ == nullptr ? -ENOSYS : files_->write_at(descriptor, parts, count, offset);
}

int SimulatedKernel::sync_file(int descriptor, bool data_only) {
    return files_ == nullptr ? -ENOSYS : files_->sync_file(descriptor, data_only);
}

void SimulatedKernel::before_fork() { static_cast<void>(schedule_.lock().release()); }

void SimulatedKernel::after_fork(bool in_child) { schedule_.unlock_after_fork(in_child); }

}  // namespace cport::test
