/* Pools of receive buffers: a receive draws its buffer when data has come, so that a connection
 * that waits holds none.
 *
 *   COMPLETION_PORT_BUFFER_POOL_OPTIONS options = {0};
 *   options.size = sizeof(options);
 *   options.bytes_max = 64 << 20;
 *   pool = completion_port_buffer_pool_create(port, &options);
 *
 *   COMPLETION_PORT_RECEIVE_POOLED_OPERATION receive = {0};
 *   receive.common.size = sizeof(receive);
 *   receive.common.kind = COMPLETION_PORT_KIND_RECEIVE_POOLED;
 *   receive.common.flags = COMPLETION_PORT_FLAG_MULTISHOT;
 *   receive.common.descriptor = socket;
 *   receive.common.on_complete = on_received;
 *   receive.pool = pool;
 *   completion_port_submit(port, &receive.common, NULL, NULL);
 *
 *   static void on_received(void* context, const COMPLETION_PORT_COMPLETION* completion) {
 *       if (completion->buffer != NULL) {
 *           consume(completion->buffer, completion->value);
 *           completion_port_buffer_release(pool, completion->buffer);
 *       }
 *       if ((completion->flags & COMPLETION_PORT_COMPLETION_MORE) != 0) return;
 *       ... it has ended: value 0 is the end of the stream; after -ENOBUFS, submit it again ...
 *   }
 *
 * The conventions of completion_port.h hold here too. */
#ifndef COMPLETIONPORT_BUFFERS_H
#define COMPLETIONPORT_BUFFERS_H

#include <stdint.h>

#include "completionport/mockable.h"
#include "completionport/operations.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct COMPLETION_PORT_BUFFER_POOL_TAG* COMPLETION_PORT_BUFFER_POOL_HANDLE;

/* The limits of a buffer's size. */
enum { COMPLETION_PORT_BUFFER_BYTES_MIN = 256, COMPLETION_PORT_BUFFER_BYTES_MAX = 1 << 20 };

typedef struct COMPLETION_PORT_BUFFER_POOL_OPTIONS_TAG {
    uint32_t size;         /* bytes of the whole structure; what lies beyond it counts as zero */
    uint32_t flags;        /* 0 */
    uint32_t buffer_bytes; /* the smallest buffer, a power of two; 0: 4 KiB */
    /* The largest, a power of two, at most 64 times the smallest; the smallest: all are of one
     * size; 0: 256 KiB, or the nearest to it that is allowed. */
    uint32_t buffer_bytes_max;
    /* Of all buffers in use; from one to 2^20 of the smallest. Addresses are reserved for so much
     * at once, memory as it is used. */
    uint64_t bytes_max;
    uint64_t reserved;
} COMPLETION_PORT_BUFFER_POOL_OPTIONS;

/* COMPLETION_PORT_KIND_RECEIVE_POOLED: as COMPLETION_PORT_KIND_RECEIVE, into a buffer that is drawn
 * from the pool when there is something to receive. The record's buffer, where it is not NULL, is
 * its user's until completion_port_buffer_release, and holds value bytes; at the end of a stream,
 * and for an empty datagram, it is NULL and value is 0. Each record has one buffer.
 * With COMPLETION_PORT_FLAG_MULTISHOT it goes on: every record but the last has
 * COMPLETION_PORT_COMPLETION_MORE, and the last one tells the end of the stream or why it ended.
 * Where no buffer is left, and there is something to receive, it ends with (ERROR, -ENOBUFS); what
 * waits to be received goes on waiting, for the next receive.
 * Of a stream the first buffer is as first_bytes says. The next one is twice as long after one that
 * was filled, and half as long after four receives of less than a quarter; where the pool has no
 * such buffer left, a smaller one is drawn. What a receive left empty goes back to the pool, in
 * sizes of the pool's. A datagram gets the largest buffer; where none is left, one that it fits.
 * One longer than the largest ends the operation with (ERROR, -EMSGSIZE), and a buffer with what
 * fits.
 * Also of what is no socket, as a receive.
 * Submission: -EINVAL also for a pool of NULL, of another port or destroyed; for first_bytes above
 * COMPLETION_PORT_BUFFER_BYTES_MAX; for COMPLETION_PORT_FLAG_INLINE beside MULTISHOT. [CP-POOL] */
typedef struct COMPLETION_PORT_RECEIVE_POOLED_OPERATION_TAG {
    COMPLETION_PORT_OPERATION common;
    COMPLETION_PORT_BUFFER_POOL_HANDLE pool;
    uint32_t first_bytes; /* what the first buffer shall hold, if the pool has such; 0: the least */
    uint32_t reserved;
} COMPLETION_PORT_RECEIVE_POOLED_OPERATION;

/* Creates a pool for receives of one port. It may outlive the port.
 * Returns NULL with errno EINVAL (NULL, unknown flags, a size out of range, a budget below one
 * buffer), E2BIG (a longer structure with bytes set that this library does not know), ESHUTDOWN,
 * ENOMEM, EPERM (forked child). [CP-POOL] */
MOCKABLE_FUNCTION(, COMPLETION_PORT_BUFFER_POOL_HANDLE, completion_port_buffer_pool_create,
                  COMPLETION_PORT_HANDLE, completion_port,
                  const COMPLETION_PORT_BUFFER_POOL_OPTIONS*, options);

/* Gives the pool up; NULL is ignored. It draws no buffer any more: receives that wait on it end
 * with -ENOBUFS when data comes. Buffers in use, also those whose record nobody has seen yet, stay
 * valid and are still given back with this handle; the memory goes with the last of them and the
 * last receive that waits. Without any, the handle ends here. Never waits; needs no memory.
 * [CP-POOL] */
MOCKABLE_FUNCTION(, void, completion_port_buffer_pool_destroy, COMPLETION_PORT_BUFFER_POOL_HANDLE,
                  buffer_pool);

/* The bytes of the buffers in use: drawn, and not given back. While other threads draw and release
 * it is what was true at some moment. Errors: -EINVAL (NULL), -EPERM (forked child). [CP-POOL] */
MOCKABLE_FUNCTION(, int64_t, completion_port_buffer_pool_in_use, COMPLETION_PORT_BUFFER_POOL_HANDLE,
                  buffer_pool);

/* Gives a buffer back, whatever has become of the port. Takes no lock; needs no memory.
 * Returns 0. Errors: -EINVAL (NULL; no buffer of this pool that is in use), -EPERM (forked child).
 * [CP-POOL] */
MOCKABLE_FUNCTION(, int, completion_port_buffer_release, COMPLETION_PORT_BUFFER_POOL_HANDLE,
                  buffer_pool, void*, buffer);

#ifdef __cplusplus
}
#endif

#endif
