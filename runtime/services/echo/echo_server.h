/* The echo server: sends back to each TCP peer every byte that the peer sent, in order, and ends
 * its side when the peer has ended its own and all was sent back (RFC 862).
 *
 * It runs on its caller's ports, one shard a port: each port must have one worker. Memory is
 * bounded: a connection that waits for its peer's bytes holds no buffer; one whose peer does not
 * read holds one, and is not received from. Buffers are drawn from buffer_bytes_max; when that is
 * used up, each connection can still have one of 4 KiB.
 *
 * Functions return 0 or a negative errno; the one that returns a handle returns NULL and sets
 * errno. The rules with their ids stand in specs/echo.md. */
#pragma once

#include <completionport/completion_port.h>
#include <stdint.h>
#include <sys/socket.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ECHO_SERVER_TAG* ECHO_SERVER_HANDLE;

/* Called once, on a worker, when a stopped server has closed its last connection. It must not
 * destroy the server. */
typedef void (*ON_ECHO_SERVER_ENDED)(void* context);

/* Zero in any field but the ports is its default. */
typedef struct ECHO_SERVER_OPTIONS_TAG {
    const COMPLETION_PORT_HANDLE* ports; /* copied; the server takes a reference of each */
    uint32_t port_count;                 /* 1 to 1024 */
    uint32_t connections_max;            /* default 10,000; more are accepted and closed at once */
    uint32_t backlog;                    /* default 4096 */
    uint32_t idle_timeout_s;             /* without progress; 0: never */
    uint64_t buffer_bytes_max;           /* of each port; default 64 MiB */
    ON_ECHO_SERVER_ENDED on_ended;       /* may be NULL */
    void* on_ended_context;
} ECHO_SERVER_OPTIONS;

typedef struct ECHO_SERVER_COUNTERS_TAG {
    uint64_t connections_active;
    uint64_t buffer_bytes; /* of the buffers that connections hold now */
    uint64_t connections_accepted;
    uint64_t connections_refused; /* accepted and closed: connections_max, or no descriptor left */
    uint64_t accept_failures;     /* accept4 failed otherwise, or there was no memory */
    uint64_t closed_by_peer;      /* the peer's orderly end, after all was sent back */
    uint64_t closed_by_error;     /* a reset, or another failure of the connection */
    uint64_t closed_idle;
    uint64_t closed_by_stop; /* by echo_server_abort, destroy or the port's end */
    uint64_t bytes_received;
    uint64_t bytes_sent;
} ECHO_SERVER_COUNTERS;

/* Makes a server that does nothing yet. errno: EINVAL, ENOMEM, EMFILE, ENFILE. */
MOCKABLE_FUNCTION(, ECHO_SERVER_HANDLE, echo_server_create, const ECHO_SERVER_OPTIONS*, options);

/* Binds and listens on an IPv4 or IPv6 address, once for each port; a TCP port of 0 takes a free
 * one. What was bound is stored in *bound, if that is not NULL. Before echo_server_start only
 * (-EALREADY). Errors: -EINVAL, -EADDRINUSE and the other errors of socket, bind and listen. */
MOCKABLE_FUNCTION(, int, echo_server_listen, ECHO_SERVER_HANDLE, server, const struct sockaddr*,
                  address, socklen_t, address_length, struct sockaddr_storage*, bound);

/* Begins to accept. Waits until each port's worker has taken its part: not from a callback.
 * Errors: -EINVAL, -EALREADY, -ECANCELED (it was stopped meanwhile), and those of
 * completion_port_submit. After an error only destroy is
 * left. */
MOCKABLE_FUNCTION(, int, echo_server_start, ECHO_SERVER_HANDLE, server);

/* Stops accepting. Connections go on until their peers end them; then on_ended is called. Does not
 * wait; may be called from any thread and any callback. */
MOCKABLE_FUNCTION(, int, echo_server_stop, ECHO_SERVER_HANDLE, server);

/* As echo_server_stop, and closes every connection now. */
MOCKABLE_FUNCTION(, int, echo_server_abort, ECHO_SERVER_HANDLE, server);

/* Copies the counters; each is exact, together they are not one moment's. Any thread; never
 * waits. */
MOCKABLE_FUNCTION(, int, echo_server_counters, ECHO_SERVER_HANDLE, server, ECHO_SERVER_COUNTERS*,
                  counters);

/* Aborts, waits until no callback of the server runs or will run, and frees it. NULL is ignored.
 * Not from a callback. */
MOCKABLE_FUNCTION(, void, echo_server_destroy, ECHO_SERVER_HANDLE, server);

#ifdef __cplusplus
}
#endif
