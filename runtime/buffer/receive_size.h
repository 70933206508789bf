// How long the next buffer of a receive shall be. It doubles when a buffer was filled, and halves
// when several receives in a row stayed below a quarter.
#pragma once

#include <cstdint>

#include "runtime/buffer/buffer_pool.h"

namespace cport {

// Packed into bits 8 to 23 of a word whose other bits are not touched.
class ReceiveSize {
 public:
    // So many receives below a quarter make it halve.
    static constexpr uint32_t kShortReceivesMax = 4;

    static uint32_t first(uint32_t size_class) { return size_class << kClassShift; }
    static uint32_t class_of(uint32_t word) { return (word >> kClassShift) & kField; }

    // After a receive of so many bytes into a buffer of that class, which may be less than what the
    // word asked for.
    static void learn(uint32_t& word, const BufferPool& pool, uint32_t drawn, uint32_t bytes) {
        uint32_t wanted = class_of(word);
        uint32_t short_receives = 0;
        if (bytes == pool.bytes_of(wanted)) {
            if (drawn == wanted && wanted < pool.largest_class()) ++wanted;
        } else if (wanted > 0 && bytes < pool.bytes_of(wanted) / 4 && drawn == wanted) {
            short_receives = ((word >> kShortShift) & kField) + 1;
            if (short_receives == kShortReceivesMax) {
                --wanted;
                short_receives = 0;
            }
        }
        word = (word & kOthers) | (wanted << kClassShift) | (short_receives << kShortShift);
    }

 private:
    static constexpr uint32_t kClassShift = 8;
    static constexpr uint32_t kShortShift = 16;
    static constexpr uint32_t kField = 0xff;
    static constexpr uint32_t kOthers = ~((kField << kClassShift) | (kField << kShortShift));
};

}  // namespace cport
