// The system calls of a simulated machine: what the core calls, and what its peers do.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "platform/kernel.h"
#include "tests/support/simulated_file.h"
#include "tests/support/simulated_perturbation.h"
#include "tests/support/simulated_schedule.h"
#include "tests/support/world.h"

namespace cport::test {

class SimulatedKernel final : public platform::Kernel, public World {
 public:
    // Numbers start at `first_descriptor`: below stands what every process has open.
    SimulatedKernel(SimulatedSchedule& schedule, SimulatedPerturbation& perturbation,
                    int first_descriptor);

    int epoll_create() override;
    int epoll_ctl(int epoll, int operation, int descriptor, uint32_t events,
                  uint64_t data) override;
    int epoll_wait(int epoll, struct epoll_event* events, int events_max,
                   int64_t timeout_ns) override;
    int eventfd_create() override;
    int eventfd_signal(int eventfd) override;
    int close(int descriptor) override;
    int descriptor_kind(int descriptor) override;
    int socket_type(int descriptor) override;
    int socket_protocol(int descriptor) override;
    int unread_bytes(int descriptor) override;
    int at_urgent_mark(int descriptor) override;
    int poll_now(int descriptor, uint32_t events) override;
    int64_t receive(int descriptor, void* buffer, size_t length, int flags) override;
    int64_t send(int descriptor, const void* buffer, size_t length) override;
    // Its descriptors never block, and its messages bring nothing beside their bytes.
    int is_non_blocking(int descriptor) override;
    int64_t receive_message(int descriptor, struct msghdr* message, int flags) override;
    int64_t send_message(int descriptor, const struct msghdr* message, int flags) override;
    int64_t read_now(int descriptor, const struct iovec* parts, int count) override;
    int64_t write_now(int descriptor, const struct iovec* parts, int count) override;
    int take_socket_error(int descriptor) override;
    // Tells no addresses.
    int accept(int listener, struct sockaddr* address, uint32_t* address_length,
               int flags) override;
    int connect(int descriptor, const struct sockaddr* address, uint32_t address_length) override;
    int futex_wait(const uint32_t* word, uint32_t expected) override;
    int futex_wait_until(const uint32_t* word, uint32_t expected, int64_t deadline_ns) override;
    int futex_wake_one(const uint32_t* word) override;
    int futex_wake_all(const uint32_t* word) override;

    platform::Kernel& kernel() override { return *this; }
    Ends tcp_pair() override;
    Ends unix_pair() override;
    Ends datagram_pair() override;
    Ends pipe() override;
    int eventfd() override { return eventfd_create(); }
    int regular_file() override;
    int duplicate(int descriptor) override;
    int listener(bool is_tcp, int backlog) override;
    int fresh_socket(bool is_tcp) override;
    int connect_to(int descriptor, bool is_tcp, int listener) override;
    int64_t read(int descriptor, char* buffer, size_t length) override;
    int64_t write(int descriptor, std::string_view bytes) override;
    int shutdown(int descriptor, int how) override;
    int send_urgent(int descriptor, char byte) override;
    int close_with_reset(int descriptor) override;

    // Connects to this name reach it; names are the bytes of addresses.
    int listener(bool is_tcp, const std::string& name, int backlog);

    size_t open_descriptors();

    using File = std::shared_ptr<SimulatedFile>;
    // Of rings, under the schedule's lock. nullptr: the number names nothing. What is held stays
    // open when its last descriptor is closed.
    File file_of(int descriptor);
    void hold(const File& file) { ++held_[file.get()]; }
    void let_go(const File& file);

 private:
    struct FutexWaiter {
        const uint32_t* word;
        bool woken = false;
    };

    // One call: takes the lock, lets others go before and after it.
    template <typename Call>
    auto call(Call&& body);
    // As call, on an open descriptor; else -EBADF.
    template <typename Call>
    auto call_on(int descriptor, Call&& body);

    SimulatedFile* find(int descriptor);
    int install(File file);
    template <typename End>
    Ends install_pair();
    int close_locked(int descriptor);
    int futex_wake(const uint32_t* word, int most);
    bool has_descriptor(const File& file) const;
    void last_close(SimulatedFile& file);

    SimulatedSchedule& schedule_;
    SimulatedPerturbation& perturbation_;
    const int first_descriptor_;
    std::map<int, File> descriptors_;
    std::map<SimulatedFile*, int> held_;  // how often, by rings
    std::map<std::string, std::weak_ptr<SimulatedListener>> listeners_;
    std::list<FutexWaiter> futex_waiters_;  // those that wait longest first
};

}  // namespace cport::test
