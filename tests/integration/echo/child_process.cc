#include "tests/integration/echo/child_process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>

extern char** environ;

namespace cport::testing {
namespace {

struct PipeEnds {
    echo::Descriptor read;
    echo::Descriptor write;
};

PipeEnds make_pipe() {
    std::array<int, 2> ends{-1, -1};
    EXPECT_EQ(pipe2(ends.data(), O_CLOEXEC), 0);
    return {echo::Descriptor(ends[0]), echo::Descriptor(ends[1])};
}

}  // namespace

ChildProcess::ChildProcess(const std::vector<std::string>& arguments, int standard_input) {
    PipeEnds output = make_pipe();
    PipeEnds error = make_pipe();
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    if (standard_input >= 0) {
        posix_spawn_file_actions_adddup2(&actions, standard_input, STDIN_FILENO);
    } else {
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    }
    posix_spawn_file_actions_adddup2(&actions, output.write.get(), STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, error.write.get(), STDERR_FILENO);
    std::vector<std::string> copies = arguments;
    std::vector<char*> pointers;
    for (std::string& argument : copies) pointers.push_back(argument.data());
    pointers.push_back(nullptr);
    const int status = posix_spawn(&pid_, pointers[0], &actions, nullptr, pointers.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    EXPECT_EQ(status, 0) << arguments[0];
    output_ = std::move(output.read);
    error_ = std::move(error.read);
}

ChildProcess::~ChildProcess() {
    if (pid_ > 0) {
        kill(pid_, SIGKILL);
        wait();
    }
}

void ChildProcess::signal(int number) const { EXPECT_EQ(kill(pid_, number), 0); }

int ChildProcess::wait() {
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

std::string ChildProcess::read_line(int descriptor) {
    std::string line;
    char character = 0;
    while (read(descriptor, &character, 1) == 1 && character != '\n') line += character;
    return line;
}

std::string ChildProcess::read_all(int descriptor) {
    std::string text;
    std::array<char, 4096> chunk{};
    ssize_t bytes = 0;
    while ((bytes = read(descriptor, chunk.data(), chunk.size())) > 0) {
        text.append(chunk.data(), static_cast<size_t>(bytes));
    }
    return text;
}

}  // namespace cport::testing
