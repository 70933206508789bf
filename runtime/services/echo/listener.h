// A listening socket of one shard: accepts until it is stopped, and survives every error of accept.
#pragma once

#include <cstdint>

#include "runtime/services/echo/descriptor.h"
#include "runtime/services/echo/operation.h"

namespace cport::echo {

class Shard;

class Listener {
 public:
    Listener(Shard& shard, Descriptor socket);
    Listener(const Listener&) = delete;
    Listener& operator=(const Listener&) = delete;

    // Until its part is told to end, it has one operation pending: an accept that goes on, or, for
    // want of descriptors or memory, a timer. Where there is no memory for either, it is parked.
    [[nodiscard]] int start();
    void resume_if_parked();
    // Takes what the kernel has connected already, as closing the socket would reset those peers.
    void stop();

 private:
    void on_accepted(const Completion& completion);
    void on_retry(const Completion& completion);
    [[nodiscard]] int accept();
    void accept_or_retry();
    void retry_later();

    Shard& shard_;
    Descriptor socket_;
    uint64_t timer_ = 0;  // its id, while it is what is pending
    bool parked_ = false;
};

}  // namespace cport::echo
