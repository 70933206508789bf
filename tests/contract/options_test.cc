// Ports made to measure: what each option does.
#include <completionport/operations.h>
#include <completionport/options.h>
#include <errno.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <fstream>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/contract/options_fixture.h"
#include "tests/contract/process_facts.h"
#include "tests/contract/timing.h"

namespace cport::test {
namespace {

// Of the threads that are not among `others`.
std::multiset<std::string> worker_names(const std::set<pid_t>& others) {
    std::multiset<std::string> names;
    for (const pid_t thread : thread_ids()) {
        if (others.contains(thread)) continue;
        std::string name;
        std::ifstream file("/proc/self/task/" + std::to_string(thread) + "/comm");
        std::getline(file, name);
        names.insert(name);
    }
    return names;
}

std::set<int> cpus_of_this_thread() {
    cpu_set_t set;
    CPU_ZERO(&set);
    std::set<int> cpus;
    if (::sched_getaffinity(0, sizeof(set), &set) != 0) return cpus;
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
        if (CPU_ISSET(static_cast<size_t>(cpu), &set)) cpus.insert(cpu);
    }
    return cpus;
}

// The timeout in ms that a thread inside epoll_pwait gave; waits until it is there.
int32_t timeout_of_sleeper(pid_t thread) {
    for (;;) {
        std::ifstream file("/proc/self/task/" + std::to_string(thread) + "/syscall");
        long number = 0;
        std::array<std::string, 4> arguments;
        file >> number;
        for (std::string& argument : arguments) file >> argument;
        if (file && number == SYS_epoll_pwait) {
            return static_cast<int32_t>(std::stoull(arguments[3], nullptr, 16));
        }
        ::sched_yield();
    }
}

class OptionsPortTest : public OptionsTest {
 protected:
    // A sanitizer's own thread starts with the first of the program's.
    void SetUp() override {
        open();
        close();
    }

