// Which numbers a simulated machine gives to the descriptors that it opens.
#pragma once

#include <set>

namespace cport::test {

class SimulatedNumbers {
 public:
    virtual ~SimulatedNumbers() = default;

    // The least that is free, or a negative errno. `flags` are O_CLOEXEC and O_NONBLOCK.
    virtual int take(int flags) = 0;
    // One more for what `number` stands for, from `least` on.
    virtual int take_again(int number, int least, int flags) = 0;
    // `onto` stands for the same, whatever it stood for.
    virtual int move_onto(int number, int onto, int flags) = 0;
    virtual void give_back(int number) = 0;
    virtual bool is_non_blocking(int number) = 0;
};

// Numbers of its own, from the first on. Nothing blocks.
class OwnNumbers final : public SimulatedNumbers {
 public:
    explicit OwnNumbers(int first) : first_(first) {}

    int take(int) override { return take_from(first_); }
    int take_again(int, int least, int) override { return take_from(least); }
    int move_onto(int, int onto, int) override {
        taken_.insert(onto);
        return onto;
    }
    void give_back(int number) override { taken_.erase(number); }
    bool is_non_blocking(int) override { return true; }

 private:
    int take_from(int number) {
        while (!taken_.insert(number).second) ++number;
        return number;
    }

    const int first_;
    std::set<int> taken_;
};

}  // namespace cport::test
