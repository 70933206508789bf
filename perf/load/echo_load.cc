/* The load of the echo comparison: the same for every server, and written over none of them. One
 * thread, level-triggered epoll; a closed loop, or an open one where a rate is given. Prints one
 * line of JSON. */
#include <memory>

#include "perf/load/closed_load.h"
#include "perf/load/open_load.h"
#include "perf/load/options.h"

namespace {

template <typename Load>
void drive(const cport::perf::Options& options) {
    const auto load = std::make_unique<Load>(options);
    load->run();
    load->report();
}

}  // namespace

int main(int argc, char** argv) {
    const cport::perf::Options options = cport::perf::parse_options(argc, argv);
    if (options.rate > 0) {
        drive<cport::perf::OpenLoad>(options);
    } else {
        drive<cport::perf::ClosedLoad>(options);
    }
    return 0;
}
