// A port behind its public handle.
#pragma once

#include "completionport/completion_port.h"
#include "platform/platform.h"
#include "runtime/port/port.h"

namespace cport {

inline Port* from_handle(COMPLETION_PORT_HANDLE handle) { return reinterpret_cast<Port*>(handle); }
inline COMPLETION_PORT_HANDLE to_handle(Port* port) {
    return reinterpret_cast<COMPLETION_PORT_HANDLE>(port);
}

// A port over a machine of the caller's choice. NULL with errno set on failure.
COMPLETION_PORT_HANDLE create_handle(const platform::Platform& platform,
                                     const PortOptions& options = {});

}  // namespace cport
