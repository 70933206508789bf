/* A completion source of the user's own: a ring, a queue, a counter, whatever may hold items that a
 * port's worker should take out: an RDMA completion queue, an AF_XDP ring, memory shared with
 * another process.
 *
 *   COMPLETION_PORT_SOURCE source = {0};
 *   source.size = sizeof(source);
 *   source.descriptor = channel;
 *   source.drain = take_items;
 *   source.arm = ask_for_notification;
 *   source.on_detached = on_detached;
 *   source.context = &ring;
 *   completion_port_source_attach(port, &source, &id);
 *
 * The loop's contract. A worker of the port
 *   1. calls drain, once a round, between the work of its sockets, until it returns fewer items
 *      than the budget: the source is drained;
 *   2. calls arm, which takes back the notifications so far and asks for one of the next item;
 *   3. calls drain once more, for what came between the last look and the arming, and starts again
 *      at 1 if that spends the budget;
 *   4. leaves the source alone until its descriptor is readable or completion_port_source_kick is
 *      called, and starts again at 1.
 * So no item is lost if the first that comes after arm has begun to ask makes the descriptor
 * readable, or leads to a kick, and if nobody but arm reads the descriptor: a drain that read the
 * notification which came after arming would leave the source unarmed. (Without arm, drain reads
 * it.) A descriptor that is readable already counts: it is looked at after arming. Both may also
 * come for nothing.
 *
 * drain, arm and on_detached are callbacks of one worker, always the same one: they never run at
 * the same time, no lock is held, and they may call every function. What is said of callbacks in
 * completion_port.h, whose conventions hold here too, is said of them. */
#ifndef COMPLETIONPORT_SOURCE_H
#define COMPLETIONPORT_SOURCE_H

#include <stdint.h>

#include "completionport/completion_port.h"
#include "completionport/mockable.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Flags of a source. */
enum {
    /* While its worker has other work, or spins (spin_ns in options.h), the source is drained every
     * round without being armed; it is armed before the worker sleeps. */
    COMPLETION_PORT_SOURCE_POLL = 1,
    /* arm (where there is none, drain, before it looks for items) reads the descriptor until it
     * says EAGAIN, so that every notification makes it readable anew: it need not be looked at
     * after arming, which saves a system call. */
    COMPLETION_PORT_SOURCE_EMPTIES_DESCRIPTOR = 2
};

/* No descriptor: the source is driven by kicks alone. */
#define COMPLETION_PORT_SOURCE_NO_DESCRIPTOR (-1)

/* The most sources that a worker can have, and the largest budget. */
#define COMPLETION_PORT_SOURCES_MAX 1024
#define COMPLETION_PORT_SOURCE_BUDGET_MAX 65536

/* Takes out at most `budget` items. Must not block.
 * Returns how many it took: fewer than the budget means that there are no more. A negative errno
 * detaches the source with that error. */
typedef int32_t (*COMPLETION_PORT_SOURCE_DRAIN)(void* context, uint32_t budget);

/* Reads from the descriptor what made it readable (one that stays readable, as after a hang-up,
 * keeps its source busy), then asks for a notification of the next item. Must not block.
 * Returns 0: asked for. 1: items have come meanwhile, drain again first. A negative errno detaches
 * the source with that error. */
typedef int32_t (*COMPLETION_PORT_SOURCE_ARM)(void* context);

/* The source's last callback, exactly one. error: 0 after completion_port_source_detach, -ECANCELED
 * at the port's end, else what drain, arm or the watch of the descriptor failed with. From here on
 * the port knows neither the descriptor nor the context. */
typedef void (*ON_COMPLETION_PORT_SOURCE_DETACHED)(void* context, int32_t error);

typedef struct COMPLETION_PORT_SOURCE_TAG {
    uint32_t size;  /* bytes of the whole structure; what lies beyond it counts as zero */
    uint32_t flags; /* COMPLETION_PORT_SOURCE_... */
    /* Readable (POLLIN) when there may be items, or COMPLETION_PORT_SOURCE_NO_DESCRIPTOR. Borrowed
     * until on_detached or the detach that takes effect at once: do not close it or add it to the
     * port before. Its flags are not changed. */
    int32_t descriptor;
    uint32_t budget; /* items that one drain takes at most; 0: 64 */
    /* The number of its worker, from 1. 0: in a callback of the port the worker that runs it, else
     * the next one in turn. */
    uint32_t worker;
    uint32_t reserved;
    COMPLETION_PORT_SOURCE_DRAIN drain;
    COMPLETION_PORT_SOURCE_ARM arm;                 /* NULL: nothing has to be asked for */
    ON_COMPLETION_PORT_SOURCE_DETACHED on_detached; /* may be NULL */
    void* context;
} COMPLETION_PORT_SOURCE;

/* Attaches a source, and drains it soon, on its worker. The structure is copied. Its id goes to *id
 * before the first drain; it is never 0, and names the source from when this call has returned.
 * Returns 0, and then on_detached is called once, at the latest by the port's end. Errors: -EINVAL
 * (NULL port, source, id or drain; unknown flags; a budget beyond the largest; no such worker),
 * -E2BIG (a longer structure with bytes set that this library does not know), -EBADF (a negative
 * descriptor other than NO_DESCRIPTOR, or a closed one), -EPERM (a descriptor that cannot be waited
 * for; a forked child), -EEXIST (the descriptor is attached to that worker already, or operations
 * wait for it there), -ENOBUFS (the limit of sources), -ENOSPC (the limit of watched descriptors),
 * -ENOMEM, -ESHUTDOWN. [CP-SOURCE] */
MOCKABLE_FUNCTION(, int, completion_port_source_attach, COMPLETION_PORT_HANDLE, completion_port,
                  const COMPLETION_PORT_SOURCE*, source, uint64_t*, id);

/* Has a source drained soon, whatever its descriptor says. Any number of kicks before that drain
 * are one. What was written before the kick is seen by the drain. Never waits; wakes the worker
 * only if it sleeps. Needs no memory.
 * Errors: -EINVAL (NULL port, or 0), -ENOENT (it has been detached), -ESHUTDOWN, -EPERM (forked
 * child). [CP-SOURCE] */
MOCKABLE_FUNCTION(, int, completion_port_source_kick, COMPLETION_PORT_HANDLE, completion_port,
                  uint64_t, id);

/* Detaches a source; on_detached follows, with 0. Needs no memory.
 * On the source's worker, inside a callback, it has taken effect when it returns: neither drain nor
 * arm is called again (a drain that called this is the last), the descriptor may be closed and
 * reused at once, and on_detached follows when the running callback has returned. On a thread that
 * is outside every callback it returns when on_detached has returned: do not hold a lock that the
 * source's callbacks take. Inside a callback of another worker or port it returns at once. (On a
 * SINGLE_THREADED port it takes effect at once everywhere; on_detached follows in the next wait.)
 * Errors: -EINVAL (NULL port, or 0), -EPERM (forked child), -ENOENT (it has been detached
 * otherwise; on_detached is waited for all the same). [CP-SOURCE] */
MOCKABLE_FUNCTION(, int, completion_port_source_detach, COMPLETION_PORT_HANDLE, completion_port,
                  uint64_t, id);

#ifdef __cplusplus
}
#endif

#endif
