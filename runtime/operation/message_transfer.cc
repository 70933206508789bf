// The part of transfer that moves several pieces of memory at once, messages with what comes beside
// their bytes, and the bytes of descriptors that are no sockets.
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>

#include "runtime/operation/fields.h"
#include "runtime/operation/outcome.h"
#include "runtime/operation/transfer.h"

namespace cport {
namespace {

// The next pieces of memory of an operation that has moved part of its bytes: few enough for the
// stack.
class Window {
 public:
    static constexpr size_t kPartsMax = 64;

    Window(const struct iovec* vectors, size_t count, size_t bytes_moved) {
        size_t skipped = bytes_moved;
        for (size_t i = 0; i < count && count_ < kPartsMax && bytes_ < kRoundBytesMax; ++i) {
            const size_t from = std::min(skipped, vectors[i].iov_len);
            skipped -= from;
            add(static_cast<char*>(vectors[i].iov_base) + from, vectors[i].iov_len - from);
        }
    }

    struct iovec* parts() {
        return parts_.data();
    }
    size_t count() const { return count_; }
    uint32_t bytes() const { return static_cast<uint32_t>(bytes_); }

 private:
    void add(char* base, size_t length) {
        const size_t taken = std::min(length, kRoundBytesMax - bytes_);
        if (taken == 0) return;
        parts_[count_++] = {base, taken};
        bytes_ += taken;
    }

    std::array<struct iovec, kPartsMax> parts_;
    size_t count_ = 0;
    size_t bytes_ = 0;
};

// Receives and sends have one piece.
Window next_window(const Operation& operation) {
    const bool one = operation.record_kind <= COMPLETION_PORT_KIND_SEND;
    const struct iovec whole = {operation.buffer, operation.length};
    return Window(one ? &whole : vectors_of(operation), one ? 1 : vector_count(operation),
                  operation.transferred);
}

struct msghdr message_with(const struct iovec* vectors, size_t count) {
    struct msghdr message = {};
    // The kernel does not write to the array.
    message.msg_iov = const_cast<struct iovec*>(vectors);
    message.msg_iovlen = count;
    return message;
}

}  // namespace

Step Transfer::read_parts(Socket& socket, Operation& operation) {
    if (socket.is_socket() && !socket.has(kStream)) {
        struct msghdr message = message_with(vectors_of(operation), vector_count(operation));
        return have_read_message(socket, operation, uninterrupted([&] {
                                     return kernel_.receive_message(socket.descriptor, &message,
                                                                    MSG_TRUNC);
                                 }));
    }
    Window window = next_window(operation);
    struct msghdr message = message_with(window.parts(), window.count());
    const int64_t count = uninterrupted([&] {
        return socket.is_socket() ? kernel_.receive_message(socket.descriptor, &message, 0)
                                  : kernel_.read_now(socket.descriptor, window.parts(),
                                                     static_cast<int>(window.count()));
    });
    return have_read(socket, operation, count, window.bytes());
}

Step Transfer::write_parts(Socket& socket, Operation& operation) {
    if (socket.write_error() != 0) {
        fail(operation, socket.write_error());
        return Step::kCompleted;
    }
    if (socket.is_socket() && !socket.has(kStream)) {
        const struct msghdr message = message_with(vectors_of(operation), vector_count(operation));
        return have_written(socket, operation, uninterrupted([&] {
                                return kernel_.send_message(socket.descriptor, &message, 0);
                            }));
    }
    Window window = next_window(operation);
    const struct msghdr message = message_with(window.parts(), window.count());
    const int64_t count = uninterrupted([&] {
        return socket.is_socket() ? kernel_.send_message(socket.descriptor, &message, 0)
                                  : kernel_.write_now(socket.descriptor, window.parts(),
                                                      static_cast<int>(window.count()));
    });
    // A file that takes nothing and says nothing would be tried for ever.
    return have_written(socket, operation, count == 0 ? -EIO : count);
}

Step Transfer::receive_message(Socket& socket, Operation& operation) {
    const int flags = message_flags(operation);
    const int64_t count = uninterrupted(
        [&] { return kernel_.receive_message(socket.descriptor, message_of(operation), flags); });
    if (count < 0) {
        // An empty queue of errors says nothing of the bytes.
        if ((flags & MSG_ERRQUEUE) != 0) socket.set(kReadsMayHold);
        return read_failed(socket, operation, static_cast<int>(-count));
    }
    socket.set(kReadSinceEdge);
    socket.clear(kUnexplained);
    if (count == 0 && !socket.has(kDatagram) && (flags & MSG_ERRQUEUE) == 0) {
        return read_ended(socket, operation);
    }
    count_moved(count);
    succeed(operation, count);
    return Step::kCompleted;
}

Step Transfer::send_message(Socket& socket, Operation& operation) {
    if (socket.write_error() != 0) {
        fail(operation, socket.write_error());
        return Step::kCompleted;
    }
    const struct msghdr& whole = *message_of(operation);
    Window window(whole.msg_iov, whole.msg_iovlen, operation.transferred);
    struct msghdr part = whole;
    if (socket.has(kStream)) {
        part.msg_iov = window.parts();
        part.msg_iovlen = window.count();
    }
    if (operation.transferred > 0) {
        // What goes beside the bytes went with the first of them.
        part.msg_control = nullptr;
        part.msg_controllen = 0;
    }
    return have_written(socket, operation, uninterrupted([&] {
                            return kernel_.send_message(socket.descriptor, &part,
                                                        message_flags(operation));
                        }));
}

}  // namespace cport
