// What completion_port_submit refuses, with which error, and that nothing has changed afterwards.
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#include "tests/contract/operations_fixture.h"

namespace cport::test {
namespace {

class SubmitRefusedTest : public OperationsTest {
 protected:
    void SetUp() override {
        OperationsTest::SetUp();
        pair_ = &keep(tcp_pair());
        receive_ = &submission("????").as_receive(pair_->ours.get());
        send_ = &submission("send").as_send(pair_->ours.get());
        poll_ = &submission().as_poll(pair_->ours.get(), POLLIN);
    }

    void expect_refusal(Submission& refused, int error) {
        COMPLETION_PORT_COMPLETION untouched;
        std::memset(&untouched, 0xa5, sizeof(untouched));
        const COMPLETION_PORT_COMPLETION before = untouched;
        uint64_t id = 77;
        const bool wants_record = (refused.common().flags & COMPLETION_PORT_FLAG_INLINE) != 0;
        auto refuse = [&] {
            EXPECT_EQ(completion_port_submit(port(), &refused.common(), &id,
                                             wants_record ? &untouched : nullptr),
                      error);
        };
        refuse();
        run_on_worker(refuse);
        EXPECT_EQ(id, 77u);
        EXPECT_EQ(std::memcmp(&untouched, &before, sizeof(before)), 0);
    }

    // The socket and the port work as before, and nothing of what was refused comes.
    void expect_nothing_changed() {
        write_all(pair_->theirs.get(), "fine");
        Submission& works = submit_receive(pair_->ours.get(), 4);
        EXPECT_EQ(works.wait(), finished(4));
        fence();
        EXPECT_TRUE(records_there().empty());
        for (Submission* refused : {receive_, send_, poll_}) EXPECT_FALSE(refused->completed());
        EXPECT_EQ(receive_->buffer(), "????");
        EXPECT_EQ(read_available(pair_->theirs.get()), "");
    }

