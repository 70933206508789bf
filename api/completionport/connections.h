/* Operations that begin and end connections: accept, connect, shutdown and close.
 *
 *   COMPLETION_PORT_ACCEPT_OPERATION accept = {0};
 *   accept.common.size = sizeof(accept);
 *   accept.common.kind = COMPLETION_PORT_KIND_ACCEPT;
 *   accept.common.flags = COMPLETION_PORT_FLAG_MULTISHOT;
 *   accept.common.descriptor = listener;
 *   accept.common.on_complete = on_accepted;
 *   completion_port_submit(port, &accept.common, NULL, NULL);
 *
 * They are submitted, refused, cancelled and removed as operations.h says. Sockets of accepts and
 * connects do not block (O_NONBLOCK; -EINVAL otherwise), and must stay so until the completion: the
 * port never changes a caller's flags. */
#ifndef COMPLETIONPORT_CONNECTIONS_H
#define COMPLETIONPORT_CONNECTIONS_H

#include <stdint.h>

#include "completionport/operations.h"

#ifdef __cplusplus
extern "C" {
#endif

struct sockaddr;

/* COMPLETION_PORT_KIND_ACCEPT: value is the descriptor of a new connection, close-on-exec, which is
 * the caller's from then on. In order with the other reads of the listener.
 * With COMPLETION_PORT_FLAG_MULTISHOT it goes on: every record but the last has
 * COMPLETION_PORT_COMPLETION_MORE, and the last tells why it ended.
 * A connection that its peer gave up meanwhile is passed over. EMFILE, ENFILE, ENOMEM and ENOBUFS
 * end the operation with that error; what waits to be accepted goes on waiting. A descriptor whose
 * record nobody has taken when the port is freed is closed.
 *
 * A connection belongs to the worker on which it is first added (options.h): added in the accept's
 * callback, to the listener's. With COMPLETION_PORT_FLAG_DISTRIBUTE a number that belongs to no
 * worker yet is given, before its record is delivered, to the worker with the fewest descriptors,
 * in turn among equals: what the accept's callback adds runs there. A descriptor counts from its
 * first add, or such an accept, until it is removed or closed by the port. With one worker the flag
 * changes nothing. Where the kernel shall choose, make a listener with SO_REUSEPORT for each
 * worker, and add one after the other from a thread of your own: they go to the workers in turn,
 * and each worker has the connections of its listener.
 *
 * Submission: -EINVAL also for other accept_flags; for one of address and address_length without
 * the other; for an address, or COMPLETION_PORT_FLAG_INLINE, beside MULTISHOT. [CP-ACCEPT] */
typedef struct COMPLETION_PORT_ACCEPT_OPERATION_TAG {
    COMPLETION_PORT_OPERATION common;
    /* The peer's address goes there; both NULL: nowhere. Both are borrowed until the completion. */
    struct sockaddr* address;
    uint32_t* address_length; /* bytes at address; then bytes of the peer's address */
    uint32_t accept_flags;    /* SOCK_NONBLOCK, SOCK_CLOEXEC (which is always set), or 0 */
    uint32_t reserved;
} COMPLETION_PORT_ACCEPT_OPERATION;

/* COMPLETION_PORT_KIND_CONNECT: OK when the connection stands; value 0. Among the writes of the
 * socket, so that sends submitted behind it go out when it stands. A connect that fails has the
 * reason in error (-ECONNREFUSED, ...), and what waits behind it fails too; to a unix socket whose
 * backlog is full that is -EAGAIN.
 * After one that was cancelled, or ran into its deadline, the kernel may still be connecting: close
 * the socket.
 * Submission: -EINVAL also for an address of NULL, or of less than 2 or more than 128 bytes.
 * [CP-CONNECT] */
typedef struct COMPLETION_PORT_CONNECT_OPERATION_TAG {
    COMPLETION_PORT_OPERATION common;
    const struct sockaddr* address; /* borrowed until the completion */
    uint32_t address_length;        /* bytes */
    uint32_t reserved;
} COMPLETION_PORT_CONNECT_OPERATION;

/* COMPLETION_PORT_KIND_SHUTDOWN: shutdown(2). SHUT_WR and SHUT_RDWR take their turn among the
 * writes: what was sent before goes out first. SHUT_RD is done at once; bytes that are there can
 * still be received. value 0. Errors: -ENOTCONN.
 * Submission: -EINVAL also for any other `how`. [CP-SHUTDOWN] */
typedef struct COMPLETION_PORT_SHUTDOWN_OPERATION_TAG {
    COMPLETION_PORT_OPERATION common;
    uint32_t how; /* SHUT_RD, SHUT_WR or SHUT_RDWR */
    uint32_t reserved;
} COMPLETION_PORT_SHUTDOWN_OPERATION;

/* COMPLETION_PORT_KIND_CLOSE: ends the descriptor's operations as completion_port_remove_async
 * does, and closes it. It is the last that the descriptor may be used for: adds are refused with
 * -ECANCELED until the worker closes it, and one at that moment ends abandoned or finds the number
 * closed. In its callback, the number may be in use again. It happens whatever becomes of the
 * port, and cannot be cancelled. Where SO_LINGER makes close(2) wait, the worker waits. value 0.
 * Submission: -EINVAL also for a deadline or a flag; -EALREADY (a removal is under way).
 * [CP-CLOSE] */
typedef struct COMPLETION_PORT_CLOSE_OPERATION_TAG {
    COMPLETION_PORT_OPERATION common;
} COMPLETION_PORT_CLOSE_OPERATION;

#ifdef __cplusplus
}
#endif

#endif
