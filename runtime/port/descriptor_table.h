// From a descriptor number to its socket record: the only structure that all threads read.
#pragma once

#include <atomic>
#include <cstdint>

#include "platform/memory.h"
#include "runtime/operation/socket.h"

namespace cport {

// Pages appear when a number in their range is first used, and stay until the table goes.
class DescriptorTable {
 public:
    static constexpr int kPageSockets = 256;
    static constexpr int kDescriptorsMax = 1 << 24;

    explicit DescriptorTable(platform::Memory& memory) : memory_(memory) {}
    ~DescriptorTable();
    DescriptorTable(const DescriptorTable&) = delete;
    DescriptorTable& operator=(const DescriptorTable&) = delete;

    // 0 or -ENOMEM. Before anything else.
    int open();

    // The record, or nullptr if the number was never used.
    Socket* find(int descriptor) const {
        if (static_cast<uint32_t>(descriptor) >= kDescriptorsMax) return nullptr;
        // Acquire pairs with the release in find_or_create: the page is built before it is seen.
        Socket* page = pages_[descriptor / kPageSockets].load(std::memory_order_acquire);
        return page == nullptr ? nullptr : page + descriptor % kPageSockets;
    }

    // Any thread. nullptr with -EMFILE (number too high) or -ENOMEM in `error`.
    Socket* find_or_create(int descriptor, int& error) {
        Socket* socket = find(descriptor);
        return socket != nullptr ? socket : create(descriptor, error);
    }

    // Every record that exists, from `first` on, until `visit` says false. Returns where it
    // stopped.
    template <typename Visit>
    int for_each(int first, Visit&& visit) {
        for (int page = first / kPageSockets; page <= highest_page(); ++page) {
            Socket* sockets = pages_[page].load(std::memory_order_acquire);
            if (sockets == nullptr) continue;
            const int base = page * kPageSockets;
            for (int i = first > base ? first - base : 0; i < kPageSockets; ++i) {
                if (!visit(sockets[i])) return base + i + 1;
            }
        }
        return 0;
    }

 private:
    using Page = std::atomic<Socket*>;
    static constexpr int kPages = kDescriptorsMax / kPageSockets;

    Socket* create(int descriptor, int& error);
    int highest_page() const { return highest_page_.load(std::memory_order_acquire); }

    platform::Memory& memory_;
    Page* pages_ = nullptr;
    std::atomic<int> highest_page_{-1};
};

}  // namespace cport
