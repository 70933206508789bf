// The same random calls made to the simulation and to Linux, and their answers compared.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "tests/support/simulated_machine.h"
#include "tests/support/world.h"

namespace cport::test {

class Differential {
 public:
    // Numbers must be handed out alike: both start at the same one.
    Differential(uint64_t seed, World& simulation, World& linux_world, int first_descriptor);

    // Closes everything again. False where an answer differed; `trace` tells.
    bool run(int steps);
    std::string trace() const;

 private:
    enum class Kind {
        kTcp,
        kUnix,
        kDatagram,
        kPipeReader,
        kPipeWriter,
        kEventfd,
        kFile,
        kEpoll,
        kTcpListener,
        kUnixListener,
        kTcpFresh,
        kUnixFresh
    };
    struct Answer {
        int64_t value = 0;
        std::string bytes = {};
        bool operator==(const Answer&) const = default;
    };
    using Act = std::function<Answer(World&)>;

    // Makes the call on both; returns what they said.
    int64_t both(const std::string& what, const Act& act);
    static std::string text_of(const Answer& answer);

    void step();
    void open_something();
    void open_pair(Kind kind);
    void duplicate();
    void connect_something();
    void accept_something();
    void close_something();
    void control();
    void wait_for_events();
    void read_something();
    void write_something();
    void shut_something();
    void ask_something();
    void fill_and_drain();
    static void fill(World& world, int from, int64_t& sent);
    static void drain(World& world, int into, int64_t expected);
    // What holds of each descriptor in the end is the same; Linux may take a moment.
    void settle();
    bool settled(int number, std::string& difference);

    int pick(std::initializer_list<Kind> kinds);
    int pick_any();
    uint32_t pick_events();
    uint64_t below(uint64_t limit) { return random_() % limit; }
    std::string payload(size_t length);

    World& simulation_;
    World& linux_;
    const int first_descriptor_;
    std::mt19937_64 random_;
    std::map<int, Kind> open_;
    std::map<int, int> peers_;
    std::map<int, int> waiting_;  // connections of each listener
    std::vector<std::string> trace_;
    bool differs_ = false;
    uint64_t written_ = 0;
};

}  // namespace cport::test
