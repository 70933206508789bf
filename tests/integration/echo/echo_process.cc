#include "tests/integration/echo/echo_process.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

namespace cport::testing {
namespace {

constexpr int kLooksAsleep = 100;
constexpr std::chrono::seconds kGiveUp{60};
// What the library calls its threads.
constexpr const char* kWorkerName = "cport";
constexpr const char* kListening = "listening on ";

std::vector<std::string> serve_command(const std::string& listen,
                                       const std::vector<std::string>& arguments) {
    std::vector<std::string> all{"serve", "--listen", listen};
    const char* engine = std::getenv("ECHO_TEST_ENGINE");
    if (engine != nullptr) all.insert(all.end(), {"--engine", engine});
    all.insert(all.end(), arguments.begin(), arguments.end());
    return echo_command(all);
}

std::string proc_path(pid_t pid, const std::string& name) {
    return "/proc/" + std::to_string(pid) + "/" + name;
}

// Of each thread of a process, by its number.
using Switches = std::map<std::string, uint64_t>;

// How often each thread was given a processor; nothing if one of them has it or wants it.
Switches switches_if_all_sleep(pid_t pid) {
    Switches switches;
    for (const auto& thread : std::filesystem::directory_iterator(proc_path(pid, "task"))) {
        std::ifstream file(thread.path() / "status");
        uint64_t& sum = switches[thread.path().filename()];
        std::string word;
        while (file >> word) {
            std::string state;
            uint64_t count = 0;
            if (word == "State:" && file >> state && state != "S") return {};
            if (word.find("voluntary_ctxt_switches:") != std::string::npos && file >> count) {
                sum += count;
            }
        }
    }
    return switches;
}

}  // namespace

std::vector<std::string> echo_command(const std::vector<std::string>& arguments) {
    std::vector<std::string> command{CPORT_ECHO_PROGRAM};
    command.insert(command.end(), arguments.begin(), arguments.end());
    return command;
}

EchoServerProcess::EchoServerProcess(const std::vector<std::string>& arguments,
                                     const std::string& listen)
    : process_(serve_command(listen, arguments)) {
    const std::string line = process_.read_output_line();
    EXPECT_EQ(line.rfind(kListening, 0), 0U) << line << process_.read_error();
    url_ = line.substr(std::min(line.size(), std::string(kListening).size()));
}

std::string EchoServerProcess::stop() {
    process_.signal(SIGTERM);
    const std::string output = process_.read_output();
    EXPECT_EQ(process_.wait(), 0) << output << process_.read_error();
    const size_t end = output.find_last_not_of('\n');
    const size_t begin = output.rfind('\n', end);
    return output.substr(begin == std::string::npos ? 0 : begin + 1);
}

uint64_t EchoServerProcess::resident_kib() const {
    std::ifstream file(proc_path(process_.pid(), "status"));
    std::string word;
    while (file >> word) {
        if (word == "VmRSS:") {
            uint64_t value = 0;
            file >> value;
            return value;
        }
    }
    ADD_FAILURE() << "no VmRSS";
    return 0;
}

std::string EchoServerProcess::counts() {
    process_.signal(SIGUSR1);
    return process_.read_output_line();
}

// A thread that spins never sleeps. One that ran between two looks, and slept again, was switched
// to in between.
void EchoServerProcess::expect_falls_asleep() const {
    const auto deadline = std::chrono::steady_clock::now() + kGiveUp;
    Switches before;
    int equal_looks = 0;
    while (equal_looks < kLooksAsleep && std::chrono::steady_clock::now() < deadline) {
        const Switches now = switches_if_all_sleep(process_.pid());
        equal_looks = !now.empty() && now == before ? equal_looks + 1 : 0;
        before = now;
    }
    EXPECT_EQ(equal_looks, kLooksAsleep) << "it does not sleep";
}

uint64_t EchoServerProcess::worker_sleeps() const {
    uint64_t sum = 0;
    int workers = 0;
    for (const auto& thread :
         std::filesystem::directory_iterator(proc_path(process_.pid(), "task"))) {
        std::ifstream file(thread.path() / "status");
        std::string name;
        std::string word;
        while (file >> word) {
            uint64_t count = 0;
            if (word == "Name:") file >> name;
            if (word == "voluntary_ctxt_switches:" && file >> count && name == kWorkerName) {
                sum += count;
                ++workers;
            }
        }
    }
    EXPECT_GT(workers, 0) << "no thread is called " << kWorkerName;
    return sum;
}

uint64_t EchoServerProcess::descriptor_limit_leaving(uint64_t free) const {
    std::set<uint64_t> open;
    for (const auto& entry : std::filesystem::directory_iterator(proc_path(process_.pid(), "fd"))) {
        open.insert(std::stoull(entry.path().filename()));
    }
    // Numbers may have gaps: whoever started the test may have passed high ones on.
    uint64_t limit = 0;
    while (free > 0) {
        free -= open.count(limit) == 0 ? 1 : 0;
        ++limit;
    }
    return limit;
}

uint64_t count_of(const std::string& what, const std::string& counts) {
    const size_t end = counts.find(" " + what);
    const size_t begin = end == std::string::npos ? end : counts.rfind(' ', end - 1);
    if (begin == std::string::npos) {
        ADD_FAILURE() << "no '" << what << "' in: " << counts;
        return 0;
    }
    return std::stoull(counts.substr(begin + 1, end - begin - 1));
}

double LoadResult::figure(const std::string& name) const {
    const std::string key = "\"" + name + "\": ";
    const size_t at = output.find(key);
    return at == std::string::npos ? -1 : std::strtod(output.c_str() + at + key.size(), nullptr);
}

LoadResult run_load(const std::string& url, const std::vector<std::string>& arguments) {
    std::vector<std::string> all{"load", "--connect", url, "--json"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    ChildProcess child(echo_command(all));
    LoadResult result;
    result.output = child.read_output();
    result.error = child.read_error();
    result.status = child.wait();
    return result;
}

}  // namespace cport::testing
