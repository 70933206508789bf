// What the fault sweep plays, one system call failing after the other.
#pragma once

#include <vector>

#include "tests/fault/stage.h"

namespace cport::test {

struct Scenario {
    const char* name;
    // Called with a port that was created. It ends whatever fails, and leaves the stage's reference
    // to the stage unless it says otherwise.
    void (*play)(Stage& stage);
};

const std::vector<Scenario>& scenarios();

}  // namespace cport::test
