// Receives and sends on descriptors that are no sockets.
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <termios.h>
#include <unistd.h>

#include <filesystem>

#include "platform/linux/linux_platform.h"
#include "tests/contract/kinds_fixture.h"

namespace cport::test {
namespace {

class DeviceTest : public KindsTest {
 protected:
    void TearDown() override {
        KindsTest::TearDown();
        for (const std::string& path : paths_) std::filesystem::remove(path);
    }
    // A FIFO, which must not block, both of whose ends are open; or a pipe that blocks.
    Pair& pipe_or_fifo(bool is_fifo) {
        if (!is_fifo) return keep(pipe_pair());
        std::string directory = (std::filesystem::temp_directory_path() / "cport-XXXXXX").string();
        EXPECT_NE(::mkdtemp(directory.data()), nullptr);
        const std::string path = directory + "/fifo";
        EXPECT_EQ(::mkfifo(path.c_str(), 0600), 0);
        paths_.push_back(path);
        paths_.push_back(directory);
        Descriptor reader(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
        Descriptor writer(::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
        return keep(Pair{std::move(reader), std::move(writer)});
    }
    // `ours` is the terminal, `theirs` its master.
    Pair& terminal() {
        int master = -1;
        int slave = -1;
        EXPECT_EQ(::openpty(&master, &slave, nullptr, nullptr, nullptr), 0);
        Pair& pair = keep(Pair{Descriptor(slave), Descriptor(master)});
        termios settings{};
        EXPECT_EQ(::tcgetattr(slave, &settings), 0);
        ::cfmakeraw(&settings);
        EXPECT_EQ(::tcsetattr(slave, TCSANOW, &settings), 0);
        return pair;
    }
    static void write_to(int descriptor, std::string_view bytes) {
        ASSERT_EQ(::write(descriptor, bytes.data(), bytes.size()),
                  static_cast<ssize_t>(bytes.size()));
    }
    static std::string read_from(int descriptor, size_t length) {
        std::string bytes(length, '\0');
        size_t filled = 0;
        while (filled < length) {
            const ssize_t count = ::read(descriptor, bytes.data() + filled, length - filled);
            if (count < 0 && errno == EAGAIN) {
                wait_until_polled(descriptor, POLLIN);
                continue;
            }
            if (count <= 0) break;
            filled += static_cast<size_t>(count);
        }
        bytes.resize(filled);
        return bytes;
    }

    std::vector<std::string> paths_;
};
CPORT_ON_EVERY_ENGINE(DeviceTest);

// Spec: CP-DEVICE-1
TEST_P(DeviceTest, ReceivesFromAPipeThatBlocksAndFromAFifo) {
    for (bool is_fifo : {false, true}) {
        Pair& pipe = pipe_or_fifo(is_fifo);
        const int flags = ::fcntl(pipe.ours.get(), F_GETFL);
        ASSERT_EQ((flags & O_NONBLOCK) != 0, is_fifo);
        Submission& first = submit_receive(pipe.ours.get(), 3);
        Submission& second = submit_receive(pipe.ours.get(), 8);
        fence();
        EXPECT_FALSE(first.completed());
        write_to(pipe.theirs.get(), "onetwo");
        EXPECT_EQ(first.wait(), finished(3));
        EXPECT_EQ(second.wait(), finished(3));
        EXPECT_EQ(first.bytes() + second.bytes(), "onetwo");
        pipe.theirs.close();
        EXPECT_EQ(submit_receive(pipe.ours.get(), 3).wait(), finished(0));
        EXPECT_EQ(::fcntl(pipe.ours.get(), F_GETFL), flags);
    }
}

// Spec: CP-DEVICE-1
TEST_P(DeviceTest, SendsAllToAPipeThatBlocksAndToAFifo) {
    const std::string bytes = pattern(3u << 20);
    for (bool is_fifo : {false, true}) {
        Pair& pipe = pipe_or_fifo(is_fifo);
        Submission& send = submit_send(pipe.theirs.get(), bytes);
        Submission& behind = submit_send(pipe.theirs.get(), "tail");
        fence();
        EXPECT_FALSE(send.completed());
        EXPECT_TRUE(read_from(pipe.ours.get(), bytes.size() + 4) == bytes + "tail");
        EXPECT_EQ(send.wait(), finished(static_cast<int64_t>(bytes.size())));
        EXPECT_EQ(behind.wait(), finished(4));
    }
}

// Spec: CP-DEVICE-1
TEST_P(DeviceTest, VectorsGoThroughAPipe) {
    Pair& pipe = keep(pipe_pair());
    std::string words = "several words";
    std::string room = "?????????????";
    const iovec from[] = {{words.data(), 8}, {words.data() + 8, 5}};
    const iovec into[] = {{room.data(), 1}, {room.data() + 1, 12}};
    Submission& send = submission();
    auto& out = send.as<COMPLETION_PORT_SEND_VECTOR_OPERATION>(COMPLETION_PORT_KIND_SEND_VECTOR,
                                                               pipe.theirs.get());
    out.vectors = from;
    out.count = 2;
    Submission& receive = submission();
    auto& in = receive.as<COMPLETION_PORT_RECEIVE_VECTOR_OPERATION>(
        COMPLETION_PORT_KIND_RECEIVE_VECTOR, pipe.ours.get());
    in.vectors = into;
    in.count = 2;
    ASSERT_EQ(receive.submit(port()), 0);
    ASSERT_EQ(send.submit(port()), 0);
    EXPECT_EQ(send.wait(), finished(13));
    EXPECT_EQ(receive.wait(), finished(13));
    EXPECT_EQ(room, words);
}

// Spec: CP-DEVICE-2
TEST_P(DeviceTest, CountsOfEventsAndTimers) {
    Descriptor& event = keep(idle_eventfd());
    Submission& receive = submit_receive(event.get(), 8);
    fence();
    EXPECT_FALSE(receive.completed());
    set_non_blocking(event.get());
    const uint64_t three = 3;
    Submission& send =
        submit_send(event.get(), std::string(reinterpret_cast<const char*>(&three), 8));
    EXPECT_EQ(send.wait(), finished(8));
    EXPECT_EQ(receive.wait(), finished(8));
    uint64_t count = 0;
    std::memcpy(&count, receive.buffer().data(), 8);
    EXPECT_EQ(count, three);
    EXPECT_EQ(submit_receive(event.get(), 4).wait(), failed(-EINVAL));

    Descriptor& timer =
        keep(Descriptor(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)));
    itimerspec soon{};
    soon.it_value.tv_nsec = 1'000'000;
    Submission& expiry = submit_receive(timer.get(), 8);
    ASSERT_EQ(::timerfd_settime(timer.get(), 0, &soon, nullptr), 0);
    EXPECT_EQ(expiry.wait(), finished(8));
}

// Spec: CP-DEVICE-3
TEST_P(DeviceTest, ATerminalHasToBeNonBlocking) {
    Pair& pair = terminal();
    EXPECT_EQ(submit_receive(pair.ours.get(), 8).wait(), failed(-EINVAL));
    EXPECT_EQ(submit_send(pair.ours.get(), "x").wait(), failed(-EINVAL));
    set_non_blocking(pair.ours.get());
    Submission& receive = submit_receive(pair.ours.get(), 8);
    fence();
    EXPECT_FALSE(receive.completed());
    write_to(pair.theirs.get(), "typed");
    EXPECT_EQ(receive.wait(), finished(5));
    EXPECT_EQ(receive.bytes(), "typed");
    EXPECT_EQ(submit_send(pair.ours.get(), "shown").wait(), finished(5));
    EXPECT_EQ(read_from(pair.theirs.get(), 5), "shown");
}

// Spec: CP-DEVICE-4
TEST_P(DeviceTest, ABrokenPipeAbandonsASendWithoutASignal) {
    Pair& pipe = keep(pipe_pair());
    Submission& blocked = submit_send(pipe.theirs.get(), pattern(1u << 20));
    fence();
    pipe.ours.close();
    const Ending ending = blocked.wait();
    EXPECT_EQ(ending.result, COMPLETION_PORT_RESULT_ABANDONED);
    EXPECT_EQ(ending.error, -EPIPE);
    EXPECT_GT(ending.value, 0);
    EXPECT_EQ(submit_send(pipe.theirs.get(), "x").wait(), abandoned(-EPIPE));
    bool pending = true;
    run_on_worker_of(pipe.theirs.get(), [&] {
        sigset_t signals;
        sigemptyset(&signals);
        ::sigpending(&signals);
        pending = sigismember(&signals, SIGPIPE) != 0;
    });
    EXPECT_FALSE(pending);
}

// Spec: CP-DEVICE-4 CP-SENDFILE-5
TEST_P(DeviceTest, NoSignalReachesAThreadThatLetsItThrough) {
    // As a thread does that drives a port of its own; the signal would end this program.
    platform::Kernel& kernel = platform::linux_platform().kernel;
    sigset_t before;
    ASSERT_EQ(::pthread_sigmask(SIG_BLOCK, nullptr, &before), 0);
    ASSERT_EQ(sigismember(&before, SIGPIPE), 0);
    Pair& pipe = keep(pipe_pair());
    pipe.ours.close();
    char byte = 'x';
    const iovec part{&byte, 1};
    EXPECT_EQ(kernel.write_now(pipe.theirs.get(), &part, 1), -EPIPE);
    Pair& connection = keep(tcp_pair());
    ASSERT_EQ(::shutdown(connection.ours.get(), SHUT_WR), 0);
    const Descriptor file(::memfd_create("device_test", MFD_CLOEXEC));
    write_to(file.get(), "bytes");
    EXPECT_EQ(kernel.send_file(connection.ours.get(), file.get(), 0, 5), -EPIPE);
    sigset_t after;
    ASSERT_EQ(::pthread_sigmask(SIG_BLOCK, nullptr, &after), 0);
    EXPECT_EQ(sigismember(&after, SIGPIPE), 0);
}

// Spec: CP-DEVICE-5
TEST_P(DeviceTest, TheWrongEndFailsAndTheRightOneGoesOn) {
    Pair& pipe = keep(pipe_pair());
    Submission& receive = submit_receive(pipe.ours.get(), 4);
    fence();
    EXPECT_EQ(submit_send(pipe.ours.get(), "x").wait(), failed(-EBADF));
    fence();
    EXPECT_FALSE(receive.completed());
    write_to(pipe.theirs.get(), "data");
    EXPECT_EQ(receive.wait(), finished(4));
}

// Spec: CP-DEVICE-5
TEST_P(DeviceTest, WhatEpollCannotWatchIsRefused) {
    const Descriptor directory(::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    char byte = 0;
    auto receive =
        form<COMPLETION_PORT_RECEIVE_OPERATION>(COMPLETION_PORT_KIND_RECEIVE, directory.get());
    receive.buffer = &byte;
    receive.length = 1;
    EXPECT_EQ(submit(receive), -EPERM);
    Descriptor& null = keep(Descriptor(::open("/dev/null", O_RDWR | O_CLOEXEC)));
    EXPECT_EQ(submit_receive(null.get(), 1).wait(), failed(-EPERM));
    EXPECT_EQ(submit_send(null.get(), "x").wait(), failed(-EPERM));
}

// Spec: CP-DEVICE-5
TEST_P(DeviceTest, AnAddWithABufferIsStillOfSocketsAlone) {
    Pair& pipe = keep(pipe_pair());
    Operation& add = operation("?");
    EXPECT_EQ(add.add(port(), EPOLLIN, pipe.ours.get()), -ENOTSOCK);
    submit_receive(pipe.ours.get(), 1);
    Operation& later = operation("?");
    EXPECT_EQ(later.add(port(), EPOLLIN, pipe.ours.get()), -ENOTSOCK);
}

// Spec: CP-DEVICE-6
TEST_P(DeviceTest, CancelDeadlineAndRemoveEndThem) {
    Pair& pipe = keep(pipe_pair());
    Submission& cancelled = submit_receive(pipe.ours.get(), 4);
    Submission& late = submission("????").as_receive(pipe.ours.get());
    late.with_deadline(static_cast<int64_t>(now_ns() + kSoon_ns));
    ASSERT_EQ(late.submit(port()), 0);
    Submission& removed = submit_receive(pipe.ours.get(), 4);
    fence();
    expect_cancelled(cancelled);
    EXPECT_EQ(late.wait(), failed(-ETIMEDOUT));
    completion_port_remove(port(), pipe.ours.get());
    EXPECT_EQ(removed.wait(), abandoned(-ECANCELED));

    const std::string bytes = pattern(1u << 20);
    Submission& send = submit_send(pipe.theirs.get(), bytes);
    Submission& behind = submit_send(pipe.theirs.get(), "x");
    fence();
    EXPECT_EQ(completion_port_cancel(port(), send.id()), 0);
    const Ending ending = send.wait();
    EXPECT_EQ(ending.result, COMPLETION_PORT_RESULT_ABANDONED);
    EXPECT_GT(ending.value, 0);
    EXPECT_EQ(behind.wait(), failed(-ECANCELED));
    pipe.theirs.close();
    const std::string arrived = read_from(pipe.ours.get(), bytes.size());
    EXPECT_EQ(static_cast<int64_t>(arrived.size()), ending.value);
}

}  // namespace
}  // namespace cport::test
