#include "runtime/programs/cport_echo/pattern.h"

#include <random>

namespace cport::programs {

Pattern::Pattern() : bytes_(kPeriodBytes + kWindowBytes) {
    // The default seed: each run sends the same, so that a mismatch can be looked for again.
    std::mt19937 random;
    for (size_t i = 0; i < kPeriodBytes; ++i) bytes_[i] = static_cast<std::byte>(random() & 0xff);
    for (size_t i = kPeriodBytes; i < bytes_.size(); ++i) bytes_[i] = bytes_[i - kPeriodBytes];
}

}  // namespace cport::programs
