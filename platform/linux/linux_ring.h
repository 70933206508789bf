// io_uring.
#pragma once

#include "platform/ring.h"

namespace cport::platform {

class LinuxRings final : public Rings {
 public:
    std::unique_ptr<Ring> create(int& error) override;
};

}  // namespace cport::platform
