/* The completion port: hand it an operation on a descriptor, get exactly one callback.
 *
 * Conventions, for every function of this library:
 *   - Functions return 0 (or a count), or a negative errno. Functions that return a handle return
 *     NULL and set errno.
 *   - A call that returns an error never calls back and changed nothing. A call that returns 0
 *     leads to exactly one callback.
 *   - Every function may be called from any thread and from inside any callback. No lock is held
 *     and nothing waits while a callback runs.
 *   - Callbacks of one socket never run at the same time. Reads complete in the order of their
 *     adds, and so do writes. A callback must not throw, longjmp or end its thread.
 *   - While a callback runs, errno holds the reason of a result that is not OK, else 0.
 *   - The port never closes the caller's descriptor and never changes its flags.
 *   - A child made by fork must not use its parent's port: calls return -EPERM and do nothing.
 *
 * The rules with their ids stand in specs/completion_port.md. */
#ifndef COMPLETIONPORT_COMPLETION_PORT_H
#define COMPLETIONPORT_COMPLETION_PORT_H

#include <stdint.h>

#include "completionport/mockable.h"

#ifdef __cplusplus
extern "C" {
#endif

#ifndef SOCKET_HANDLE
#define SOCKET_HANDLE int
#endif

#ifndef INVALID_SOCKET
#define INVALID_SOCKET (-1)
#endif

typedef struct COMPLETION_PORT_TAG* COMPLETION_PORT_HANDLE;

/* What a callback tells of.
 *   EPOLLRDHUP: the peer ended its side of the stream, and every byte before that was delivered.
 *   EPOLLIN, EPOLLOUT: the add of that direction.
 *   CLOSING: completion_port_remove, or the port's end, ended the add. */
#define COMPLETION_PORT_EPOLL_ACTION_VALUES                          \
    COMPLETION_PORT_EPOLL_EPOLLRDHUP, COMPLETION_PORT_EPOLL_EPOLLIN, \
        COMPLETION_PORT_EPOLL_EPOLLOUT, COMPLETION_PORT_CLOSING

MU_DEFINE_ENUM(COMPLETION_PORT_EPOLL_ACTION, COMPLETION_PORT_EPOLL_ACTION_VALUES)

/* OK; ERROR: the operation failed, errno says why; ABANDONED: the connection (ECONNRESET, EPIPE, or
 * its orderly end), the registration or the port ended. */
#define COMPLETION_PORT_EPOLL_RESULT_VALUES \
    COMPLETION_PORT_RESULT_OK, COMPLETION_PORT_RESULT_ERROR, COMPLETION_PORT_RESULT_ABANDONED

#define COMPLETION_PORT_RESULT_VALUES COMPLETION_PORT_EPOLL_RESULT_VALUES

MU_DEFINE_ENUM(COMPLETION_PORT_RESULT, COMPLETION_PORT_RESULT_VALUES)

/* The one callback of an accepted add, on a worker thread of the port.
 *   amount_transfered: OK: bytes (0 = end of the stream; on a datagram socket an empty datagram),
 *   or -1 for a readiness add and for readiness that proved spurious. Not OK: the bytes that were
 *   transferred before the failure, if any, else -1. */
typedef void (*ON_COMPLETION_PORT_EVENT_COMPLETE)(void* context,
                                                  COMPLETION_PORT_EPOLL_ACTION epoll_action,
                                                  COMPLETION_PORT_RESULT result,
                                                  int32_t amount_transfered);

/* The last callback of a socket, after completion_port_remove_async. */
typedef void (*ON_COMPLETION_PORT_REMOVED)(void* context, SOCKET_HANDLE socket);

/* The bytes to fill or to send: borrowed from the add until its callback. NULL and 0 make the add a
 * readiness add: the callback does its own input or output. */
typedef struct EPOLL_BUFFER_DATA_TAG {
    void* buffer;
    uint32_t length; /* bytes, at most INT32_MAX */
} EPOLL_BUFFER_DATA;

typedef struct COMPLETION_PORT_INGRESS_DATA_TAG {
    /* Exactly one of EPOLLIN and EPOLLOUT, or EPOLLRDHUP alone (readiness only). EPOLLET and
     * EPOLLONESHOT are accepted beside any of them and change nothing: every add is one-shot.
     * EPOLLRDHUP beside EPOLLIN asks for the end of the stream as (EPOLLRDHUP, ABANDONED, -1). */
    int epoll_op;
    SOCKET_HANDLE socket;
    ON_COMPLETION_PORT_EVENT_COMPLETE event_callback;
    void* event_callback_ctx;
    EPOLL_BUFFER_DATA buffer_data;
} COMPLETION_PORT_INGRESS_DATA;

/* Creates a port with one worker thread over epoll, and one reference.
 * The worker blocks every signal but the synchronous faults. An idle port wakes once in 2 seconds.
 * Returns NULL with errno ENOMEM, EMFILE, ENFILE or EAGAIN (no thread). [CP-CREATE] */
MOCKABLE_FUNCTION(, COMPLETION_PORT_HANDLE, completion_port_create);

/* Takes one more reference. NULL is ignored. The caller must hold a reference. [CP-REF] */
MOCKABLE_FUNCTION(, void, completion_port_inc_ref, COMPLETION_PORT_HANDLE, completion_port);

/* Gives a reference back. NULL is ignored. The last one ends the port as completion_port_shutdown
 * does, waits until its workers have ended (so: for callbacks that run), and frees it. From inside
 * a callback, of this or any other port, it returns at once and the last worker frees the port.
 * Needs no memory. [CP-REF, CP-END] */
MOCKABLE_FUNCTION(, void, completion_port_dec_ref, COMPLETION_PORT_HANDLE, completion_port);

/* Ends the port: every pending add gets (CLOSING, ABANDONED) on a worker, then the workers end.
 * Adds are refused with -ESHUTDOWN from here on. Does not wait; a second call does nothing and
 * returns 0. The handle stays valid until the last completion_port_dec_ref.
 * Errors: -EINVAL (NULL), -EPERM (forked child). [CP-END] */
MOCKABLE_FUNCTION(, int, completion_port_shutdown, COMPLETION_PORT_HANDLE, completion_port);

/* Hands one operation on a descriptor to the port. The structure is copied; the buffer is borrowed
 * until the callback. Never waits. The callback comes on the port's worker, never from inside this
 * call; to another thread's add it may come before the call has returned.
 *
 * EPOLLIN with a buffer: a stream fills the buffer until it is full or no more bytes are there,
 *   then one callback; the end of the stream is (EPOLLIN, OK, 0), or (EPOLLRDHUP, ABANDONED, -1)
 *   where EPOLLRDHUP was asked for. A datagram socket gives one datagram; one that did not fit is
 *   ERROR with EMSGSIZE.
 * EPOLLOUT with a buffer: one callback when all is sent, or at the failure. Never raises SIGPIPE.
 * Without a buffer: one callback (amount -1) when poll(2) would call the descriptor ready.
 * Any number of adds may wait on a socket; each direction has its own queue.
 *
 * Errors: -EINVAL (NULL port, data or callback; epoll_op outside the grammar; a buffer without a
 * length or a length without a buffer; length above INT32_MAX), -EBADF (negative or closed
 * descriptor), -EPERM (a regular file or directory; a forked child), -ENOTSOCK (a buffer, but no
 * socket), -ECANCELED (a removal is under way), -ESHUTDOWN (the port is ending),
 * -ENOMEM, -ENOBUFS (the limit of operations is reached), -EMFILE (descriptor number beyond
 * 16,777,215); with the limits of options.h: -ENOSPC (of sockets), -EAGAIN (of mail). [CP-ADD] */
MOCKABLE_FUNCTION(, int, completion_port_add, COMPLETION_PORT_HANDLE, completion_port,
                  const COMPLETION_PORT_INGRESS_DATA*, ingress_data);

/* Ends all of a socket's adds: each gets (CLOSING, ABANDONED), or OK where bytes had been received.
 * Call it before closing the descriptor. A NULL port or INVALID_SOCKET is ignored.
 * On the worker that owns the socket it has taken effect when it returns (the callbacks follow when
 * the running one has returned): the number may be closed and reused at once. On a thread that is
 * outside every callback it waits until no callback of the socket runs or will run: do not hold a
 * lock that such a callback takes. Meanwhile the socket's own callbacks cannot add to it again
 * (-ECANCELED). Inside a callback of another worker or port it returns at once, and
 * completion_port_remove_async tells when it is done. Needs no memory. [CP-REMOVE] */
MOCKABLE_FUNCTION(, void, completion_port_remove, COMPLETION_PORT_HANDLE, completion_port,
                  SOCKET_HANDLE, socket);

/* As completion_port_remove, but never waits: on_removed is the socket's last callback. Adds to the
 * socket are refused with -ECANCELED until then; on_removed may close and reuse the number.
 * Errors: -EINVAL (NULL port or on_removed), -EBADF (negative socket), -EALREADY (a removal is
 * under way), -ESHUTDOWN, -ENOMEM, -ENOBUFS, -ENOSPC and -EAGAIN (as completion_port_add), -EMFILE
 * (descriptor number beyond 16,777,215), -EPERM (forked child). [CP-REMOVE-ASYNC] */
MOCKABLE_FUNCTION(, int, completion_port_remove_async, COMPLETION_PORT_HANDLE, completion_port,
                  SOCKET_HANDLE, socket, ON_COMPLETION_PORT_REMOVED, on_removed, void*, context);

#ifdef __cplusplus
}
#endif

#endif
