// Threads, as an interface.
#pragma once

#include <pthread.h>

namespace cport::platform {

class Threads {
 public:
    using Body = void (*)(void* argument);

    virtual ~Threads() = default;

    // Starts a thread that blocks every signal but the synchronous faults. `name` has at most 15
    // characters and outlives the thread. Returns 0 or a negative errno.
    virtual int start(pthread_t* thread, const char* name, Body body, void* argument) = 0;
    virtual void join(pthread_t thread) = 0;
    // The thread frees itself when it ends.
    virtual void detach(pthread_t thread) = 0;
};

}  // namespace cport::platform
