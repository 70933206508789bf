#include "tests/support/simulated_epoll.h"

#include <algorithm>
#include <cerrno>
#include <iterator>

namespace cport::test {
namespace {

constexpr uint32_t kAlwaysWatched = EPOLLERR | EPOLLHUP;
constexpr uint32_t kModes = static_cast<uint32_t>(EPOLLET) | EPOLLONESHOT;

}  // namespace

void SimulatedFile::wake(uint32_t key) {
    if (watches_.empty()) return;
    if (perturbation_.happens(&SimulatedChances::edges_lost)) return;
    if (!perturbation_.happens(&SimulatedChances::edges_late)) {
        wake_now(key);
        return;
    }
    perturbation_.later([file = weak_from_this(), key] {
        if (const auto alive = file.lock()) alive->wake_now(key);
    });
}

void SimulatedFile::wake_now(uint32_t key) {
    for (SimulatedWatch* watch : watches_) {
        const uint32_t watched = watch->events & ~kModes;
        if (watched != 0 && (key == kWakeAny || (key & watched) != 0)) {
            watch->epoll->make_ready(*watch);
        }
    }
}

uint32_t SimulatedEpoll::readiness(const SimulatedWatch& watch) {
    return watch.file->poll() & watch.events & ~kModes;
}

uint32_t SimulatedEpoll::poll() {
    const bool any = std::any_of(ready_.begin(), ready_.end(), [](const SimulatedWatch* watch) {
        return readiness(*watch) != 0;
    });
    return any ? EPOLLIN | EPOLLRDNORM : 0u;
}

void SimulatedEpoll::close() {
    while (!watches_.empty()) erase(watches_.begin());
}

void SimulatedEpoll::erase(Watches::iterator where) {
    SimulatedWatch* watch = &*where;
    if (watch->ready) ready_.remove(watch);
    watch->file->watches().remove(watch);
    watches_.erase(where);
}

SimulatedEpoll::Watches::iterator SimulatedEpoll::find(const SimulatedFile& file, int descriptor) {
    return std::find_if(watches_.begin(), watches_.end(), [&](const SimulatedWatch& watch) {
        return watch.file == &file && watch.descriptor == descriptor;
    });
}

void SimulatedEpoll::forget(SimulatedFile& file) {
    for (auto watch = watches_.begin(); watch != watches_.end();) {
        const auto next = std::next(watch);
        if (watch->file == &file) erase(watch);
        watch = next;
    }
}

void SimulatedEpoll::make_ready(SimulatedWatch& watch) {
    if (!watch.ready) {
        watch.ready = true;
        ready_.push_back(&watch);
    }
    wake(kWakeReaders);
}

int SimulatedEpoll::control(int operation, SimulatedFile& file, int descriptor, uint32_t events,
                            uint64_t data) {
    auto found = find(file, descriptor);
    const bool exists = found != watches_.end();
    switch (operation) {
        case EPOLL_CTL_ADD:
            if (exists) return -EEXIST;
            break;
        case EPOLL_CTL_DEL:
            if (!exists) return -ENOENT;
            erase(found);
            return 0;
        case EPOLL_CTL_MOD:
            if (!exists) return -ENOENT;
            break;
        default:
            return -EINVAL;
    }
    if (!exists) {
        found = watches_.insert(watches_.end(), {this, &file, descriptor, 0, 0});
        // The youngest is woken first.
        file.watches().push_front(&*found);
    }
    found->events = events | kAlwaysWatched;
    found->data = data;
    // Both look at the level, so that what holds already is an edge.
    if (readiness(*found) != 0) make_ready(*found);
    return 0;
}

void SimulatedEpoll::perturb_ready_list() {
    SimulatedPerturbation& chance = perturbation();
    if (!watches_.empty() && chance.happens(&SimulatedChances::edges_spurious)) {
        const auto steps = static_cast<int64_t>(chance.draw() % watches_.size());
        SimulatedWatch& watch = *std::next(watches_.begin(), steps);
        if ((watch.events & ~kModes) != 0) make_ready(watch);
    }
    if (ready_.size() > 1 && chance.happens(&SimulatedChances::edges_reordered)) {
        const auto steps = static_cast<int64_t>(chance.draw() % ready_.size());
        ready_.splice(ready_.begin(), ready_, std::next(ready_.begin(), steps));
    }
}

int SimulatedEpoll::collect(struct epoll_event* events, int events_max) {
    perturb_ready_list();
    // What is level-triggered goes back behind everything that was listed before.
    std::list<SimulatedWatch*> again;
    int count = 0;
    while (!ready_.empty() && count < events_max) {
        SimulatedWatch& watch = *ready_.front();
        ready_.pop_front();
        watch.ready = false;
        const uint32_t found = readiness(watch);
        if (found == 0) continue;
        events[count].events = found;
        events[count].data.u64 = watch.data;
        ++count;
        if ((watch.events & EPOLLONESHOT) != 0) {
            watch.events &= kModes;
        } else if ((watch.events & EPOLLET) == 0) {
            watch.ready = true;
            again.push_back(&watch);
        }
    }
    ready_.splice(ready_.end(), again);
    return count;
}

}  // namespace cport::test
