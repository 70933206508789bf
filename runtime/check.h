// Assertions that stay on in release: a broken invariant ends the process before it spreads.
#pragma once

#include <cstdio>
#include <cstdlib>

#define CPORT_CHECK(condition)                                                                 \
    do {                                                                                       \
        if (!(condition)) [[unlikely]] {                                                       \
            std::fprintf(stderr, "libcompletionport: %s:%d: broken invariant: %s\n", __FILE__, \
                         __LINE__, #condition);                                                \
            std::abort();                                                                      \
        }                                                                                      \
    } while (false)
