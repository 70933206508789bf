/* Completions as records, for threads that wait and for callbacks: what GetQueuedCompletionStatusEx
 * and PostQueuedCompletionStatus are elsewhere.
 *
 * An operation of operations.h, a timer or a post ends in one record. Where its submitter named a
 * callback, the callback gets it on a worker; where not, it is queued in the port, and
 * completion_port_wait hands it to a thread of the user's own.
 *
 * The conventions of completion_port.h hold here too. */
#ifndef COMPLETIONPORT_COMPLETIONS_H
#define COMPLETIONPORT_COMPLETIONS_H

#include <stdint.h>

#include "completionport/completion_port.h"
#include "completionport/mockable.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What an operation does, and so what its record tells of. */
enum {
    COMPLETION_PORT_KIND_RECEIVE = 1,
    COMPLETION_PORT_KIND_SEND = 2,
    COMPLETION_PORT_KIND_POLL = 3,
    COMPLETION_PORT_KIND_POST = 4,
    COMPLETION_PORT_KIND_TIMER = 5,
    COMPLETION_PORT_KIND_ACCEPT = 6,
    COMPLETION_PORT_KIND_CONNECT = 7,
    COMPLETION_PORT_KIND_SHUTDOWN = 8,
    COMPLETION_PORT_KIND_CLOSE = 9,
    COMPLETION_PORT_KIND_RECEIVE_VECTOR = 10,
    COMPLETION_PORT_KIND_SEND_VECTOR = 11,
    COMPLETION_PORT_KIND_RECEIVE_MESSAGE = 12,
    COMPLETION_PORT_KIND_SEND_MESSAGE = 13,
    COMPLETION_PORT_KIND_SENDFILE = 14,
    COMPLETION_PORT_KIND_FILE_READ = 15,
    COMPLETION_PORT_KIND_FILE_WRITE = 16,
    COMPLETION_PORT_KIND_FILE_SYNC = 17,
    COMPLETION_PORT_KIND_RECEIVE_POOLED = 18
};

/* Flags of a record. */
enum {
    /* The operation goes on: this record is not its last. */
    COMPLETION_PORT_COMPLETION_MORE = 1
};

/* A finished operation. 64 bytes. */
typedef struct COMPLETION_PORT_COMPLETION_TAG {
    uint64_t operation; /* the id that the submission gave; 0 for a post */
    uint64_t key;       /* as submitted, or as posted */
    void* context;      /* as submitted */
    void* buffer;       /* as submitted: bytes, vectors, message or address; of a pool: the buffer
                           drawn, or NULL; else NULL */
    int64_t value;      /* bytes transferred; poll: the poll(2) bits that hold; timer: how often it
                           expired since its last record; post: as posted; accept: the new
                           descriptor; connect, shutdown, close, file sync: 0 */
    int32_t error;      /* 0, or the negative errno that tells why the result is not OK */
    int32_t result;     /* a COMPLETION_PORT_RESULT: OK, ERROR or ABANDONED */
    uint32_t kind;      /* COMPLETION_PORT_KIND_... */
    uint32_t flags;     /* COMPLETION_PORT_COMPLETION_... */
    uint64_t reserved;  /* 0 */
} COMPLETION_PORT_COMPLETION;

/* The record lives until the callback returns. */
typedef void (*ON_COMPLETION_PORT_COMPLETION)(void* context,
                                              const COMPLETION_PORT_COMPLETION* completion);

/* Takes finished operations from the port's queue, in the order in which they were finished, and
 * waits for the first if there is none. Any number of threads may wait at once; a thread that waits
 * holds a reference. timeout_ns: 0 looks and returns, negative waits without end.
 * After completion_port_shutdown it still returns what is finished, and then -ESHUTDOWN.
 * Where the port limits the threads that process records (waiters_running_max, options.h), a wait
 * gives back the place that its thread holds, and takes one again with the records that it returns;
 * no other return takes one. While all places are held, records wait for the next place, and waits
 * for records or the end of their time. A thread that comes back to records that are there goes on
 * without a sleep; of those that sleep, the kernel wakes one, as a rule the one that has slept
 * longest. A wait on another port gives back nothing.
 * Returns how many records were written, at least 1. Errors: -ETIMEDOUT, -ESHUTDOWN, -EDEADLK
 * (inside a callback), -EINVAL (NULL, or a maximum of 0), -EPERM (forked child); after the last
 * three the thread's place is still held. [CP-WAIT, CP-PLACE] */
MOCKABLE_FUNCTION(, int, completion_port_wait, COMPLETION_PORT_HANDLE, completion_port,
                  COMPLETION_PORT_COMPLETION*, completions, uint32_t, completions_max, int64_t,
                  timeout_ns);

/* Gives back the place among the threads that process records (waiters_running_max, options.h):
 * this thread has done with its records and does not wait for more at once. A thread that ends
 * with its place keeps it for as long as the port lives, or until a later thread whose pthread_t
 * is the same waits or leaves: a caller's error that lowers the limit by one, and from one to none.
 * May be called from any thread and any callback; does not wait. Errors: -ENOENT (the thread holds
 * no place of this port, which may have no limit), -EINVAL (NULL), -EPERM (forked child).
 * [CP-PLACE] */
MOCKABLE_FUNCTION(, int, completion_port_wait_leave, COMPLETION_PORT_HANDLE, completion_port);

/* The descriptor by which another event loop learns that a caller-driven port (options.h) has
 * work: it is readable then, and completion_port_wait with a timeout of 0 does the work. The port
 * owns it. Returns it, or -EINVAL (NULL), -ENOTSUP (a port with workers), -EPERM (forked child).
 * [CP-EMBED] */
MOCKABLE_FUNCTION(, int, completion_port_fd, COMPLETION_PORT_HANDLE, completion_port);

/* How long the other loop may wait for that descriptor before it must call completion_port_wait, in
 * nanoseconds: 0 where there is work already, INT64_MAX where there is no limit. To be asked anew
 * after each of this port's functions. Errors: as completion_port_fd. [CP-EMBED] */
MOCKABLE_FUNCTION(, int64_t, completion_port_next_timeout, COMPLETION_PORT_HANDLE, completion_port);

/* Finishes an operation that does nothing: a message to a worker's callback (on_complete), or to a
 * thread that waits (NULL). Posts of one thread arrive in their order. Never waits.
 * Errors: -EINVAL (NULL port), -ESHUTDOWN, -ENOMEM, -ENOBUFS, -EAGAIN (the limit of mail,
 * options.h), -EPERM (forked child). [CP-POST] */
MOCKABLE_FUNCTION(, int, completion_port_post, COMPLETION_PORT_HANDLE, completion_port, uint64_t,
                  key, int64_t, value, ON_COMPLETION_PORT_COMPLETION, on_complete, void*, context);

#ifdef __cplusplus
}
#endif

#endif
