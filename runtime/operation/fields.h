// What the free fields of an operation hold, kind by kind: who submits writes them, who does the
// work reads them.
#pragma once

#include <sys/socket.h>

#include <cstdint>

#include "runtime/operation/operation.h"

namespace cport {

// Bits of `watch_events` of an accept.
constexpr uint32_t kAcceptGoesOn = 1;
constexpr uint32_t kAcceptDistributes = 2;
// `watch_events` of a connect: the kernel has begun.
constexpr uint32_t kConnectBegun = 1;
// `watch_events` of a receive from a pool: this bit, and what ReceiveSize says.
constexpr uint32_t kReceiveGoesOn = 1;

template <typename Pointee>
uint64_t as_argument(Pointee* pointer) {
    return reinterpret_cast<uintptr_t>(pointer);
}

inline bool accept_goes_on(const Operation& accept) {
    return (accept.watch_events & kAcceptGoesOn) != 0;
}
inline bool accept_distributes(const Operation& accept) {
    return (accept.watch_events & kAcceptDistributes) != 0;
}
inline int accept_flags(const Operation& accept) { return static_cast<int>(accept.length); }
inline struct sockaddr* address_of(const Operation& accept_or_connect) {
    return reinterpret_cast<struct sockaddr*>(accept_or_connect.buffer);
}
inline uint32_t* address_length_of(const Operation& accept) {
    return reinterpret_cast<uint32_t*>(accept.argument);
}

inline bool receive_goes_on(const Operation& pooled) {
    return (pooled.watch_events & kReceiveGoesOn) != 0;
}
// Held by the operation until it is complete. `length` is what the first buffer shall hold.
template <typename Pooled>
inline BufferPool* pool_of(const Pooled& pooled) {
    return reinterpret_cast<BufferPool*>(pooled.argument);
}
// Of a record: where its buffer, if it has one, is from.
inline BufferPool* pool_of_record(const Operation& record) {
    return record.more ? record.pool : pool_of(record);
}

inline int shutdown_how(const Operation& shutdown) { return static_cast<int>(shutdown.length); }

inline const struct iovec* vectors_of(const Operation& operation) {
    return reinterpret_cast<const struct iovec*>(operation.buffer);
}
inline size_t vector_count(const Operation& operation) { return operation.argument; }

inline struct msghdr* message_of(const Operation& operation) {
    return reinterpret_cast<struct msghdr*>(operation.buffer);
}
inline int message_flags(const Operation& operation) {
    return static_cast<int>(operation.argument);
}

template <typename Sendfile>
inline int file_of(const Sendfile& sendfile) {
    return static_cast<int>(sendfile.watch_events);
}
inline int64_t file_offset(const Operation& sendfile) {
    return static_cast<int64_t>(sendfile.argument);
}

// Operations on files at offsets: `argument` is the offset, `watch_events` the count of vectors (0:
// the buffer is the bytes) or the flags of a sync, `amount` the link back while it waits for a
// thread.
inline bool works_on_file(const Operation& operation) {
    return operation.record_kind >= COMPLETION_PORT_KIND_FILE_READ &&
           operation.record_kind <= COMPLETION_PORT_KIND_FILE_SYNC;
}

}  // namespace cport
