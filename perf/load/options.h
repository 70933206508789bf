#ifndef PERF_LOAD_OPTIONS_H
#define PERF_LOAD_OPTIONS_H

#include <cstddef>
#include <cstdint>

namespace cport::perf {

/* What echo_load is asked for on its command line. */
struct Options {
    std::uint16_t port = 0;
    std::size_t connections = 1;
    std::size_t message_bytes = 64;
    std::size_t depth = 1; /* messages in flight on a connection; not with a rate */
    double rate = 0;       /* messages a second in all, sent by schedule; 0: as answers come */
    bool quiet = false;    /* one connection more, with one small message at a time */
    bool spin = false;     /* looks for answers instead of sleeping until they come */
    double warm_up_s = 0.2;
    double duration_s = 1;
};

/* Ends the program with status 2 and a line where the command line is wrong. */
Options parse_options(int argc, char** argv);

}  // namespace cport::perf

#endif
