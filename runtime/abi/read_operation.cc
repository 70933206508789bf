#include "runtime/abi/read_operation.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <type_traits>

#include "completionport/buffers.h"
#include "completionport/connections.h"
#include "completionport/files.h"
#include "completionport/messages.h"
#include "completionport/timers.h"
#include "runtime/abi/structure.h"
#include "runtime/operation/fields.h"

namespace cport {
namespace {

constexpr uint64_t kPeriodMin_ns = 1'000'000;
// The bits of poll(2), which are these.
constexpr uint32_t kPollEvents = EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP;
// Those that are set anyhow may be asked for.
constexpr uint32_t kReceiveFlags =
    MSG_PEEK | MSG_TRUNC | MSG_ERRQUEUE | MSG_DONTWAIT | MSG_CMSG_CLOEXEC;
constexpr uint32_t kSendFlags = MSG_MORE | MSG_EOR | MSG_DONTWAIT | MSG_NOSIGNAL;

// Room for each structure of the family that this library knows.
union AnyOperation {
    COMPLETION_PORT_OPERATION common;
    COMPLETION_PORT_RECEIVE_OPERATION receive;
    COMPLETION_PORT_SEND_OPERATION send;
    COMPLETION_PORT_POLL_OPERATION poll;
    COMPLETION_PORT_TIMER_OPERATION timer;
    COMPLETION_PORT_ACCEPT_OPERATION accept;
    COMPLETION_PORT_CONNECT_OPERATION connect;
    COMPLETION_PORT_SHUTDOWN_OPERATION shutdown;
    COMPLETION_PORT_CLOSE_OPERATION close;
    COMPLETION_PORT_RECEIVE_VECTOR_OPERATION receive_vector;
    COMPLETION_PORT_SEND_VECTOR_OPERATION send_vector;
    COMPLETION_PORT_RECEIVE_MESSAGE_OPERATION receive_message;
    COMPLETION_PORT_SEND_MESSAGE_OPERATION send_message;
    COMPLETION_PORT_SENDFILE_OPERATION sendfile;
    COMPLETION_PORT_FILE_READ_OPERATION file_read;
    COMPLETION_PORT_FILE_WRITE_OPERATION file_write;
    COMPLETION_PORT_FILE_SYNC_OPERATION file_sync;
    COMPLETION_PORT_RECEIVE_POOLED_OPERATION receive_pooled;
};

// What the structures of a kind have in common.
struct Form {
    uint32_t bytes = 0;  // 0: there is no such kind
    uint32_t flags = 0;  // that are allowed, beside COMPLETION_PORT_FLAG_INLINE
};

constexpr auto kForms = [] {
    std::array<Form, COMPLETION_PORT_KIND_RECEIVE_POOLED + 1> forms;
    forms[COMPLETION_PORT_KIND_RECEIVE] = {sizeof(COMPLETION_PORT_RECEIVE_OPERATION), 0};
    forms[COMPLETION_PORT_KIND_SEND] = {sizeof(COMPLETION_PORT_SEND_OPERATION), 0};
    forms[COMPLETION_PORT_KIND_POLL] = {sizeof(COMPLETION_PORT_POLL_OPERATION), 0};
    forms[COMPLETION_PORT_KIND_TIMER] = {sizeof(COMPLETION_PORT_TIMER_OPERATION), 0};
    forms[COMPLETION_PORT_KIND_ACCEPT] = {
        sizeof(COMPLETION_PORT_ACCEPT_OPERATION),
        COMPLETION_PORT_FLAG_MULTISHOT | COMPLETION_PORT_FLAG_DISTRIBUTE};
    forms[COMPLETION_PORT_KIND_CONNECT] = {sizeof(COMPLETION_PORT_CONNECT_OPERATION), 0};
    forms[COMPLETION_PORT_KIND_SHUTDOWN] = {sizeof(COMPLETION_PORT_SHUTDOWN_OPERATION), 0};
    forms[COMPLETION_PORT_KIND_CLOSE] = {sizeof(COMPLETION_PORT_CLOSE_OPERATION), 0};
    forms[COMPLETION_PORT_KIND_RECEIVE_VECTOR] = {sizeof(COMPLETION_PORT_RECEIVE_VECTOR_OPERATION),
                                                  0};
    forms[COMPLETION_PORT_KIND_SEND_VECTOR] = {sizeof(COMPLETION_PORT_SEND_VECTOR_OPERATION), 0};
    forms[COMPLETION_PORT_KIND_RECEIVE_MESSAGE] = {
        sizeof(COMPLETION_PORT_RECEIVE_MESSAGE_OPERATION), 0};
    forms[COMPLETION_PORT_KIND_SEND_MESSAGE] = {sizeof(COMPLETION_PORT_SEND_MESSAGE_OPERATION), 0};
    forms[COMPLETION_PORT_KIND_SENDFILE] = {sizeof(COMPLETION_PORT_SENDFILE_OPERATION), 0};
    forms[COMPLETION_PORT_KIND_FILE_READ] = {sizeof(COMPLETION_PORT_FILE_READ_OPERATION), 0};
    forms[COMPLETION_PORT_KIND_FILE_WRITE] = {sizeof(COMPLETION_PORT_FILE_WRITE_OPERATION), 0};
    forms[COMPLETION_PORT_KIND_FILE_SYNC] = {sizeof(COMPLETION_PORT_FILE_SYNC_OPERATION), 0};
    forms[COMPLETION_PORT_KIND_RECEIVE_POOLED] = {sizeof(COMPLETION_PORT_RECEIVE_POOLED_OPERATION),
                                                  COMPLETION_PORT_FLAG_MULTISHOT};
    return forms;
}();

// The whole structure of a kind, of which `common` is the first member.
template <typename Structure>
const Structure& whole(const COMPLETION_PORT_OPERATION& common) {
    return reinterpret_cast<const Structure&>(common);
}

// What a caller's pointer points to is read through a type of its own.
template <typename Pointee>
char* as_buffer(Pointee* pointer) {
    return reinterpret_cast<char*>(const_cast<std::remove_const_t<Pointee>*>(pointer));
}

int read_bytes(const void* buffer, uint32_t length, uint32_t reserved, SubmitRequest& request) {
    if (buffer == nullptr || length == 0 || length > INT32_MAX || reserved != 0) return -EINVAL;
    request.buffer = static_cast<char*>(const_cast<void*>(buffer));
    request.length = length;
    return 0;
}

int read_poll(const COMPLETION_PORT_POLL_OPERATION& poll, SubmitRequest& request) {
    if (poll.events == 0 || (poll.events & ~kPollEvents) != 0 || poll.reserved != 0) return -EINVAL;
    request.direction = Direction::kWatch;
    request.watch_events = poll.events;
    return 0;
}

int read_timer(const COMPLETION_PORT_TIMER_OPERATION& timer, SubmitRequest& request) {
    const COMPLETION_PORT_OPERATION& common = timer.common;
    if (common.descriptor != 0 || common.deadline_ns != 0 || common.flags != 0) return -EINVAL;
    if (timer.period_ns != 0 && timer.period_ns < kPeriodMin_ns) return -EINVAL;
    // 0 is a time that has passed.
    if (timer.expires_ns == 0) return -ETIMEDOUT;
    if (!in_range(timer.expires_ns) || !in_range(timer.period_ns)) return -ERANGE;
    request.deadline_ns = static_cast<int64_t>(timer.expires_ns);
    request.period_ns = static_cast<int64_t>(timer.period_ns);
    return 0;
}

int read_accept(const COMPLETION_PORT_ACCEPT_OPERATION& accept, SubmitRequest& request) {
    const bool goes_on = (accept.common.flags & COMPLETION_PORT_FLAG_MULTISHOT) != 0;
    const bool wants_inline = (accept.common.flags & COMPLETION_PORT_FLAG_INLINE) != 0;
    // The next connection would overwrite the address before the callback has seen it.
    if (goes_on && (wants_inline || accept.address != nullptr)) return -EINVAL;
    if ((accept.address == nullptr) != (accept.address_length == nullptr)) return -EINVAL;
    if ((accept.accept_flags & ~uint32_t{SOCK_NONBLOCK | SOCK_CLOEXEC}) != 0) return -EINVAL;
    if (accept.reserved != 0) return -EINVAL;
    request.direction = Direction::kRead;
    request.socket_only = true;
    request.non_blocking = true;
    request.buffer = as_buffer(accept.address);
    request.argument = as_argument(accept.address_length);
    request.length = accept.accept_flags;
    const bool distributes = (accept.common.flags & COMPLETION_PORT_FLAG_DISTRIBUTE) != 0;
    request.watch_events = (goes_on ? kAcceptGoesOn : 0) | (distributes ? kAcceptDistributes : 0);
    return 0;
}

int read_connect(const COMPLETION_PORT_CONNECT_OPERATION& connect, SubmitRequest& request) {
    if (connect.address == nullptr || connect.reserved != 0 ||
        connect.address_length < sizeof(sa_family_t) ||
        connect.address_length > sizeof(struct sockaddr_storage)) {
        return -EINVAL;
    }
    request.direction = Direction::kWrite;
    request.socket_only = true;
    request.non_blocking = true;
    request.buffer = as_buffer(connect.address);
    request.length = connect.address_length;
    return 0;
}

int read_shutdown(const COMPLETION_PORT_SHUTDOWN_OPERATION& shutdown, SubmitRequest& request) {
    if (shutdown.how > SHUT_RDWR || shutdown.reserved != 0) return -EINVAL;
    // What ends reading alone has no place among the writes, and the reads wait for it.
    request.direction = shutdown.how == SHUT_RD ? Direction::kWatch : Direction::kWrite;
    request.socket_only = true;
    request.length = shutdown.how;
    return 0;
}

int read_close(const COMPLETION_PORT_OPERATION& common, SubmitRequest& request) {
    if (common.flags != 0 || common.deadline_ns != 0) return -EINVAL;
    request.direction = Direction::kWatch;
    return 0;
}

// The bytes of the pieces in all, or -EINVAL.
int64_t total_of(const struct iovec* vectors, size_t count, bool empty_allowed) {
    if (count > COMPLETION_PORT_VECTORS_MAX || (vectors == nullptr && count != 0)) return -EINVAL;
    uint64_t total = 0;
    for (size_t i = 0; i < count; ++i) {
        const struct iovec& piece = vectors[i];
        const bool empty = piece.iov_len == 0;
        if ((empty && !empty_allowed) || (!empty && piece.iov_base == nullptr)) return -EINVAL;
        if (piece.iov_len > INT32_MAX - total) return -EINVAL;
        total += piece.iov_len;
    }
    return static_cast<int64_t>(total);
}

int read_vectors(const struct iovec* vectors, uint32_t count, uint32_t reserved,
                 SubmitRequest& request) {
    if (count == 0 || reserved != 0) return -EINVAL;
    const int64_t total = total_of(vectors, count, false);
    if (total < 0) return static_cast<int>(total);
    request.buffer = as_buffer(vectors);
    request.argument = count;
    request.length = static_cast<uint32_t>(total);
    return 0;
}

int read_message(const struct msghdr* message, uint32_t flags, uint32_t flags_allowed,
                 uint32_t reserved, SubmitRequest& request) {
    if (message == nullptr || (flags & ~flags_allowed) != 0 || reserved != 0) return -EINVAL;
    const int64_t total = total_of(message->msg_iov, message->msg_iovlen, true);
    if (total < 0) return static_cast<int>(total);
    request.socket_only = true;
    request.buffer = as_buffer(message);
    request.argument = flags;
    request.length = static_cast<uint32_t>(total);
    return 0;
}

int read_sendfile(const COMPLETION_PORT_SENDFILE_OPERATION& sendfile, SubmitRequest& request) {
    if (sendfile.length == 0 || sendfile.length > INT32_MAX || sendfile.reserved != 0 ||
        sendfile.offset > INT64_MAX - sendfile.length) {
        return -EINVAL;
    }
    if (sendfile.file < 0) return -EBADF;
    request.direction = Direction::kWrite;
    request.socket_only = true;
    request.non_blocking = true;
    request.length = static_cast<uint32_t>(sendfile.length);
    request.argument = sendfile.offset;
    request.watch_events = static_cast<uint32_t>(sendfile.file);
    return 0;
}

// Of a read or a write.
template <typename FileTransfer>
int read_file_transfer(const FileTransfer& transfer, SubmitRequest& request) {
    if ((transfer.buffer == nullptr) == (transfer.vectors == nullptr)) return -EINVAL;
    // The other form's fields are not set.
    const int error =
        transfer.buffer != nullptr
            ? read_bytes(transfer.buffer, transfer.length, transfer.count, request)
            : read_vectors(transfer.vectors, transfer.count, transfer.length, request);
    if (error != 0) return error;
    if (transfer.offset > uint64_t{INT64_MAX} - request.length) return -EINVAL;
    request.watch_events = transfer.count;
    request.argument = transfer.offset;
    return 0;
}

int read_file_sync(const COMPLETION_PORT_FILE_SYNC_OPERATION& sync, SubmitRequest& request) {
    const uint32_t unknown = sync.sync_flags & ~uint32_t{COMPLETION_PORT_FILE_SYNC_DATA};
    if (unknown != 0 || sync.reserved != 0) return -EINVAL;
    request.watch_events = sync.sync_flags;
    return 0;
}

int read_file_fields(const COMPLETION_PORT_OPERATION& common, SubmitRequest& request) {
    // They have no order.
    request.direction = Direction::kWatch;
    switch (common.kind) {
        case COMPLETION_PORT_KIND_FILE_READ:
            return read_file_transfer(whole<COMPLETION_PORT_FILE_READ_OPERATION>(common), request);
        case COMPLETION_PORT_KIND_FILE_WRITE:
            return read_file_transfer(whole<COMPLETION_PORT_FILE_WRITE_OPERATION>(common), request);
        default:
            return read_file_sync(whole<COMPLETION_PORT_FILE_SYNC_OPERATION>(common), request);
    }
}

int read_pooled(const COMPLETION_PORT_RECEIVE_POOLED_OPERATION& pooled, SubmitRequest& request) {
    const bool goes_on = (pooled.common.flags & COMPLETION_PORT_FLAG_MULTISHOT) != 0;
    if (goes_on && (pooled.common.flags & COMPLETION_PORT_FLAG_INLINE) != 0) return -EINVAL;
    if (pooled.pool == nullptr || pooled.first_bytes > COMPLETION_PORT_BUFFER_BYTES_MAX ||
        pooled.reserved != 0) {
        return -EINVAL;
    }
    request.direction = Direction::kRead;
    request.argument = as_argument(pooled.pool);
    request.length = pooled.first_bytes;
    request.watch_events = goes_on ? kReceiveGoesOn : 0;
    return 0;
}

template <typename Transfer>
int read_transfer(const COMPLETION_PORT_OPERATION& common, Direction direction,
                  SubmitRequest& request) {
    const auto& transfer = whole<Transfer>(common);
    request.direction = direction;
    return read_bytes(transfer.buffer, transfer.length, transfer.reserved, request);
}

template <typename Vectors>
int read_pieces(const COMPLETION_PORT_OPERATION& common, Direction direction,
                SubmitRequest& request) {
    const auto& pieces = whole<Vectors>(common);
    request.direction = direction;
    return read_vectors(pieces.vectors, pieces.count, pieces.reserved, request);
}

template <typename Message>
int read_one_message(const COMPLETION_PORT_OPERATION& common, Direction direction,
                     uint32_t flags_allowed, SubmitRequest& request) {
    const auto& message = whole<Message>(common);
    request.direction = direction;
    return read_message(message.message, message.message_flags, flags_allowed, message.reserved,
                        request);
}

int read_own_fields(const COMPLETION_PORT_OPERATION& common, SubmitRequest& request) {
    switch (common.kind) {
        case COMPLETION_PORT_KIND_RECEIVE:
            return read_transfer<COMPLETION_PORT_RECEIVE_OPERATION>(common, Direction::kRead,
                                                                    request);
        case COMPLETION_PORT_KIND_SEND:
            return read_transfer<COMPLETION_PORT_SEND_OPERATION>(common, Direction::kWrite,
                                                                 request);
        case COMPLETION_PORT_KIND_RECEIVE_VECTOR:
            return read_pieces<COMPLETION_PORT_RECEIVE_VECTOR_OPERATION>(common, Direction::kRead,
                                                                         request);
        case COMPLETION_PORT_KIND_SEND_VECTOR:
            return read_pieces<COMPLETION_PORT_SEND_VECTOR_OPERATION>(common, Direction::kWrite,
                                                                      request);
        case COMPLETION_PORT_KIND_RECEIVE_MESSAGE:
            return read_one_message<COMPLETION_PORT_RECEIVE_MESSAGE_OPERATION>(
                common, Direction::kRead, kReceiveFlags, request);
        case COMPLETION_PORT_KIND_SEND_MESSAGE:
            return read_one_message<COMPLETION_PORT_SEND_MESSAGE_OPERATION>(
                common, Direction::kWrite, kSendFlags, request);
        case COMPLETION_PORT_KIND_RECEIVE_POOLED:
            return read_pooled(whole<COMPLETION_PORT_RECEIVE_POOLED_OPERATION>(common), request);
        case COMPLETION_PORT_KIND_ACCEPT:
            return read_accept(whole<COMPLETION_PORT_ACCEPT_OPERATION>(common), request);
        case COMPLETION_PORT_KIND_CONNECT:
            return read_connect(whole<COMPLETION_PORT_CONNECT_OPERATION>(common), request);
        case COMPLETION_PORT_KIND_SHUTDOWN:
            return read_shutdown(whole<COMPLETION_PORT_SHUTDOWN_OPERATION>(common), request);
        case COMPLETION_PORT_KIND_SENDFILE:
            return read_sendfile(whole<COMPLETION_PORT_SENDFILE_OPERATION>(common), request);
        case COMPLETION_PORT_KIND_POLL:
            return read_poll(whole<COMPLETION_PORT_POLL_OPERATION>(common), request);
        case COMPLETION_PORT_KIND_TIMER:
            return read_timer(whole<COMPLETION_PORT_TIMER_OPERATION>(common), request);
        case COMPLETION_PORT_KIND_CLOSE:
            return read_close(common, request);
        default:
            return read_file_fields(common, request);
    }
}

int read_known(const COMPLETION_PORT_OPERATION& common, uint32_t flags_allowed,
               SubmitRequest& request) {
    if ((common.flags & ~flags_allowed) != 0) return -EINVAL;
    if (!in_range(common.deadline_ns)) return -ERANGE;
    request.leave_empty();
    request.deadline_ns = static_cast<int64_t>(common.deadline_ns);
    const int error = read_own_fields(common, request);
    if (error != 0) return error;
    if (common.descriptor < 0) return -EBADF;
    request.descriptor = common.descriptor;
    request.inline_success = (common.flags & COMPLETION_PORT_FLAG_INLINE) != 0;
    request.record_kind = common.kind;
    request.key = common.key;
    request.on_complete = common.on_complete;
    request.context = common.context;
    return 0;
}

}  // namespace

int read_operation(const COMPLETION_PORT_OPERATION& operation, bool inline_allowed,
                   SubmitRequest& request) {
    if (operation.size < sizeof(COMPLETION_PORT_OPERATION)) return -EINVAL;
    const uint32_t kind = operation.kind;
    const Form form = kind < kForms.size() ? kForms[kind] : Form{};
    if (form.bytes == 0) return -EINVAL;
    const uint32_t flags_allowed =
        form.flags | (inline_allowed ? uint32_t{COMPLETION_PORT_FLAG_INLINE} : 0u);
    // As nearly always: nothing is missing, and nothing unknown follows.
    const COMPLETION_PORT_OPERATION* whole_operation = &operation;
    AnyOperation known;
    if (operation.size != form.bytes) [[unlikely]] {
        const int error = read_sized(&operation, operation.size, &known, form.bytes);
        if (error != 0) return error;
        whole_operation = &known.common;
    }
    return read_known(*whole_operation, flags_allowed, request);
}

}  // namespace cport
