// A child process with its standard streams in pipes. Killed, if it still runs, at the end of its
// owner.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "runtime/services/echo/descriptor.h"

namespace cport::testing {

class ChildProcess {
 public:
    // `standard_input` is given to the child; -1 gives it /dev/null.
    explicit ChildProcess(const std::vector<std::string>& arguments, int standard_input = -1);
    ChildProcess(const ChildProcess&) = delete;
    ChildProcess& operator=(const ChildProcess&) = delete;
    ~ChildProcess();

    [[nodiscard]] pid_t pid() const { return pid_; }
    // The next line without its end; what is left at the end of the stream.
    std::string read_output_line() { return read_line(output_.get()); }
    std::string read_error_line() { return read_line(error_.get()); }
    std::string read_output() { return read_all(output_.get()); }
    std::string read_error() { return read_all(error_.get()); }
    // Nobody reads its standard output any more.
    void close_output() { output_.reset(); }
    void signal(int number) const;
    // Waits for the end. The exit status, or -signal.
    int wait();

 private:
    static std::string read_line(int descriptor);
    static std::string read_all(int descriptor);

    pid_t pid_ = -1;
    echo::Descriptor output_;
    echo::Descriptor error_;
};

}  // namespace cport::testing
