// Every call that takes something in, on a port whose slots are all taken and which gets no memory
// any more: each says so, changes nothing, and what was accepted before goes on.
#include <completionport/files.h>
#include <completionport/messages.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/mman.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <latch>

#include "runtime/operation/slab.h"
#include "tests/fault/ledger.h"
#include "tests/fault/stage.h"
#include "tests/support/listener.h"

namespace cport::test {
namespace {

using Record = COMPLETION_PORT_COMPLETION;

class NoMemoryCalls : public ::testing::Test {
 protected:
    void SetUp() override {
        ASSERT_TRUE(stage_.open());
        ledger_.allow(ENOMEM);
        stage_.allow_refusal(ENOMEM);
        set_non_blocking(pair_.ours.get());
        // So that the numbers in use are known to the port.
        for (const int number : {pair_.ours.get(), listener_.socket.get(), fresh_.get()}) {
            ASSERT_NE(ledger_.poll(number, EPOLLPRI), 0u);
            stage_.remove(number);
        }
        reading_ = ledger_.receive(pair_.ours.get(), 0, [&](const Record& record) {
            received_ = record.value;
            received_.notify_all();
        });
        timer_ = ledger_.timer(kHour_ns);
        ASSERT_NE(timer_, 0u);
        stage_.faults().exhaust_memory();
        // The receive and the timer have theirs. What the owner has it gives back when it rests.
        for (uint32_t taken = 2; taken < Slab::kChunkSlots; ++taken) {
            until_accepted([&] { return ledger_.timer(kHour_ns) != 0; });
        }
    }

    void TearDown() override {
        const int asked = allocations();
        // Bytes still arrive, and the way out needs no memory.
        write_all(pair_.theirs.get(), "bytes");
        stage_.shutdown();
        ledger_.wait_for_all();
        EXPECT_TRUE(received_ == 5 || received_ == 0);
        stage_.release();
        EXPECT_EQ(allocations(), asked);
        for (const std::string& breach : stage_.judge()) ADD_FAILURE() << breach;
    }

    template <typename Submission>
    static void until_accepted(Submission&& submission) {
        while (!submission()) ::sched_yield();
    }
    int allocations() { return stage_.faults().calls(Call::kAllocate); }

    // What the port says to a form of `kind`.
    template <typename Form>
    int submit(Form form, uint32_t kind, int descriptor) {
        form.common.size = sizeof(form);
        form.common.kind = kind;
        form.common.descriptor = descriptor;
        form.common.on_complete = never;
        uint64_t id = 0;
        return completion_port_submit(stage_.port(), &form.common, &id, nullptr);
    }
    static void never(void*, const Record*) { ADD_FAILURE() << "a refused operation completed"; }

