// What this machine makes of wishes for memory on a node, and one that denies them.
#include <completionport/completions.h>
#include <gtest/gtest.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <numaif.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "platform/linux/linux_platform.h"
#include "runtime/abi/handle.h"
#include "runtime/operation/slab.h"
#include "runtime/port/worker_homes.h"

namespace cport {
namespace {

using platform::Numa;

// What the kernel was told of the page at that address: a policy, and node 0 or not.
std::pair<int, bool> policy_at(const void* address) {
    int mode = -1;
    std::array<unsigned long, 16> nodes{};
    EXPECT_EQ(::get_mempolicy(&mode, nodes.data(), 1024, const_cast<void*>(address), MPOL_F_ADDR),
              0);
    return {mode, (nodes[0] & 1) != 0};
}

class NumaOnThisMachine : public ::testing::Test {
 protected:
    static constexpr size_t kBytes = 1u << 20;
    static const platform::Platform& machine() { return platform::linux_platform(); }
    static Numa& numa() { return *machine().numa; }

    void SetUp() override {
        page_ = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
        memory_ = static_cast<char*>(machine().memory.allocate(kBytes, 64));
        ASSERT_NE(memory_, nullptr);
    }
    void TearDown() override { machine().memory.release(memory_, kBytes); }

    size_t page_ = 0;
    char* memory_ = nullptr;
};

const std::pair<int, bool> kDefault{MPOL_DEFAULT, false};
const std::pair<int, bool> kOnNode0{MPOL_PREFERRED, true};

// Spec: CP-NUMA-1, CP-NUMA-6
TEST_F(NumaOnThisMachine, TheKernelIsTold) {
    EXPECT_EQ(policy_at(memory_), kDefault);
    numa().prefer(memory_ + 1, 4 * page_, 0);
    EXPECT_EQ(policy_at(memory_), kDefault);
    EXPECT_EQ(policy_at(memory_ + page_), kOnNode0);
    EXPECT_EQ(policy_at(memory_ + 3 * page_), kOnNode0);
    EXPECT_EQ(policy_at(memory_ + 4 * page_), kDefault);
    numa().prefer(memory_ + 5 * page_ + 1, page_, 0);
    EXPECT_EQ(policy_at(memory_ + 5 * page_), kDefault);
    EXPECT_EQ(policy_at(memory_ + 6 * page_), kDefault);
}

// Spec: CP-NUMA-6
TEST_F(NumaOnThisMachine, AWishThatIsNotGrantedChangesNothing) {
    for (const int node : {-1, 1023, 1024, INT32_MAX}) {
        numa().prefer(memory_, kBytes, node);
        EXPECT_EQ(policy_at(memory_), kDefault) << node;
    }
}

// Spec: CP-NUMA-2, CP-NUMA-3
TEST_F(NumaOnThisMachine, KnowsItsNodesAndCpus) {
    for (const int node : {-1, 1023, 1024, INT32_MAX}) EXPECT_FALSE(numa().has_node(node)) << node;
    unsigned cpu = 0;
    unsigned node = 0;
    ASSERT_EQ(::getcpu(&cpu, &node), 0);
    // Which node is whose is read there.
    const bool has_sys = ::access("/sys/devices/system/node", R_OK) == 0;
    EXPECT_EQ(numa().node_of_cpu(static_cast<int>(cpu)),
              has_sys ? static_cast<int>(node) : Numa::kAnyNode);
    EXPECT_TRUE(numa().has_node(static_cast<int>(node)));
    for (const int none : {-1, CPU_SETSIZE - 1, CPU_SETSIZE, INT32_MAX}) {
        EXPECT_EQ(numa().node_of_cpu(none), Numa::kAnyNode) << none;
    }
}

// Spec: CP-NUMA-1, CP-NUMA-4
TEST_F(NumaOnThisMachine, APortsMemoryIsAskedForThere) {
    const int32_t node = 0;
    PortOptions options;
    options.nodes = &node;
    int error = 0;
    Slab slab(machine().memory, Slab::kSlotsMax, 0, nullptr, home_of_worker(machine(), options, 0));
    const Operation* slot = slab.take(error);
    ASSERT_NE(slot, nullptr);
    EXPECT_EQ(policy_at(slot), kOnNode0);
    Slab anywhere(machine().memory);
    EXPECT_EQ(policy_at(anywhere.take(error)), kDefault);
}

int deny(unsigned error) {
    std::array<sock_filter, 5> steps = {{
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_get_mempolicy, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_mbind, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    }};
    const sock_fprog filter = {steps.size(), steps.data()};
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return errno;
    return ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter);
}

// What is wrong in a process that the kernel denies NUMA: 0 for nothing.
int fault_where_denied(unsigned error, void* memory, size_t bytes) {
    Numa& numa = *platform::linux_platform().numa;
    if (deny(error) != 0) return 1;
    if (::get_mempolicy(nullptr, nullptr, 0, nullptr, 0) == 0) return 2;
    if (!numa.has_node(0) || numa.has_node(1) || numa.has_node(-1)) return 3;
    if (numa.node_of_cpu(0) != Numa::kAnyNode) return 4;
    numa.prefer(memory, bytes, 0);
    PortOptions options;
    int32_t node = 1;
    options.nodes = &node;
    if (check_nodes(platform::linux_platform(), options) != -EINVAL) return 5;
    node = 0;
    COMPLETION_PORT_HANDLE port = create_handle(platform::linux_platform(), options);
    if (port == nullptr) return 6;
    if (completion_port_post(port, 0, 7, nullptr, nullptr) != 0) return 7;
    COMPLETION_PORT_COMPLETION record{};
    if (completion_port_wait(port, &record, 1, -1) != 1 || record.value != 7) return 8;
    completion_port_dec_ref(port);
    return 0;
}

// Spec: CP-NUMA-5
TEST_F(NumaOnThisMachine, WhereItIsDeniedThereIsNodeZeroAlone) {
    for (const unsigned error : {unsigned{ENOSYS}, unsigned{EPERM}}) {
        const pid_t child = ::fork();
        if (child == 0) ::_exit(fault_where_denied(error, memory_, kBytes));
        int status = -1;
        ASSERT_EQ(::waitpid(child, &status, 0), child);
        EXPECT_EQ(status, 0) << "exit status " << WEXITSTATUS(status);
    }
}

}  // namespace
}  // namespace cport
