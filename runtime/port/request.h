// What a caller asks of the port, once its form has been checked.
#pragma once

#include <cstdint>

#include "completionport/completion_port.h"
#include "completionport/completions.h"
#include "completionport/log.h"
#include "completionport/options.h"
#include "completionport/stats.h"
#include "runtime/operation/operation.h"
#include "runtime/operation/socket.h"

namespace cport {

// An operation of completion_port_add whose form has been checked.
struct AddRequest {
    int descriptor;
    Direction direction;
    bool wants_hangup;
    char* buffer;  // nullptr: readiness only
    uint32_t length;
    ON_COMPLETION_PORT_EVENT_COMPLETE on_complete;
    void* context;

    bool needs_socket() const { return buffer != nullptr; }

    void write(Operation& operation, Socket& socket, uint32_t socket_generation) const {
        operation.kind = TaskKind::kAdd;
        operation.watch_events = 0;
        operation.record_kind = 0;
        operation.direction = direction;
        operation.wants_hangup = wants_hangup;
        operation.error = 0;
        operation.socket_generation = socket_generation;
        operation.socket = &socket;
        operation.context = context;
        operation.on_complete = on_complete;
        operation.buffer = buffer;
        operation.length = length;
        operation.transferred = 0;
    }
};

// One of completion_port_submit.
struct SubmitRequest {
    int descriptor;
    Direction direction;
    bool inline_success;
    char* buffer;
    uint32_t length;
    uint32_t record_kind;
    uint32_t watch_events;
    uint64_t argument;
    bool socket_only;
    bool non_blocking;  // takes only descriptors that do not block
    uint64_t key;
    int64_t deadline_ns;  // 0: none; of a timer: when it expires
    int64_t period_ns;    // of a timer; 0: once
    ON_COMPLETION_PORT_COMPLETION on_complete;
    void* context;

    bool needs_socket() const { return socket_only; }

    // What not every kind sets. One by one: a compiler clears the whole by a string instruction.
    void leave_empty() {
        direction = Direction::kRead;
        buffer = nullptr;
        length = 0;
        watch_events = 0;
        argument = 0;
        socket_only = false;
        non_blocking = false;
        period_ns = 0;
    }

    void write(Operation& operation, Socket& socket, uint32_t socket_generation) const {
        operation.kind = TaskKind::kSubmission;
        operation.enter_under_way();
        operation.direction = direction;
        operation.wants_hangup = false;
        operation.error = 0;
        operation.socket_generation = socket_generation;
        operation.socket = &socket;
        operation.context = context;
        operation.on_record = on_complete;
        operation.buffer = buffer;
        operation.length = length;
        operation.transferred = 0;
        operation.amount = deadline_ns;
        operation.key = key;
        operation.record_kind = static_cast<uint8_t>(record_kind);
        operation.more = false;
        operation.watch_events = watch_events;
        operation.argument = argument;
    }
};

// What a port is made of.
struct PortOptions {
    uint32_t workers = 1;
    uint32_t engine = COMPLETION_PORT_ENGINE_EPOLL;  // or COMPLETION_PORT_ENGINE_IO_URING
    bool caller_driven = false;
    bool single_threaded = false;
    const int32_t* cpus = nullptr;  // of each worker, -1 for any; nullptr: any
    // NUMA nodes of each worker's memory, -1 or nullptr: that of its CPU, or any.
    const int32_t* nodes = nullptr;
    const char* name = nullptr;  // nullptr: the default
    int64_t spin_ns = 0;
    int64_t idle_wait_ns = 0;  // negative: for ever
    uint32_t operations_max = 0;
    uint32_t sockets_max = 0;          // 0: no limit but the table's
    uint32_t mailbox_max = 0;          // 0: no limit
    uint32_t waiters_running_max = 0;  // 0: no limit
    uint32_t file_threads = 4;
    ON_COMPLETION_PORT_ENDED on_ended = nullptr;
    void* on_ended_context = nullptr;
    uint32_t engine_reason = COMPLETION_PORT_ENGINE_REASON_DEFAULT;
    ON_COMPLETION_PORT_LOG on_log = nullptr;
    void* log_context = nullptr;
    uint32_t log_level = COMPLETION_PORT_LOG_INFO;

    const char* name_or_default() const { return name == nullptr ? "cport" : name; }
};

}  // namespace cport
