#include "tests/support/simulated_ring.h"

#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <string_view>
#include <utility>

namespace cport::test {
namespace {

using platform::RingRequest;
using platform::RingResult;

constexpr uint32_t kEnds = EPOLLERR | EPOLLHUP;

class SimulatedRing final : public platform::Ring {
 public:
    SimulatedRing(SimulatedKernel& kernel, SimulatedSchedule& schedule,
                  SimulatedPerturbation& perturbation)
        : schedule_(schedule),
          perturbation_(perturbation),
          requests_(std::make_shared<SimulatedRequests>(kernel, perturbation)),
          results_max_(kResultsSpare + 1 + static_cast<int>(perturbation.draw() % 16)) {}
    ~SimulatedRing() override {
        SimulatedSchedule::Lock lock = schedule_.lock();
        requests_.reset();
    }

    int enable() override { return 0; }

    int put(const RingRequest& request) override {
        SimulatedSchedule::Lock lock = schedule_.lock();
        if (perturbation_.happens(&SimulatedChances::requests_refused)) return -EAGAIN;
        put_.push_back(request);
        return 0;
    }

    int wait(int64_t timeout_ns) override {
        return enter([&](SimulatedSchedule::Lock& lock) {
            if (perturbation_.happens(&SimulatedChances::interrupted)) return -EINTR;
            const int64_t deadline_ns =
                timeout_ns < 0 ? SimulatedSchedule::kForEver_ns : schedule_.now_ns() + timeout_ns;
            for (;;) {
                requests_->try_waiting();
                if (requests_->has_results() || schedule_.now_ns() >= deadline_ns) return 0;
                // Its time would not go by, and the machine would seem quiet.
                if (timeout_ns > 0 && requests_->has_missed_cancel()) return 0;
                schedule_.wait(
                    lock, [this] { return requests_->has_results() || requests_->can_go_on(); },
                    deadline_ns);
            }
        });
    }

    int take(RingResult* results, int results_max) override {
        SimulatedSchedule::Lock lock = schedule_.lock();
        return requests_->take(results, results_max);
    }

    int cancel(uint64_t name) override {
        return enter([&](SimulatedSchedule::Lock&) {
            requests_->cancel(name);
            return 0;
        });
    }

    uint64_t enters() const override { return enters_; }
    int results_max() const override { return results_max_; }

 private:
    // What the engine leaves free.
    static constexpr int kResultsSpare = 64;

    // One call, which hands over what was put.
    template <typename Body>
    int enter(Body&& body) {
        SimulatedSchedule::Lock lock = schedule_.lock();
        schedule_.pass(lock);
        perturbation_.deliver_some();
        ++enters_;
        for (const RingRequest& request : std::exchange(put_, {})) requests_->begin(request);
        const int answer = body(lock);
        schedule_.changed();
        schedule_.pass(lock);
        return answer;
    }

