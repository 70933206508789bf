#include "runtime/port/waiter_places.h"

#include <cerrno>

namespace cport {

int WaiterPlaces::open(uint32_t places) {
    if (places == 0) return 0;
    places_ = places;
    holders_ = static_cast<pthread_t*>(memory_.allocate(bytes(), alignof(pthread_t)));
    return holders_ == nullptr ? -ENOMEM : 0;
}

uint32_t WaiterPlaces::find() const {
    const pthread_t self = pthread_self();
    uint32_t place = 0;
    while (place < held_ && pthread_equal(holders_[place], self) == 0) ++place;
    return place;
}

bool WaiterPlaces::give_back() {
    if (held_ == 0) return false;
    const uint32_t place = find();
    if (place == held_) return false;
    holders_[place] = holders_[--held_];
    return true;
}

}  // namespace cport
