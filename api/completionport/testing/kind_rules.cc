#include "completionport/testing/kind_rules.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <vector>

namespace completionport::testing {
namespace {

constexpr uint64_t kPeriodMin_ns = 1'000'000;
constexpr uint32_t kPollEvents = POLLIN | POLLOUT | POLLPRI | POLLRDHUP;
constexpr uint32_t kAcceptFlags = SOCK_NONBLOCK | SOCK_CLOEXEC;
// Those that the port always sets may be asked for.
constexpr uint32_t kReceiveFlags =
    MSG_PEEK | MSG_TRUNC | MSG_ERRQUEUE | MSG_DONTWAIT | MSG_CMSG_CLOEXEC;
constexpr uint32_t kSendFlags = MSG_MORE | MSG_EOR | MSG_DONTWAIT | MSG_NOSIGNAL;

constexpr int refused_unless(bool well_formed) { return well_formed ? 0 : -EINVAL; }

void* pointer_of(const void* pointer) { return const_cast<void*>(pointer); }

int refusal_of_buffer(const void* buffer, uint32_t length, uint32_t reserved) {
    return refused_unless(buffer != nullptr && length != 0 && length <= INT32_MAX && reserved == 0);
}

int refusal_of_pieces(const struct iovec* pieces, size_t count, bool empty_allowed) {
    if (count > COMPLETION_PORT_VECTORS_MAX || (pieces == nullptr && count != 0)) return -EINVAL;
    uint64_t left = INT32_MAX;
    for (size_t i = 0; i < count; ++i) {
        const struct iovec& piece = pieces[i];
        if (piece.iov_len == 0 ? !empty_allowed : piece.iov_base == nullptr) return -EINVAL;
        if (piece.iov_len > left) return -EINVAL;
        left -= piece.iov_len;
    }
    return 0;
}

int refusal_of_vectors(const struct iovec* vectors, uint32_t count, uint32_t reserved) {
    if (count == 0 || reserved != 0) return -EINVAL;
    return refusal_of_pieces(vectors, count, false);
}

int refusal_of_message(const struct msghdr* message, uint32_t flags, uint32_t reserved) {
    if (message == nullptr || flags != 0 || reserved != 0) return -EINVAL;
    return refusal_of_pieces(message->msg_iov, message->msg_iovlen, true);
}

int64_t total_of(const CapturedOperation& operation) {
    int64_t total = 0;
    for (const struct iovec& piece : pieces_of(operation)) {
        total += static_cast<int64_t>(piece.iov_len);
    }
    return total;
}

const char* objection_to_bytes(int64_t bytes_max, const SubmissionCompletion& completion) {
    const bool fits = completion.value >= 0 && completion.value <= bytes_max;
    return fits ? nullptr : "the value does not fit the buffer";
}

const char* objection_to_received(const CapturedOperation& operation,
                                  const SubmissionCompletion& completion) {
    return objection_to_bytes(total_of(operation), completion);
}

const char* objection_to_sent(const CapturedOperation& operation,
                              const SubmissionCompletion& completion) {
    const int64_t total = total_of(operation);
    if (completion.result == COMPLETION_PORT_RESULT_OK && completion.value != total) {
        return "a send is OK only with its whole length";
    }
    return objection_to_bytes(total, completion);
}

const char* objection_to_no_value(const CapturedOperation& /* operation */,
                                  const SubmissionCompletion& completion) {
    return completion.value == 0 ? nullptr : "its value is always 0";
}

void* no_buffer_of(const CapturedOperation& /* operation */) { return nullptr; }

constexpr KindRules kReceive = {
    COMPLETION_PORT_KIND_RECEIVE,
    sizeof(COMPLETION_PORT_RECEIVE_OPERATION),
    0,
    [](const CapturedOperation& operation) {
        const auto& receive = operation.receive;
        return refusal_of_buffer(receive.buffer, receive.length, receive.reserved);
    },
    objection_to_received,
    [](const CapturedOperation& operation) { return operation.receive.buffer; }};

constexpr KindRules kSend = {
    COMPLETION_PORT_KIND_SEND,
    sizeof(COMPLETION_PORT_SEND_OPERATION),
    0,
    [](const CapturedOperation& operation) {
        const auto& send = operation.send;
        return refusal_of_buffer(send.buffer, send.length, send.reserved);
    },
    objection_to_sent,
    [](const CapturedOperation& operation) { return pointer_of(operation.send.buffer); }};

constexpr KindRules kPoll = {
    COMPLETION_PORT_KIND_POLL,
    sizeof(COMPLETION_PORT_POLL_OPERATION),
    0,
    [](const CapturedOperation& operation) {
        const auto& poll = operation.poll;
        return refused_unless(poll.events != 0 && (poll.events & ~kPollEvents) == 0 &&
                              poll.reserved == 0);
    },
    [](const CapturedOperation& operation, const SubmissionCompletion& completion) -> const char* {
        if (completion.result != COMPLETION_PORT_RESULT_OK) {
            return completion.value == 0 ? nullptr : "a poll that fails has the value 0";
        }
        const int64_t possible = operation.poll.events | POLLERR | POLLHUP;
        const bool fits = completion.value > 0 && (completion.value & ~possible) == 0;
        return fits ? nullptr
                    : "a poll is OK only with events that it asked for, POLLERR or POLLHUP";
    },
    no_buffer_of};

constexpr KindRules kTimer = {
    COMPLETION_PORT_KIND_TIMER,
    sizeof(COMPLETION_PORT_TIMER_OPERATION),
    0,
    [](const CapturedOperation& operation) {
        const COMPLETION_PORT_TIMER_OPERATION& timer = operation.timer;
        const COMPLETION_PORT_OPERATION& common = timer.common;
        if (common.descriptor != 0 || common.deadline_ns != 0 || common.flags != 0) return -EINVAL;
        if (timer.period_ns != 0 && timer.period_ns < kPeriodMin_ns) return -EINVAL;
        // Every other time is in the future: there is no clock here.
        if (timer.expires_ns == 0) return -ETIMEDOUT;
        return is_time(timer.expires_ns) && is_time(timer.period_ns) ? 0 : -ERANGE;
    },
    [](const CapturedOperation& operation, const SubmissionCompletion& completion) -> const char* {
        if (completion.result != COMPLETION_PORT_RESULT_OK) {
            return completion.value == 0 ? nullptr : "a timer that fails has the value 0";
        }
        if (operation.timer.period_ns == 0) {
            return completion.value == 1 ? nullptr : "a timer without a period expires once";
        }
        return completion.value > 0 ? nullptr : "a timer is OK only when it has expired";
    },
    no_buffer_of};

constexpr KindRules kAccept = {
    COMPLETION_PORT_KIND_ACCEPT,
    sizeof(COMPLETION_PORT_ACCEPT_OPERATION),
    COMPLETION_PORT_FLAG_MULTISHOT | COMPLETION_PORT_FLAG_DISTRIBUTE,
    [](const CapturedOperation& operation) {
        const COMPLETION_PORT_ACCEPT_OPERATION& accept = operation.accept;
        const uint32_t flags = accept.common.flags;
        const bool wants_address = accept.address != nullptr;
        if ((flags & COMPLETION_PORT_FLAG_MULTISHOT) != 0 &&
            (wants_address || (flags & COMPLETION_PORT_FLAG_INLINE) != 0)) {
            return -EINVAL;
        }
        return refused_unless(wants_address == (accept.address_length != nullptr) &&
                              (accept.accept_flags & ~kAcceptFlags) == 0 && accept.reserved == 0);
    },
    [](const CapturedOperation& /* operation */,
       const SubmissionCompletion& completion) -> const char* {
        if (completion.result != COMPLETION_PORT_RESULT_OK) {
            return completion.value == 0 ? nullptr : "an accept that fails has the value 0";
        }
        return completion.value >= 0 ? nullptr : "an accept is OK only with a descriptor";
    },
    [](const CapturedOperation& operation) { return pointer_of(operation.accept.address); }};

constexpr KindRules kConnect = {
    COMPLETION_PORT_KIND_CONNECT,
    sizeof(COMPLETION_PORT_CONNECT_OPERATION),
    0,
    [](const CapturedOperation& operation) {
        const COMPLETION_PORT_CONNECT_OPERATION& connect = operation.connect;
        return refused_unless(connect.address != nullptr && connect.reserved == 0 &&
                              connect.address_length >= sizeof(sa_family_t) &&
                              connect.address_length <= sizeof(struct sockaddr_storage));
    },
    objection_to_no_value,
    [](const CapturedOperation& operation) { return pointer_of(operation.connect.address); }};

constexpr KindRules kShutdown = {
    COMPLETION_PORT_KIND_SHUTDOWN,
    sizeof(COMPLETION_PORT_SHUTDOWN_OPERATION),
    0,
    [](const CapturedOperation& operation) {
        const COMPLETION_PORT_SHUTDOWN_OPERATION& shutdown = operation.shutdown;
        return refused_unless(shutdown.how <= SHUT_RDWR && shutdown.reserved == 0);
    },
    objection_to_no_value,
    no_buffer_of};

constexpr KindRules kClose = {
    COMPLETION_PORT_KIND_CLOSE,
    sizeof(COMPLETION_PORT_CLOSE_OPERATION),
    0,
    [](const CapturedOperation& operation) {
        const COMPLETION_PORT_OPERATION& common = operation.common;
        return refused_unless(common.flags == 0 && common.deadline_ns == 0);
    },
    [](const CapturedOperation& operation, const SubmissionCompletion& completion) {
        if (completion.result == COMPLETION_PORT_RESULT_ABANDONED) {
            return "a close happens whatever becomes of the port";
        }
        return objection_to_no_value(operation, completion);
    },
    no_buffer_of};

constexpr KindRules kReceiveVector = {COMPLETION_PORT_KIND_RECEIVE_VECTOR,
                                      sizeof(COMPLETION_PORT_RECEIVE_VECTOR_OPERATION),
                                      0,
                                      [](const CapturedOperation& operation) {
                                          const auto& receive = operation.receive_vector;
                                          return refusal_of_vectors(receive.vectors, receive.count,
                                                                    receive.reserved);
                                      },
                                      objection_to_received,
                                      [](const CapturedOperation& operation) {
                                          return pointer_of(operation.receive_vector.vectors);
                                      }};

constexpr KindRules kSendVector = {
    COMPLETION_PORT_KIND_SEND_VECTOR,
    sizeof(COMPLETION_PORT_SEND_VECTOR_OPERATION),
    0,
    [](const CapturedOperation& operation) {
        const auto& send = operation.send_vector;
        return refusal_of_vectors(send.vectors, send.count, send.reserved);
    },
    objection_to_sent,
    [](const CapturedOperation& operation) { return pointer_of(operation.send_vector.vectors); }};

constexpr KindRules kReceiveMessage = {
    COMPLETION_PORT_KIND_RECEIVE_MESSAGE,
    sizeof(COMPLETION_PORT_RECEIVE_MESSAGE_OPERATION),
    0,
    [](const CapturedOperation& operation) {
        const auto& receive = operation.receive_message;
        return refusal_of_message(receive.message, receive.message_flags & ~kReceiveFlags,
                                  receive.reserved);
    },
    [](const CapturedOperation& operation, const SubmissionCompletion& completion) {
        // With MSG_TRUNC the value is the length that the datagram really had.
        const bool real_length = completion.result == COMPLETION_PORT_RESULT_OK &&
                                 (operation.receive_message.message_flags & MSG_TRUNC) != 0;
        return objection_to_bytes(real_length ? INT32_MAX : total_of(operation), completion);
    },
    [](const CapturedOperation& operation) {
        return pointer_of(operation.receive_message.message);
    }};

constexpr KindRules kSendMessage = {
    COMPLETION_PORT_KIND_SEND_MESSAGE,
    sizeof(COMPLETION_PORT_SEND_MESSAGE_OPERATION),
    0,
    [](const CapturedOperation& operation) {
        const auto& send = operation.send_message;
        return refusal_of_message(send.message, send.message_flags & ~kSendFlags, send.reserved);
    },
    objection_to_sent,
    [](const CapturedOperation& operation) { return pointer_of(operation.send_message.message); }};

constexpr KindRules kSendfile = {
    COMPLETION_PORT_KIND_SENDFILE, sizeof(COMPLETION_PORT_SENDFILE_OPERATION), 0,
    [](const CapturedOperation& operation) {
        const COMPLETION_PORT_SENDFILE_OPERATION& sendfile = operation.sendfile;
        if (sendfile.length == 0 || sendfile.length > INT32_MAX || sendfile.reserved != 0 ||
            sendfile.offset > INT64_MAX - sendfile.length) {
            return -EINVAL;
        }
        return sendfile.file < 0 ? -EBADF : 0;
    },
    // OK with less than its length where the file has ended.
    [](const CapturedOperation& operation, const SubmissionCompletion& completion) {
        return objection_to_bytes(static_cast<int64_t>(operation.sendfile.length), completion);
    },
    no_buffer_of};

template <typename Transfer>
int refusal_of_file_transfer(const Transfer& transfer) {
    if ((transfer.buffer == nullptr) == (transfer.vectors == nullptr)) return -EINVAL;
    const int error = transfer.buffer != nullptr
                          ? refusal_of_buffer(transfer.buffer, transfer.length, transfer.count)
                          : refusal_of_vectors(transfer.vectors, transfer.count, transfer.length);
    if (error != 0) return error;
    uint64_t total = transfer.length;
    for (uint32_t i = 0; i < transfer.count; ++i) total += transfer.vectors[i].iov_len;
    return refused_unless(transfer.offset <= uint64_t{INT64_MAX} - total);
}

constexpr KindRules kFileRead = {COMPLETION_PORT_KIND_FILE_READ,
                                 sizeof(COMPLETION_PORT_FILE_READ_OPERATION),
                                 0,
                                 [](const CapturedOperation& operation) {
                                     return refusal_of_file_transfer(operation.file_read);
                                 },
                                 objection_to_received,
                                 [](const CapturedOperation& operation) {
                                     const auto& read = operation.file_read;
                                     return read.buffer != nullptr ? read.buffer
                                                                   : pointer_of(read.vectors);
                                 }};

constexpr KindRules kFileWrite = {
    COMPLETION_PORT_KIND_FILE_WRITE,
    sizeof(COMPLETION_PORT_FILE_WRITE_OPERATION),
    0,
    [](const CapturedOperation& operation) {
        return refusal_of_file_transfer(operation.file_write);
    },
    objection_to_sent,
    [](const CapturedOperation& operation) {
        const auto& write = operation.file_write;
        return pointer_of(write.buffer != nullptr ? write.buffer : write.vectors);
    }};

constexpr KindRules kFileSync = {
    COMPLETION_PORT_KIND_FILE_SYNC,
    sizeof(COMPLETION_PORT_FILE_SYNC_OPERATION),
    0,
    [](const CapturedOperation& operation) {
        const COMPLETION_PORT_FILE_SYNC_OPERATION& sync = operation.file_sync;
        return refused_unless((sync.sync_flags & ~uint32_t{COMPLETION_PORT_FILE_SYNC_DATA}) == 0 &&
                              sync.reserved == 0);
    },
    objection_to_no_value,
    no_buffer_of};

constexpr KindRules kReceivePooled = {
    COMPLETION_PORT_KIND_RECEIVE_POOLED,
    sizeof(COMPLETION_PORT_RECEIVE_POOLED_OPERATION),
    COMPLETION_PORT_FLAG_MULTISHOT,
    [](const CapturedOperation& operation) {
        const COMPLETION_PORT_RECEIVE_POOLED_OPERATION& receive = operation.receive_pooled;
        constexpr uint32_t kBoth = COMPLETION_PORT_FLAG_MULTISHOT | COMPLETION_PORT_FLAG_INLINE;
        return refused_unless((receive.common.flags & kBoth) != kBoth && receive.pool != nullptr &&
                              receive.first_bytes <= COMPLETION_PORT_BUFFER_BYTES_MAX &&
                              receive.reserved == 0);
    },
    [](const CapturedOperation& operation, const SubmissionCompletion& completion) -> const char* {
        const bool holds_bytes = completion.value > 0;
        if (completion.value < 0 || holds_bytes != (completion.buffer != nullptr)) {
            return "a receive from a pool has a buffer where it has bytes, and only there";
        }
        const bool last = (completion.flags & COMPLETION_PORT_COMPLETION_MORE) == 0;
        if (completion.result == COMPLETION_PORT_RESULT_OK) {
            return holds_bytes && last && goes_on(operation)
                       ? "what goes on ends OK only at the end of the stream"
                       : nullptr;
        }
        return holds_bytes && completion.error != -EMSGSIZE
                   ? "a receive from a pool that fails has no bytes"
                   : nullptr;
    },
    no_buffer_of};

constexpr const KindRules* kKinds[] = {
    &kReceive,  &kSend,     &kPoll,          &kTimer,      &kAccept,         &kConnect,
    &kShutdown, &kClose,    &kReceiveVector, &kSendVector, &kReceiveMessage, &kSendMessage,
    &kSendfile, &kFileRead, &kFileWrite,     &kFileSync,   &kReceivePooled};

}  // namespace

const KindRules* rules_of(uint32_t kind) {
    const auto* const rules =
        std::find_if(std::begin(kKinds), std::end(kKinds),
                     [kind](const KindRules* each) { return each->kind == kind; });
    return rules == std::end(kKinds) ? nullptr : *rules;
}

bool goes_on(const CapturedOperation& operation) {
    switch (operation.common.kind) {
        case COMPLETION_PORT_KIND_TIMER:
            return operation.timer.period_ns != 0;
        default:
            return (operation.common.flags & COMPLETION_PORT_FLAG_MULTISHOT) != 0;
    }
}

std::vector<struct iovec> pieces_of(const CapturedOperation& operation) {
    const auto pieces = [](const struct iovec* first, size_t count) {
        return std::vector<struct iovec>(first, first + count);
    };
    const auto file_pieces = [&pieces](const auto& transfer) -> std::vector<struct iovec> {
        if (transfer.vectors != nullptr) return pieces(transfer.vectors, transfer.count);
        return {{pointer_of(transfer.buffer), transfer.length}};
    };
    switch (operation.common.kind) {
        case COMPLETION_PORT_KIND_RECEIVE:
            return {{operation.receive.buffer, operation.receive.length}};
        case COMPLETION_PORT_KIND_SEND:
            return {{pointer_of(operation.send.buffer), operation.send.length}};
        case COMPLETION_PORT_KIND_RECEIVE_VECTOR:
            return pieces(operation.receive_vector.vectors, operation.receive_vector.count);
        case COMPLETION_PORT_KIND_SEND_VECTOR:
            return pieces(operation.send_vector.vectors, operation.send_vector.count);
        case COMPLETION_PORT_KIND_RECEIVE_MESSAGE:
            return pieces(operation.receive_message.message->msg_iov,
                          operation.receive_message.message->msg_iovlen);
        case COMPLETION_PORT_KIND_FILE_READ:
            return file_pieces(operation.file_read);
        case COMPLETION_PORT_KIND_FILE_WRITE:
            return file_pieces(operation.file_write);
        case COMPLETION_PORT_KIND_SEND_MESSAGE:
            return pieces(operation.send_message.message->msg_iov,
                          operation.send_message.message->msg_iovlen);
        default:
            return {};
    }
}

bool is_time(uint64_t time_ns) { return time_ns <= uint64_t{COMPLETION_PORT_TIME_MAX_NS}; }

}  // namespace completionport::testing
