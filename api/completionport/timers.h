/* Timers: operations that wait for nothing but the time.
 *
 *   COMPLETION_PORT_TIMER_OPERATION timer = {0};
 *   timer.common.size = sizeof(timer);
 *   timer.common.kind = COMPLETION_PORT_KIND_TIMER;
 *   timer.common.on_complete = on_tick;
 *   timer.expires_ns = now_ns + 1000000;
 *   completion_port_submit(port, &timer.common, &id, NULL);
 *
 * A timer has no descriptor and no deadline; completion_port_cancel ends it. It never expires
 * early, and at most 1 ms late while its worker is free. The conventions of completion_port.h hold
 * here too. */
#ifndef COMPLETIONPORT_TIMERS_H
#define COMPLETIONPORT_TIMERS_H

#include <stdint.h>

#include "completionport/mockable.h"
#include "completionport/operations.h"

#ifdef __cplusplus
extern "C" {
#endif

/* COMPLETION_PORT_KIND_TIMER: OK at expires_ns; value is how often it expired since its last
 * record. With a period it goes on until it is cancelled: every record but the last has
 * COMPLETION_PORT_COMPLETION_MORE, and what a busy worker missed is told in one. Where no slot is
 * left for a record it ends with (ERROR, -ENOBUFS). */
typedef struct COMPLETION_PORT_TIMER_OPERATION_TAG {
    COMPLETION_PORT_OPERATION common; /* descriptor, deadline_ns and flags: 0 */
    uint64_t expires_ns;              /* absolute, CLOCK_MONOTONIC */
    uint64_t period_ns;               /* 0: once; else at least 1,000,000 */
} COMPLETION_PORT_TIMER_OPERATION;

/* Gives a timer that has not ended another time to expire next; its period stays.
 * Returns 0: asked for. In a callback of the timer's worker it has taken effect, and -ENOENT (the
 * timer has ended) and -EINVAL (no timer's id) are certain; from elsewhere the timer may expire
 * first. Errors: -EINVAL (NULL port, or 0), -ENOENT, -ETIMEDOUT (the time has passed), -ERANGE
 * (beyond the latest time), -ESHUTDOWN, -ENOMEM, -ENOBUFS, -EAGAIN (the limit of mail, options.h),
 * -EPERM (forked child). [CP-TIMER] */
MOCKABLE_FUNCTION(, int, completion_port_timer_move, COMPLETION_PORT_HANDLE, completion_port,
                  uint64_t, timer, uint64_t, expires_ns);

#ifdef __cplusplus
}
#endif

#endif
