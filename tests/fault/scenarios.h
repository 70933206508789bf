// What the fault sweep plays, one system call failing after the other.
#pragma once

#include <cstdint>
#include <vector>

#include "tests/fault/stage.h"

namespace cport::test {

struct Scenario {
    const char* name;
    // Called with a port that was created. It ends whatever fails, and leaves the stage's reference
    // to the stage unless it says otherwise.
    void (*play)(Stage& stage);
    uint32_t workers = 1;
};

const std::vector<Scenario>& scenarios();

// What a port must still do after any scenario, and after any fault that is over.
void use_again(Stage& stage);

// Of connections.cc.
void accepts(Stage& stage);
void accepts_that_go_on(Stage& stage);
void connects(Stage& stage);
void connects_that_end_early(Stage& stage);
void shutdowns(Stage& stage);
void closes(Stage& stage);
// Of messages_and_files.cc.
void vectors(Stage& stage);
void messages(Stage& stage);
void sendfiles(Stage& stage);
void pipes_and_eventfds(Stage& stage);
// Of timers_and_workers.cc.
void timers(Stage& stage);
void deadlines(Stage& stage);
void several_workers(Stage& stage);
// Of files.cc.
void files(Stage& stage);
void growth(Stage& stage);

}  // namespace cport::test