    Pair pair_ = tcp_pair();
    Listener listener_ = listen_on(AF_INET);
    Descriptor fresh_ = socket_of_family(AF_INET, SOCK_NONBLOCK);
    Descriptor file_{::memfd_create("no_memory", MFD_CLOEXEC)};
    Stage stage_{Fault{}};
    Ledger ledger_{stage_};
    std::atomic<int64_t> received_ = 0;
    uint64_t reading_ = 0;
    uint64_t timer_ = 0;
};

// Spec: CP-FAULT-2, CP-BAD-9, CP-SUBMIT-4
TEST_F(NoMemoryCalls, EveryKindIsRefused) {
    const int ours = pair_.ours.get();
    std::array<char, 8> bytes{};
    const iovec piece = {bytes.data(), bytes.size()};
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(&piece);
    message.msg_iovlen = 1;
    COMPLETION_PORT_RECEIVE_OPERATION receive{};
    receive.buffer = bytes.data();
    receive.length = bytes.size();
    EXPECT_EQ(submit(receive, COMPLETION_PORT_KIND_RECEIVE, ours), -ENOMEM);
    COMPLETION_PORT_SEND_OPERATION send{};
    send.buffer = bytes.data();
    send.length = bytes.size();
    EXPECT_EQ(submit(send, COMPLETION_PORT_KIND_SEND, ours), -ENOMEM);
    COMPLETION_PORT_POLL_OPERATION poll{};
    poll.events = EPOLLIN;
    EXPECT_EQ(submit(poll, COMPLETION_PORT_KIND_POLL, ours), -ENOMEM);
    COMPLETION_PORT_TIMER_OPERATION timer{};
    timer.expires_ns = static_cast<uint64_t>(now_ns() + kHour_ns);
    EXPECT_EQ(submit(timer, COMPLETION_PORT_KIND_TIMER, 0), -ENOMEM);
    EXPECT_EQ(submit(COMPLETION_PORT_ACCEPT_OPERATION{}, COMPLETION_PORT_KIND_ACCEPT,
                     listener_.socket.get()),
              -ENOMEM);
    COMPLETION_PORT_CONNECT_OPERATION connect{};
    connect.address = listener_.where();
    connect.address_length = listener_.length;
    EXPECT_EQ(submit(connect, COMPLETION_PORT_KIND_CONNECT, fresh_.get()), -ENOMEM);
    COMPLETION_PORT_SHUTDOWN_OPERATION shutdown{};
    shutdown.how = SHUT_WR;
    EXPECT_EQ(submit(shutdown, COMPLETION_PORT_KIND_SHUTDOWN, ours), -ENOMEM);
    COMPLETION_PORT_RECEIVE_VECTOR_OPERATION receive_vector{};
    receive_vector.vectors = &piece;
    receive_vector.count = 1;
    EXPECT_EQ(submit(receive_vector, COMPLETION_PORT_KIND_RECEIVE_VECTOR, ours), -ENOMEM);
    COMPLETION_PORT_SEND_VECTOR_OPERATION send_vector{};
    send_vector.vectors = &piece;
    send_vector.count = 1;
    EXPECT_EQ(submit(send_vector, COMPLETION_PORT_KIND_SEND_VECTOR, ours), -ENOMEM);
    COMPLETION_PORT_RECEIVE_MESSAGE_OPERATION receive_message{};
    receive_message.message = &message;
    EXPECT_EQ(submit(receive_message, COMPLETION_PORT_KIND_RECEIVE_MESSAGE, ours), -ENOMEM);
    COMPLETION_PORT_SEND_MESSAGE_OPERATION send_message{};
    send_message.message = &message;
    EXPECT_EQ(submit(send_message, COMPLETION_PORT_KIND_SEND_MESSAGE, ours), -ENOMEM);
    COMPLETION_PORT_SENDFILE_OPERATION sendfile{};
    sendfile.file = file_.get();
    sendfile.length = 1;
    EXPECT_EQ(submit(sendfile, COMPLETION_PORT_KIND_SENDFILE, ours), -ENOMEM);
    // The connection is untouched by what was refused.
    EXPECT_EQ(::fcntl(ours, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    EXPECT_EQ(read_available(pair_.theirs.get()), "");
}

// Spec: CP-FAULT-2, CP-CLOSE-3
TEST_F(NoMemoryCalls, ARefusedCloseOrRemovalLeavesTheDescriptorInUse) {
    const int ours = pair_.ours.get();
    EXPECT_EQ(submit(COMPLETION_PORT_CLOSE_OPERATION{}, COMPLETION_PORT_KIND_CLOSE, ours), -ENOMEM);
    EXPECT_EQ(completion_port_remove_async(
                  stage_.port(), ours, [](void*, SOCKET_HANDLE) { FAIL(); }, nullptr),
              -ENOMEM);
    EXPECT_GE(::fcntl(ours, F_GETFD), 0);
    // No removal is under way: what waits goes on.
    write_all(pair_.theirs.get(), "hello");
    received_.wait(0);
    EXPECT_EQ(received_, 5);
    // In the slot that this left.
    until_accepted([&] { return ledger_.receive(ours) != 0; });
    received_ = 0;
}

// Spec: CP-FAULT-2, CP-POST-3, CP-SUBMIT-13
TEST_F(NoMemoryCalls, PostsAndBatchesAreRefused) {
    for (const ON_COMPLETION_PORT_COMPLETION on_complete :
         {ON_COMPLETION_PORT_COMPLETION{never}, ON_COMPLETION_PORT_COMPLETION{nullptr}}) {
        EXPECT_EQ(completion_port_post(stage_.port(), 1, 2, on_complete, nullptr), -ENOMEM);
    }
    COMPLETION_PORT_TIMER_OPERATION timer{};
    timer.common.size = sizeof(timer);
    timer.common.kind = COMPLETION_PORT_KIND_TIMER;
    timer.common.on_complete = never;
    timer.expires_ns = static_cast<uint64_t>(now_ns() + kHour_ns);
    const std::array<const COMPLETION_PORT_OPERATION*, 2> batch{&timer.common, &timer.common};
    EXPECT_EQ(completion_port_submit_batch(stage_.port(), batch.data(), 2, nullptr), -ENOMEM);
    Record record;
    EXPECT_EQ(completion_port_wait(stage_.port(), &record, 1, 0), -ETIMEDOUT);
}

// Spec: CP-FAULT-2, CP-CANCEL-4, CP-TIMER-5
TEST_F(NoMemoryCalls, CancelAndMoveNeedASlotFromElsewhereAndNoneOnTheOwner) {
    const auto later = static_cast<uint64_t>(now_ns() + 2 * kHour_ns);
    EXPECT_EQ(completion_port_cancel(stage_.port(), timer_), -ENOMEM);
    EXPECT_EQ(completion_port_timer_move(stage_.port(), timer_, later), -ENOMEM);
    // The callback of the receive runs on the worker that owns the timer too.
    std::latch done(1);
    std::array<int, 2> codes{1, 1};
    write_all(pair_.theirs.get(), "hello");
    received_.wait(0);
    const auto move_and_cancel = [&](const Record&) {
        codes[0] = completion_port_timer_move(stage_.port(), timer_, later);
        codes[1] = completion_port_cancel(stage_.port(), timer_);
        done.count_down();
    };
    until_accepted([&] { return ledger_.post(0, move_and_cancel); });
    done.wait();
    EXPECT_EQ(codes[0], 0);
    EXPECT_EQ(codes[1], 0);
}

// Spec: CP-FAULT-2, CP-BAD-9
TEST_F(NoMemoryCalls, ANumberThatNeedsAPageOfItsOwnIsRefused) {
    const Descriptor high(::fcntl(pair_.ours.get(), F_DUPFD_CLOEXEC, 700));
    ASSERT_GE(high.get(), 700);
    EXPECT_FALSE(stage_.watch(high.get(), EPOLLIN));
    EXPECT_FALSE(stage_.remove_async(high.get()));
    EXPECT_EQ(ledger_.poll(high.get(), EPOLLIN), 0u);
    EXPECT_EQ(submit(COMPLETION_PORT_CLOSE_OPERATION{}, COMPLETION_PORT_KIND_CLOSE, high.get()),
              -ENOMEM);
    EXPECT_GE(::fcntl(high.get(), F_GETFD), 0);
    stage_.remove(high.get());
}

}  // namespace
}  // namespace cport::test
