/* Spec: CP-API-4
 * With COMPLETION_PORT_USE_UMOCK_C the headers of umock-c supply the macros. ENABLE_MOCKS counts
 * from the inclusion on, also where mockable.h was included before it was defined: this program
 * is linked without any library that defines the functions. */
#include <stdio.h>
#include <string.h>

#define COMPLETION_PORT_USE_UMOCK_C
#include "completionport/mockable.h"

#define ENABLE_MOCKS
#include "completionport/completion_port.h"
#undef ENABLE_MOCKS

static int failures;

static void expect_call(const char* function) {
    if (strcmp(standin_last_call(), function) != 0) {
        fprintf(stderr, "expected a call of %s, saw \"%s\"\n", function, standin_last_call());
        ++failures;
    }
}

static void on_removed(void* context, SOCKET_HANDLE socket) {
    (void)context;
    (void)socket;
}

int main(void) {
    const int enums_are_theirs =
        STANDIN_DEFINED_COMPLETION_PORT_EPOLL_ACTION + STANDIN_DEFINED_COMPLETION_PORT_RESULT;
    if (enums_are_theirs != 2) ++failures;

    COMPLETION_PORT_HANDLE port = completion_port_create();
    expect_call("completion_port_create");
    completion_port_inc_ref(port);
    expect_call("completion_port_inc_ref");
    completion_port_dec_ref(port);
    expect_call("completion_port_dec_ref");
    if (completion_port_shutdown(port) != 0) ++failures;
    expect_call("completion_port_shutdown");
    if (completion_port_add(port, NULL) != 0) ++failures;
    expect_call("completion_port_add");
    completion_port_remove(port, 1);
    expect_call("completion_port_remove");
    if (completion_port_remove_async(port, 1, on_removed, NULL) != 0) ++failures;
    expect_call("completion_port_remove_async");
    return failures == 0 ? 0 : 1;
}
