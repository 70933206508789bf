// Sending parts of files.
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/contract/kinds_fixture.h"

namespace cport::test {
namespace {

// A file in memory.
Descriptor file_of(const std::string& bytes) {
    Descriptor file(::memfd_create("sendfile_test", MFD_CLOEXEC));
    size_t written = 0;
    while (written < bytes.size()) {
        const ssize_t count = ::write(file.get(), bytes.data() + written, bytes.size() - written);
        if (count <= 0) {
            ADD_FAILURE() << "the file could not be written";
            break;
        }
        written += static_cast<size_t>(count);
    }
    return file;
}

class SendfileTest : public KindsTest {
 protected:
    using Sendfile = COMPLETION_PORT_SENDFILE_OPERATION;

    Submission& sendfile_of(int socket, int file, uint64_t offset, uint64_t length) {
        Submission& submitted = submission();
        auto& sendfile = submitted.as<Sendfile>(COMPLETION_PORT_KIND_SENDFILE, socket);
        sendfile.file = file;
        sendfile.offset = offset;
        sendfile.length = length;
        return submitted;
    }
    Submission& submit_sendfile(int socket, int file, uint64_t offset, uint64_t length) {
        Submission& submitted = sendfile_of(socket, file, offset, length);
        EXPECT_EQ(submitted.submit(port()), 0);
        return submitted;
    }
    // Pairs whose own ends do not block.
    std::vector<Pair*> pairs() {
        std::vector<Pair*> both{&keep(tcp_pair()), &keep(unix_pair())};
        for (Pair* pair : both) set_non_blocking(pair->ours.get());
        return both;
    }
};
CPORT_ON_EVERY_ENGINE(SendfileTest);

// Spec: CP-SENDFILE-1
TEST_P(SendfileTest, SendsAPartAndLeavesThePosition) {
    const std::string bytes = pattern(1000);
    const Descriptor file = file_of(bytes);
    ASSERT_EQ(::lseek(file.get(), 7, SEEK_SET), 7);
    for (Pair* pair : pairs()) {
        Submission& sendfile = submit_sendfile(pair->ours.get(), file.get(), 100, 500);
        const COMPLETION_PORT_COMPLETION record = sendfile.wait_for(1).record;
        EXPECT_EQ(ending_of(record), finished(500));
        EXPECT_EQ(record.kind, static_cast<uint32_t>(COMPLETION_PORT_KIND_SENDFILE));
        EXPECT_EQ(record.buffer, nullptr);
        EXPECT_EQ(read_exactly(pair->theirs.get(), 500), bytes.substr(100, 500));
        EXPECT_EQ(::lseek(file.get(), 0, SEEK_CUR), 7);
    }
}

// Spec: CP-SENDFILE-2
TEST_P(SendfileTest, ALargeFileTakesItsTurnAmongTheSends) {
    constexpr size_t kBytes = 12u << 20;
    const std::string bytes = pattern(kBytes);
    const Descriptor file = file_of(bytes);
    for (Pair* pair : pairs()) {
        Submission& before = submit_send(pair->ours.get(), "head");
        Submission& sendfile = submit_sendfile(pair->ours.get(), file.get(), 0, kBytes);
        Submission& behind = submit_send(pair->ours.get(), "tail");
        EXPECT_TRUE(read_exactly(pair->theirs.get(), kBytes + 8) == "head" + bytes + "tail");
        EXPECT_EQ(before.wait(), finished(4));
        EXPECT_EQ(sendfile.wait(), finished(kBytes));
        EXPECT_EQ(behind.wait(), finished(4));
    }
}

// Spec: CP-SENDFILE-3
TEST_P(SendfileTest, EndsWithTheFile) {
    const Descriptor file = file_of("short file");
    for (Pair* pair : pairs()) {
        EXPECT_EQ(submit_sendfile(pair->ours.get(), file.get(), 6, 1000).wait(), finished(4));
        EXPECT_EQ(read_exactly(pair->theirs.get(), 4), "file");
        EXPECT_EQ(submit_sendfile(pair->ours.get(), file.get(), 10, 1).wait(), finished(0));
    }
}

// Spec: CP-SENDFILE-4
TEST_P(SendfileTest, RefusesBadForms) {
    const Descriptor file = file_of("bytes");
    Pair& pair = *pairs()[0];
    auto good = form<Sendfile>(COMPLETION_PORT_KIND_SENDFILE, pair.ours.get());
    good.file = file.get();
    good.length = 5;
    expect_sockets_only(good);
    EXPECT_EQ(submit_changed(good, [](Sendfile& s) { s.file = -1; }), -EBADF);
    const int closed = closed_number();
    EXPECT_EQ(submit_changed(good, [&](Sendfile& s) { s.file = closed; }), -EBADF);
    Descriptor& event = keep(ready_eventfd());
    EXPECT_EQ(submit_changed(good, [&](Sendfile& s) { s.file = event.get(); }), -EINVAL);
    EXPECT_EQ(submit_changed(good, [&](Sendfile& s) { s.file = pair.theirs.get(); }), -EINVAL);
    EXPECT_EQ(submit_changed(good, [](Sendfile& s) { s.reserved = 1; }), -EINVAL);
    EXPECT_EQ(submit_changed(good, [](Sendfile& s) { s.length = 0; }), -EINVAL);
    EXPECT_EQ(submit_changed(good, [](Sendfile& s) { s.length = uint64_t{INT32_MAX} + 1; }),
              -EINVAL);
    EXPECT_EQ(submit_changed(good, [](Sendfile& s) { s.offset = INT64_MAX - 4; }), -EINVAL);
    Pair& blocking = keep(tcp_pair());
    EXPECT_EQ(submit_changed(good, [&](Sendfile& s) { s.common.descriptor = blocking.ours.get(); }),
              -EINVAL);
    fence();
    EXPECT_EQ(read_available(pair.theirs.get()), "");
}

// Spec: CP-SENDFILE-5
TEST_P(SendfileTest, ABrokenConnectionAbandonsItWithoutASignal) {
    const Descriptor file = file_of("bytes");
    for (bool is_unix : {false, true}) {
        Pair& pair = *pairs()[is_unix ? 1 : 0];
        ASSERT_EQ(::shutdown(pair.ours.get(), SHUT_WR), 0);
        // SIGPIPE would end this program.
        EXPECT_EQ(submit_sendfile(pair.ours.get(), file.get(), 0, 5).wait(), abandoned(-EPIPE));
        bool pending = true;
        run_on_worker_of(pair.ours.get(), [&] {
            sigset_t signals;
            sigemptyset(&signals);
            ::sigpending(&signals);
            pending = sigismember(&signals, SIGPIPE) != 0;
        });
        EXPECT_FALSE(pending);
        // Reading goes on.
        write_all(pair.theirs.get(), "on");
        EXPECT_EQ(submit_receive(pair.ours.get(), 2).wait(), finished(2));
    }
}

// Spec: CP-SENDFILE-6
TEST_P(SendfileTest, AFileThatIsClosedTooEarlyLeavesTheSocketUsable) {
    for (Pair* pair : pairs()) {
        Submission& receive = submit_receive(pair->ours.get(), 2);
        fence();
        {
            WorkerHold hold(*this);
            const Descriptor file = file_of("bytes");
            submit_sendfile(pair->ours.get(), file.get(), 0, 5).then([](const auto& record) {
                EXPECT_EQ(ending_of(record), failed(-EBADF));
            });
        }
        fence();
        EXPECT_FALSE(receive.completed());
        EXPECT_EQ(submit_send(pair->ours.get(), "on").wait(), finished(2));
        write_all(pair->theirs.get(), "on");
        EXPECT_EQ(receive.wait(), finished(2));
    }
    // A directory is found out only when it is read.
    const Descriptor directory(::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    EXPECT_EQ(submit_sendfile(pairs()[0]->ours.get(), directory.get(), 0, 5).wait(),
              failed(-EINVAL));
}

// Spec: CP-SENDFILE-7
TEST_P(SendfileTest, CancelDeadlineAndRemoveEndIt) {
    const std::string bytes = pattern(16u << 20);
    const Descriptor file = file_of(bytes);
    for (Pair* pair : pairs()) {
        Submission& sendfile = submit_sendfile(pair->ours.get(), file.get(), 0, bytes.size());
        Submission& behind = submit_sendfile(pair->ours.get(), file.get(), 0, 1);
        wait_until_polled(pair->theirs.get(), POLLIN);
        fence();
        EXPECT_EQ(completion_port_cancel(port(), sendfile.id()), 0);
        const Ending ending = sendfile.wait();
        EXPECT_EQ(ending.result, COMPLETION_PORT_RESULT_ABANDONED);
        EXPECT_GT(ending.value, 0);
        EXPECT_EQ(behind.wait(), failed(-ECANCELED));
        const auto sent = static_cast<size_t>(ending.value);
        EXPECT_TRUE(read_exactly(pair->theirs.get(), sent) == bytes.substr(0, sent));

        fill_send_buffer(pair->ours.get());
        Submission& late = sendfile_of(pair->ours.get(), file.get(), 0, 1);
        late.with_deadline(static_cast<int64_t>(now_ns() + kSoon_ns));
        ASSERT_EQ(late.submit(port()), 0);
        Submission& removed = submit_sendfile(pair->ours.get(), file.get(), 0, 1);
        EXPECT_EQ(late.wait(), failed(-ETIMEDOUT));
        completion_port_remove(port(), pair->ours.get());
        EXPECT_EQ(removed.wait(), abandoned(-ECANCELED));
    }
}

}  // namespace
}  // namespace cport::test
