#include "runtime/file/file_work.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>

#include "completionport/files.h"
#include "runtime/operation/fields.h"
#include "runtime/operation/outcome.h"

namespace cport {
namespace {

bool reads(const Operation& operation) {
    return operation.record_kind == COMPLETION_PORT_KIND_FILE_READ;
}

// The pieces of memory that are left. All of them at first, so that a write is one call if the
// kernel takes it whole; what is left of a call that came short, some at a time.
class Pieces {
 public:
    explicit Pieces(const Operation& operation) {
        const bool one = operation.watch_events == 0;
        if (one || operation.transferred > 0) {
            const struct iovec whole = {operation.buffer, operation.length};
            one ? collect(&whole, 1, operation.transferred)
                : collect(vectors_of(operation), operation.watch_events, operation.transferred);
        } else {
            first_ = vectors_of(operation);
            count_ = operation.watch_events;
            bytes_ = operation.length;
        }
    }
    Pieces(const Pieces&) = delete;
    Pieces& operator=(const Pieces&) = delete;

    const struct iovec* first() const { return first_; }
    int count() const { return static_cast<int>(count_); }
    size_t bytes() const { return bytes_; }

 private:
    static constexpr size_t kPartsMax = 64;

    void collect(const struct iovec* vectors, size_t count, size_t bytes_moved) {
        size_t skipped = bytes_moved;
        for (size_t i = 0; i < count && count_ < kPartsMax; ++i) {
            const size_t from = std::min(skipped, vectors[i].iov_len);
            skipped -= from;
            if (from == vectors[i].iov_len) continue;
            const size_t length = vectors[i].iov_len - from;
            parts_[count_++] = {static_cast<char*>(vectors[i].iov_base) + from, length};
            bytes_ += length;
        }
        first_ = parts_.data();
    }

    std::array<struct iovec, kPartsMax> parts_;
    const struct iovec* first_ = nullptr;
    size_t count_ = 0;
    size_t bytes_ = 0;
};

int64_t move(platform::Kernel& kernel, const Operation& operation, const Pieces& pieces) {
    const int file = operation.socket->descriptor;
    const int64_t offset = static_cast<int64_t>(operation.argument) + operation.transferred;
    return uninterrupted([&] {
        return reads(operation)
                   ? kernel.read_at(file, pieces.first(), pieces.count(), offset, false)
                   : kernel.write_at(file, pieces.first(), pieces.count(), offset);
    });
}

}  // namespace

void work_on_file(platform::Kernel& kernel, Operation& operation) {
    if (operation.record_kind == COMPLETION_PORT_KIND_FILE_SYNC) {
        const bool data_only = (operation.watch_events & COMPLETION_PORT_FILE_SYNC_DATA) != 0;
        operation.error = -uninterrupted(
            [&] { return kernel.sync_file(operation.socket->descriptor, data_only); });
        return;
    }
    bool came_short = false;
    while (operation.remaining() > 0) {
        const Pieces pieces(operation);
        const int64_t count = move(kernel, operation, pieces);
        if (count > 0) {
            operation.transferred += static_cast<uint32_t>(count);
            came_short = static_cast<size_t>(count) < pieces.bytes();
            continue;
        }
        // Unbuffered files refuse to be read on from where they end, between two blocks.
        const bool ended = reads(operation) && (count == 0 || (count == -EINVAL && came_short));
        // A file that takes nothing and says nothing would be tried for ever.
        if (!ended) operation.error = count == 0 ? EIO : static_cast<int32_t>(-count);
        return;
    }
}

bool read_file_at_once(platform::Kernel& kernel, Operation& operation) {
    if (!reads(operation) || operation.length > kFileBytesAtOnceMax) return false;
    const Pieces pieces(operation);
    const int64_t count = uninterrupted([&] {
        return kernel.read_at(operation.socket->descriptor, pieces.first(), pieces.count(),
                              static_cast<int64_t>(operation.argument), true);
    });
    // Some kernels (5.9 and 5.10) say 0 also where the file has not ended: who may wait finds out.
    if (count > 0) operation.transferred = static_cast<uint32_t>(count);
    return operation.remaining() == 0;
}

}  // namespace cport
