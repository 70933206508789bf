// Creation, references, and what a port leaves behind.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <set>
#include <string>

#include "tests/contract/port_fixture.h"
#include "tests/contract/process_facts.h"

namespace cport::test {
namespace {

template <typename Element>
std::set<Element> added_since(const std::set<Element>& before, const std::set<Element>& now) {
    std::set<Element> added;
    std::set_difference(now.begin(), now.end(), before.begin(), before.end(),
                        std::inserter(added, added.end()));
    return added;
}

class CreateTest : public PortTest {};
CPORT_ON_EVERY_ENGINE(CreateTest);

// Spec: CP-CREATE-1
TEST_P(CreateTest, OpensOneEpollInstanceForEachWorkerThatItStarts) {
    const std::set<int> descriptors = open_descriptors();
    const std::set<pid_t> threads = thread_ids();
    COMPLETION_PORT_HANDLE another = GetParam().create();
    ASSERT_NE(another, nullptr);
    const std::set<int> opened = added_since(descriptors, open_descriptors());
    const auto is_epoll = [](int fd) { return descriptor_target(fd) == "anon_inode:[eventpoll]"; };
    const auto instances = std::count_if(opened.begin(), opened.end(), is_epoll);
    EXPECT_EQ(static_cast<size_t>(instances), GetParam().workers);
    EXPECT_EQ(added_since(threads, thread_ids()).size(), GetParam().workers);
    completion_port_dec_ref(another);
}

// Spec: CP-CREATE-2
TEST_P(CreateTest, FailsWithErrnoAndLeavesNothingBehindWhenDescriptorsRunOut) {
    rlimit usual{};
    ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &usual), 0);
    const std::set<int> before = open_descriptors();
    const std::set<pid_t> threads = thread_ids();
    const int first_free = *before.rbegin() + 1;
    COMPLETION_PORT_HANDLE created = nullptr;
    int refusals = 0;
    for (int allowed = 0; allowed < 16 && created == nullptr; ++allowed) {
        const rlimit few{static_cast<rlim_t>(first_free + allowed), usual.rlim_max};
        // Numbers below the highest open one are free too: they are taken first.
        std::vector<Descriptor> holes;
        while (true) {
            Descriptor hole = idle_eventfd();
            if (hole.get() >= first_free) {
                break;
            }
            holes.push_back(std::move(hole));
        }
        ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
        errno = 0;
        created = GetParam().create();
        const int error = errno;
        ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &usual), 0);
        holes.clear();
        if (created == nullptr) {
            ++refusals;
            EXPECT_EQ(error, EMFILE);
            EXPECT_EQ(open_descriptors(), before);
        }
    }
    ASSERT_NE(created, nullptr);
    EXPECT_GT(refusals, 0);
    completion_port_dec_ref(created);
    EXPECT_EQ(open_descriptors(), before);
    wait_until([&] { return thread_ids() == threads; });
}

// Spec: CP-CREATE-3
TEST_P(CreateTest, OpensDescriptorsCloseOnExec) {
    const std::set<int> before = open_descriptors();
    COMPLETION_PORT_HANDLE another = GetParam().create();
    ASSERT_NE(another, nullptr);
    const std::set<int> opened = added_since(before, open_descriptors());
    EXPECT_FALSE(opened.empty());
    for (int descriptor : opened) {
        EXPECT_NE(descriptor_flags(descriptor) & O_CLOEXEC, 0) << descriptor_target(descriptor);
    }
    completion_port_dec_ref(another);
}

// Spec: CP-CREATE-4
TEST_P(CreateTest, WorkerBlocksEverySignalButTheSynchronousFaults) {
    pid_t worker = 0;
    run_on_worker([&] { worker = gettid(); });
    const uint64_t blocked = std::strtoull(thread_status(worker, "SigBlk").c_str(), nullptr, 16);
    const std::set<int> faults = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS};
    for (int signal = 1; signal <= 64; ++signal) {
        const bool is_blocked = (blocked >> (signal - 1) & 1) != 0;
        // The kernel blocks neither SIGKILL nor SIGSTOP; 32 and 33 belong to the C library.
        if (signal == SIGKILL || signal == SIGSTOP || signal == 32 || signal == 33) {
            continue;
        }
        EXPECT_EQ(is_blocked, !faults.contains(signal)) << "signal " << signal;
    }
}

// Spec: CP-REF-1
TEST_P(CreateTest, ReferencesAreCountedAndNullIsIgnored) {
    completion_port_inc_ref(nullptr);
    completion_port_dec_ref(nullptr);
    completion_port_inc_ref(port());
    completion_port_dec_ref(port());
    Pair& tcp = keep(tcp_pair());
    write_all(tcp.theirs.get(), "still here");
    EXPECT_EQ(receive(tcp.ours.get(), 64).wait(), received(10));
}

