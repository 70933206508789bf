// A program that other tests watch from outside.
// `receive COUNT [io_uring]`: answers COUNT bytes, one by one; on io_uring by sends of the port.
// `idle`: tells its worker's id and waits for its input to end, with sockets that are hung up, in
// error, or readable though nobody asked.
#include <completionport/options.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "tests/support/recorder.h"
#include "tests/support/sockets.h"

namespace cport::test {
namespace {

struct Answerer {
    COMPLETION_PORT_HANDLE port;
    COMPLETION_PORT_INGRESS_DATA add;
    COMPLETION_PORT_INGRESS_DATA answer;
    char byte;

    static void on_sent(void*, COMPLETION_PORT_EPOLL_ACTION, COMPLETION_PORT_RESULT, int32_t) {}

    static void on_received(void* context, COMPLETION_PORT_EPOLL_ACTION,
                            COMPLETION_PORT_RESULT result, int32_t amount) {
        auto* self = static_cast<Answerer*>(context);
        if (result != COMPLETION_PORT_RESULT_OK || amount <= 0) {
            return;
        }
        completion_port_add(self->port, &self->add);
        if (self->answer.epoll_op != 0) {
            completion_port_add(self->port, &self->answer);
        } else {
            write_all(self->add.socket, "a");
        }
    }
};

int answer(COMPLETION_PORT_HANDLE port, int count, bool by_port) {
    Pair pair = tcp_pair();
    Answerer answerer{};
    answerer.port = port;
    answerer.add.epoll_op = EPOLLIN;
    answerer.add.socket = pair.ours.get();
    answerer.add.event_callback = &Answerer::on_received;
    answerer.add.event_callback_ctx = &answerer;
    answerer.add.buffer_data = {&answerer.byte, 1};
    char said = 'a';
    if (by_port) {
        answerer.answer = answerer.add;
        answerer.answer.epoll_op = EPOLLOUT;
        answerer.answer.event_callback = &Answerer::on_sent;
        answerer.answer.buffer_data = {&said, 1};
    }
    if (completion_port_add(port, &answerer.add) != 0) {
        return EXIT_FAILURE;
    }
    for (int i = 0; i < count; ++i) {
        write_all(pair.theirs.get(), "q");
        if (read_exactly(pair.theirs.get(), 1) != "a") {
            return EXIT_FAILURE;
        }
    }
    completion_port_remove(port, pair.ours.get());
    return EXIT_SUCCESS;
}

// Each of these sockets is known to the kernel's side of the port, and none of them is waited for.
struct Noise {
    explicit Noise(COMPLETION_PORT_HANDLE port) {
        for (Pair* pair : {&ended, &reset, &unread}) {
            *pair = tcp_pair();
            Operation& watched = recorder.operation("?");
            watched.add(port, EPOLLIN, pair->ours.get());
            write_all(pair->theirs.get(), "x");
            worker = watched.wait_for(1).thread;
        }
        write_all(unread.theirs.get(), "nobody asked");
        write_urgent(unread.theirs.get(), '!');
        for (Pair* pair : {&ended, &reset}) {
            Operation& hang_up = recorder.operation();
            hang_up.add(port, EPOLLRDHUP, pair->ours.get());
            if (pair == &ended) {
                half_close(pair->ours.get());
                pair->theirs.close();
            } else {
                close_with_reset(pair->theirs);
            }
            hang_up.wait();
        }
    }

    Recorder recorder;
    Pair ended;
    Pair reset;
    Pair unread;
    pid_t worker = 0;
};

int idle(COMPLETION_PORT_HANDLE port) {
    Noise noise(port);
    // The watcher finds this line among the calls, and counts from there.
    const std::string line = "worker " + std::to_string(noise.worker) + "\n";
    if (::write(STDOUT_FILENO, line.data(), line.size()) < 0) {
        return EXIT_FAILURE;
    }
    char byte = 0;
    while (::read(STDIN_FILENO, &byte, 1) > 0) {
    }
    completion_port_dec_ref(port);
    return EXIT_SUCCESS;
}

int run(int argc, char** argv) {
    const bool ring = argc > 3 && std::strcmp(argv[3], "io_uring") == 0;
    COMPLETION_PORT_OPTIONS options{};
    options.size = sizeof(options);
    options.engine = COMPLETION_PORT_ENGINE_IO_URING;
    COMPLETION_PORT_HANDLE port =
        ring ? completion_port_create_with_options(&options) : completion_port_create();
    if (port == nullptr || argc < 2) {
        return EXIT_FAILURE;
    }
    if (std::strcmp(argv[1], "idle") == 0) {
        return idle(port);
    }
    const int result = argc < 3 ? EXIT_FAILURE : answer(port, std::atoi(argv[2]), ring);
    completion_port_dec_ref(port);
    return result;
}

}  // namespace
}  // namespace cport::test

int main(int argc, char** argv) { return cport::test::run(argc, argv); }
