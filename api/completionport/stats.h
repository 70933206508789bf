/* What a port has done and has left to do, as numbers.
 *
 *   COMPLETION_PORT_STATS stats;
 *   stats.size = sizeof(stats);
 *   completion_port_stats(port, &stats);
 *   printf("%llu callbacks\n", (unsigned long long)stats.total.callbacks);
 *
 * The caller sets `size` alone. A shorter structure is filled as far as it reaches; in a longer one
 * the rest becomes zero.
 *
 * A worker counts for itself, without a lock, and any thread reads: numbers that belong together
 * may be a few operations apart. Counters begin at 0 and never fall. What is marked "now" is as of
 * the worker's last round, which begins when there is work and ends before the worker sleeps; asked
 * for in a callback of that worker, it is exact. After the port's end the numbers stay as they
 * were.
 *
 * The conventions of completion_port.h hold here too. */
#ifndef COMPLETIONPORT_STATS_H
#define COMPLETIONPORT_STATS_H

#include <stdint.h>

#include "completionport/completion_port.h"
#include "completionport/mockable.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Why the port runs on its engine (COMPLETION_PORT_ENGINE_..., options.h). */
enum {
    COMPLETION_PORT_ENGINE_REASON_ASKED = 1,   /* the options ask for it */
    COMPLETION_PORT_ENGINE_REASON_DEFAULT = 2, /* what completion_port_create gives */
    COMPLETION_PORT_ENGINE_REASON_TABLE = 3,   /* AUTO: the library's table says so */
    /* epoll, because io_uring ... */
    COMPLETION_PORT_ENGINE_REASON_NO_KERNEL = 4,    /* is not in this kernel */
    COMPLETION_PORT_ENGINE_REASON_DENIED = 5,       /* is denied by seccomp or io_uring_disabled */
    COMPLETION_PORT_ENGINE_REASON_NO_FEATURE = 6,   /* lacks a feature here */
    COMPLETION_PORT_ENGINE_REASON_NO_MEMORY = 7,    /* finds no memory or descriptor for its ring */
    COMPLETION_PORT_ENGINE_REASON_CALLER_DRIVEN = 8 /* is for ports with threads */
};

/* The length of `completions`: more kinds than there are. */
#define COMPLETION_PORT_STATS_KINDS 32

/* One worker's numbers, or the sums of all. */
typedef struct COMPLETION_PORT_WORKER_STATS_TAG {
    uint32_t size; /* bytes of the whole structure */
    uint32_t reserved;

    /* Completions that the worker has told: by COMPLETION_PORT_KIND_..., those of
     * completion_port_add at 0; and the same by their result. Each record with MORE counts, and
     * each success at once. */
    uint64_t completions[COMPLETION_PORT_STATS_KINDS];
    uint64_t completions_ok;
    uint64_t completions_error;
    uint64_t completions_abandoned;
    /* How they were told; the three make up all completions, but for on_removed. */
    uint64_t callbacks;        /* run, on_removed among them */
    uint64_t records_queued;   /* for completion_port_wait */
    uint64_t inline_successes; /* COMPLETION_PORT_FLAG_INLINE */

    uint64_t rounds;  /* of taking mail, doing I/O and running callbacks */
    uint64_t sleeps;  /* waits for the kernel that could take time */
    uint64_t wakes;   /* signals that ended a sleep, or were to, because there was mail */
    uint64_t batches; /* waits or looks that brought events */
    uint64_t events;  /* that they brought, a wake's own among them */
    uint64_t mail;    /* messages of other threads: adds, submissions, posts, removes, ... */
    uint64_t sweeps;  /* searches for descriptors that were closed without remove */
    uint64_t descriptors_renewed; /* found closed without remove, by a sweep or otherwise */

    uint64_t operations_pending; /* now: accepted, and not told yet; timers and removes too */
    uint64_t operations_max;     /* options.h */
    uint64_t slots_allocated;    /* now: for how many operations there is memory */
    uint64_t slots_free;         /* now: operations_max less operations_pending. Records that wait
                                     for a waiter hold slots too, as does what is under way */
    uint64_t
        slots_refused_limit; /* calls that got -ENOBUFS, and timers and accepts that ended so */
    uint64_t slots_refused_memory; /* the same of -ENOMEM */
    uint64_t run_list_max;         /* the most that a round found due; of a total: the most of any
                                      worker */
    uint64_t timers_pending;       /* now: timers and deadlines */

    uint64_t pool_buffers;  /* that receives from pools have delivered (buffers.h) */
    uint64_t pool_bytes;    /* in them */
    uint64_t pool_drops;    /* such receives that ended with -ENOBUFS */
    uint64_t ring_requests; /* receives and sends that io_uring was given */
    uint64_t ring_enters;   /* system calls that gave them and took their results */
    uint64_t mail_refused;  /* calls that got -EAGAIN for mailbox_max (options.h) */
} COMPLETION_PORT_WORKER_STATS;

typedef struct COMPLETION_PORT_STATS_TAG {
    uint32_t size;          /* bytes of the whole structure, `total` included */
    uint32_t workers;       /* how many there are */
    uint32_t engine;        /* COMPLETION_PORT_ENGINE_..., never AUTO */
    uint32_t engine_reason; /* COMPLETION_PORT_ENGINE_REASON_... */
    /* Records for completion_port_wait, those among them that other threads post for it: these pass
     * no worker, and are counted nowhere else. */
    uint64_t records_queued;
    uint64_t records_waiting; /* now: not taken yet */
    uint64_t waiters_running; /* now: threads that hold a place; without a limit of them, 0 */
    uint64_t sockets;         /* now: descriptor numbers that the port keeps state for */
    uint64_t sockets_refused; /* calls that got -ENOSPC for sockets_max (options.h) */
    uint64_t reserved[5];     /* 0 */
    /* Last, so that it may grow; its `size` is as far as the caller's structure reaches. */
    COMPLETION_PORT_WORKER_STATS total;
} COMPLETION_PORT_STATS;

/* Fills in the port's numbers. May be called from any thread and any callback, the log's too; does
 * not wait for any worker. Errors, after which nothing is written: -EINVAL (NULL, a size below 4),
 * -E2BIG (a size above 4096), -EPERM (forked child). [CP-STATS] */
MOCKABLE_FUNCTION(, int, completion_port_stats, COMPLETION_PORT_HANDLE, completion_port,
                  COMPLETION_PORT_STATS*, stats);

/* The same of one worker, counted from 0. Errors: as above; -EINVAL (there is no such worker).
 * [CP-STATS] */
MOCKABLE_FUNCTION(, int, completion_port_worker_stats, COMPLETION_PORT_HANDLE, completion_port,
                  uint32_t, worker, COMPLETION_PORT_WORKER_STATS*, stats);

#ifdef __cplusplus
}
#endif

#endif
