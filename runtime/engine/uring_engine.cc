#include "runtime/engine/uring_engine.h"

#include <cerrno>

namespace cport {

int UringEngine::open(platform::Rings* rings) {
    int error = -ENOSYS;
    if (rings != nullptr) ring_ = rings->create(error);
    return error;
}

bool UringEngine::enable() {
    if (!is_open()) return false;
    enabled_ = ring_->enable() == 0;
    // Nothing was started: what there is to do, epoll can do.
    if (!enabled_) ring_.reset();
    return enabled_;
}

void UringEngine::poll_readiness() {
    platform::RingRequest request{};
    request.what = platform::RingRequest::What::kPoll;
    request.descriptor = readiness_.descriptor();
    request.name = kReadinessName;
    polling_ = ring_->put(request) == 0;
}

}  // namespace cport
