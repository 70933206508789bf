// The real program as a child.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/integration/echo/child_process.h"

namespace cport::testing {

// The arguments behind the program's own name.
[[nodiscard]] std::vector<std::string> echo_command(const std::vector<std::string>& arguments);

// `cport-echo serve` on a free port; ready for connections once constructed.
class EchoServerProcess {
 public:
    explicit EchoServerProcess(const std::vector<std::string>& arguments = {},
                               const std::string& listen = "tcp://127.0.0.1:0");

    [[nodiscard]] ChildProcess& process() { return process_; }
    [[nodiscard]] const std::string& url() const { return url_; }
    // Terminates it; expects a clean end. Its last line.
    std::string stop();

    [[nodiscard]] uint64_t resident_kib() const;
    // Asks for the counts and waits for the line that gives them.
    [[nodiscard]] std::string counts();
    // Waits until none of its threads has run while it was looked at many times.
    void expect_falls_asleep() const;
    // How often the threads that echo have gone to sleep.
    [[nodiscard]] uint64_t worker_sleeps() const;
    // The limit of open files that leaves it `free` more.
    [[nodiscard]] uint64_t descriptor_limit_leaving(uint64_t free) const;

 private:
    ChildProcess process_;
    std::string url_;
};

// The number in front of `what` in a line of counts.
[[nodiscard]] uint64_t count_of(const std::string& what, const std::string& counts);

// Runs `cport-echo load --json` against a server; its exit status, and what it printed.
struct LoadResult {
    int status = -1;
    std::string output;
    std::string error;
    // The number that stands behind a name in the JSON; -1 if it is not there.
    [[nodiscard]] double figure(const std::string& name) const;
};
[[nodiscard]] LoadResult run_load(const std::string& url,
                                  const std::vector<std::string>& arguments);

}  // namespace cport::testing
