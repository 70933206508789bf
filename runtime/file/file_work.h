// The work of one operation on a file.
#pragma once

#include "platform/kernel.h"
#include "runtime/operation/operation.h"

namespace cport {

// At most so many bytes are copied for one operation on a thread that must not wait.
constexpr uint32_t kFileBytesAtOnceMax = 64u << 10;

// Does what is left of the operation, however long that takes. It then holds its bytes in
// `transferred` and its failure in `error`.
void work_on_file(platform::Kernel& kernel, Operation& operation);

// Reads what is there without waiting. True: that was all; else the rest is left.
bool read_file_at_once(platform::Kernel& kernel, Operation& operation);

}  // namespace cport
