// What the load generator sends: random bytes whose period is a prime, so that neither a lost byte
// nor a lost buffer goes unnoticed. A channel's stream begins at an offset of its own. Any window
// of the stream is contiguous in memory: it is sent, and compared, without a copy.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace cport::programs {

class Pattern {
 public:
    static constexpr uint64_t kPeriodBytes = 65'521;
    static constexpr uint32_t kWindowBytes = 256 * 1024;

    Pattern();
    // kWindowBytes bytes from an offset of the stream.
    [[nodiscard]] const std::byte* at(uint64_t offset) const {
        return bytes_.data() + offset % kPeriodBytes;
    }

 private:
    std::vector<std::byte> bytes_;
};

}  // namespace cport::programs
