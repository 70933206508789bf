// The part of a FaultPlatform that its rings go through.
#pragma once

#include <memory>

#include "platform/ring.h"
#include "tests/support/fault_state.h"

namespace cport::test {

// Of a machine that has rings.
std::unique_ptr<platform::Rings> make_fault_rings(const std::shared_ptr<FaultState>& state);

}  // namespace cport::test
