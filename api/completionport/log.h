/* What a port says of itself: options.h takes the callback that gets it.
 *
 *   static void on_log(void* context, uint32_t level, const char* message) {
 *       fprintf(context, "%u: %s\n", level, message);
 *   }
 *   ...
 *   options.on_log = on_log;
 *   options.log_context = stderr;
 *   options.log_level = COMPLETION_PORT_LOG_WARNING;
 *
 * Nothing is said on the way of an operation that goes well. */
#ifndef COMPLETIONPORT_LOG_H
#define COMPLETIONPORT_LOG_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Levels; a lower one is more severe. */
enum {
    COMPLETION_PORT_LOG_ERROR = 1,   /* the engine does not work, or the port cannot be made */
    COMPLETION_PORT_LOG_WARNING = 2, /* a limit is reached; a descriptor was closed before remove */
    COMPLETION_PORT_LOG_INFO = 3,    /* the port begins and ends */
    COMPLETION_PORT_LOG_DEBUG = 4    /* its workers do */
};

/* The most bytes of a message, with its final zero. */
#define COMPLETION_PORT_LOG_MESSAGE_MAX 256

/* Gets one line, without its end, of printable characters; it is borrowed until the return.
 * It runs on whichever thread has something to say, a worker or one inside a function of the port,
 * several of them at the same time, from the creation of the port to just before on_ended. No lock
 * is held. It must not throw, nor call the port's functions but those of stats.h. errno is kept.
 * What repeats (a limit, a failure of the engine) is said once, and again only after a while
 * without it. [CP-LOG] */
typedef void (*ON_COMPLETION_PORT_LOG)(void* context, uint32_t level, const char* message);

#ifdef __cplusplus
}
#endif

#endif
