#include "tests/contract/process_facts.h"

#include <dirent.h>
#include <sched.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <string>

namespace cport::test {
namespace {

// The names in a folder of /proc that are numbers, without the descriptor that reads the folder.
std::set<int> numbers_in(const char* folder) {
    std::set<int> numbers;
    DIR* directory = ::opendir(folder);
    if (directory == nullptr) {
        std::abort();
    }
    while (const dirent* entry = ::readdir(directory)) {
        if (entry->d_name[0] != '.') {
            numbers.insert(std::atoi(entry->d_name));
        }
    }
    const int own = ::dirfd(directory);
    ::closedir(directory);
    if (std::string(folder).ends_with("/fd")) {
        numbers.erase(own);
    }
    return numbers;
}

// The rest of the line that starts with `field` and a colon.
std::string field_of(const std::string& path, const std::string& field) {
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
        if (line.starts_with(field + ":")) {
            const size_t start = line.find_first_not_of(" \t", field.size() + 1);
            return start == std::string::npos ? std::string() : line.substr(start);
        }
    }
    return {};
}

}  // namespace

std::set<int> open_descriptors() { return numbers_in("/proc/self/fd"); }

std::string descriptor_target(int descriptor) {
    std::array<char, 256> target{};
    const std::string link = "/proc/self/fd/" + std::to_string(descriptor);
    const ssize_t length = ::readlink(link.c_str(), target.data(), target.size());
    return length < 0 ? std::string() : std::string(target.data(), static_cast<size_t>(length));
}

int descriptor_flags(int descriptor) {
    const std::string path = "/proc/self/fdinfo/" + std::to_string(descriptor);
    return static_cast<int>(std::strtol(field_of(path, "flags").c_str(), nullptr, 8));
}

std::set<pid_t> thread_ids() { return numbers_in("/proc/self/task"); }

std::string thread_status(pid_t thread, const std::string& field) {
    return field_of("/proc/self/task/" + std::to_string(thread) + "/status", field);
}

bool is_asleep(pid_t thread) { return thread_status(thread, "State").starts_with("S"); }

size_t mapping_count() {
    std::ifstream file("/proc/self/maps");
    size_t lines = 0;
    for (std::string line; std::getline(file, line);) {
        ++lines;
    }
    return lines;
}

size_t resident_kib() {
    return std::strtoul(field_of("/proc/self/status", "VmRSS").c_str(), nullptr, 10);
}

void wait_until(const std::function<bool()>& holds) {
    while (!holds()) {
        ::sched_yield();
    }
}

}  // namespace cport::test
