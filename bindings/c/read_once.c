/* Receives once on a socket pair: the smallest use of a completion port. */
#include <completionport/completion_port.h>
#include <semaphore.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static void on_receive(void* context, COMPLETION_PORT_EPOLL_ACTION action,
                       COMPLETION_PORT_RESULT result, int32_t amount) {
    printf("%s, %s, %d bytes\n", MU_ENUM_TO_STRING(COMPLETION_PORT_EPOLL_ACTION, action),
           MU_ENUM_TO_STRING(COMPLETION_PORT_RESULT, result), (int)amount);
    sem_post(context);
}

int main(void) {
    char buffer[64];
    int ends[2];
    sem_t received;
    COMPLETION_PORT_HANDLE port = completion_port_create();
    if (port == NULL || socketpair(AF_UNIX, SOCK_STREAM, 0, ends) || sem_init(&received, 0, 0)) {
        return 1;
    }
    COMPLETION_PORT_INGRESS_DATA receive = {
        EPOLLIN, ends[0], on_receive, &received, {buffer, sizeof(buffer)}};
    if (completion_port_add(port, &receive) != 0 || write(ends[1], "hello", 5) != 5) {
        return 1;
    }
    sem_wait(&received);
    completion_port_remove(port, ends[0]);
    completion_port_dec_ref(port);
    return close(ends[0]) | close(ends[1]);
}
