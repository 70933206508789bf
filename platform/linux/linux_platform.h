// The seam over Linux itself.
#pragma once

#include "platform/platform.h"

namespace cport::platform {

// Stateless; valid for the life of the process.
const Platform& linux_platform();

}  // namespace cport::platform
