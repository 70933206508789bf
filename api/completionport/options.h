/* A port made to measure.
 *
 *   COMPLETION_PORT_OPTIONS options = {0};
 *   options.size = sizeof(options);
 *   options.workers = 4;
 *   COMPLETION_PORT_HANDLE port = completion_port_create_with_options(&options);
 *
 * Zero in any field is its default. The conventions of completion_port.h hold here too. */
#ifndef COMPLETIONPORT_OPTIONS_H
#define COMPLETIONPORT_OPTIONS_H

#include <stdint.h>

#include "completionport/completion_port.h"
#include "completionport/log.h"
#include "completionport/mockable.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How completions are obtained. */
enum {
    COMPLETION_PORT_ENGINE_AUTO = 0, /* what is best here */
    COMPLETION_PORT_ENGINE_EPOLL = 1,
    /* Receives and sends are the kernel's until they complete: few system calls. Where the kernel
     * has no io_uring, denies it, or lacks a part of it, epoll does the work. So it does in ports
     * without threads: completion_port_stats tells. */
    COMPLETION_PORT_ENGINE_IO_URING = 2
};

/* Flags of a port. */
enum {
    /* No threads but those for files: the port's work is done, and its callbacks run, inside
     * completion_port_wait, by one of the threads that wait. `workers` is 0 or 1, and there are no
     * CPUs. The last reference given back does what is left to do. */
    COMPLETION_PORT_OPTION_CALLER_DRIVEN = 1,
    /* Beside it: only one thread ever calls the port's functions, and so needs no hand-over.
     * completion_port_remove takes effect at once; the callbacks follow in the next wait. */
    COMPLETION_PORT_OPTION_SINGLE_THREADED = 2
};

/* Values of idle_wait_ns besides times. */
#define COMPLETION_PORT_IDLE_WAIT_FOREVER UINT64_MAX

/* The most workers that a port can have. */
#define COMPLETION_PORT_WORKERS_MAX 64

/* The most threads that a port can have for files. */
#define COMPLETION_PORT_FILE_THREADS_MAX 64

/* The highest limits of descriptors, and of requests in a mailbox. */
#define COMPLETION_PORT_SOCKETS_MAX 16777216
#define COMPLETION_PORT_MAILBOX_MAX 1048576

/* The highest limit of threads that process records. */
#define COMPLETION_PORT_WAITERS_RUNNING_MAX 1024

/* Runs on the last worker when all of the port's callbacks have returned: nothing of the port runs
 * afterwards. It may give back the last reference. */
typedef void (*ON_COMPLETION_PORT_ENDED)(void* context);

typedef struct COMPLETION_PORT_OPTIONS_TAG {
    uint32_t size;    /* bytes of the whole structure; what lies beyond it counts as zero */
    uint32_t flags;   /* COMPLETION_PORT_OPTION_... */
    uint32_t engine;  /* COMPLETION_PORT_ENGINE_... */
    uint32_t workers; /* threads that run callbacks, at most COMPLETION_PORT_WORKERS_MAX; 0: one */
    /* The CPU of each worker, -1 for any; NULL: any. Borrowed during the call. */
    const int32_t* worker_cpus;
    /* Names the workers, as NAME or NAME-0, NAME-1, ...: at most 12 characters. NULL: "cport".
     * Borrowed during the call. */
    const char* name;
    uint64_t spin_ns; /* looks for work this long before it sleeps, at most 1 s; 0: not at all */
    /* An idle worker wakes after this long, at least 1 ms, to look for descriptors that were closed
     * without remove; 0: 2 s. COMPLETION_PORT_IDLE_WAIT_FOREVER: never. */
    uint64_t idle_wait_ns;
    /* Pending operations of each worker, at most 1,048,576, rounded up to a multiple of 512; 0: the
     * most. */
    uint32_t operations_max;
    /* Descriptor numbers that the port keeps state for, at most COMPLETION_PORT_SOCKETS_MAX; 0: the
     * most. A number counts from the first call that used it, even one that was refused for another
     * reason, for as long as the port lives: its worker stays what it is. One more is refused with
     * -ENOSPC. */
    uint32_t sockets_max;
    ON_COMPLETION_PORT_ENDED on_ended; /* may be NULL */
    void* on_ended_context;
    /* Threads that wait for files (files.h), at most COMPLETION_PORT_FILE_THREADS_MAX; 0: 4. They
     * are named NAME-io and start with the first operation on a file, also of a caller-driven
     * port. */
    uint32_t file_threads;
    uint32_t log_level;            /* COMPLETION_PORT_LOG_..., and what is more severe; 0: INFO */
    ON_COMPLETION_PORT_LOG on_log; /* NULL: nothing is logged */
    void* log_context;
    /* The NUMA node where the memory of each worker's operations lies, and that of pools of buffers
     * (buffers.h): of one created in a worker's callback, or where all workers have one node. -1:
     * that of the worker's CPU, or any where worker_cpus names none; NULL: -1 for each. A node that
     * is full is helped out by the others. Borrowed during the call. [CP-NUMA] */
    const int32_t* worker_nodes;
    /* The most threads that process records at once, at most COMPLETION_PORT_WAITERS_RUNNING_MAX;
     * 0: no limit. Such a thread holds a place of this port from a completion_port_wait that
     * returned records until its next wait on the port, or completion_port_wait_leave. */
    uint32_t waiters_running_max;
    /* Requests of other threads that wait in the mailbox of each worker, at most
     * COMPLETION_PORT_MAILBOX_MAX; 0: as many as there are operations. One more is refused with
     * -EAGAIN: the worker is behind. Adds, submissions, posts to callbacks, timers, cancels, moves
     * and remove_async count. A worker's own never do, nor do remove, shutdown, dec_ref,
     * completions, and sources. Of a caller-driven port every post counts. */
    uint32_t mailbox_max;
} COMPLETION_PORT_OPTIONS;

/* Creates a port with one reference. A descriptor number belongs to the worker on which it was
 * first added, or, added first by another thread, to the next worker in turn (connections.h has
 * another way for those that it accepts); all its callbacks run there for as long as the port
 * lives, whatever the number names later.
 * Returns NULL with errno EINVAL (NULL, or a field out of range; a CPU or node that there is not),
 * E2BIG (a longer structure with bytes set that this library does not know), ENOMEM, EMFILE,
 * ENFILE, EAGAIN (no thread). [CP-OPT, CP-WORKERS, CP-DRIVE] */
MOCKABLE_FUNCTION(, COMPLETION_PORT_HANDLE, completion_port_create_with_options,
                  const COMPLETION_PORT_OPTIONS*, options);

#ifdef __cplusplus
}
#endif

#endif
