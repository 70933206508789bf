/* Another event loop drives a port: libuv ticks and talks through a pipe, the port echoes, and both
 * share one thread. Nothing here is particular to libuv but three handles:
 *
 *   uv_poll     the port's descriptor is readable: the port has work
 *   uv_timer    the port's next timeout is over: so it has
 *   uv_prepare  just before the loop sleeps: how long may it? */
#include <completionport/operations.h>
#include <completionport/options.h>
#include <completionport/timers.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#define RECORDS_MAX 16
#define TICKS 3
#define TICK_MS 5
#define PAUSE_NS 2000000

static COMPLETION_PORT_HANDLE port;
static uv_poll_t port_has_work;
static uv_timer_t port_is_due;
static uv_prepare_t before_sleep;
static uv_timer_t ticker;
static uv_pipe_t client;
static uv_write_t write_request;
static int ticks;
static int server;
static char message[32];
static char server_buffer[32];
static char client_buffer[32];
static int failures;

static int expect_0(const char* what, int result) {
    if (result != 0) fprintf(stderr, "%s: %d\n", what, result);
    if (result != 0) ++failures;
    if (failures != 0) uv_stop(uv_default_loop());
    return result;
}

/* The embedding. */

static void close_port_handles(void) {
    uv_close((uv_handle_t*)&port_has_work, NULL);
    uv_close((uv_handle_t*)&port_is_due, NULL);
    uv_close((uv_handle_t*)&before_sleep, NULL);
}

/* A record that names no callback: here the timer's, which ends the program. */
static void on_record(const COMPLETION_PORT_COMPLETION* record) {
    if (record->kind != COMPLETION_PORT_KIND_TIMER) return;
    printf("the port's timer expired %" PRId64 " time\n", record->value);
    close_port_handles();
}

/* Does the work that is there. Callbacks run inside wait; records come out of it. One look is
 * enough: what is left makes the next timeout 0. */
static void drive(void) {
    COMPLETION_PORT_COMPLETION records[RECORDS_MAX];
    const int count = completion_port_wait(port, records, RECORDS_MAX, 0);
    for (int i = 0; i < count; ++i) on_record(&records[i]);
}

static void on_port_has_work(uv_poll_t* handle, int status, int events) {
    (void)handle;
    (void)events;
    if (expect_0("poll", status) == 0) drive();
}

static void on_port_is_due(uv_timer_t* handle) {
    (void)handle;
    drive();
}

/* Anew before each sleep, since every function of the port may have changed it. Rounded up: a timer
 * that comes early finds nothing to do. */
static void on_before_sleep(uv_prepare_t* handle) {
    const int64_t timeout_ns = completion_port_next_timeout(port);
    (void)handle;
    if (timeout_ns == INT64_MAX) {
        uv_timer_stop(&port_is_due);
    } else {
        const uint64_t timeout_ms = ((uint64_t)timeout_ns + 999999) / 1000000;
        uv_update_time(uv_default_loop());
        uv_timer_start(&port_is_due, on_port_is_due, timeout_ms, 0);
    }
}

static int embed(uv_loop_t* loop) {
    const int descriptor = completion_port_fd(port);
    return expect_0("fd", descriptor < 0 ? descriptor : 0) ||
           expect_0("poll", uv_poll_init(loop, &port_has_work, descriptor)) ||
           expect_0("poll", uv_poll_start(&port_has_work, UV_READABLE, on_port_has_work)) ||
           expect_0("timer", uv_timer_init(loop, &port_is_due)) ||
           expect_0("prepare", uv_prepare_init(loop, &before_sleep)) ||
           expect_0("prepare", uv_prepare_start(&before_sleep, on_before_sleep));
}

/* The port's part: an echo. */

static void on_received(void* context, const COMPLETION_PORT_COMPLETION* completion);

static void receive(void) {
    COMPLETION_PORT_RECEIVE_OPERATION operation = {0};
    operation.common.size = sizeof(operation);
    operation.common.kind = COMPLETION_PORT_KIND_RECEIVE;
    operation.common.descriptor = server;
    operation.common.on_complete = on_received;
    operation.buffer = server_buffer;
    operation.length = sizeof(server_buffer);
    expect_0("receive", completion_port_submit(port, &operation.common, NULL, NULL));
}

