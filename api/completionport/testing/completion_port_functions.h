/* The one list of the functions that libcompletionport_mock replaces.
 *
 *   FUNCTION(result, name, (parameters), (arguments), failure)
 *
 * The mock's methods, the capture's delegation and the extern "C" definitions all come from it;
 * failure is what a call returns while no mock object lives. Each public header has its part. */
#ifndef COMPLETIONPORT_TESTING_COMPLETION_PORT_FUNCTIONS_H
#define COMPLETIONPORT_TESTING_COMPLETION_PORT_FUNCTIONS_H

#include <cerrno>

#include "completionport/buffers.h"
#include "completionport/completion_port.h"
#include "completionport/completions.h"
#include "completionport/operations.h"
#include "completionport/options.h"
#include "completionport/source.h"
#include "completionport/stats.h"
#include "completionport/timers.h"

#define COMPLETION_PORT_MOCKED_FUNCTIONS(FUNCTION)        \
    COMPLETION_PORT_MOCKED_PORT_FUNCTIONS(FUNCTION)       \
    COMPLETION_PORT_MOCKED_COMPLETION_FUNCTIONS(FUNCTION) \
    COMPLETION_PORT_MOCKED_OPERATION_FUNCTIONS(FUNCTION)  \
    COMPLETION_PORT_MOCKED_TIMER_FUNCTIONS(FUNCTION)      \
    COMPLETION_PORT_MOCKED_OPTION_FUNCTIONS(FUNCTION)     \
    COMPLETION_PORT_MOCKED_BUFFER_FUNCTIONS(FUNCTION)     \
    COMPLETION_PORT_MOCKED_SOURCE_FUNCTIONS(FUNCTION)     \
    COMPLETION_PORT_MOCKED_STATS_FUNCTIONS(FUNCTION)

/* completion_port.h */
#define COMPLETION_PORT_MOCKED_PORT_FUNCTIONS(FUNCTION)                               \
    FUNCTION(COMPLETION_PORT_HANDLE, completion_port_create, (), (), nullptr)         \
    FUNCTION(void, completion_port_inc_ref, (COMPLETION_PORT_HANDLE completion_port), \
             (completion_port), 0)                                                    \
    FUNCTION(void, completion_port_dec_ref, (COMPLETION_PORT_HANDLE completion_port), \
             (completion_port), 0)                                                    \
    FUNCTION(int, completion_port_shutdown, (COMPLETION_PORT_HANDLE completion_port), \
             (completion_port), -ENOSYS)                                              \
    FUNCTION(int, completion_port_add,                                                \
             (COMPLETION_PORT_HANDLE completion_port,                                 \
              const COMPLETION_PORT_INGRESS_DATA* ingress_data),                      \
             (completion_port, ingress_data), -ENOSYS)                                \
    FUNCTION(void, completion_port_remove,                                            \
             (COMPLETION_PORT_HANDLE completion_port, SOCKET_HANDLE socket),          \
             (completion_port, socket), 0)                                            \
    FUNCTION(int, completion_port_remove_async,                                       \
             (COMPLETION_PORT_HANDLE completion_port, SOCKET_HANDLE socket,           \
              ON_COMPLETION_PORT_REMOVED on_removed, void* context),                  \
             (completion_port, socket, on_removed, context), -ENOSYS)

/* completions.h */
#define COMPLETION_PORT_MOCKED_COMPLETION_FUNCTIONS(FUNCTION)                                      \
    FUNCTION(int, completion_port_wait,                                                            \
             (COMPLETION_PORT_HANDLE completion_port, COMPLETION_PORT_COMPLETION * completions,    \
              uint32_t completions_max, int64_t timeout_ns),                                       \
             (completion_port, completions, completions_max, timeout_ns), -ENOSYS)                 \
    FUNCTION(int, completion_port_wait_leave, (COMPLETION_PORT_HANDLE completion_port),            \
             (completion_port), -ENOSYS)                                                           \
    FUNCTION(int, completion_port_fd, (COMPLETION_PORT_HANDLE completion_port), (completion_port), \
             -ENOSYS)                                                                              \
    FUNCTION(int64_t, completion_port_next_timeout, (COMPLETION_PORT_HANDLE completion_port),      \
             (completion_port), -ENOSYS)                                                           \
    FUNCTION(int, completion_port_post,                                                            \
             (COMPLETION_PORT_HANDLE completion_port, uint64_t key, int64_t value,                 \
              ON_COMPLETION_PORT_COMPLETION on_complete, void* context),                           \
             (completion_port, key, value, on_complete, context), -ENOSYS)

