// Reads the structures of operations.h and its family: from a caller's bytes to a checked request.
#pragma once

#include <cstdint>

#include "completionport/operations.h"
#include "runtime/port/request.h"

namespace cport {

inline bool in_range(uint64_t time_ns) { return time_ns <= uint64_t{COMPLETION_PORT_TIME_MAX_NS}; }

// Fills in the request from an operation of good form; a negative errno otherwise.
// `inline_allowed`: whether COMPLETION_PORT_FLAG_INLINE may be asked for.
int read_operation(const COMPLETION_PORT_OPERATION& operation, bool inline_allowed,
                   SubmitRequest& request);

}  // namespace cport
