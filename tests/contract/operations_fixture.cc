#include "tests/contract/operations_fixture.h"

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <utility>

namespace cport::test {

void OperationsTest::TearDown() {
    PortTest::TearDown();
    log_.expect_each_ended_once();
}

Submission& OperationsTest::submit_receive(int socket, size_t length) {
    Submission& submitted = submission(std::string(length, '\0')).as_receive(socket);
    EXPECT_EQ(submitted.submit(port()), 0);
    return submitted;
}

Submission& OperationsTest::submit_send(int socket, std::string bytes) {
    Submission& submitted = submission(std::move(bytes)).as_send(socket);
    EXPECT_EQ(submitted.submit(port()), 0);
    return submitted;
}

Submission& OperationsTest::submit_poll(int descriptor, uint32_t events) {
    Submission& submitted = submission().as_poll(descriptor, events);
    EXPECT_EQ(submitted.submit(port()), 0);
    return submitted;
}

COMPLETION_PORT_COMPLETION OperationsTest::wait_for_record() {
    COMPLETION_PORT_COMPLETION record{};
    EXPECT_EQ(completion_port_wait(port(), &record, 1, -1), 1);
    return record;
}

std::vector<COMPLETION_PORT_COMPLETION> OperationsTest::records_there() {
    std::vector<COMPLETION_PORT_COMPLETION> all;
    std::array<COMPLETION_PORT_COMPLETION, 16> some{};
    for (;;) {
        const int count = completion_port_wait(port(), some.data(), some.size(), 0);
        if (count <= 0) return all;
        all.insert(all.end(), some.begin(), some.begin() + count);
    }
}

int status_of_child(int (*body)(COMPLETION_PORT_HANDLE port, int socket),
                    COMPLETION_PORT_HANDLE port, int socket) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(body(port, socket));
    int status = 0;
    if (child < 0 || ::waitpid(child, &status, 0) != child || !WIFEXITED(status)) return -1;
    return WEXITSTATUS(status);
}

}  // namespace cport::test
