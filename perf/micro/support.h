#ifndef PERF_MICRO_SUPPORT_H
#define PERF_MICRO_SUPPORT_H

#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "completionport/completion_port.h"

namespace cport::perf {

/* Where the thread under test runs, and where the thread that talks to it from outside runs. */
inline constexpr int kWorkerCpu = 0;
inline constexpr int kForeignCpu = 1;

/* Threads made later by the calling thread inherit its CPU. */
void pin_to_cpu(int cpu);

std::uint64_t now_ns();

/* Ends the program with one line where `ok` is false: a benchmark of failing calls says nothing. */
void require(bool ok, const char* what);

/* Reports the time of one operation under the name that the run script reads. */
void report_operations(benchmark::State& state, std::uint64_t total_ns, std::uint64_t operations);

enum class Transport { kUnix, kTcp };

/* Connected stream sockets, non-blocking at the near end. */
class SocketPairs {
 public:
    SocketPairs(Transport transport, std::size_t count);
    SocketPairs(const SocketPairs&) = delete;
    SocketPairs& operator=(const SocketPairs&) = delete;
    ~SocketPairs();

    std::size_t size() const { return near_.size(); }
    int near(std::size_t index) const { return near_[index]; }
    int far(std::size_t index) const { return far_[index]; }

 private:
    std::vector<int> near_;
    std::vector<int> far_;
};

/* An eventfd that a thread sleeps on: the plainest hand-off that there is. */
class Signal {
 public:
    Signal();
    Signal(const Signal&) = delete;
    Signal& operator=(const Signal&) = delete;
    ~Signal();

    void raise();
    void wait();
    int descriptor() const { return descriptor_; }

 private:
    int descriptor_;
};

/* A port with one reference, its worker, or the thread that drives it, on kWorkerCpu. */
class Port {
 public:
    enum class Kind { kWorker, kDriven };

    explicit Port(Kind kind = Kind::kWorker);
    Port(const Port&) = delete;
    Port& operator=(const Port&) = delete;
    ~Port();

    COMPLETION_PORT_HANDLE handle() const { return handle_; }
    /* A driven port's callbacks run inside. */
    void drive();

    /* A readiness add (`operation` is EPOLLIN or EPOLLOUT). */
    void add(int operation, int socket, ON_COMPLETION_PORT_EVENT_COMPLETE callback, void* context);

 private:
    COMPLETION_PORT_HANDLE handle_;
};

}  // namespace cport::perf

#endif