static void on_sent(void* context, const COMPLETION_PORT_COMPLETION* completion) {
    (void)context;
    if (expect_0("sent", completion->error) == 0) receive();
}

static void on_received(void* context, const COMPLETION_PORT_COMPLETION* completion) {
    COMPLETION_PORT_SEND_OPERATION operation = {0};
    (void)context;
    if (completion->result == COMPLETION_PORT_RESULT_ABANDONED) return;
    if (expect_0("received", completion->error) != 0 || completion->value == 0) return;
    operation.common.size = sizeof(operation);
    operation.common.kind = COMPLETION_PORT_KIND_SEND;
    operation.common.descriptor = server;
    operation.common.on_complete = on_sent;
    operation.buffer = server_buffer;
    operation.length = (uint32_t)completion->value;
    expect_0("send", completion_port_submit(port, &operation.common, NULL, NULL));
}

static void start_port_timer(void) {
    COMPLETION_PORT_TIMER_OPERATION timer = {0};
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    timer.common.size = sizeof(timer);
    timer.common.kind = COMPLETION_PORT_KIND_TIMER;
    timer.expires_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec + PAUSE_NS;
    expect_0("timer", completion_port_submit(port, &timer.common, NULL, NULL));
}

/* libuv's part: a client that says something at every tick. */

static void on_allocate(uv_handle_t* handle, size_t size, uv_buf_t* buffer) {
    (void)handle;
    (void)size;
    *buffer = uv_buf_init(client_buffer, sizeof(client_buffer));
}

static void on_echo(uv_stream_t* stream, ssize_t count, const uv_buf_t* buffer) {
    if (count == 0) return;
    if (expect_0("echo", count < 0 ? (int)count : 0) != 0) return;
    printf("echo: %.*s\n", (int)count, buffer->base);
    if (ticks < TICKS) {
        uv_timer_again(&ticker);
        return;
    }
    /* From here on the port's timer is all that the loop can wait for. */
    uv_close((uv_handle_t*)&ticker, NULL);
    uv_close((uv_handle_t*)stream, NULL);
    start_port_timer();
}

static void on_tick(uv_timer_t* handle) {
    const int length = snprintf(message, sizeof(message), "tick %d of libuv", ++ticks);
    uv_buf_t buffer = uv_buf_init(message, (unsigned)length);
    uv_timer_stop(handle); /* until the echo is there */
    expect_0("write", uv_write(&write_request, (uv_stream_t*)&client, &buffer, 1, NULL));
}

static int start_client(uv_loop_t* loop, int descriptor) {
    return expect_0("pipe", uv_pipe_init(loop, &client, 0)) ||
           expect_0("pipe", uv_pipe_open(&client, descriptor)) ||
           expect_0("read", uv_read_start((uv_stream_t*)&client, on_allocate, on_echo)) ||
           expect_0("timer", uv_timer_init(loop, &ticker)) ||
           expect_0("timer", uv_timer_start(&ticker, on_tick, TICK_MS, TICK_MS));
}

int main(void) {
    uv_loop_t* loop = uv_default_loop();
    COMPLETION_PORT_OPTIONS options = {0};
    int ends[2];
    options.size = sizeof(options);
    options.flags = COMPLETION_PORT_OPTION_CALLER_DRIVEN | COMPLETION_PORT_OPTION_SINGLE_THREADED;
    port = completion_port_create_with_options(&options);
    if (port == NULL || socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) return 1;
    server = ends[0];
    if (embed(loop) || start_client(loop, ends[1])) return 1;
    receive();

    /* Returns when nothing is left to wait for. */
    uv_run(loop, UV_RUN_DEFAULT);
    if (failures != 0) return 1;
    uv_loop_close(loop);

    /* The port's descriptor goes with it, so its handle had to be closed before. */
    completion_port_remove(port, server);
    completion_port_dec_ref(port);
    printf("the loop is empty\n");
    return close(server);
}