    Pair* pair_ = nullptr;
    Submission* receive_ = nullptr;
    Submission* send_ = nullptr;
    Submission* poll_ = nullptr;
};
CPORT_ON_EVERY_ENGINE(SubmitRefusedTest);

// Spec: CP-SUBMIT-1 CP-SUBMIT-4
TEST_P(SubmitRefusedTest, NullPortOrOperation) {
    EXPECT_EQ(completion_port_submit(nullptr, &receive_->common(), nullptr, nullptr), -EINVAL);
    EXPECT_EQ(completion_port_submit(port(), nullptr, nullptr, nullptr), -EINVAL);
    expect_nothing_changed();
}

// Spec: CP-SUBMIT-1 CP-SUBMIT-4
TEST_P(SubmitRefusedTest, BadKindsAndFlags) {
    for (uint32_t kind : {0u, static_cast<uint32_t>(COMPLETION_PORT_KIND_POST), 0xffffu, ~0u}) {
        receive_->common().kind = kind;
        expect_refusal(*receive_, -EINVAL);
    }
    for (uint32_t flags : {2u, 0x80000000u, ~0u}) {
        send_->common().flags = flags;
        expect_refusal(*send_, -EINVAL);
        poll_->common().flags = flags;
        expect_refusal(*poll_, -EINVAL);
    }
    expect_nothing_changed();
}

// Spec: CP-SUBMIT-1 CP-SUBMIT-4
TEST_P(SubmitRefusedTest, BadBuffers) {
    void* const buffer = receive_->receive().buffer;
    receive_->receive().buffer = nullptr;
    expect_refusal(*receive_, -EINVAL);
    receive_->receive().buffer = buffer;
    for (uint32_t length : {0u, 0x80000000u, ~0u}) {
        receive_->receive().length = length;
        expect_refusal(*receive_, -EINVAL);
        send_->send().length = length;
        expect_refusal(*send_, -EINVAL);
    }
    send_->send().length = 4;
    send_->send().buffer = nullptr;
    expect_refusal(*send_, -EINVAL);
    expect_nothing_changed();
}

// Spec: CP-SUBMIT-1 CP-SUBMIT-4
TEST_P(SubmitRefusedTest, BadEvents) {
    for (uint32_t events : {0u, uint32_t{POLLERR}, uint32_t{POLLHUP}, uint32_t{POLLNVAL},
                            uint32_t{POLLIN} | 0x80000000u, uint32_t{POLLRDNORM}}) {
        poll_->poll().events = events;
        expect_refusal(*poll_, -EINVAL);
    }
    expect_nothing_changed();
}

// Spec: CP-SUBMIT-1 CP-SUBMIT-4
TEST_P(SubmitRefusedTest, ReservedFields) {
    receive_->receive().reserved = 1;
    expect_refusal(*receive_, -EINVAL);
    send_->send().reserved = 1;
    expect_refusal(*send_, -EINVAL);
    poll_->poll().reserved = 0x80000000u;
    expect_refusal(*poll_, -EINVAL);
    expect_nothing_changed();
}

// Spec: CP-SUBMIT-1 CP-SUBMIT-2 CP-SUBMIT-4
TEST_P(SubmitRefusedTest, SizesThatLackWhatIsNeeded) {
    for (uint32_t size : {0u, 1u, static_cast<uint32_t>(sizeof(COMPLETION_PORT_OPERATION)) - 1}) {
        receive_->common().size = size;
        expect_refusal(*receive_, -EINVAL);
    }
    // The common part alone: no buffer, no events.
    for (Submission* shortened : {receive_, send_, poll_}) {
        shortened->common().size = sizeof(COMPLETION_PORT_OPERATION);
        expect_refusal(*shortened, -EINVAL);
    }
    receive_->common().size = offsetof(COMPLETION_PORT_RECEIVE_OPERATION, length);
    expect_refusal(*receive_, -EINVAL);
    // Half a field counts as what is there of it.
    send_->common().size = offsetof(COMPLETION_PORT_SEND_OPERATION, length);
    expect_refusal(*send_, -EINVAL);
    expect_nothing_changed();
}

// Spec: CP-SUBMIT-2
TEST_P(SubmitRefusedTest, AShorterStructureIsReadAsIfTheRestWereZero) {
    // What lies beyond the size is not looked at.
    poll_->poll().events = POLLOUT;
    poll_->poll().reserved = 99;
    poll_->common().size = offsetof(COMPLETION_PORT_POLL_OPERATION, reserved);
    ASSERT_EQ(poll_->submit(port()), 0);
    EXPECT_EQ(poll_->wait(), finished(POLLOUT));
    send_->send().reserved = 99;
    send_->common().size = offsetof(COMPLETION_PORT_SEND_OPERATION, reserved);
    ASSERT_EQ(send_->submit(port()), 0);
    EXPECT_EQ(send_->wait(), finished(4));
}

// Spec: CP-SUBMIT-2 CP-SUBMIT-4
TEST_P(SubmitRefusedTest, ALongerStructureMustEndInZeros) {
    struct Longer {
        COMPLETION_PORT_SEND_OPERATION known;
        unsigned char later[64];
    } longer{};
    longer.known = send_->send();
    longer.known.common.size = sizeof(longer);
    for (size_t i : {size_t{0}, size_t{31}, sizeof(longer.later) - 1}) {
        longer.later[i] = 1;
        EXPECT_EQ(completion_port_submit(port(), &longer.known.common, nullptr, nullptr), -E2BIG);
        longer.later[i] = 0;
    }
    expect_nothing_changed();
    ASSERT_EQ(completion_port_submit(port(), &longer.known.common, nullptr, nullptr), 0);
    send_->accept(0);
    EXPECT_EQ(send_->wait(), finished(4));
}

// Spec: CP-SUBMIT-2
TEST_P(SubmitRefusedTest, NothingBeyondTheSizeIsRead) {
    const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
    auto* pages = static_cast<char*>(
        ::mmap(nullptr, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    ASSERT_NE(static_cast<void*>(pages), MAP_FAILED);
    ASSERT_EQ(::mprotect(pages + page, page, PROT_NONE), 0);
    // It ends where the readable page ends.
    const uint32_t size = sizeof(COMPLETION_PORT_POLL_OPERATION);
    poll_->poll().events = POLLOUT;
    std::memcpy(pages + page - size, &poll_->poll(), size);
    const auto* operation = reinterpret_cast<const COMPLETION_PORT_OPERATION*>(pages + page - size);
    EXPECT_EQ(completion_port_submit(port(), operation, nullptr, nullptr), 0);
    poll_->accept(0);
    EXPECT_EQ(poll_->wait(), finished(POLLOUT));
    ::munmap(pages, 2 * page);
}

// Spec: CP-SUBMIT-3 CP-SUBMIT-4
TEST_P(SubmitRefusedTest, DescriptorsThatNameNothing) {
    for (int number : {-1, INT32_MIN, closed_number(), INT32_MAX}) {
        for (Submission* refused : {receive_, send_, poll_}) {
            refused->common().descriptor = number;
            expect_refusal(*refused, -EBADF);
        }
    }
    expect_nothing_changed();
}

// Spec: CP-SUBMIT-3 CP-SUBMIT-4
TEST_P(SubmitRefusedTest, FilesAndDirectories) {
    Descriptor& file = keep(Descriptor(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC)));
    Descriptor& directory = keep(Descriptor(::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC)));
    for (int number : {file.get(), directory.get()}) {
        ASSERT_GE(number, 0);
        for (Submission* refused : {receive_, send_, poll_}) {
            refused->common().descriptor = number;
            expect_refusal(*refused, -EPERM);
        }
    }
    expect_nothing_changed();
}

// Spec: CP-SUBMIT-3
TEST_P(SubmitRefusedTest, ARemovalUnderWay) {
    Gate removed;
    auto on_removed = [](void* context, SOCKET_HANDLE) { static_cast<Gate*>(context)->open(); };
    run_on_worker([&] {
        ASSERT_EQ(completion_port_remove_async(port(), pair_->ours.get(), on_removed, &removed), 0);
        for (Submission* refused : {receive_, send_, poll_}) {
            EXPECT_EQ(refused->submit(port()), -ECANCELED);
        }
    });
    removed.wait();
    expect_nothing_changed();
}

// Spec: CP-SUBMIT-3
TEST_P(SubmitRefusedTest, AnEndingPort) {
    ASSERT_EQ(completion_port_shutdown(port()), 0);
    for (Submission* refused : {receive_, send_, poll_}) {
        EXPECT_EQ(refused->submit(port()), -ESHUTDOWN);
    }
}

// Spec: CP-SUBMIT-3 CP-CANCEL-2 CP-POST-3 CP-WAIT-5
TEST_P(SubmitRefusedTest, AForkedChild) {
    const auto child = [](COMPLETION_PORT_HANDLE port, int socket) {
        COMPLETION_PORT_POLL_OPERATION poll{};
        poll.common.size = sizeof(poll);
        poll.common.kind = COMPLETION_PORT_KIND_POLL;
        poll.common.descriptor = socket;
        poll.events = POLLOUT;
        const COMPLETION_PORT_OPERATION* batch[] = {&poll.common};
        COMPLETION_PORT_COMPLETION record;
        if (completion_port_submit(port, &poll.common, nullptr, nullptr) != -EPERM) return 1;
        if (completion_port_submit_batch(port, batch, 1, nullptr) != -EPERM) return 2;
        if (completion_port_cancel(port, 1) != -EPERM) return 3;
        if (completion_port_post(port, 1, 1, nullptr, nullptr) != -EPERM) return 4;
        if (completion_port_wait(port, &record, 1, 0) != -EPERM) return 5;
        if (completion_port_wait(port, &record, 1, -1) != -EPERM) return 6;
        return 0;
    };
    EXPECT_EQ(status_of_child(child, port(), pair_->ours.get()), 0);
    expect_nothing_changed();
}

}  // namespace
}  // namespace cport::test
