#include "runtime/engine/epoll_engine.h"

#include <cerrno>

namespace cport {
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

int EpollEngine::control(int operation, const Socket& socket, bool output) {
    const uint32_t events = EPOLLIN | EPOLLRDHUP | EPOLLPRI | EPOLLET | (output ? EPOLLOUT : 0u);
    return kernel_.epoll_ctl(epoll_, operation, socket.descriptor, events, name_of(socket));
}

int EpollEngine::watch(Socket& socket, bool output) {
    const bool watched = socket.has(kWatched);
    const bool watched_out = socket.has(kWatchedOut);
    if (watched && (watched_out || !output)) return 0;
    int error = control(watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, socket, output);
    // Left over from a number that was closed while a duplicate kept the file open.
    if (error == -EEXIST) error = control(EPOLL_CTL_MOD, socket, output);
    if (error == 0) socket.set(kWatched | (output ? kWatchedOut : 0u));
    return error;
}

void EpollEngine::unwatch(Socket& socket) {
    if (!socket.has(kWatched)) return;
    // Fails if the caller has closed the descriptor already, and then there is nothing to undo.
    kernel_.epoll_ctl(epoll_, EPOLL_CTL_DEL, socket.descriptor, 0, 0);
    socket.clear(kWatched | kWatchedOut);
}

bool EpollEngine::still_names(Socket& socket) {
    // Unlike MOD, an ADD that is refused does not rearm the registration, and so makes no edge.
    const int error = control(EPOLL_CTL_ADD, socket, socket.has(kWatchedOut));
    // Whatever else it says (EPERM: a file; ENOSPC), the number is not registered.
    return error == -EEXIST;
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
        kernel_.epoll_wait(epoll_, events_.data(), kEventsMax, 1);
    }
}

}  // namespace cport
