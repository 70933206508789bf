// The system calls of a simulated machine: what the core calls, and what its peers do.
#pragma once

#include <fcntl.h>
#include <poll.h>

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "platform/kernel.h"
#include "tests/support/simulated_file.h"
#include "tests/support/simulated_numbers.h"
#include "tests/support/simulated_perturbation.h"
#include "tests/support/simulated_schedule.h"
#include "tests/support/world.h"

namespace cport::test {

class SimulatedDatagrams;

class SimulatedKernel final : public platform::Kernel, public World {
 public:
    SimulatedKernel(SimulatedSchedule& schedule, SimulatedPerturbation& perturbation,
                    std::unique_ptr<SimulatedNumbers> numbers);

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
    // None of its calls blocks: who calls for a program that expects it waits with `poll`.
    int is_non_blocking(int descriptor) override;
    // Messages bring nothing beside their bytes.
    int64_t receive_message(int descriptor, struct msghdr* message, int flags) override;
    int64_t send_message(int descriptor, const struct msghdr* message, int flags) override;
    int64_t read_now(int descriptor, const struct iovec* parts, int count) override;
    int64_t write_now(int descriptor, const struct iovec* parts, int count) override;
    int take_socket_error(int descriptor) override;
    // Tells no addresses.
    int accept(int listener, struct sockaddr* address, uint32_t* address_length,
               int flags) override;
    int connect(int descriptor, const struct sockaddr* address, uint32_t address_length) override;
    int64_t send_file(int descriptor, int file, int64_t offset, size_t length) override;
    int file_kind(int descriptor) override;
    int64_t read_at(int descriptor, const struct iovec* parts, int count, int64_t offset,
                    bool at_once) override;
    int64_t write_at(int descriptor, const struct iovec* parts, int count, int64_t offset) override;
    int sync_file(int descriptor, bool data_only) override;
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

    // What a program calls whose descriptors these are, beside the above.
    bool has(int descriptor);
    // As poll(2); 0 when the time is over. A negative timeout waits for ever.
    int poll(struct pollfd* polled, size_t count, int64_t timeout_ns);
    int open_unix_pair(int type, int flags, Ends& ends);
    int open_eventfd(uint64_t count, int flags);
    int open_pipe(int flags, Ends& ends);
    int open_stream_socket(bool is_tcp, int flags);
    int open_datagram_socket(int flags);
    // One more number, at least `least`; or that number, whatever it stood for.
    int duplicate_from(int descriptor, int least, int flags);
    int duplicate_onto(int descriptor, int number, int flags);
    // The number is about to be another's: what it stood for is closed, and it is not given back.
    void forget(int descriptor);
    int name(int descriptor, const std::string& name);
    int names(int descriptor, SimulatedNames& names);
    int listen(int descriptor, int backlog);
    int reset_when_closed(int descriptor);

    // Files, directories and null devices that the program opens are not the machine's: `files`
    // answers for them.
    void set_files(platform::Kernel& files);

    // Around a fork.
    void before_fork();
    void after_fork(bool in_child);

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
    // Of those that are not the machine's.
    SimulatedFile* find_file(int descriptor);
    // Takes a number for it; a negative errno where there is none.
    int install(File file, int flags = O_CLOEXEC | O_NONBLOCK);
    template <typename End>
    Ends install_pair();
    int install_two(File one, File other, int flags, Ends& ends);
    int close_locked(int descriptor);
    int futex_wake(const uint32_t* word, int most);
    bool has_descriptor(const File& file) const;
    // One that named it is gone.
    void release(const File& file);
    void last_close(SimulatedFile& file);

    SimulatedSchedule& schedule_;
    SimulatedPerturbation& perturbation_;
    const std::unique_ptr<SimulatedNumbers> numbers_;
    platform::Kernel* files_ = nullptr;
    int probe_ = -1;  // an epoll instance of theirs
    const File any_of_files_;
    const File any_null_device_;
    std::map<int, File> descriptors_;
    std::map<SimulatedFile*, int> held_;  // how often, by rings
    std::map<std::string, std::weak_ptr<SimulatedListener>> listeners_;
    std::map<std::string, std::weak_ptr<SimulatedDatagrams>> datagrams_;
    std::list<FutexWaiter> futex_waiters_;  // those that wait longest first
};

}  // namespace cport::test