    // Receives through every worker: the port works.
    void expect_each_worker_receives(size_t workers) {
        std::set<pid_t> threads;
        for (size_t i = 0; i < workers; ++i) {
            Pair& pair = keep(unix_pair());
            write_all(pair.theirs.get(), "x");
            Operation& receive = operation("?");
            ASSERT_EQ(receive.add(port_, EPOLLIN, pair.ours.get()), 0);
            EXPECT_EQ(receive.wait(), received(1));
            threads.insert(receive.wait_for(1).thread);
        }
        EXPECT_EQ(threads.size(), workers);
    }
};

// Spec: CP-OPT-1
TEST_F(OptionsPortTest, ZeroIsTheDefaultOfEveryField) {
    const std::set<pid_t> before = thread_ids();
    open();
    EXPECT_EQ(thread_ids().size(), before.size() + 1);
    expect_each_worker_receives(1);
    wait_until([&] { return worker_names(before) == std::multiset<std::string>{"cport"}; });
}

// Spec: CP-NUMA-1, CP-NUMA-5
TEST_F(OptionsPortTest, EveryMachineHasNodeZero) {
    std::vector<int32_t> nodes(3, 0);
    options_.workers = 3;
    options_.worker_nodes = nodes.data();
    open();
    nodes.assign(3, INT32_MAX);  // it is read during the call only
    expect_each_worker_receives(3);
    close();
    nodes.assign(3, 0);
    options_.workers = 1;
    options_.flags = COMPLETION_PORT_OPTION_CALLER_DRIVEN;
    open();
    EXPECT_EQ(completion_port_post(port_, 0, 7, nullptr, nullptr), 0);
    COMPLETION_PORT_COMPLETION record{};
    EXPECT_EQ(completion_port_wait(port_, &record, 1, -1), 1);
    EXPECT_EQ(record.value, 7);
}

// Spec: CP-OPT-2
TEST_F(OptionsPortTest, AShorterStructureIsReadAsZeroBehindItsEnd) {
    options_.workers = 2;
    options_.name = "far too long a name";
    options_.idle_wait_ns = 1;
    options_.size = offsetof(COMPLETION_PORT_OPTIONS, worker_cpus);
    open();
    expect_each_worker_receives(2);
    close();
    options_.workers = 7;
    options_.size = 2 * sizeof(uint32_t);
    open();
    expect_each_worker_receives(1);
}

// Spec: CP-OPT-2
TEST_F(OptionsPortTest, ALongerStructureOfZeroesIsAccepted) {
    struct Longer {
        COMPLETION_PORT_OPTIONS known;
        char unknown[64];
    } longer{};
    longer.known.size = sizeof(longer);
    longer.known.workers = 2;
    port_ = completion_port_create_with_options(&longer.known);
    ASSERT_NE(port_, nullptr);
    expect_each_worker_receives(2);
}

// Spec: CP-OPT-4
TEST_F(OptionsPortTest, WorkersBearTheName) {
    std::string name = "abcdefghijkl";
    options_.name = name.data();
    options_.workers = 11;
    const std::set<pid_t> before = thread_ids();
    open();
    // The name was borrowed during the call only.
    name.assign(name.size(), 'x');
    std::multiset<std::string> expected;
    for (int i = 0; i < 11; ++i) expected.insert("abcdefghijkl-" + std::to_string(i));
    wait_until([&] { return worker_names(before) == expected; });
    close();
    const char* one = "alone";
    options_.name = one;
    options_.workers = 1;
    open();
    wait_until([&] { return worker_names(before) == std::multiset<std::string>{"alone"}; });
}

// Spec: CP-OPT-5
TEST_F(OptionsPortTest, WorkersRunOnTheirCpus) {
    const std::set<int> all = cpus_of_this_thread();
    std::vector<int32_t> cpus{*all.begin(), -1, *all.rbegin()};
    options_.workers = 3;
    options_.worker_cpus = cpus.data();
    open();
    cpus.assign(3, 12345);
    std::multiset<std::set<int>> expected{{*all.begin()}, all, {*all.rbegin()}};
    std::multiset<std::set<int>> found;
    for (int i = 0; i < 3; ++i) {
        Operation& turn = operation();
        turn.then([&](const Completion&) { found.insert(cpus_of_this_thread()); });
        ASSERT_EQ(turn.add(port_, EPOLLIN, keep(ready_eventfd()).get()), 0);
        turn.wait();
    }
    EXPECT_EQ(found, expected);
}

// Spec: CP-OPT-6
TEST_F(OptionsPortTest, AWorkerThatSpinsFindsWorkAndSleepsInTheEnd) {
    options_.spin_ns = 20 * kMillisecond_ns;
    options_.workers = 2;
    open();
    Pair& pair = keep(tcp_pair());
    std::set<pid_t> threads;
    for (int i = 0; i < 200; ++i) {
        Operation& receive = operation("?");
        ASSERT_EQ(receive.add(port_, EPOLLIN, pair.ours.get()), 0);
        write_all(pair.theirs.get(), "x");
        EXPECT_EQ(receive.wait(), received(1));
        threads.insert(receive.wait_for(1).thread);
    }
    ASSERT_EQ(threads.size(), 1u);
    wait_until([&] { return is_asleep(*threads.begin()); });
    Operation& last = operation("?");
    ASSERT_EQ(last.add(port_, EPOLLIN, pair.ours.get()), 0);
    write_all(pair.theirs.get(), "x");
    EXPECT_EQ(last.wait(), received(1));
}

// Spec: CP-OPT-10
TEST_F(OptionsPortTest, AnIdleWorkerSleepsAsLongAsItWasTold) {
    const std::pair<uint64_t, int32_t> waits[] = {
        {0, 2'000}, {kHour_ns, 3'600'000}, {COMPLETION_PORT_IDLE_WAIT_FOREVER, -1}};
    for (const auto& [idle_wait_ns, timeout_ms] : waits) {
        options_.idle_wait_ns = idle_wait_ns;
        open();
        Operation& turn = operation();
        ASSERT_EQ(turn.add(port_, EPOLLIN, keep(ready_eventfd()).get()), 0);
        const pid_t worker = turn.wait_for(1).thread;
        EXPECT_EQ(timeout_of_sleeper(worker), timeout_ms);
        close();
    }
}

// Spec: CP-OPT-8
TEST_F(OptionsPortTest, TheLimitOfOperationsIsReachedAndFreedAgain) {
    options_.operations_max = 512;
    open();
    Pair& pair = keep(tcp_pair());
    for (int round = 0; round < 3; ++round) {
        std::vector<Operation*> pending;
        int result = 0;
        for (;;) {
            Operation& receive = operation("?");
            result = receive.add(port_, EPOLLIN, pair.ours.get());
            if (result != 0) break;
            pending.push_back(&receive);
        }
        EXPECT_EQ(result, -ENOBUFS);
        EXPECT_LE(pending.size(), 512u);
        EXPECT_GE(pending.size(), round == 0 ? 512u : 1u);
        completion_port_remove(port_, pair.ours.get());
        for (Operation* receive : pending) EXPECT_TRUE(receive->completed());
    }
}

struct EndCounter {
    COMPLETION_PORT_HANDLE port = nullptr;
    std::atomic<int> ended{0};
    std::atomic<int> callbacks{0};
    std::atomic<int> callbacks_at_end{-1};
    std::atomic<pid_t> thread{0};
    Gate told;

    static void on_ended(void* context) {
        auto* counter = static_cast<EndCounter*>(context);
        counter->callbacks_at_end = counter->callbacks.load();
        counter->thread = ::gettid();
        ++counter->ended;
        if (counter->port != nullptr) completion_port_dec_ref(counter->port);
        counter->told.open();
    }
};

// Spec: CP-OPT-9
TEST_F(OptionsPortTest, OnEndedIsToldOnceAndLast) {
    for (const uint32_t workers : {1u, 2u, 5u}) {
        EndCounter counter;
        options_.workers = workers;
        options_.on_ended = &EndCounter::on_ended;
        options_.on_ended_context = &counter;
        open();
        constexpr int kAdds = 60;
        for (int i = 0; i < kAdds; ++i) {
            Operation& pending = operation("?");
            pending.then([&](const Completion&) { ++counter.callbacks; });
            ASSERT_EQ(pending.add(port_, EPOLLIN, keep(unix_pair()).ours.get()), 0);
        }
        EXPECT_EQ(counter.ended, 0);
        EXPECT_EQ(completion_port_shutdown(port_), 0);
        EXPECT_EQ(completion_port_shutdown(port_), 0);
        counter.told.wait();
        EXPECT_EQ(counter.callbacks_at_end, kAdds);
        EXPECT_NE(counter.thread, ::gettid());
        // Everything of the port has been said.
        COMPLETION_PORT_COMPLETION record;
        EXPECT_EQ(completion_port_wait(port_, &record, 1, -1), -ESHUTDOWN);
        close();
        EXPECT_EQ(counter.ended, 1);
    }
}

// Spec: CP-OPT-9
TEST_F(OptionsPortTest, TheLastReferenceReturnsAfterOnEnded) {
    for (int round = 0; round < scaled(300, 50); ++round) {
        EndCounter counter;
        options_.workers = 3;
        options_.on_ended = &EndCounter::on_ended;
        options_.on_ended_context = &counter;
        open();
        close();
        EXPECT_EQ(counter.ended, 1);
    }
}

// Spec: CP-OPT-9
TEST_F(OptionsPortTest, OnEndedMayGiveBackTheLastReference) {
    const std::set<int> descriptors = open_descriptors();
    const std::set<pid_t> threads = thread_ids();
    for (int round = 0; round < scaled(300, 50); ++round) {
        EndCounter counter;
        options_.workers = 3;
        options_.on_ended = &EndCounter::on_ended;
        options_.on_ended_context = &counter;
        open();
        counter.port = std::exchange(port_, nullptr);
        completion_port_inc_ref(counter.port);
        EXPECT_EQ(completion_port_shutdown(counter.port), 0);
        completion_port_dec_ref(counter.port);
        counter.told.wait();
        EXPECT_EQ(counter.ended, 1);
    }
    wait_until([&] { return thread_ids() == threads && open_descriptors() == descriptors; });
}

// Spec: CP-OPT-9
TEST_F(OptionsPortTest, OnEndedComesWhenTheLastReferenceGoesInACallback) {
    for (int round = 0; round < scaled(300, 50); ++round) {
        EndCounter counter;
        options_.workers = 3;
        options_.on_ended = &EndCounter::on_ended;
        options_.on_ended_context = &counter;
        open();
        Operation& last = operation();
        COMPLETION_PORT_HANDLE only = std::exchange(port_, nullptr);
        last.then([only](const Completion&) { completion_port_dec_ref(only); });
        Descriptor ready = ready_eventfd();
        ASSERT_EQ(last.add(only, EPOLLIN, ready.get()), 0);
        last.wait();
        counter.told.wait();
        EXPECT_EQ(counter.ended, 1);
    }
}

}  // namespace
}  // namespace cport::test