/* operations.h */
#define COMPLETION_PORT_MOCKED_OPERATION_FUNCTIONS(FUNCTION)                                      \
    FUNCTION(int, completion_port_submit,                                                         \
             (COMPLETION_PORT_HANDLE completion_port, const COMPLETION_PORT_OPERATION* operation, \
              uint64_t* id, COMPLETION_PORT_COMPLETION* completed),                               \
             (completion_port, operation, id, completed), -ENOSYS)                                \
    FUNCTION(int, completion_port_submit_batch,                                                   \
             (COMPLETION_PORT_HANDLE completion_port,                                             \
              const COMPLETION_PORT_OPERATION* const* operations, uint32_t count, uint64_t* ids), \
             (completion_port, operations, count, ids), -ENOSYS)                                  \
    FUNCTION(int, completion_port_cancel,                                                         \
             (COMPLETION_PORT_HANDLE completion_port, uint64_t operation),                        \
             (completion_port, operation), -ENOSYS)

/* timers.h */
#define COMPLETION_PORT_MOCKED_TIMER_FUNCTIONS(FUNCTION)                                    \
    FUNCTION(int, completion_port_timer_move,                                               \
             (COMPLETION_PORT_HANDLE completion_port, uint64_t timer, uint64_t expires_ns), \
             (completion_port, timer, expires_ns), -ENOSYS)

/* options.h */
#define COMPLETION_PORT_MOCKED_OPTION_FUNCTIONS(FUNCTION)                 \
    FUNCTION(COMPLETION_PORT_HANDLE, completion_port_create_with_options, \
             (const COMPLETION_PORT_OPTIONS* options), (options), nullptr)

/* buffers.h */
#define COMPLETION_PORT_MOCKED_BUFFER_FUNCTIONS(FUNCTION)                              \
    FUNCTION(COMPLETION_PORT_BUFFER_POOL_HANDLE, completion_port_buffer_pool_create,   \
             (COMPLETION_PORT_HANDLE completion_port,                                  \
              const COMPLETION_PORT_BUFFER_POOL_OPTIONS* options),                     \
             (completion_port, options), nullptr)                                      \
    FUNCTION(void, completion_port_buffer_pool_destroy,                                \
             (COMPLETION_PORT_BUFFER_POOL_HANDLE buffer_pool), (buffer_pool), 0)       \
    FUNCTION(int64_t, completion_port_buffer_pool_in_use,                              \
             (COMPLETION_PORT_BUFFER_POOL_HANDLE buffer_pool), (buffer_pool), -ENOSYS) \
    FUNCTION(int, completion_port_buffer_release,                                      \
             (COMPLETION_PORT_BUFFER_POOL_HANDLE buffer_pool, void* buffer),           \
             (buffer_pool, buffer), -ENOSYS)

/* source.h */
#define COMPLETION_PORT_MOCKED_SOURCE_FUNCTIONS(FUNCTION)                                   \
    FUNCTION(int, completion_port_source_attach,                                            \
             (COMPLETION_PORT_HANDLE completion_port, const COMPLETION_PORT_SOURCE* source, \
              uint64_t* id),                                                                \
             (completion_port, source, id), -ENOSYS)                                        \
    FUNCTION(int, completion_port_source_kick,                                              \
             (COMPLETION_PORT_HANDLE completion_port, uint64_t id), (completion_port, id),  \
             -ENOSYS)                                                                       \
    FUNCTION(int, completion_port_source_detach,                                            \
             (COMPLETION_PORT_HANDLE completion_port, uint64_t id), (completion_port, id),  \
             -ENOSYS)

/* stats.h */
#define COMPLETION_PORT_MOCKED_STATS_FUNCTIONS(FUNCTION)                              \
    FUNCTION(int, completion_port_stats,                                              \
             (COMPLETION_PORT_HANDLE completion_port, COMPLETION_PORT_STATS * stats), \
             (completion_port, stats), -ENOSYS)                                       \
    FUNCTION(int, completion_port_worker_stats,                                       \
             (COMPLETION_PORT_HANDLE completion_port, uint32_t worker,                \
              COMPLETION_PORT_WORKER_STATS * stats),                                  \
             (completion_port, worker, stats), -ENOSYS)

#endif
