/* Spec: CP-API-4
 * With COMPLETION_PORT_USE_UMOCK_C the headers of umock-c supply the macros. ENABLE_MOCKS counts
 * from the inclusion on, also where mockable.h was included before it was defined: this program
 * is linked without any library that defines the functions. */
#include <stdio.h>
#include <string.h>

#define COMPLETION_PORT_USE_UMOCK_C
#include "completionport/mockable.h"

#define ENABLE_MOCKS
#include "completionport/buffers.h"
#include "completionport/completion_port.h"
#include "completionport/operations.h"
#include "completionport/options.h"
#include "completionport/source.h"
#include "completionport/stats.h"
#include "completionport/timers.h"
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
    if (completion_port_submit(port, NULL, NULL, NULL) != 0) ++failures;
    expect_call("completion_port_submit");
    if (completion_port_submit_batch(port, NULL, 0, NULL) != 0) ++failures;
    expect_call("completion_port_submit_batch");
    if (completion_port_cancel(port, 1) != 0) ++failures;
    expect_call("completion_port_cancel");
    if (completion_port_post(port, 1, 2, NULL, NULL) != 0) ++failures;
    expect_call("completion_port_post");
    if (completion_port_wait(port, NULL, 0, 0) != 0) ++failures;
    expect_call("completion_port_wait");
    if (completion_port_wait_leave(port) != 0) ++failures;
    expect_call("completion_port_wait_leave");
    if (completion_port_fd(port) != 0) ++failures;
    expect_call("completion_port_fd");
    if (completion_port_next_timeout(port) != 0) ++failures;
    expect_call("completion_port_next_timeout");
    if (completion_port_timer_move(port, 1, 2) != 0) ++failures;
    expect_call("completion_port_timer_move");
    if (completion_port_create_with_options(NULL) != NULL) ++failures;
    expect_call("completion_port_create_with_options");
    if (completion_port_buffer_pool_create(port, NULL) != NULL) ++failures;
    expect_call("completion_port_buffer_pool_create");
    completion_port_buffer_pool_destroy(NULL);
    expect_call("completion_port_buffer_pool_destroy");
    if (completion_port_buffer_pool_in_use(NULL) != 0) ++failures;
    expect_call("completion_port_buffer_pool_in_use");
    if (completion_port_buffer_release(NULL, NULL) != 0) ++failures;
    expect_call("completion_port_buffer_release");
    if (completion_port_source_attach(port, NULL, NULL) != 0) ++failures;
    expect_call("completion_port_source_attach");
    if (completion_port_source_kick(port, 1) != 0) ++failures;
    expect_call("completion_port_source_kick");
    if (completion_port_source_detach(port, 1) != 0) ++failures;
    expect_call("completion_port_source_detach");
    if (completion_port_stats(port, NULL) != 0) ++failures;
    expect_call("completion_port_stats");
    if (completion_port_worker_stats(port, 0, NULL) != 0) ++failures;
    expect_call("completion_port_worker_stats");
    return failures == 0 ? 0 : 1;
}
