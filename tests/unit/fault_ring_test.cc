// The ring's part of the fault sweep stands on this decorator.
#include <gtest/gtest.h>

#include <cerrno>
#include <deque>
#include <memory>

#include "platform/linux/linux_platform.h"
#include "tests/support/fault_platform.h"

namespace cport::test {
namespace {

using platform::RingRequest;
using platform::RingResult;

// Answers each request at once with its length.
class PromptRing final : public platform::Ring {
 public:
    int enable() override { return 0; }
    int put(const RingRequest& request) override {
        results_.push_back({request.name, static_cast<int32_t>(request.length),
                            request.what == RingRequest::What::kPoll});
        return 0;
    }
    int wait(int64_t) override { return 0; }
    int take(RingResult* results, int results_max) override {
        int count = 0;
        for (; count < results_max && !results_.empty(); ++count) {
            results[count] = results_.front();
            results_.pop_front();
        }
        return count;
    }
    int cancel(uint64_t) override { return 0; }
    uint64_t enters() const override { return 0; }
    int results_max() const override { return 1024; }

 private:
    std::deque<RingResult> results_;
};

class PromptRings final : public platform::Rings {
 public:
    std::unique_ptr<platform::Ring> create(int& error) override {
        error = 0;
        return std::make_unique<PromptRing>();
    }
};

class FaultRingTest : public ::testing::Test {
 protected:
    void open(Call call, int ordinal, Effect effect, int error = 0) {
        Fault fault;
        fault.call = call;
        fault.ordinal = ordinal;
        fault.effect = effect;
        fault.error = error;
        const platform::Platform& real = platform::linux_platform();
        faults_ = std::make_unique<FaultPlatform>(
            platform::Platform{real.kernel, real.threads, real.memory, real.clock, &rings_}, fault);
        int code = 0;
        ring_ = faults_->platform().rings->create(code);
        ASSERT_NE(ring_, nullptr);
    }
    int put(uint64_t name, int descriptor, RingRequest::What what = RingRequest::What::kReceive) {
        RingRequest request{};
        request.what = what;
        request.descriptor = descriptor;
        request.length = 8;
        request.name = name;
        return ring_->put(request);
    }
    int take() { return ring_->take(results_, 4); }

    PromptRings rings_;
    std::unique_ptr<FaultPlatform> faults_;
    std::unique_ptr<platform::Ring> ring_;
    RingResult results_[4] = {};
};

// Spec: CP-RING-8
TEST_F(FaultRingTest, EndsTheChosenRequestAndNoOther) {
    open(Call::kRingReceive, 2, Effect::kError, ECONNRESET);
    EXPECT_EQ(put(1, 10), 0);
    EXPECT_EQ(put(2, 11), 0);
    ASSERT_EQ(take(), 2);
    EXPECT_EQ(results_[0].name, 2u);
    EXPECT_EQ(results_[0].value, -ECONNRESET);
    EXPECT_EQ(results_[1].value, 8);
    EXPECT_EQ(faults_->breaches().size(), 0u);
}

// Spec: CP-RING-8
TEST_F(FaultRingTest, KeepsALateResult) {
    open(Call::kRingTake, 1, Effect::kEarly);
    EXPECT_EQ(put(1, 10), 0);
    EXPECT_EQ(take(), 0);
    EXPECT_EQ(take(), 1);
}

// Spec: CP-RING-8
TEST_F(FaultRingTest, EndsAPoll) {
    open(Call::kRingPoll, 1, Effect::kEarly);
    EXPECT_EQ(put(1, 10, RingRequest::What::kPoll), 0);
    ASSERT_EQ(take(), 1);
    EXPECT_FALSE(results_[0].more);
    EXPECT_EQ(put(1, 10, RingRequest::What::kPoll), 0);
    ASSERT_EQ(take(), 1);
    EXPECT_TRUE(results_[0].more);
    EXPECT_EQ(faults_->breaches().size(), 0u);
}

// Spec: CP-RING-8
TEST_F(FaultRingTest, NoticesWhatARingMustNotBeAsked) {
    open(Call::kRingCreate, 0, Effect::kNone);
    EXPECT_EQ(faults_->holdings().rings, 1);
    EXPECT_EQ(put(1, 10), 0);
    EXPECT_EQ(put(2, 10, RingRequest::What::kSend), 0);
    EXPECT_EQ(faults_->breaches().size(), 0u);
    EXPECT_EQ(put(3, 10), 0);
    EXPECT_EQ(put(1, 11), 0);
    EXPECT_EQ(faults_->breaches().size(), 2u);
    ring_.reset();
    EXPECT_EQ(faults_->breaches().size(), 5u);
    EXPECT_TRUE(faults_->holdings().empty());
}

}  // namespace
}  // namespace cport::test
