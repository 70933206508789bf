// The process's limit of open descriptors.
#pragma once

#include <sys/resource.h>

#include <cstdint>

namespace cport::programs {

// Raises the soft limit to the hard one, and returns what holds then.
inline uint64_t raise_descriptor_limit() {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
    const rlimit raised{limit.rlim_max, limit.rlim_max};
    return setrlimit(RLIMIT_NOFILE, &raised) == 0 ? limit.rlim_max : limit.rlim_cur;
}

}  // namespace cport::programs
