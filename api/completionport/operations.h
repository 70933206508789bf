/* Operations beyond completion_port_add: each is one structure whose first member is common to all,
 * and ends in one record (completions.h).
 *
 *   COMPLETION_PORT_RECEIVE_OPERATION receive = {0};
 *   receive.common.size = sizeof(receive);
 *   receive.common.kind = COMPLETION_PORT_KIND_RECEIVE;
 *   receive.common.descriptor = socket;
 *   receive.common.on_complete = on_received;
 *   receive.buffer = bytes;
 *   receive.length = sizeof(bytes);
 *   completion_port_submit(port, &receive.common, NULL, NULL);
 *
 * The structure is read during the submission, when nobody may change it, and not after it. What
 * it points to is borrowed until the completion.
 * Operations and adds of one socket share its queues: reads complete in order, writes complete in
 * order. completion_port_remove ends both.
 *
 * The conventions of completion_port.h hold here too. */
#ifndef COMPLETIONPORT_OPERATIONS_H
#define COMPLETIONPORT_OPERATIONS_H

#include <stdint.h>

#include "completionport/completion_port.h"
#include "completionport/completions.h"
#include "completionport/mockable.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The latest time, about 292 years after the clock's zero. */
#define COMPLETION_PORT_TIME_MAX_NS (INT64_MAX - (1 << 20))

/* Flags of an operation. */
enum {
    /* A success at once is told by the return value 1 and the record in `completed`; nothing else
     * follows. Only for submissions from callbacks of the worker that owns the descriptor; from
     * elsewhere, and where the operation has to wait, it changes nothing. */
    COMPLETION_PORT_FLAG_INLINE = 1,
    /* Of an accept (connections.h) and of a receive from a pool (buffers.h): it goes on after each
     * connection, or each buffer. */
    COMPLETION_PORT_FLAG_MULTISHOT = 2,
    /* Of an accept (connections.h): its connections go to the workers that have the fewest
     * descriptors. */
    COMPLETION_PORT_FLAG_DISTRIBUTE = 4
};

/* What every operation begins with. */
typedef struct COMPLETION_PORT_OPERATION_TAG {
    uint32_t size; /* bytes of the whole structure; what lies beyond it counts as zero */
    uint32_t kind; /* COMPLETION_PORT_KIND_... */
    uint32_t flags;
    int32_t descriptor;
    uint64_t key; /* comes back in the record */
    /* Absolute, CLOCK_MONOTONIC, at most COMPLETION_PORT_TIME_MAX_NS; 0: none. An operation that is
     * not complete by then is cancelled, with (ERROR, -ETIMEDOUT): at most 1 ms later, never
     * before. */
    uint64_t deadline_ns;
    ON_COMPLETION_PORT_COMPLETION on_complete; /* NULL: for completion_port_wait */
    void* context;
} COMPLETION_PORT_OPERATION;

/* COMPLETION_PORT_KIND_RECEIVE: as an EPOLLIN add with a buffer. value is the bytes received; OK
 * with 0 is the end of the stream, or an empty datagram.
 * Also of pipes, FIFOs, eventfds, timerfds, terminals and devices that epoll can watch: as of a
 * stream. A blocking descriptor of a file that cannot be read otherwise ends with (ERROR, -EINVAL);
 * one that does not block must stay so until the completion. [CP-DEVICE] */
typedef struct COMPLETION_PORT_RECEIVE_OPERATION_TAG {
    COMPLETION_PORT_OPERATION common;
    void* buffer;
    uint32_t length; /* bytes, 1 to INT32_MAX */
    uint32_t reserved;
} COMPLETION_PORT_RECEIVE_OPERATION;

/* COMPLETION_PORT_KIND_SEND: as an EPOLLOUT add with a buffer: OK when all is sent. Also to what a
 * receive takes besides sockets. */
typedef struct COMPLETION_PORT_SEND_OPERATION_TAG {
    COMPLETION_PORT_OPERATION common;
    const void* buffer;
    uint32_t length; /* bytes, 1 to INT32_MAX */
    uint32_t reserved;
} COMPLETION_PORT_SEND_OPERATION;

/* COMPLETION_PORT_KIND_POLL: OK as soon as poll(2) would report one of the events; value holds
 * those that it reports, POLLERR and POLLHUP among them. Takes any descriptor that epoll takes. */
typedef struct COMPLETION_PORT_POLL_OPERATION_TAG {
    COMPLETION_PORT_OPERATION common;
    uint32_t events; /* of POLLIN, POLLOUT, POLLPRI, POLLRDHUP */
    uint32_t reserved;
} COMPLETION_PORT_POLL_OPERATION;

/* Hands one operation to the port. Its id goes to *operation unless NULL, before the operation can
 * complete. `completed` is where COMPLETION_PORT_FLAG_INLINE puts a record, else NULL.
 * Returns 0, or 1 with the record in *completed. Errors: -EINVAL (NULL; unknown kind, flags or
 * events; a buffer or length out of range; the flag and `completed` not together), -E2BIG (a longer
 * structure with bytes set that this library does not know), -EBADF (negative or closed
 * descriptor), -EPERM (a file that the operation cannot work on; a forked child), -ENOTSOCK,
 * -ETIMEDOUT (the deadline has passed), -ERANGE (a time beyond the latest), -ECANCELED (a removal
 * is under way), -ESHUTDOWN, -ENOMEM, -ENOBUFS, -EMFILE, -ENOSPC and -EAGAIN (as
 * completion_port_add). [CP-SUBMIT] */
MOCKABLE_FUNCTION(, int, completion_port_submit, COMPLETION_PORT_HANDLE, completion_port,
                  const COMPLETION_PORT_OPERATION*, operation, uint64_t*, id,
                  COMPLETION_PORT_COMPLETION*, completed);

/* Hands several operations, of any kinds, to the port, in their order. ids: one for each, or NULL.
 * Returns how many were accepted: fewer than count means that the next one was refused; the error
 * of the first one, if that is refused. COMPLETION_PORT_FLAG_INLINE is refused (-EINVAL).
 * Errors: as completion_port_submit; -EINVAL (NULL, or a count of 0). [CP-SUBMIT] */
MOCKABLE_FUNCTION(, int, completion_port_submit_batch, COMPLETION_PORT_HANDLE, completion_port,
                  const COMPLETION_PORT_OPERATION* const*, operations, uint32_t, count, uint64_t*,
                  ids);

/* Asks that an operation end: it completes with (ABANDONED, -ECANCELED), or as if nothing had been
 * asked where it came too late; a receive that holds bytes ends OK with them. Where a send to a
 * stream is cancelled after part of its bytes, the sends queued behind it end with (ERROR,
 * -ECANCELED): their bytes would not follow what they were meant to follow. The same holds for a
 * deadline. A send that another thread submits before it has been told may still go out.
 * Returns 0: asked for, and exactly one completion follows. -ENOENT: it has completed; in a
 * callback of the worker that owns the descriptor this is certain, from elsewhere 0 may be returned
 * for such an operation too. Errors: -EINVAL (NULL port, or 0), -ESHUTDOWN, -ENOMEM, -ENOBUFS,
 * -EAGAIN (the limit of mail, options.h), -EPERM (forked child). [CP-CANCEL] */
MOCKABLE_FUNCTION(, int, completion_port_cancel, COMPLETION_PORT_HANDLE, completion_port, uint64_t,
                  operation);

#ifdef __cplusplus
}
#endif

#endif
