// What the kernel says about this process.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <set>
#include <string>

namespace cport::test {

std::set<int> open_descriptors();
// Such as "anon_inode:[eventpoll]".
std::string descriptor_target(int descriptor);
// The flags of open(2) and FD_CLOEXEC as O_CLOEXEC.
int descriptor_flags(int descriptor);

std::set<pid_t> thread_ids();
// A field of /proc/self/task/<thread>/status, such as "SigBlk"; empty when the thread is gone.
std::string thread_status(pid_t thread, const std::string& field);
// Inside a system call that waits.
bool is_asleep(pid_t thread);

size_t mapping_count();
size_t resident_kib();

// Waits for something that gives no notice of itself; the test's own time limit bounds it.
void wait_until(const std::function<bool()>& holds);

}  // namespace cport::test
