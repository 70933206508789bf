/* A source that is its own descriptor: an eventfd whose additions a worker of the port adds up. */
#include <completionport/source.h>
#include <inttypes.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define ADDITIONS 1000

typedef struct {
    int descriptor;
    uint64_t sum;
    sem_t complete;
} COUNTER;

/* There is no arm, so that drain itself reads the descriptor. One read takes all that is there. */
static int32_t add_up(void* context, uint32_t budget) {
    COUNTER* counter = context;
    uint64_t added = 0;
    (void)budget;
    if (read(counter->descriptor, &added, sizeof(added)) != (ssize_t)sizeof(added)) return 0;
    counter->sum += added;
    if (counter->sum == ADDITIONS) sem_post(&counter->complete);
    return 0;
}

static void on_detached(void* context, int32_t error) {
    const COUNTER* counter = context;
    printf("counted to %" PRIu64 ", detached with %d\n", counter->sum, (int)error);
}

int main(void) {
    static COUNTER counter;
    uint64_t id = 0;
    COMPLETION_PORT_HANDLE port = completion_port_create();
    counter.descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (port == NULL || counter.descriptor < 0 || sem_init(&counter.complete, 0, 0) != 0) return 1;

    COMPLETION_PORT_SOURCE source = {0};
    source.size = sizeof(source);
    source.descriptor = counter.descriptor;
    source.drain = add_up;
    source.on_detached = on_detached;
    source.context = &counter;
    if (completion_port_source_attach(port, &source, &id) != 0) return 1;

    for (int i = 0; i < ADDITIONS; ++i) {
        if (eventfd_write(counter.descriptor, 1) != 0) return 1;
    }
    sem_wait(&counter.complete);
    /* From here on nothing of the source is called: it may go. */
    if (completion_port_source_detach(port, id) != 0) return 1;
    completion_port_dec_ref(port);
    return close(counter.descriptor);
}