// Spec: CP-REF-2
TEST_P(CreateTest, LastReferenceOutsideCallbacksFreesEverythingBeforeItReturns) {
    const std::set<int> descriptors = open_descriptors();
    const std::set<pid_t> threads = thread_ids();
    COMPLETION_PORT_HANDLE another = GetParam().create();
    ASSERT_NE(another, nullptr);
    Pair tcp = tcp_pair();
    Operation& pending = operation("?");
    ASSERT_EQ(pending.add(another, EPOLLIN, tcp.ours.get()), 0);
    completion_port_dec_ref(another);
    EXPECT_TRUE(pending.completed());
    tcp = Pair{};
    EXPECT_EQ(open_descriptors(), descriptors);
    // A joined thread leaves /proc a moment after pthread_join has returned.
    wait_until([&] { return thread_ids() == threads; });
}

// Spec: CP-REF-3
TEST_P(CreateTest, LastReferenceInsideOwnCallbackIsGivenBackByTheLastWorker) {
    const std::set<pid_t> threads = thread_ids();
    const std::set<int> descriptors = open_descriptors();
    Descriptor ready = ready_eventfd();
    COMPLETION_PORT_HANDLE another = GetParam().create();
    ASSERT_NE(another, nullptr);
    Gate reference_given;
    Operation& last = operation();
    last.then([&](const Completion&) {
        reference_given.wait();
        completion_port_dec_ref(another);
    });
    ASSERT_EQ(last.add(another, EPOLLIN, ready.get()), 0);
    reference_given.open();
    EXPECT_EQ(last.wait(), ready_to_read());
    ready.close();
    wait_until([&] { return thread_ids() == threads && open_descriptors() == descriptors; });
}

// Spec: CP-REF-3
TEST_P(CreateTest, LastReferenceInsideAnotherPortsCallbackReturnsAtOnce) {
    COMPLETION_PORT_HANDLE another = GetParam().create();
    ASSERT_NE(another, nullptr);
    // The other port's worker is inside a callback that ends only after dec_ref has returned.
    Descriptor& ready = keep(ready_eventfd());
    Gate entered;
    Gate returned;
    Operation& busy = operation();
    busy.then([&](const Completion&) {
        entered.open();
        returned.wait();
    });
    ASSERT_EQ(busy.add(another, EPOLLIN, ready.get()), 0);
    entered.wait();
    run_on_worker([&] {
        completion_port_dec_ref(another);
        returned.open();
    });
    EXPECT_EQ(busy.wait(), ready_to_read());
}

// Spec: CP-END-3
TEST_P(CreateTest, IdleWorkerIsWokenByTheLastReference) {
    // A worker that slept its 2 seconds out would overrun this test's time limit many times.
    const int kCycles = scaled(1000, 200);
    Pair& pair = keep(unix_pair());
    for (int i = 0; i < kCycles; ++i) {
        COMPLETION_PORT_HANDLE another = GetParam().create();
        ASSERT_NE(another, nullptr);
        Operation& turn = operation("?");
        ASSERT_EQ(turn.add(another, EPOLLIN, pair.ours.get()), 0);
        write_all(pair.theirs.get(), "1");
        const pid_t worker = turn.wait_for(1).thread;
        wait_until([&] { return is_asleep(worker); });
        completion_port_dec_ref(another);
    }
}

// Spec: CP-END-5
TEST_P(CreateTest, ManyCyclesOfCreateAndDestroyLeaveTheProcessAsItWas) {
    constexpr int kWarmUp = 200;
    // Fewer where each costs more: the promise is of a port of one worker.
    const int kCycles = scaled(100'000, 2'000) / (GetParam().workers == 1 ? 1 : 10);
    const auto cycle = [&] {
        COMPLETION_PORT_HANDLE another = GetParam().create();
        ASSERT_NE(another, nullptr);
        completion_port_dec_ref(another);
    };
    for (int i = 0; i < kWarmUp; ++i) {
        cycle();
    }
    const std::set<int> descriptors = open_descriptors();
    const size_t mappings = mapping_count();
    const size_t resident = resident_kib();
    for (int i = 0; i < kCycles; ++i) {
        cycle();
    }
    EXPECT_EQ(open_descriptors(), descriptors);
    // A few are thread stacks and heap arenas that the C library keeps for later.
    EXPECT_LE(mapping_count(), mappings + 64);
    if (!kSanitized) {
        EXPECT_LE(resident_kib(), resident + 4096);
    }
}

}  // namespace
}  // namespace cport::test
