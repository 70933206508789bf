// Which engine is best for which port, as measured.
#pragma once

#include <cstdint>

#include "completionport/options.h"

namespace cport {

// A row holds for ports that spin at least this long before they sleep; the last that holds counts.
struct EngineRow {
    int64_t spin_ns_min;
    uint32_t engine;
};

// Echo over loopback on Linux 6.18, messages a second, io_uring to epoll: 0.97 (64 connections of
// 64 bytes, one in flight) and 1.04 (16 in flight), while the p99 is a third higher. Fewer system
// calls do not show where TCP itself is what takes the time.
inline constexpr EngineRow kEngineTable[] = {
    {0, COMPLETION_PORT_ENGINE_EPOLL},
};

constexpr uint32_t engine_of_table(int64_t spin_ns) {
    uint32_t engine = COMPLETION_PORT_ENGINE_EPOLL;
    for (const EngineRow& row : kEngineTable) {
        if (spin_ns >= row.spin_ns_min) engine = row.engine;
    }
    return engine;
}

}  // namespace cport