    SimulatedSchedule& schedule_;
    SimulatedPerturbation& perturbation_;
    std::shared_ptr<SimulatedRequests> requests_;
    const int results_max_;
    std::vector<RingRequest> put_;
    uint64_t enters_ = 0;
};

}  // namespace

std::unique_ptr<platform::Ring> SimulatedRings::create(int& error) {
    error = 0;
    SimulatedSchedule::Lock lock = schedule_.lock();
    return std::make_unique<SimulatedRing>(kernel_, schedule_, perturbation_);
}

SimulatedRequests::~SimulatedRequests() {
    for (Held& held : held_) kernel_.let_go(held.file);
}

void SimulatedRequests::begin(const RingRequest& request) {
    std::shared_ptr<SimulatedFile> file = kernel_.file_of(request.descriptor);
    if (file == nullptr) {
        tell({request.name, -EBADF, false});
        return;
    }
    if (request.what == RingRequest::What::kPoll) {
        begin_poll(request);
        return;
    }
    kernel_.hold(file);
    const Place held = held_.insert(held_.end(), {request, std::move(file)});
    if (!request.expects_to_wait || is_ready(*held)) try_to_end(held);
}

void SimulatedRequests::begin_poll(const RingRequest& request) {
    polled_ = kernel_.file_of(request.descriptor);
    polled_descriptor_ = request.descriptor;
    polls_.control(EPOLL_CTL_ADD, *polled_.lock(), polled_descriptor_, EPOLLIN | EPOLLET,
                   request.name);
}

bool SimulatedRequests::is_ready(const Held& held) {
    const bool sends = held.request.what == RingRequest::What::kSend;
    const uint32_t awaited = sends ? uint32_t{EPOLLOUT} : uint32_t{EPOLLIN} | EPOLLRDHUP;
    return !held.lost && (held.file->poll() & (awaited | kEnds)) != 0;
}

bool SimulatedRequests::can_go_on() const {
    return polls_.any_listed() || std::any_of(held_.begin(), held_.end(), is_ready);
}

bool SimulatedRequests::has_missed_cancel() const {
    return std::any_of(held_.begin(), held_.end(), [](const Held& held) { return held.missed; });
}

int64_t SimulatedRequests::attempt(const Held& held) {
    const RingRequest& request = held.request;
    auto* const bytes = static_cast<char*>(request.buffer);
    if (request.what == RingRequest::What::kReceive) {
        return held.file->receive(bytes, request.length, request.flags);
    }
    if (perturbation_.happens(&SimulatedChances::interrupted)) return -EINTR;
    return held.file->send(std::string_view(bytes, request.length));
}

bool SimulatedRequests::try_to_end(Place held) {
    // A thread of the kernel's may try it later.
    if (perturbation_.happens(&SimulatedChances::results_late)) return false;
    const int64_t value = attempt(*held);
    if (value == -EAGAIN) return false;
    if (perturbation_.happens(&SimulatedChances::results_lost)) {
        held->lost = true;
        return true;
    }
    end(held, value);
    return true;
}

void SimulatedRequests::end(Place held, int64_t value) {
    const RingResult result{held->request.name, static_cast<int32_t>(value), false};
    kernel_.let_go(held->file);
    held_.erase(held);
    if (perturbation_.happens(&SimulatedChances::results_doubled)) tell(result);
    tell(result);
}

void SimulatedRequests::try_waiting() {
    look_at_polls();
    // From any of them on: sockets have no order among each other.
    if (held_.size() > 1 && perturbation_.happens(&SimulatedChances::results_reordered)) {
        const auto steps = static_cast<int64_t>(perturbation_.draw() % held_.size());
        held_.splice(held_.end(), held_, held_.begin(), std::next(held_.begin(), steps));
    }
    for (Place held = held_.begin(); held != held_.end();) {
        const Place next = std::next(held);
        if (is_ready(*held)) try_to_end(held);
        held = next;
    }
}

void SimulatedRequests::look_at_polls() {
    struct epoll_event event = {};
    while (polls_.collect(&event, 1) == 1) {
        const bool ends = perturbation_.happens(&SimulatedChances::polls_ended);
        if (ends) polls_.control(EPOLL_CTL_DEL, *polled_.lock(), polled_descriptor_, 0, 0);
        // The results of one request are never out of order.
        results_.push_back({event.data.u64, static_cast<int32_t>(event.events), !ends});
    }
}

void SimulatedRequests::tell(const RingResult& result) {
    if (!perturbation_.happens(&SimulatedChances::results_late)) {
        results_.push_back(result);
        return;
    }
    perturbation_.later([self = weak_from_this(), result] {
        if (const auto alive = self.lock()) alive->results_.push_back(result);
    });
}

void SimulatedRequests::cancel(uint64_t name) {
    const Place held = std::find_if(held_.begin(), held_.end(),
                                    [name](const Held& each) { return each.request.name == name; });
    // One that the kernel is about to try is not found.
    if (held == held_.end()) return;
    held->missed = perturbation_.happens(&SimulatedChances::cancels_missed);
    if (held->missed) return;
    const bool race = is_ready(*held) && perturbation_.draw() % 2 == 0;
    if (!race || !try_to_end(held)) end(held, -ECANCELED);
}

int SimulatedRequests::take(RingResult* results, int results_max) {
    int count = 0;
    for (; count < results_max && !results_.empty(); ++count) {
        results[count] = results_.front();
        results_.pop_front();
    }
    return count;
}

}  // namespace cport::test
