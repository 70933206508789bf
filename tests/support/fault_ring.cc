#include "tests/support/fault_ring.h"

#include <sys/socket.h>

#include <algorithm>
#include <deque>
#include <map>
#include <utility>

namespace cport::test {
namespace {

using platform::RingRequest;
using platform::RingResult;

Call call_of(RingRequest::What what) {
    switch (what) {
        case RingRequest::What::kReceive:
            return Call::kRingReceive;
        case RingRequest::What::kSend:
            return Call::kRingSend;
        case RingRequest::What::kPoll:
            break;
    }
    return Call::kRingPoll;
}

class FaultRing final : public platform::Ring {
 public:
    FaultRing(std::shared_ptr<FaultState> state, std::unique_ptr<platform::Ring> real)
        : state_(std::move(state)), real_(std::move(real)) {
        state_->rings_changed(1);
    }
    ~FaultRing() override {
        // Its memory may be anybody's by now.
        for (const auto& [name, request] : with_kernel_) {
            if (request.what != RingRequest::What::kPoll) {
                state_->breach("gave up a ring that held a request");
            }
        }
        state_->rings_changed(-1);
    }

    int enable() override {
        const Fault fault = state_->enter(Call::kRingEnable);
        return fault.effect == Effect::kError ? -fault.error : real_->enable();
    }

    int put(const RingRequest& request) override {
        Fault fault = state_->enter(Call::kRingPut);
        if (fault.effect == Effect::kError) return -fault.error;
        check(request);
        fault = state_->enter(call_of(request.what));
        if (fault.effect == Effect::kError) {
            with_kernel_[request.name] = request;
            held_.push_back({request.name, -fault.error, false});
            return 0;
        }
        RingRequest asked = request;
        if (fault.effect == Effect::kShort && takes_parts(request.descriptor)) {
            asked.length = std::min(asked.length, 1u);
        }
        poll_ends_ |= fault.effect == Effect::kEarly;
        const int error = real_->put(asked);
        if (error == 0) with_kernel_[request.name] = request;
        return error;
    }

    int wait(int64_t timeout_ns) override {
        const Fault fault = state_->enter(Call::kRingWait);
        if (fault.effect == Effect::kError) return -fault.error;
        if (fault.effect == Effect::kEarly) return 0;
        return real_->wait(held_.empty() ? timeout_ns : 0);
    }

    int take(RingResult* results, int results_max) override {
        fetch();
        if (held_.empty()) return 0;
        const Fault fault = state_->enter(Call::kRingTake);
        if (fault.effect == Effect::kEarly) return 0;
        if (fault.effect == Effect::kShort) results_max = 1;
        int count = 0;
        for (; count < results_max && !held_.empty(); ++count) {
            results[count] = held_.front();
            held_.pop_front();
            if (!results[count].more) with_kernel_.erase(results[count].name);
        }
        return count;
    }

    int cancel(uint64_t name) override {
        const Fault fault = state_->enter(Call::kRingCancel);
        if (fault.effect == Effect::kError) return -fault.error;
        // One that the kernel is about to try again is not found.
        return fault.effect == Effect::kEarly ? 0 : real_->cancel(name);
    }

    uint64_t enters() const override { return real_->enters(); }

    int results_max() const override {
        // What the engine leaves free: room for nothing else.
        constexpr int kRoomForNone = 64;
        const Fault fault = state_->enter(Call::kRingResultsMax);
        return fault.effect == Effect::kShort ? kRoomForNone : real_->results_max();
    }

 private:
    void check(const RingRequest& request) {
        if (with_kernel_.count(request.name) != 0) state_->breach("a ring's name was used twice");
        for (const auto& [name, other] : with_kernel_) {
            if (other.descriptor == request.descriptor && other.what == request.what) {
                state_->breach("two requests of one kind and socket are with the kernel");
            }
        }
    }

    void fetch() {
        constexpr int kFetchedMax = 64;
        RingResult results[kFetchedMax];
        int count = 0;
        do {
            count = real_->take(results, kFetchedMax);
            for (int i = 0; i < count; ++i) {
                const auto request = with_kernel_.find(results[i].name);
                const bool polls = request != with_kernel_.end() &&
                                   request->second.what == RingRequest::What::kPoll;
                // As where the kernel has no memory for the next result. Its successor tells of
                // what comes; that this one does too hurts nobody.
                if (polls && std::exchange(poll_ends_, false)) results[i].more = false;
                held_.push_back(results[i]);
            }
        } while (count == kFetchedMax);
    }

    bool takes_parts(int descriptor) {
        return state_->real().kernel.socket_type(descriptor) == SOCK_STREAM;
    }

    const std::shared_ptr<FaultState> state_;
    const std::unique_ptr<platform::Ring> real_;
    std::map<uint64_t, RingRequest> with_kernel_;  // by name; without a last result
    std::deque<RingResult> held_;                  // results that nobody has taken
    bool poll_ends_ = false;
};

class FaultRings final : public platform::Rings {
 public:
    explicit FaultRings(std::shared_ptr<FaultState> state) : state_(std::move(state)) {}

    std::unique_ptr<platform::Ring> create(int& error) override {
        const Fault fault = state_->enter(Call::kRingCreate);
        if (fault.effect == Effect::kError) {
            error = -fault.error;
            return nullptr;
        }
        std::unique_ptr<platform::Ring> real = state_->real().rings->create(error);
        if (real == nullptr) return nullptr;
        return std::make_unique<FaultRing>(state_, std::move(real));
    }

 private:
    const std::shared_ptr<FaultState> state_;
};

}  // namespace

std::unique_ptr<platform::Rings> make_fault_rings(const std::shared_ptr<FaultState>& state) {
    return std::make_unique<FaultRings>(state);
}

}  // namespace cport::test
