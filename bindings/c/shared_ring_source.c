/* A completion source over memory that two processes share: a ring of one producer. The producer
 * signals an eventfd only when the worker sleeps, as the ring's flag says. */
#include <completionport/source.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define SLOTS 1024u
#define ITEMS 100000u

typedef struct {
    atomic_uint written;
    atomic_uint taken;
    atomic_bool sleeping;
    uint32_t items[SLOTS];
} RING;

typedef struct {
    RING* ring;
    int event;
    uint32_t expected;
    uint32_t signals;
    sem_t complete;
} CONSUMER;

/* The producer's side. Write the item, then look at the flag; the consumer sets the flag, then
 * looks for items (its drain after arm). Both in sequentially consistent order: one of the two sees
 * the other. */
static void put(RING* ring, int event, uint32_t item) {
    const unsigned written = atomic_load(&ring->written);
    while (written - atomic_load(&ring->taken) == SLOTS) sched_yield();
    ring->items[written % SLOTS] = item;
    atomic_store(&ring->written, written + 1);
    if (atomic_load(&ring->sleeping) && atomic_exchange(&ring->sleeping, false)) {
        eventfd_write(event, 1);
    }
}

static int32_t drain(void* context, uint32_t budget) {
    CONSUMER* consumer = context;
    RING* ring = consumer->ring;
    const unsigned taken = atomic_load(&ring->taken);
    const unsigned there = atomic_load(&ring->written) - taken;
    const unsigned count = there < budget ? there : budget;
    for (unsigned i = 0; i < count; ++i) {
        if (ring->items[(taken + i) % SLOTS] != consumer->expected++) return -1;
    }
    atomic_store(&ring->taken, taken + count);
    if (count > 0 && consumer->expected == ITEMS) sem_post(&consumer->complete);
    return (int32_t)count;
}

/* First the notifications of before, then the flag: one that comes after stays in the eventfd. */
static int32_t arm(void* context) {
    CONSUMER* consumer = context;
    eventfd_t signals = 0;
    if (eventfd_read(consumer->event, &signals) == 0) consumer->signals += (uint32_t)signals;
    atomic_store(&consumer->ring->sleeping, true);
    return 0;
}

static void on_detached(void* context, int32_t error) {
    CONSUMER* consumer = context;
    if (error != 0) fprintf(stderr, "detached with %d\n", (int)error);
    if (error != 0) sem_post(&consumer->complete);
}

static void produce(RING* ring, int event) {
    for (uint32_t i = 0; i < ITEMS; ++i) put(ring, event, i);
    _exit(0);
}

int main(void) {
    static CONSUMER consumer;
    uint64_t id = 0;
    int status = 1;
    RING* ring =
        mmap(NULL, sizeof(*ring), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    const int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (ring == MAP_FAILED || event < 0 || sem_init(&consumer.complete, 0, 0) != 0) return 1;

    /* Before the port exists: a child must not use its parent's. */
    const pid_t producer = fork();
    if (producer < 0) return 1;
    if (producer == 0) produce(ring, event);

    COMPLETION_PORT_HANDLE port = completion_port_create();
    consumer.ring = ring;
    consumer.event = event;
    COMPLETION_PORT_SOURCE source = {0};
    source.size = sizeof(source);
    source.descriptor = event;
    source.budget = 256;
    source.drain = drain;
    source.arm = arm;
    source.on_detached = on_detached;
    source.context = &consumer;
    if (port == NULL || completion_port_source_attach(port, &source, &id) != 0) return 1;

    sem_wait(&consumer.complete);
    completion_port_source_detach(port, id);
    completion_port_dec_ref(port);
    if (waitpid(producer, &status, 0) != producer || status != 0) return 1;
    printf("%u of %u items in order, %s\n", (unsigned)consumer.expected, ITEMS,
           consumer.signals < ITEMS ? "with fewer signals than items" : "each with a signal");
    return consumer.expected == ITEMS ? close(event) : 1;
}
