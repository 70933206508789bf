// How simulated stream sockets come to their connections.
#include <cerrno>
#include <utility>

#include "tests/support/simulated_listener.h"
#include "tests/support/simulated_tcp.h"
#include "tests/support/simulated_unix.h"

namespace cport::test {

// The handshake goes on behind the call, however fast it is.
int SimulatedTcp::connect_to(const std::weak_ptr<SimulatedListener>& listener) {
    switch (stage_) {
        case Stage::kConnected:
            return std::exchange(stage_, Stage::kTold) == Stage::kConnected ? 0 : -EISCONN;
        case Stage::kTold:
            return -EISCONN;
        case Stage::kConnecting:
            return -EALREADY;
        case Stage::kFailed:
            // Ends the attempt; the next begins afresh.
            stage_ = Stage::kFresh;
            closed_ = receive_shut_ = send_shut_ = false;
            wake(kWakeError);
            return error_ != 0 ? take_error() : -ECONNABORTED;
        case Stage::kFresh:
            break;
    }
    stage_ = Stage::kConnecting;
    if (perturbation().happens(&SimulatedChances::segments_late)) {
        knock_later(listener);
    } else {
        knock(listener);
    }
    return -EINPROGRESS;
}

void SimulatedTcp::knock_later(const std::weak_ptr<SimulatedListener>& listener) {
    perturbation().later([self = weak_from_this(), listener] {
        const auto alive = std::static_pointer_cast<SimulatedTcp>(self.lock());
        if (alive != nullptr) alive->knock(listener);
    });
}

void SimulatedTcp::knock(const std::weak_ptr<SimulatedListener>& listener) {
    if (closed_) return;
    const auto listening = listener.lock();
    if (listening == nullptr || !listening->is_open()) {
        stage_ = Stage::kFailed;
        error_ = ECONNREFUSED;
        closed_ = receive_shut_ = send_shut_ = true;
        wake(kWakeAny);
        wake(kWakeError);
        return;
    }
    if (!listening->has_room()) {
        listening->when_room([self = weak_from_this(), listener] {
            const auto alive = std::static_pointer_cast<SimulatedTcp>(self.lock());
            if (alive != nullptr) alive->knock(listener);
        });
        return;
    }
    const auto end = std::make_shared<SimulatedTcp>(perturbation());
    connect(*this, *end);
    end->names() = {listening->names().own, names().own};
    stage_ = Stage::kConnected;
    wake(kWakeAny);
    listening->push(end);
}

int SimulatedUnix::connect_to(const std::weak_ptr<SimulatedListener>& listener) {
    if (!fresh_) return -EISCONN;
    const auto listening = listener.lock();
    if (listening == nullptr || !listening->is_open()) return -ECONNREFUSED;
    if (!listening->has_room()) return -EAGAIN;
    const auto end = std::make_shared<SimulatedUnix>(perturbation());
    connect(*this, *end);
    end->names() = {listening->names().own, names().own};
    fresh_ = false;
    listening->push(end);
    return 0;
}

}  // namespace cport::test
