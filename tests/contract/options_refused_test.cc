// Options that are out of range, and ports that cannot be made: nothing is left behind.
#include <errno.h>
#include <sched.h>
#include <sys/resource.h>

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "tests/contract/options_fixture.h"
#include "tests/contract/process_facts.h"
#include "tests/contract/timing.h"

namespace cport::test {
namespace {

void never_ended(void*) { ADD_FAILURE() << "no port was made"; }

class OptionsRefusedTest : public OptionsTest {
 protected:
    OptionsRefusedTest() { options_.on_ended = &never_ended; }

    // errno, or 0 where a port was made, which is ended at once.
    static int error_of(const COMPLETION_PORT_OPTIONS& options) {
        errno = 0;
        COMPLETION_PORT_HANDLE made = completion_port_create_with_options(&options);
        const int error = errno;
        if (made == nullptr) return error;
        completion_port_dec_ref(made);
        return 0;
    }
    int error_with(const std::function<void(COMPLETION_PORT_OPTIONS&)>& set) {
        COMPLETION_PORT_OPTIONS options = options_;
        set(options);
        return error_of(options);
    }
    int accepted_with(const std::function<void(COMPLETION_PORT_OPTIONS&)>& set) {
        COMPLETION_PORT_OPTIONS options = options_;
        options.on_ended = nullptr;
        set(options);
        return error_of(options);
    }
};

using Options = COMPLETION_PORT_OPTIONS;

// Spec: CP-OPT-3
TEST_F(OptionsRefusedTest, FieldsOutOfRange) {
    errno = 0;
    EXPECT_EQ(completion_port_create_with_options(nullptr), nullptr);
    EXPECT_EQ(errno, EINVAL);
    EXPECT_EQ(error_with([](Options& its) { its.size = 0; }), EINVAL);
    EXPECT_EQ(error_with([](Options& its) { its.size = 7; }), EINVAL);
    EXPECT_EQ(error_with([](Options& its) { its.flags = 1u << 31; }), EINVAL);
    EXPECT_EQ(error_with([](Options& its) { its.engine = 99; }), EINVAL);
    EXPECT_EQ(error_with([](Options& its) { its.workers = 65; }), EINVAL);
    EXPECT_EQ(error_with([](Options& its) { its.workers = UINT32_MAX; }), EINVAL);
    EXPECT_EQ(error_with([](Options& its) { its.name = "thirteen char"; }), EINVAL);
    EXPECT_EQ(error_with([](Options& its) { its.spin_ns = kSecond_ns + 1; }), EINVAL);
    EXPECT_EQ(error_with([](Options& its) { its.spin_ns = UINT64_MAX; }), EINVAL);
    EXPECT_EQ(error_with([](Options& its) { its.idle_wait_ns = 1; }), EINVAL);
    EXPECT_EQ(error_with([](Options& its) { its.idle_wait_ns = 999'999; }), EINVAL);
    EXPECT_EQ(error_with([](Options& its) { its.idle_wait_ns = UINT64_MAX - 1; }), EINVAL);
    EXPECT_EQ(error_with([](Options& its) { its.operations_max = (1u << 20) + 1; }), EINVAL);
    EXPECT_EQ(error_with([](Options& its) { its.sockets_max = (1u << 24) + 1; }), EINVAL);
    EXPECT_EQ(error_with([](Options& its) { its.mailbox_max = (1u << 20) + 1; }), EINVAL);
    EXPECT_EQ(error_with([](Options& its) { its.file_threads = 65; }), EINVAL);
    EXPECT_EQ(error_with([](Options& its) { its.waiters_running_max = 1025; }), EINVAL);
}

// Spec: CP-OPT-3
TEST_F(OptionsRefusedTest, TheLastValuesWithinEachRange) {
    EXPECT_EQ(accepted_with([](Options& its) { its.engine = COMPLETION_PORT_ENGINE_EPOLL; }), 0);
    EXPECT_EQ(accepted_with([](Options& its) { its.workers = 64; }), 0);
    EXPECT_EQ(accepted_with([](Options& its) { its.name = "twelve chars"; }), 0);
    EXPECT_EQ(accepted_with([](Options& its) { its.name = ""; }), 0);
    EXPECT_EQ(accepted_with([](Options& its) { its.spin_ns = kSecond_ns; }), 0);
    EXPECT_EQ(accepted_with([](Options& its) { its.idle_wait_ns = kMillisecond_ns; }), 0);
    EXPECT_EQ(accepted_with([](Options& its) { its.idle_wait_ns = INT64_MAX; }), 0);
    EXPECT_EQ(accepted_with([](Options& its) { its.idle_wait_ns = UINT64_MAX; }), 0);
    EXPECT_EQ(accepted_with([](Options& its) { its.file_threads = 64; }), 0);
    EXPECT_EQ(accepted_with([](Options& its) { its.waiters_running_max = 1024; }), 0);
    EXPECT_EQ(accepted_with([](Options& its) { its.sockets_max = 1u << 24; }), 0);
    EXPECT_EQ(accepted_with([](Options& its) { its.mailbox_max = 1u << 20; }), 0);
    EXPECT_EQ(accepted_with([](Options& its) { its.operations_max = 1; }), 0);
    EXPECT_EQ(accepted_with([](Options& its) { its.operations_max = 1u << 20; }), 0);
}

// Spec: CP-OPT-2
TEST_F(OptionsRefusedTest, ALongerStructureWithBytesThatNobodyKnows) {
    struct Longer {
        COMPLETION_PORT_OPTIONS known;
        char unknown[64];
    } longer{};
    longer.known = options_;
    longer.known.size = sizeof(longer);
    for (const size_t place : {size_t{0}, size_t{31}, size_t{63}}) {
        longer.unknown[place] = 1;
        EXPECT_EQ(error_of(longer.known), E2BIG);
        longer.unknown[place] = 0;
    }
}

// Spec: CP-OPT-5, CP-OPT-7
TEST_F(OptionsRefusedTest, ABadCpuLeavesNothingBehind) {
    const std::set<int> descriptors = open_descriptors();
    const std::set<pid_t> threads = thread_ids();
    cpu_set_t own;
    ASSERT_EQ(::sched_getaffinity(0, sizeof(own), &own), 0);
    int good = 0;
    while (!CPU_ISSET(static_cast<size_t>(good), &own)) ++good;
    for (const int32_t bad : {INT32_MAX, CPU_SETSIZE, CPU_SETSIZE - 1}) {
        for (size_t place = 0; place < 4; ++place) {
            std::vector<int32_t> cpus(4, good);
            cpus[place] = bad;
            const int error = error_with([&](Options& its) {
                its.workers = 4;
                its.worker_cpus = cpus.data();
            });
            EXPECT_EQ(error, EINVAL) << "CPU " << bad << " of worker " << place;
            EXPECT_EQ(open_descriptors(), descriptors);
            wait_until([&] { return thread_ids() == threads; });
        }
    }
}

// Spec: CP-OPT-5
TEST_F(OptionsRefusedTest, OnlyMinusOneIsAnyCpu) {
    for (const int32_t cpu : {-2, INT32_MIN}) {
        COMPLETION_PORT_OPTIONS options = options_;
        options.on_ended = nullptr;
        options.worker_cpus = &cpu;
        EXPECT_EQ(error_of(options), EINVAL) << cpu;
    }
}

// Spec: CP-NUMA-3
TEST_F(OptionsRefusedTest, ANodeThatThereIsNot) {
    const std::set<int> descriptors = open_descriptors();
    const std::set<pid_t> threads = thread_ids();
    for (const int32_t bad : {-2, INT32_MIN, 1023, 1024, INT32_MAX}) {
        for (size_t place = 0; place < 2; ++place) {
            std::vector<int32_t> nodes(2, -1);
            nodes[place] = bad;
            const int error = error_with([&](Options& its) {
                its.workers = 2;
                its.worker_nodes = nodes.data();
            });
            EXPECT_EQ(error, EINVAL) << "node " << bad << " of worker " << place;
            EXPECT_EQ(open_descriptors(), descriptors);
            EXPECT_EQ(thread_ids(), threads);
        }
    }
}

// Spec: CP-OPT-7
TEST_F(OptionsRefusedTest, NoDescriptorsForTheLaterWorkers) {
    const std::set<int> before = open_descriptors();
    const std::set<pid_t> threads = thread_ids();
    rlimit usual{};
    ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &usual), 0);
    // Numbers below the highest open one are taken first.
    std::vector<Descriptor> holes;
    do {
        holes.push_back(idle_eventfd());
    } while (holes.back().get() < *before.rbegin());
    const int first_free = holes.back().get() + 1;
    const std::set<int> filled = open_descriptors();
    // UBSan needs descriptors of its own to check a member call, so none is made at the limit.
    COMPLETION_PORT_OPTIONS four = options_;
    four.workers = 4;
    for (int allowed = 0; allowed < 8; ++allowed) {
        const rlimit few{static_cast<rlim_t>(first_free + allowed), usual.rlim_max};
        ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
        const int error = error_of(four);
        ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &usual), 0);
        EXPECT_EQ(error, EMFILE) << allowed;
        EXPECT_EQ(open_descriptors(), filled);
    }
    EXPECT_EQ(thread_ids(), threads);
}

}  // namespace
}  // namespace cport::test
