// What a port asks of the kernel, seen from outside by strace.
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/sockets.h"

namespace cport::test {
namespace {

// A child of this process under strace. Its input ends when this object does.
class Traced {
 public:
    // strace writes to `error_output`, line by line, unless `options` name a file.
    Traced(const std::vector<std::string>& options, int error_output,
           const std::vector<std::string>& arguments) {
        const char* program = ::getenv("CPORT_STEADY_STATE_PROGRAM");
        if (program == nullptr) {
            ADD_FAILURE() << "CPORT_STEADY_STATE_PROGRAM names no program";
            return;
        }
        std::vector<std::string> words = {"strace", "-f"};
        words.insert(words.end(), options.begin(), options.end());
        words.emplace_back(program);
        words.insert(words.end(), arguments.begin(), arguments.end());
        std::vector<char*> argv;
        for (std::string& word : words) {
            argv.push_back(word.data());
        }
        argv.push_back(nullptr);
        Pair input = pipe_pair();
        // A leak checker cannot work in a traced process.
        ::setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
        child_ = ::fork();
        if (child_ == 0) {
            ::dup2(input.ours.get(), STDIN_FILENO);
            ::dup2(error_output, STDERR_FILENO);
            ::execvp(argv[0], argv.data());
            ::_exit(127);
        }
        input_ = std::move(input.theirs);
    }

    // The exit status of the program; 127: there is no strace.
    int wait() {
        input_.close();
        int status = 0;
        if (child_ < 0 || ::waitpid(child_, &status, 0) != child_) {
            return -1;
        }
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    }

 private:
    pid_t child_ = -1;
    Descriptor input_;
};

// A file that goes with this object.
class TemporaryFile {
 public:
    TemporaryFile() { ::close(::mkstemp(path_.data())); }
    TemporaryFile(const TemporaryFile&) = delete;
    TemporaryFile& operator=(const TemporaryFile&) = delete;
    ~TemporaryFile() { ::unlink(path_.c_str()); }

    const std::string& path() const { return path_; }

 private:
    std::string path_ = "/tmp/cport_trace_XXXXXX";
};

std::map<std::string, long> count_system_calls(int receives, const char* engine = "epoll") {
    const TemporaryFile summary;
    Traced traced({"-c", "-U", "calls,name", "-o", summary.path()}, STDERR_FILENO,
                  {"receive", std::to_string(receives), engine});
    EXPECT_EQ(traced.wait(), 0) << "strace or the traced program failed";
    std::map<std::string, long> calls;
    std::ifstream file(summary.path());
    for (std::string line; std::getline(file, line);) {
        std::istringstream words(line);
        long count = 0;
        std::string name;
        if (words >> count >> name) {
            calls[name] = count;
        }
    }
    return calls;
}

// Spec: CP-COST-2
TEST(SystemCallsTest, SteadyStateReceiveMakesNoFutexCallAndNoEpollCtl) {
    constexpr long kFew = 200;
    constexpr long kMany = 3'200;
    std::map<std::string, long> few = count_system_calls(kFew);
    std::map<std::string, long> many = count_system_calls(kMany);
    EXPECT_GE(many["recvfrom"] - few["recvfrom"], kMany - kFew);
    EXPECT_GT(few["epoll_ctl"], 0);
    EXPECT_EQ(many["epoll_ctl"], few["epoll_ctl"]);
    // Start and end of the threads differ by a few from run to run.
    EXPECT_LE(many["futex"] - few["futex"], 10);
    EXPECT_LE(many["write"] - few["write"], 10);
}

// Spec: CP-RING-7
TEST(SystemCallsTest, SteadyStateOnIoUringIsOneCallARound) {
    constexpr long kFew = 200;
    constexpr long kMany = 3'200;
    std::map<std::string, long> few = count_system_calls(kFew, "io_uring");
    std::map<std::string, long> many = count_system_calls(kMany, "io_uring");
    if (few["io_uring_enter"] == 0) GTEST_SKIP() << "this kernel has no io_uring for us";
    const auto more = [&](const char* name) { return many[name] - few[name]; };
    // The receive and the send of a message come back in one round or in two.
    EXPECT_GE(more("io_uring_enter"), (kMany - kFew) / 2);
    EXPECT_LE(more("io_uring_enter"), 2 * (kMany - kFew) + 10);
    // What is left is the test's own: a receive, and for the question a send.
    EXPECT_LE(more("recvfrom"), kMany - kFew);
    EXPECT_LE(more("sendto"), kMany - kFew);
    for (const char* none : {"epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "futex"}) {
        EXPECT_LE(more(none), 10) << none;
    }
}

// Whether a traced line is a wait for the kernel, or the end of one.
bool is_idle_wait(const std::string& line) {
    return line.find("epoll_wait(") != std::string::npos ||
           line.find("epoll_wait resumed") != std::string::npos ||
           line.find("epoll_pwait") != std::string::npos;
}

// Spec: CP-COST-3 CP-COST-4
TEST(SystemCallsTest, IdlePortWakesOnlyWhenTwoSecondsHavePassed) {
    // Readiness that nobody waits for, hang-ups and errors are there all the while.
    Pair trace = pipe_pair();
    Traced traced({}, trace.theirs.get(), {"idle"});
    trace.theirs.close();
    FILE* lines = ::fdopen(trace.ours.release(), "r");
    ASSERT_NE(lines, nullptr);
    std::string worker;
    int timeouts = 0;
    bool starting = true;
    char buffer[4096];
    while (timeouts < 2 && ::fgets(buffer, sizeof buffer, lines) != nullptr) {
        const std::string line = buffer;
        const size_t told = line.find("write(1, \"worker ");
        if (told != std::string::npos) {
            worker = line.substr(told + 17, line.find('\\', told) - told - 17);
            continue;
        }
        // On its error output strace begins a line with "[pid 123] ".
        if (worker.empty() || line.find(worker + "] ") == std::string::npos) {
            continue;
        }
        // The kernel had nothing to report in the 2000 ms that it was asked to wait.
        const bool timed_out = is_idle_wait(line) && line.find("2000") != std::string::npos &&
                               line.ends_with(" = 0\n");
        timeouts += timed_out ? 1 : 0;
        // What was under way when the line was written comes to its end first.
        starting = starting && timeouts == 0;
        EXPECT_TRUE(starting || is_idle_wait(line)) << line;
    }
    EXPECT_EQ(timeouts, 2);
    // The few lines of the program's end fit into the pipe.
    EXPECT_EQ(traced.wait(), 0) << "strace or the traced program failed";
    ::fclose(lines);
}

}  // namespace
}  // namespace cport::test
