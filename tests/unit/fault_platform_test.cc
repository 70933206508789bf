// The fault sweep stands on this decorator: what it does not notice, no sweep finds.
#include "tests/support/fault_platform.h"

#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

#include "platform/linux/linux_platform.h"

namespace cport::test {
namespace {

Fault on(Call call, int ordinal, Effect effect, int error = 0) {
    Fault fault;
    fault.call = call;
    fault.ordinal = ordinal;
    fault.effect = effect;
    fault.error = error;
    return fault;
}

TEST(FaultPlatform, FailsTheChosenCallAndNoOther) {
    FaultPlatform faults(platform::linux_platform(),
                         on(Call::kEventfdCreate, 2, Effect::kError, EMFILE));
    platform::Kernel& kernel = faults.platform().kernel;
    const int first = kernel.eventfd_create();
    EXPECT_GE(first, 0);
    EXPECT_FALSE(faults.fault_happened());
    EXPECT_EQ(kernel.eventfd_create(), -EMFILE);
    EXPECT_TRUE(faults.fault_happened());
    const int third = kernel.eventfd_create();
    EXPECT_GE(third, 0);
    EXPECT_EQ(faults.calls(Call::kEventfdCreate), 3);
    EXPECT_EQ(faults.holdings().descriptors, 2);
    kernel.close(first);
    kernel.close(third);
    EXPECT_TRUE(faults.holdings().empty());
}

TEST(FaultPlatform, FailsForGoodWhereAskedTo) {
    Fault fault = on(Call::kAllocate, 2, Effect::kNoMemory);
    fault.for_good = true;
    FaultPlatform faults(platform::linux_platform(), fault);
    platform::Memory& memory = faults.platform().memory;
    void* block = memory.allocate(64, 64);
    ASSERT_NE(block, nullptr);
    EXPECT_EQ(memory.allocate(64, 64), nullptr);
    EXPECT_EQ(memory.allocate(64, 64), nullptr);
    memory.release(block, 64);
    EXPECT_TRUE(faults.holdings().empty());
}

TEST(FaultPlatform, NoticesWhatIsLeft) {
    FaultPlatform faults(platform::linux_platform(), Fault{});
    const platform::Platform& machine = faults.platform();
    void* block = machine.memory.allocate(64, 64);
    const volatile uint32_t* mark = machine.memory.fork_mark_create();
    const int epoll = machine.kernel.epoll_create();
    pthread_t thread;
    ASSERT_EQ(machine.threads.start(
                  &thread, "test", -1, [](void*) {}, nullptr),
              0);
    faults.wait_for_threads();
    const Holdings left = faults.holdings();
    EXPECT_EQ(left.memory_blocks, 1);
    EXPECT_EQ(left.fork_marks, 1);
    EXPECT_EQ(left.descriptors, 1);
    EXPECT_EQ(left.threads_running, 0);
    EXPECT_EQ(left.threads_unclaimed, 1);
    machine.threads.join(thread);
    machine.kernel.close(epoll);
    machine.memory.fork_mark_destroy(mark);
    machine.memory.release(block, 64);
    EXPECT_TRUE(faults.holdings().empty());
    EXPECT_TRUE(faults.breaches().empty());
}

TEST(FaultPlatform, NoticesWhatIsNotTheCoresToGive) {
    FaultPlatform faults(platform::linux_platform(), Fault{});
    const int foreign = ::eventfd(0, EFD_CLOEXEC);
    EXPECT_EQ(faults.platform().kernel.close(foreign), -EBADF);
    EXPECT_EQ(faults.breaches().size(), 1u);
    EXPECT_EQ(::close(foreign), 0);  // it was left open
    uint64_t block = 0;
    faults.platform().memory.release(&block, sizeof(block));
    EXPECT_EQ(faults.breaches().size(), 2u);
}

TEST(FaultPlatform, TellsAcceptedAndEntrustedDescriptorsFromItsOwn) {
    FaultPlatform faults(platform::linux_platform(), Fault{});
    platform::Kernel& kernel = faults.platform().kernel;
    const int listener = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int client = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    auto* where = reinterpret_cast<struct sockaddr*>(&address);
    socklen_t length = sizeof(address);
    ASSERT_EQ(::bind(listener, where, sizeof(sa_family_t)), 0);
    ASSERT_EQ(::listen(listener, 2), 0);
    ASSERT_EQ(::getsockname(listener, where, &length), 0);
    ASSERT_EQ(::connect(client, where, length), 0);
    const int accepted = kernel.accept(listener, nullptr, nullptr, 0);
    ASSERT_GE(accepted, 0);
    EXPECT_EQ(faults.holdings().descriptors, 1);
    EXPECT_TRUE(faults.take_over(accepted));
    EXPECT_FALSE(faults.take_over(accepted));
    EXPECT_TRUE(faults.holdings().empty());
    EXPECT_EQ(kernel.close(accepted), -EBADF);
    EXPECT_EQ(faults.breaches().size(), 1u);
    faults.ask_to_close(accepted);
    EXPECT_EQ(faults.holdings().asked_to_close, 1);
    EXPECT_EQ(kernel.close(accepted), 0);
    EXPECT_FALSE(faults.take_back(accepted));
    EXPECT_TRUE(faults.holdings().empty());
    EXPECT_EQ(faults.breaches().size(), 1u);
    ::close(client);
    ::close(listener);
}

TEST(FaultPlatform, AFailingCloseClosesAllTheSame) {
    FaultPlatform faults(platform::linux_platform(), on(Call::kClose, 1, Effect::kError, EINTR));
    const int descriptor = faults.platform().kernel.eventfd_create();
    EXPECT_EQ(faults.platform().kernel.close(descriptor), -EINTR);
    EXPECT_TRUE(faults.holdings().empty());
}

TEST(FaultPlatform, InventsEventsOfWhatIsRegistered) {
    FaultPlatform faults(platform::linux_platform(), on(Call::kEpollWait, 1, Effect::kFalseEvent));
    platform::Kernel& kernel = faults.platform().kernel;
    const int epoll = kernel.epoll_create();
    const int descriptor = kernel.eventfd_create();
    ASSERT_EQ(kernel.epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, EPOLLIN | EPOLLET, 42), 0);
    struct epoll_event events[4];
    ASSERT_EQ(kernel.epoll_wait(epoll, events, 4, 0), 1);
    EXPECT_EQ(events[0].data.u64, 42u);
    EXPECT_EQ(kernel.epoll_wait(epoll, events, 4, 0), 0);
    kernel.close(descriptor);
    kernel.close(epoll);
}

}  // namespace
}  // namespace cport::test
