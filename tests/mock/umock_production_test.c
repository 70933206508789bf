/* Spec: CP-API-2, CP-API-4
 * umock-c's macros without ENABLE_MOCKS declare the functions: they are the mock library's, or the
 * real library's, whichever is linked. */
#define COMPLETION_PORT_USE_UMOCK_C
#include <stdio.h>
#include <string.h>

#include "completionport/completion_port.h"
#include "completionport/operations.h"
#include "completionport/options.h"
#include "completionport/source.h"
#include "completionport/stats.h"
#include "completionport/timers.h"

int main(void) {
    const char* name = MU_ENUM_TO_STRING(COMPLETION_PORT_RESULT, COMPLETION_PORT_RESULT_ABANDONED);
    const int enums_are_theirs =
        STANDIN_DEFINED_COMPLETION_PORT_EPOLL_ACTION + STANDIN_DEFINED_COMPLETION_PORT_RESULT;
    if (enums_are_theirs != 2 || strcmp(name, "COMPLETION_PORT_RESULT_ABANDONED") != 0) {
        fprintf(stderr, "the enums are not umock-c's: %s\n", name);
        return 1;
    }
    if (MU_ENUM_TO_STRING(COMPLETION_PORT_RESULT, (COMPLETION_PORT_RESULT)4) != NULL ||
        MU_ENUM_TO_STRING(COMPLETION_PORT_EPOLL_ACTION, (COMPLETION_PORT_EPOLL_ACTION)5) != NULL) {
        fprintf(stderr, "a value outside the enum has a name\n");
        return 1;
    }
    return 0;
}
