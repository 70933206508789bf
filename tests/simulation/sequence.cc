#include "tests/simulation/sequence.h"

#include <array>
#include <random>

namespace cport::test {
namespace {

constexpr size_t kActionsMin = 12;
constexpr size_t kActionsMore = 36;
constexpr uint32_t kSmallBytes = 64;
// More than the buffers of a simulated connection hold.
constexpr uint32_t kLargeBytes = 40'000;

struct Weight {
    Verb verb;
    uint32_t weight;
};

constexpr std::array kWeights{
    Weight{Verb::kAdd, 30},         Weight{Verb::kRemove, 3},     Weight{Verb::kRemoveAsync, 2},
    Weight{Verb::kReopen, 3},       Weight{Verb::kCloseEarly, 2}, Weight{Verb::kDuplicate, 1},
    Weight{Verb::kPeerWrite, 16},   Weight{Verb::kPeerRead, 8},   Weight{Verb::kPeerUrgent, 1},
    Weight{Verb::kPeerShutdown, 2}, Weight{Verb::kPeerClose, 2},  Weight{Verb::kPeerReset, 1},
    Weight{Verb::kSweep, 1},        Weight{Verb::kQuiet, 6},
};

class Maker {
 public:
    explicit Maker(uint64_t seed) : random_(seed) {}

    std::vector<Action> make() {
        std::vector<Action> actions(kActionsMin + below(kActionsMore));
        for (Action& action : actions) action = next();
        return actions;
    }

 private:
    uint32_t below(uint64_t limit) { return static_cast<uint32_t>(random_() % limit); }

    Verb verb() {
        uint32_t sum = 0;
        for (const Weight& weight : kWeights) sum += weight.weight;
        uint32_t place = below(sum);
        for (const Weight& weight : kWeights) {
            if (place < weight.weight) return weight.verb;
            place -= weight.weight;
        }
        return Verb::kAdd;
    }

    uint32_t length() {
        const bool large = below(6) == 0;
        return 1 + below(large ? kLargeBytes : kSmallBytes);
    }

    Action plain(Verb verb) {
        return Action{verb, static_cast<int>(below(kSlots)), below(1 << 16), length(), {}};
    }

    Action next() {
        Action action = plain(verb());
        // A chain of adds, or something else, from inside the callback.
        Action* last = &action;
        while (last->verb == Verb::kAdd && below(3) == 0) {
            constexpr std::array kInside{Verb::kAdd,    Verb::kAdd,         Verb::kAdd,
                                         Verb::kRemove, Verb::kRemoveAsync, Verb::kReopen};
            Action inside = plain(kInside[below(kInside.size())]);
            // Mostly about the same descriptor.
            if (below(4) != 0) inside.slot = last->slot;
            last->in_callback.push_back(inside);
            last = &last->in_callback.back();
        }
        return action;
    }

    std::mt19937_64 random_;
};

}  // namespace

std::vector<Action> make_sequence(uint64_t seed) { return Maker(seed).make(); }

std::string to_string(const Action& action) {
    constexpr std::array kNames{"add",         "remove",     "remove_async", "reopen",
                                "close early", "duplicate",  "peer writes",  "peer reads",
                                "peer urgent", "peer shuts", "peer closes",  "peer resets",
                                "sweep",       "until quiet"};
    std::string text = std::string(kNames.at(static_cast<size_t>(action.verb))) + " slot " +
                       std::to_string(action.slot) + " choice " + std::to_string(action.choice) +
                       " length " + std::to_string(action.length);
    for (const Action& inside : action.in_callback) text += " {" + to_string(inside) + "}";
    return text;
}

}  // namespace cport::test
