// A random sequence of what callers and peers do, made from one seed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace cport::test {

enum class Verb : uint8_t {
    kAdd,
    kRemove,
    kRemoveAsync,
    kReopen,      // remove, close and open another descriptor
    kCloseEarly,  // close without remove, and open another descriptor, often of the same number
    kDuplicate,   // keeps the open file alive beyond its number
    kPeerWrite,
    kPeerRead,
    kPeerUrgent,
    kPeerShutdown,
    kPeerClose,
    kPeerReset,
    kSweep,  // time goes by until the port has asked after old operations
    kQuiet,  // everything that can happen has happened
};

struct Action {
    Verb verb;
    int slot;         // which of the descriptors under test
    uint32_t choice;  // which form or kind
    uint32_t length;  // bytes, where there are any
    // An add's: done inside its callback; none for others.
    std::vector<Action> in_callback = {};
};

constexpr int kSlots = 4;

std::vector<Action> make_sequence(uint64_t seed);
std::string to_string(const Action& action);

}  // namespace cport::test
