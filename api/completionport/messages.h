/* Operations on several pieces of memory, and on messages with addresses and ancillary data.
 *
 *   struct iovec vectors[2] = {{header, sizeof(header)}, {body, body_length}};
 *   COMPLETION_PORT_SEND_VECTOR_OPERATION send = {0};
 *   send.common.size = sizeof(send);
 *   send.common.kind = COMPLETION_PORT_KIND_SEND_VECTOR;
 *   send.common.descriptor = socket;
 *   send.common.on_complete = on_sent;
 *   send.vectors = vectors;
 *   send.count = 2;
 *   completion_port_submit(port, &send.common, NULL, NULL);
 *
 * They are submitted, refused, cancelled and removed as operations.h says, and take their turn
 * among the other reads and writes of the descriptor. What they point to, the arrays and headers
 * too, is borrowed until the completion and must not change. */
#ifndef COMPLETIONPORT_MESSAGES_H
#define COMPLETIONPORT_MESSAGES_H

#include <stdint.h>

#include "completionport/operations.h"

#ifdef __cplusplus
extern "C" {
#endif

struct iovec;
struct msghdr;

/* The most pieces of memory that one operation takes. */
#define COMPLETION_PORT_VECTORS_MAX 1024

/* COMPLETION_PORT_KIND_RECEIVE_VECTOR, COMPLETION_PORT_KIND_SEND_VECTOR: as a receive or a send
 * over the pieces one after the other; value is the bytes in all. Of all descriptors that those
 * take.
 * Submission: -EINVAL also for a count of 0 or above COMPLETION_PORT_VECTORS_MAX, a piece of NULL
 * or of length 0, and more than INT32_MAX bytes in all. [CP-VECTOR] */
typedef struct COMPLETION_PORT_RECEIVE_VECTOR_OPERATION_TAG {
    COMPLETION_PORT_OPERATION common;
    const struct iovec* vectors;
    uint32_t count;
    uint32_t reserved;
} COMPLETION_PORT_RECEIVE_VECTOR_OPERATION;

typedef struct COMPLETION_PORT_SEND_VECTOR_OPERATION_TAG {
    COMPLETION_PORT_OPERATION common;
    const struct iovec* vectors;
    uint32_t count;
    uint32_t reserved;
} COMPLETION_PORT_SEND_VECTOR_OPERATION;

/* COMPLETION_PORT_KIND_RECEIVE_MESSAGE: one recvmsg(2) that finds something; value is its count, OK
 * with 0 also the end of the stream. msg_namelen, msg_controllen and msg_flags of *message tell
 * what came beside the bytes: a datagram that did not fit is OK with MSG_TRUNC among msg_flags.
 * Received descriptors are close-on-exec; they are the caller's.
 * message_flags: MSG_PEEK, MSG_TRUNC (value is the datagram's real length; on TCP it throws the
 * bytes away), MSG_ERRQUEUE. MSG_DONTWAIT and MSG_CMSG_CLOEXEC are always set.
 * Submission: -EINVAL also for NULL, other flags, more than COMPLETION_PORT_VECTORS_MAX pieces,
 * pieces of NULL with a length, and more than INT32_MAX bytes in all. [CP-MESSAGE] */
typedef struct COMPLETION_PORT_RECEIVE_MESSAGE_OPERATION_TAG {
    COMPLETION_PORT_OPERATION common;
    struct msghdr* message;
    uint32_t message_flags;
    uint32_t reserved;
} COMPLETION_PORT_RECEIVE_MESSAGE_OPERATION;

/* COMPLETION_PORT_KIND_SEND_MESSAGE: as a send, to the message's address and with its ancillary
 * data, which goes with the first bytes. value is the bytes sent.
 * message_flags: MSG_MORE, MSG_EOR. MSG_DONTWAIT and MSG_NOSIGNAL are always set.
 * Submission: as COMPLETION_PORT_KIND_RECEIVE_MESSAGE. [CP-MESSAGE] */
typedef struct COMPLETION_PORT_SEND_MESSAGE_OPERATION_TAG {
    COMPLETION_PORT_OPERATION common;
    const struct msghdr* message;
    uint32_t message_flags;
    uint32_t reserved;
} COMPLETION_PORT_SEND_MESSAGE_OPERATION;

#ifdef __cplusplus
}
#endif

#endif
