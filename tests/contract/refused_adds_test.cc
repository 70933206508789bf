// What an add refuses, and that a refused add changes nothing.
#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "tests/contract/port_fixture.h"

namespace cport::test {
namespace {

void never_called(void*, COMPLETION_PORT_EPOLL_ACTION, COMPLETION_PORT_RESULT, int32_t) {
    ADD_FAILURE() << "a refused add called back";
}

class RefusedAddTest : public PortTest {
 protected:
    void SetUp() override {
        PortTest::SetUp();
        pair_ = &keep(tcp_pair());
        ingress_.epoll_op = EPOLLIN;
        ingress_.socket = pair_->ours.get();
        ingress_.event_callback = never_called;
        ingress_.buffer_data = {bytes_, sizeof bytes_};
    }

    // Nothing of a refused add may come later, and the socket serves the next add.
    // Spec: CP-BAD-10
    void expect_nothing_changed() {
        write_all(pair_->theirs.get(), "intact");
        EXPECT_EQ(receive(pair_->ours.get(), 64).wait(), received(6));
        fence();
    }

    Pair* pair_ = nullptr;
    char bytes_[16] = {};
    COMPLETION_PORT_INGRESS_DATA ingress_{};
};
CPORT_ON_EVERY_ENGINE(RefusedAddTest);

// Spec: CP-BAD-1
TEST_P(RefusedAddTest, NullPortDataOrCallback) {
    EXPECT_EQ(completion_port_add(nullptr, &ingress_), -EINVAL);
    EXPECT_EQ(completion_port_add(port(), nullptr), -EINVAL);
    ingress_.event_callback = nullptr;
    EXPECT_EQ(completion_port_add(port(), &ingress_), -EINVAL);
    expect_nothing_changed();
}

// Spec: CP-BAD-2
TEST_P(RefusedAddTest, EventsOutsideTheGrammar) {
    const uint32_t refused[] = {0,
                                EPOLLIN | EPOLLOUT,
                                EPOLLPRI,
                                EPOLLIN | EPOLLPRI,
                                EPOLLERR,
                                EPOLLHUP,
                                EPOLLIN | EPOLLERR,
                                EPOLLOUT | EPOLLHUP,
                                EPOLLET,
                                EPOLLONESHOT,
                                EPOLLET | EPOLLONESHOT,
                                EPOLLIN | EPOLLOUT | EPOLLRDHUP,
                                EPOLLIN | EPOLLEXCLUSIVE,
                                EPOLLIN | EPOLLWAKEUP,
                                EPOLLRDNORM,
                                EPOLLIN | 0x800,
                                0xffffffff};
    for (uint32_t events : refused) {
        ingress_.epoll_op = static_cast<int>(events);
        EXPECT_EQ(completion_port_add(port(), &ingress_), -EINVAL) << std::hex << events;
    }
    expect_nothing_changed();
}

// Spec: CP-BAD-2
TEST_P(RefusedAddTest, EveryFormOfTheGrammarIsAccepted) {
    const uint32_t beside[] = {0, EPOLLET, EPOLLONESHOT, EPOLLET | EPOLLONESHOT};
    for (uint32_t more : beside) {
        const uint32_t extra = more;
        write_all(pair_->theirs.get(), "x");
        EXPECT_EQ(receive(pair_->ours.get(), 1, extra).wait(), received(1));
        write_all(pair_->theirs.get(), "x");
        EXPECT_EQ(receive(pair_->ours.get(), 1, extra | EPOLLRDHUP).wait(), received(1));
        EXPECT_EQ(send(pair_->ours.get(), "y", extra).wait(), sent(1));
        EXPECT_EQ(send(pair_->ours.get(), "y", extra | EPOLLRDHUP).wait(), sent(1));
        Operation& hang_up = watch(pair_->ours.get(), EPOLLRDHUP | extra);
        completion_port_remove(port(), pair_->ours.get());
        EXPECT_EQ(hang_up.wait(), closing());
    }
    expect_nothing_changed();
}

// Spec: CP-BAD-3
TEST_P(RefusedAddTest, BuffersThatAreNone) {
    ingress_.buffer_data = {bytes_, static_cast<uint32_t>(INT32_MAX) + 1};
    EXPECT_EQ(completion_port_add(port(), &ingress_), -EINVAL);
    ingress_.buffer_data = {bytes_, UINT32_MAX};
    EXPECT_EQ(completion_port_add(port(), &ingress_), -EINVAL);
    ingress_.buffer_data = {bytes_, 0};
    EXPECT_EQ(completion_port_add(port(), &ingress_), -EINVAL);
    ingress_.buffer_data = {nullptr, 5};
    EXPECT_EQ(completion_port_add(port(), &ingress_), -EINVAL);
    ingress_.buffer_data = {bytes_, sizeof bytes_};
    ingress_.epoll_op = EPOLLRDHUP;
    EXPECT_EQ(completion_port_add(port(), &ingress_), -EINVAL);
    expect_nothing_changed();
}

// Spec: CP-BAD-4
TEST_P(RefusedAddTest, NegativeOrClosedDescriptor) {
    for (int number : {-1, -2, INT32_MIN, closed_number()}) {
        for (bool buffered : {true, false}) {
            ingress_.socket = number;
            ingress_.buffer_data =
                buffered ? EPOLL_BUFFER_DATA{bytes_, sizeof bytes_} : EPOLL_BUFFER_DATA{nullptr, 0};
            EXPECT_EQ(completion_port_add(port(), &ingress_), -EBADF) << number;
        }
    }
    expect_nothing_changed();
}

// Spec: CP-BAD-5
TEST_P(RefusedAddTest, RegularFileOrDirectory) {
    for (const char* path : {"/proc/self/exe", "/"}) {
        Descriptor& file = keep(Descriptor(::open(path, O_RDONLY | O_CLOEXEC)));
        ASSERT_GE(file.get(), 0);
        ingress_.socket = file.get();
        ingress_.buffer_data = {nullptr, 0};
        EXPECT_EQ(completion_port_add(port(), &ingress_), -EPERM) << path;
    }
    expect_nothing_changed();
}

// Spec: CP-BAD-6
TEST_P(RefusedAddTest, BufferOnADescriptorThatIsNoSocket) {
    Pair& pipe = keep(pipe_pair());
    for (int number : {pipe.ours.get(), keep(ready_eventfd()).get()}) {
        ingress_.socket = number;
        EXPECT_EQ(completion_port_add(port(), &ingress_), -ENOTSOCK);
    }
    ingress_.socket = pipe.theirs.get();
    ingress_.epoll_op = EPOLLOUT;
    EXPECT_EQ(completion_port_add(port(), &ingress_), -ENOTSOCK);
    expect_nothing_changed();
}

// Spec: CP-BAD-7
TEST_P(RefusedAddTest, PortThatIsEnding) {
    ASSERT_EQ(completion_port_shutdown(port()), 0);
    EXPECT_EQ(completion_port_add(port(), &ingress_), -ESHUTDOWN);
}

// Spec: CP-BAD-9
TEST_P(RefusedAddTest, DescriptorNumberBeyondTheTable) {
    const auto never_removed = [](void*, SOCKET_HANDLE) { ADD_FAILURE() << "refused"; };
    EXPECT_EQ(completion_port_remove_async(port(), 16'777'216, never_removed, nullptr), -EMFILE);
    completion_port_remove(port(), 16'777'216);
    completion_port_remove(port(), INT32_MAX);
    expect_nothing_changed();
}

// Spec: CP-BAD-11
TEST_P(RefusedAddTest, DescriptorThatTheKernelRefusesLaterEndsInAnError) {
    // poll(2) calls /dev/null ready, epoll_ctl refuses it.
    Descriptor& null_device = keep(Descriptor(::open("/dev/null", O_RDWR | O_CLOEXEC)));
    ASSERT_GE(null_device.get(), 0);
    for (uint32_t event : {EPOLLIN, EPOLLOUT}) {
        Operation& refused = watch(null_device.get(), event);
        const Outcome expected = event == EPOLLIN ? read_failed() : write_failed();
        EXPECT_EQ(refused.wait(), expected);
        EXPECT_EQ(refused.error(), EPERM);
    }
    expect_nothing_changed();
}

// In the child: bit k of the verdict says that the k-th call did what a child must not.
int verdict_of_child(COMPLETION_PORT_HANDLE port, const COMPLETION_PORT_INGRESS_DATA& ingress,
                     int socket) {
    int verdict = 0;
    verdict |= completion_port_add(port, &ingress) == -EPERM ? 0 : 1;
    verdict |= completion_port_shutdown(port) == -EPERM ? 0 : 2;
    const auto ignored = [](void*, SOCKET_HANDLE) {};
    verdict |= completion_port_remove_async(port, socket, ignored, nullptr) == -EPERM ? 0 : 4;
    completion_port_remove(port, socket);
    completion_port_inc_ref(port);
    completion_port_dec_ref(port);
    completion_port_dec_ref(port);
    completion_port_dec_ref(port);
    return verdict;
}

// Spec: CP-BAD-8
TEST_P(RefusedAddTest, ForkedChildIsRefusedAndTheParentGoesOn) {
    Operation& pending = receive(pair_->ours.get(), 64);
    fence();
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        ::_exit(verdict_of_child(port(), ingress_, pair_->ours.get()));
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
    EXPECT_EQ(WEXITSTATUS(status), 0);
    EXPECT_FALSE(pending.completed());
    write_all(pair_->theirs.get(), "parent");
    EXPECT_EQ(pending.wait(), received(6));
    expect_nothing_changed();
}

}  // namespace
}  // namespace cport::test
