#include "perf/load/options.h"

#include <getopt.h>

#include <array>
#include <cstdio>
#include <cstdlib>

namespace cport::perf {

namespace {

constexpr double kMost = 1e9;

[[noreturn]] void usage(const char* program) {
    std::fprintf(stderr,
                 "usage: %s --port NUMBER [--connections COUNT] [--bytes COUNT]\n"
                 "    [--depth COUNT | --rate MESSAGES_PER_SECOND] [--quiet] [--spin]\n"
                 "    [--warm-up SECONDS] [--seconds SECONDS]\n"
                 "--rate goes neither with --depth nor with --quiet.\n",
                 program);
    std::exit(2);
}

/* The number in getopt's argument. */
double number(const char* program, double at_least, double at_most = kMost) {
    char* end = nullptr;
    const double value = std::strtod(optarg, &end);
    if (end == optarg || *end != '\0' || !(value >= at_least && value <= at_most)) {
        usage(program);
    }
    return value;
}

}  // namespace

Options parse_options(int argc, char** argv) {
    constexpr std::array<option, 10> kLong = {{{"port", required_argument, nullptr, 'p'},
                                               {"connections", required_argument, nullptr, 'c'},
                                               {"bytes", required_argument, nullptr, 'b'},
                                               {"depth", required_argument, nullptr, 'd'},
                                               {"rate", required_argument, nullptr, 'r'},
                                               {"quiet", no_argument, nullptr, 'q'},
                                               {"spin", no_argument, nullptr, 's'},
                                               {"warm-up", required_argument, nullptr, 'w'},
                                               {"seconds", required_argument, nullptr, 't'},
                                               {nullptr, 0, nullptr, 0}}};
    Options options;
    bool depth_given = false;
    for (int name = 0; (name = getopt_long(argc, argv, "", kLong.data(), nullptr)) != -1;) {
        switch (name) {
            case 'p':
                options.port = static_cast<std::uint16_t>(number(argv[0], 1, UINT16_MAX));
                break;
            case 'c':
                options.connections = static_cast<std::size_t>(number(argv[0], 1));
                break;
            case 'b':
                options.message_bytes = static_cast<std::size_t>(number(argv[0], 1));
                break;
            case 'd':
                options.depth = static_cast<std::size_t>(number(argv[0], 1));
                depth_given = true;
                break;
            case 'r':
                options.rate = number(argv[0], 1);
                break;
            case 'q':
                options.quiet = true;
                break;
            case 's':
                options.spin = true;
                break;
            case 'w':
                options.warm_up_s = number(argv[0], 0);
                break;
            case 't':
                options.duration_s = number(argv[0], 1e-3);
                break;
            default:
                usage(argv[0]);
        }
    }
    if (optind != argc || options.port == 0 ||
        (options.rate > 0 && (depth_given || options.quiet))) {
        usage(argv[0]);
    }
    return options;
}

}  // namespace cport::perf
