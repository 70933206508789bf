#include "runtime/engine/epoll_engine.h"

#include <cerrno>

namespace cport {
namespace {

constexpr int64_t kYield_ns = 1'000'000;
constexpr uint32_t kEdges = EPOLLIN | EPOLLRDHUP | EPOLLPRI | EPOLLET;

}  // namespace

EpollEngine::~EpollEngine() {
    if (wake_descriptor_ >= 0) kernel_.close(wake_descriptor_);
    if (epoll_ >= 0) kernel_.close(epoll_);
}

int EpollEngine::open() {
    epoll_ = kernel_.epoll_create();
    if (epoll_ < 0) return epoll_;
    wake_descriptor_ = kernel_.eventfd_create();
    if (wake_descriptor_ < 0) return wake_descriptor_;
    // Edge-triggered, so that it need never be read: each signal is an edge.
    return kernel_.epoll_ctl(epoll_, EPOLL_CTL_ADD, wake_descriptor_, EPOLLIN | EPOLLET, kWakeName);
}

int EpollEngine::control(int operation, const Socket& socket, uint32_t events) {
    return kernel_.epoll_ctl(epoll_, operation, socket.descriptor, events, name_of(socket));
}

int EpollEngine::watch(Socket& socket, bool output) {
    const bool watched = socket.has(kWatched);
    const bool watched_out = socket.has(kWatchedOut);
    if (watched && (watched_out || !output)) return 0;
    const uint32_t events = kEdges | (output ? EPOLLOUT : 0u);
    const int error = enlist(socket, events);
    if (error == 0) socket.set(kWatched | (output ? kWatchedOut : 0u));
    return error;
}

int EpollEngine::keep_name(Socket& socket) {
    if (socket.is_registered()) return 0;
    const int error = enlist(socket, EPOLLET);
    if (error == 0) socket.set(kNamed);
    return error;
}

int EpollEngine::enlist(const Socket& socket, uint32_t events) {
    if (socket.is_registered()) return control(EPOLL_CTL_MOD, socket, events);
    const int error = control(EPOLL_CTL_ADD, socket, events);
    // Left over from a number that was closed while a duplicate kept the file open.
    return error == -EEXIST ? control(EPOLL_CTL_MOD, socket, events) : error;
}

void EpollEngine::unwatch(Socket& socket) {
    if (!socket.is_registered()) return;
    // Fails if the caller has closed the descriptor already, and then there is nothing to undo.
    kernel_.epoll_ctl(epoll_, EPOLL_CTL_DEL, socket.descriptor, 0, 0);
    socket.clear(kWatched | kWatchedOut | kNamed);
}

bool EpollEngine::still_names(Socket& socket) {
    // Unlike MOD, an ADD that is refused does not rearm the registration, and so makes no edge.
    const int error = control(EPOLL_CTL_ADD, socket, kEdges);
    // Whatever else it says (EPERM: a file; ENOSPC), the number is not registered.
    return error == -EEXIST;
}

int EpollEngine::control_source(int operation, int descriptor, uint32_t index,
                                uint32_t generation) {
    const uint64_t name = (uint64_t{generation} << 32) | Edge::kSourceName | index;
    return kernel_.epoll_ctl(epoll_, operation, descriptor, EPOLLIN | EPOLLET, name);
}

void EpollEngine::unwatch_source(int descriptor) {
    // Fails if the caller has closed the descriptor already, and then there is nothing to undo.
    kernel_.epoll_ctl(epoll_, EPOLL_CTL_DEL, descriptor, 0, 0);
}

void EpollEngine::wake() {
    while (kernel_.eventfd_signal(wake_descriptor_) == -EINTR) {
    }
    // The last touch. Release pairs with await_wakes: then the engine may go.
    wakes_.fetch_add(1, std::memory_order_release);
}

void EpollEngine::await_wakes(int64_t wakes_owed) {
    // The threads in question have one instruction to go. Sleeping lets them run, whatever their
    // priority.
    while (wakes_.load(std::memory_order_acquire) < wakes_owed) {
        kernel_.epoll_wait(epoll_, events_.data(), kEventsMax, kYield_ns);
    }
}

}  // namespace cport
