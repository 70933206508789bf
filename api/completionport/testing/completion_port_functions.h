/* The one list of the functions that libcompletionport_mock replaces.
 *
 *   FUNCTION(result, name, (parameters), (arguments), failure)
 *
 * The mock's methods, the capture's delegation and the extern "C" definitions all come from it;
 * failure is what a call returns while no mock object lives. */
#ifndef COMPLETIONPORT_TESTING_COMPLETION_PORT_FUNCTIONS_H
#define COMPLETIONPORT_TESTING_COMPLETION_PORT_FUNCTIONS_H

#include <cerrno>

#include "completionport/completion_port.h"

#define COMPLETION_PORT_MOCKED_FUNCTIONS(FUNCTION)                                    \
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

#endif
