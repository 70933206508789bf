// Calls from a thread whose cancellation has been requested and waits for a cancellation point.
#include <pthread.h>
#include <unistd.h>

#include <functional>
#include <utility>

#include "tests/contract/port_fixture.h"
#include "tests/contract/process_facts.h"

namespace cport::test {
namespace {

struct Call {
    std::function<void()> body;
    bool returned = false;
};

void* make_call(void* argument) {
    auto* call = static_cast<Call*>(argument);
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, nullptr);
    pthread_cancel(pthread_self());
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, nullptr);
    call->body();
    call->returned = true;
    pthread_testcancel();
    return nullptr;
}

class CancelTest : public PortTest {
 protected:
    // The worker sleeps, so that the call has to wake it.
    void call_from_a_cancelled_thread(std::function<void()> body) {
        pid_t worker = 0;
        run_on_worker([&] { worker = ::gettid(); });
        wait_until([&] { return is_asleep(worker); });
        Call call{std::move(body)};
        pthread_t thread{};
        ASSERT_EQ(pthread_create(&thread, nullptr, make_call, &call), 0);
        void* result = nullptr;
        ASSERT_EQ(pthread_join(thread, &result), 0);
        EXPECT_TRUE(call.returned);
        EXPECT_EQ(result, PTHREAD_CANCELED);
    }
};
CPORT_ON_EVERY_ENGINE(CancelTest);

// Spec: CP-ONCE-1
TEST_P(CancelTest, AnAddIsNotLost) {
    Pair& tcp = keep(tcp_pair());
    Operation& read = operation("?");
    int added = -1;
    call_from_a_cancelled_thread([&] { added = read.add(port(), EPOLLIN, tcp.ours.get()); });
    ASSERT_EQ(added, 0);
    write_all(tcp.theirs.get(), "x");
    EXPECT_EQ(read.wait(), received(1));
}

// Spec: CP-REMOVE-2 CP-ONCE-1
TEST_P(CancelTest, ARemoveTakesEffectBeforeItReturns) {
    Pair& tcp = keep(tcp_pair());
    Operation& pending = receive(tcp.ours.get(), 4);
    fence();
    bool ended_at_return = false;
    call_from_a_cancelled_thread([&] {
        completion_port_remove(port(), tcp.ours.get());
        ended_at_return = pending.completed();
    });
    ASSERT_TRUE(ended_at_return);
    EXPECT_EQ(pending.wait(), closing());
    // Nothing is left that would refuse the worker's own adds.
    Operation& again = operation("?");
    run_on_worker_of(tcp.ours.get(),
                     [&] { EXPECT_EQ(again.add(port(), EPOLLIN, tcp.ours.get()), 0); });
    write_all(tcp.theirs.get(), "x");
    EXPECT_EQ(again.wait(), received(1));
}

}  // namespace
}  // namespace cport::test
