#include "tests/integration/echo/echo_process.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

namespace cport::testing {
namespace {

constexpr const char* kListening = "listening on ";

std::vector<std::string> serve_command(const std::string& listen,
                                       const std::vector<std::string>& arguments) {
    std::vector<std::string> all{"serve", "--listen", listen};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return echo_command(all);
}

std::string proc_path(pid_t pid, const std::string& name) {
    return "/proc/" + std::to_string(pid) + "/" + name;
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

uint64_t EchoServerProcess::resident_ki_b() const {
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

uint64_t EchoServerProcess::cpu_ticks() const {
    std::ifstream file(proc_path(process_.pid(), "stat"));
    std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    // The name in parentheses may hold anything; utime and stime are the 12th and 13th behind it.
    std::istringstream fields(text.substr(text.rfind(')') + 1));
    std::string skipped;
    for (int i = 0; i < 11; ++i) fields >> skipped;
    uint64_t user = 0;
    uint64_t system = 0;
    fields >> user >> system;
    return user + system;
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
