#include "platform/linux/linux_platform.h"

#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <new>

#include "platform/linux/linux_kernel.h"
#include "platform/linux/linux_numa.h"
#include "platform/linux/linux_ring.h"

namespace cport::platform {
namespace {

// Larger blocks come from mmap: zero-filled, and untouched pages of them cost nothing.
constexpr size_t kMapThreshold = Memory::kOwnPages_bytes;

constexpr int kSynchronousFaults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS};

class LinuxThreads final : public Threads {
 public:
    int start(pthread_t* thread, const char* name, int cpu, Body body, void* argument) override {
        auto* start = static_cast<Start*>(std::malloc(sizeof(Start)));
        if (start == nullptr) return -ENOMEM;
        *start = Start{body, argument, name};
        // A thread inherits its creator's mask: so it never runs with a signal open.
        sigset_t blocked;
        sigset_t previous;
        sigfillset(&blocked);
        for (const int fault : kSynchronousFaults) sigdelset(&blocked, fault);
        pthread_sigmask(SIG_SETMASK, &blocked, &previous);
        const int error = create(thread, cpu, start);
        pthread_sigmask(SIG_SETMASK, &previous, nullptr);
        if (error != 0) {
            std::free(start);
            return -error;
        }
        return 0;
    }

    void join(pthread_t thread) override {
        // A join that is cancelled would leave the port half ended.
        int previous = 0;
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &previous);
        pthread_join(thread, nullptr);
        pthread_setcancelstate(previous, nullptr);
    }
    void detach(pthread_t thread) override { pthread_detach(thread); }

 private:
    struct Start {
        Body body;
        void* argument;
        const char* name;
    };

    static int create(pthread_t* thread, int cpu, Start* start) {
        cpu_set_t cpus;
        CPU_ZERO(&cpus);
        const bool as_process =
            cpu == kProcessCpus && ::sched_getaffinity(::getpid(), sizeof(cpus), &cpus) == 0;
        if (cpu < 0 && !as_process) {
            return pthread_create(thread, nullptr, &LinuxThreads::enter, start);
        }
        if (cpu >= CPU_SETSIZE) return EINVAL;
        if (cpu >= 0) CPU_SET(static_cast<size_t>(cpu), &cpus);
        pthread_attr_t attributes;
        pthread_attr_init(&attributes);
        int error = pthread_attr_setaffinity_np(&attributes, sizeof(cpus), &cpus);
        if (error == 0) error = pthread_create(thread, &attributes, &LinuxThreads::enter, start);
        pthread_attr_destroy(&attributes);
        return error;
    }

    static void* enter(void* argument) {
        const Start start = *static_cast<Start*>(argument);
        std::free(argument);
        // By the thread itself: its creator would have to go through /proc.
        pthread_setname_np(pthread_self(), start.name);
        start.body(start.argument);
        return nullptr;
    }
};

class LinuxMemory final : public Memory {
 public:
    void* allocate(size_t size, size_t alignment) override {
        if (size >= kMapThreshold) {
            void* mapped =
                ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            return mapped == MAP_FAILED ? nullptr : mapped;
        }
        void* memory = nullptr;
        if (::posix_memalign(&memory, alignment, size) != 0) return nullptr;
        return std::memset(memory, 0, size);
    }

    void release(void* memory, size_t size) override {
        if (size >= kMapThreshold) {
            ::munmap(memory, size);
        } else {
            std::free(memory);
        }
    }

    const volatile uint32_t* fork_mark_create() override {
        const size_t size = page_size();
        void* page =
            ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (page == MAP_FAILED) return nullptr;
        if (::madvise(page, size, MADV_WIPEONFORK) < 0) {
            ::munmap(page, size);
            return nullptr;
        }
        auto* mark = static_cast<uint32_t*>(page);
        *mark = 1;
        return mark;
    }

    void fork_mark_destroy(const volatile uint32_t* mark) override {
        ::munmap(const_cast<uint32_t*>(mark), page_size());
    }

 private:
    static size_t page_size() { return static_cast<size_t>(::sysconf(_SC_PAGESIZE)); }
};

class LinuxClock final : public Clock {
 public:
    int64_t now_ns() override {
        struct timespec now = {};
        ::clock_gettime(CLOCK_MONOTONIC, &now);
        return static_cast<int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
    }
};

// One object of its type, in static storage: it needs no memory, and is never destroyed, since a
// worker may still run while the process leaves main.
template <typename Value>
Value& immortal() {
    alignas(Value) static std::byte storage[sizeof(Value)];
    static Value& value = *new (storage) Value;
    return value;
}

}  // namespace

const Platform& linux_platform() {
    static const Platform platform{immortal<LinuxKernel>(), immortal<LinuxThreads>(),
                                   immortal<LinuxMemory>(), immortal<LinuxClock>(),
                                   &immortal<LinuxRings>(), &immortal<LinuxNuma>()};
    return platform;
}

}  // namespace cport::platform
