// The completion port: its references, its worker, and the calls that any thread makes.
#pragma once

#include <atomic>
#include <cstdint>

#include "completionport/completion_port.h"
#include "platform/platform.h"
#include "runtime/operation/operation.h"
#include "runtime/operation/socket.h"
#include "runtime/port/descriptor_table.h"
#include "runtime/port/worker.h"

namespace cport {

// An add whose form has been checked.
struct AddRequest {
    int descriptor;
    Direction direction;
    bool wants_hangup;
    char* buffer;  // nullptr: readiness only
    uint32_t length;
    ON_COMPLETION_PORT_EVENT_COMPLETE on_complete;
    void* context;
};

// Every function returns 0 or a negative errno, and may be called from any thread and any callback.
class Port {
 public:
    // nullptr, and a negative errno in `error`.
    static Port* create(const platform::Platform& platform, int& error);

    Port(const Port&) = delete;
    Port& operator=(const Port&) = delete;

    void inc_ref();
    void dec_ref();
    int shutdown();
    int add(const AddRequest& request);
    void remove(int descriptor);
    int remove_async(int descriptor, ON_COMPLETION_PORT_REMOVED on_removed, void* context);

 private:
    explicit Port(const platform::Platform& platform);
    ~Port();

    int open();
    // -EPERM in a forked child, -ESHUTDOWN once the end has begun.
    int refusal() const;
    bool forked() const { return *fork_mark_ == 0; }
    void begin_end();
    // The handle and each worker hold the port's memory; the last one frees it.
    void drop_holder();
    static void worker_main(void* argument);

    bool on_owner() const { return Worker::current() == &worker_; }
    int accept_add(Socket& socket, const AddRequest& request, Operation& operation, bool foreign);
    int learn_kind(int descriptor, uint64_t& word);
    int accept_removal(Socket& socket, Operation& removal);

    const platform::Platform platform_;
    std::atomic<uint32_t> references_ = 1;
    std::atomic<bool> ending_ = false;
    std::atomic<uint32_t> holders_ = 1;
    const volatile uint32_t* fork_mark_ = nullptr;
    pthread_t thread_{};
    DescriptorTable table_;
    Worker worker_;
};

}  // namespace cport
