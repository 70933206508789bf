// What a simulated descriptor stands for: an open file, which duplicates share, and its watchers.
#pragma once

#include <sys/epoll.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <string_view>

#include "platform/kernel.h"
#include "tests/support/simulated_perturbation.h"

namespace cport::test {

class SimulatedEpoll;
class SimulatedFile;
class SimulatedListener;

// One registration. Linux names it by the open file and the number, so that it outlives the number.
struct SimulatedWatch {
    SimulatedEpoll* epoll;
    SimulatedFile* file;
    int descriptor;
    uint32_t events;
    uint64_t data;
    bool ready = false;  // it is on the ready list
};

// The keys with which Linux wakes watchers; 0 wakes them whatever they watch.
constexpr uint32_t kWakeAny = 0;
constexpr uint32_t kWakeReaders = EPOLLIN | EPOLLPRI | EPOLLRDNORM | EPOLLRDBAND;
constexpr uint32_t kWakeWriters = EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND;
constexpr uint32_t kWakeError = EPOLLERR;

// Addresses, byte by byte; empty: none.
struct SimulatedNames {
    std::string own = {};
    std::string peer = {};
};

class SimulatedFile : public std::enable_shared_from_this<SimulatedFile> {
 public:
    explicit SimulatedFile(SimulatedPerturbation& perturbation) : perturbation_(perturbation) {}
    virtual ~SimulatedFile() = default;
    SimulatedFile(const SimulatedFile&) = delete;
    SimulatedFile& operator=(const SimulatedFile&) = delete;

    virtual platform::DescriptorKind kind() const { return platform::DescriptorKind::kOther; }
    virtual bool can_be_watched() const { return true; }
    // The readiness that holds.
    virtual uint32_t poll() = 0;
    // The last descriptor of it was closed; nothing watches it any more.
    virtual void close() {}

    // Sockets. The rest answers as Linux does for what is none.
    virtual int socket_type() const { return -ENOTSOCK; }
    virtual int socket_protocol() const { return -ENOTSOCK; }
    virtual int at_urgent_mark() const { return -ENOTTY; }
    virtual int unread_bytes() const { return -ENOTTY; }
    virtual int64_t receive(char*, size_t, int) { return -ENOTSOCK; }
    virtual int64_t send(std::string_view) { return -ENOTSOCK; }
    // `how` as for shutdown(2).
    virtual int shutdown(int) { return -ENOTSOCK; }
    virtual int accept_end(std::shared_ptr<SimulatedFile>&) { return -EINVAL; }
    // To whom listens; to nobody if that is gone.
    virtual int connect_to(const std::weak_ptr<SimulatedListener>&) { return -EINVAL; }
    virtual int take_error() { return 0; }
    virtual int send_urgent(char) { return -EOPNOTSUPP; }
    // The next close resets the connection.
    virtual void make_close_reset() {}

    // read(2) and write(2).
    virtual int64_t read(char* buffer, size_t length) { return receive(buffer, length, 0); }
    virtual int64_t write(std::string_view bytes) { return send(bytes); }

    SimulatedNames& names() { return names_; }
    std::list<SimulatedWatch*>& watches() { return watches_; }

 protected:
    // Tells the watchers, perhaps later.
    void wake(uint32_t key);
    SimulatedPerturbation& perturbation() { return perturbation_; }
    const SimulatedPerturbation& perturbation() const { return perturbation_; }

 private:
    void wake_now(uint32_t key);

    SimulatedPerturbation& perturbation_;
    std::list<SimulatedWatch*> watches_;
    SimulatedNames names_;
};

}  // namespace cport::test
