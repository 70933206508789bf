/* Spec: CP-API-4, CP-MOCK-1
 * Definitions that a consumer made before the first include are kept. Here MOCKABLE_FUNCTION also
 * lists what the header declares, so the link fails when the mock library lacks one of them. */
#include <stdio.h>
#include <string.h>

typedef int consumer_socket;
#define SOCKET_HANDLE consumer_socket
#define INVALID_SOCKET ((consumer_socket)-7)

#define FIRST_OF_3(modifiers, result, name) result name(void)
#define FIRST_OF_5(modifiers, result, name, t1, a1) result name(t1 a1)
#define FIRST_OF_7(modifiers, result, name, t1, a1, t2, a2) result name(t1 a1, t2 a2)
#define FIRST_OF_9(modifiers, result, name, t1, a1, t2, a2, t3, a3) result name(t1 a1, t2 a2, t3 a3)
#define FIRST_OF_11(modifiers, result, name, t1, a1, t2, a2, t3, a3, t4, a4) \
    result name(t1 a1, t2 a2, t3 a3, t4 a4)
#define FIRST_OF_13(modifiers, result, name, t1, a1, t2, a2, t3, a3, t4, a4, t5, a5) \
    result name(t1 a1, t2 a2, t3 a3, t4 a4, t5 a5)
#define COUNT(...) COUNT_(__VA_ARGS__, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)
#define COUNT_(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, count, ...) count
#define JOIN(a, b) JOIN_(a, b)
#define JOIN_(a, b) a##b
#define NAME_OF(modifiers, result, ...) NAME_OF_(__VA_ARGS__, 0)
#define NAME_OF_(name, ...) name
#define MOCKABLE_FUNCTION(...)                                                                 \
    JOIN(FIRST_OF_, COUNT(__VA_ARGS__))(__VA_ARGS__);                                          \
    __attribute__((used)) static void (*const JOIN(address_of_, NAME_OF(__VA_ARGS__)))(void) = \
        (void (*)(void))NAME_OF(__VA_ARGS__)

#define MU_DEFINE_ENUM(name, ...)                                            \
    typedef enum name##_TAG{name##_INVALID, __VA_ARGS__, name##_COUNT} name; \
    const char* MU_##name##_ToString(name value);

#include "completionport/buffers.h"
#include "completionport/completion_port.h"
#include "completionport/operations.h"
#include "completionport/options.h"
#include "completionport/source.h"
#include "completionport/stats.h"
#include "completionport/timers.h"

static const char* const socket_type =
    _Generic((COMPLETION_PORT_INGRESS_DATA){0}.socket, consumer_socket
             : "the consumer's", default
             : "ours");

int main(void) {
    int failures = 0;
    if (INVALID_SOCKET != -7) ++failures;
    if (COMPLETION_PORT_RESULT_COUNT != 4 || COMPLETION_PORT_EPOLL_ACTION_COUNT != 5) ++failures;
    if (strcmp(socket_type, "the consumer's") != 0) ++failures;
    if (address_of_completion_port_remove_async == NULL) ++failures;
    if (address_of_completion_port_post == NULL) ++failures;
    if (address_of_completion_port_wait_leave == NULL) ++failures;
    if (address_of_completion_port_submit == NULL) ++failures;
    if (address_of_completion_port_timer_move == NULL) ++failures;
    if (address_of_completion_port_create_with_options == NULL) ++failures;
    if (address_of_completion_port_buffer_release == NULL) ++failures;
    if (address_of_completion_port_source_attach == NULL) ++failures;
    if (address_of_completion_port_worker_stats == NULL) ++failures;
    if (failures != 0)
        fprintf(stderr, "%d of the consumer's definitions were not kept\n", failures);
    return failures == 0 ? 0 : 1;
}
