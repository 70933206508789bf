// Threads, as an interface.
#pragma once

#include <pthread.h>

namespace cport::platform {

class Threads {
 public:
    using Body = void (*)(void* argument);

    // CPUs that are none: those of the calling thread, and those of the process's first thread.
    static constexpr int kCallersCpus = -1;
    static constexpr int kProcessCpus = -2;

    virtual ~Threads() = default;

    // Starts a thread that blocks every signal but the synchronous faults, and runs on `cpu` alone,
    // or, if that is negative, where the above say. `name` has at most 15 characters and outlives
    // the thread. Returns 0 or a negative errno.
    virtual int start(pthread_t* thread, const char* name, int cpu, Body body, void* argument) = 0;
    virtual void join(pthread_t thread) = 0;
    // The thread frees itself when it ends.
    virtual void detach(pthread_t thread) = 0;
};

}  // namespace cport::platform
