#include <csignal>
#include <cstdio>
#include <exception>

#include "runtime/programs/common/errors.h"
#include "runtime/programs/cport_echo/commands.h"

int main(int argument_count, char** arguments) {
    using namespace cport::programs;
    // A reader of our output that goes away is told of by write; nobody else pays for it.
    std::signal(SIGPIPE, SIG_IGN);
    try {
        return run_command_line(argument_count, arguments);
    } catch (const UsageError& error) {
        std::fprintf(stderr, "cport-echo: %s\n", error.what());
        return kExitUsage;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "cport-echo: %s\n", error.what());
        return kExitFailed;
    }
}
