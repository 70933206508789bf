#include "runtime/port/descriptor_table.h"

#include <cerrno>
#include <new>

namespace cport {
namespace {

constexpr size_t kPageBytes = sizeof(Socket) * DescriptorTable::kPageSockets;

}  // namespace

int DescriptorTable::open() {
    // Zero-filled memory is a directory of null pages; its untouched parts take no memory.
    void* memory = memory_.allocate(sizeof(Page) * kPages, alignof(Page));
    if (memory == nullptr) return -ENOMEM;
    pages_ = static_cast<Page*>(memory);
    return 0;
}

DescriptorTable::~DescriptorTable() {
    if (pages_ == nullptr) return;
    for (int page = 0; page <= highest_page(); ++page) {
        Socket* sockets = pages_[page].load(std::memory_order_relaxed);
        if (sockets != nullptr) memory_.release(sockets, kPageBytes);
    }
    memory_.release(pages_, sizeof(Page) * kPages);
}

Socket* DescriptorTable::create(int descriptor, int& error) {
    if (descriptor >= kDescriptorsMax) {
        error = -EMFILE;
        return nullptr;
    }
    void* memory = memory_.allocate(kPageBytes, alignof(Socket));
    if (memory == nullptr) {
        error = -ENOMEM;
        return nullptr;
    }
    auto* sockets = static_cast<Socket*>(memory);
    const int page = descriptor / kPageSockets;
    for (int i = 0; i < kPageSockets; ++i) new (sockets + i) Socket(page * kPageSockets + i);

    Socket* installed = nullptr;
    if (!pages_[page].compare_exchange_strong(installed, sockets, std::memory_order_acq_rel,
                                              std::memory_order_acquire)) {
        memory_.release(memory, kPageBytes);  // another thread was first
        return installed + descriptor % kPageSockets;
    }
    int highest = highest_page_.load(std::memory_order_relaxed);
    while (highest < page &&
           !highest_page_.compare_exchange_weak(highest, page, std::memory_order_release,
                                                std::memory_order_relaxed)) {
    }
    return sockets + descriptor % kPageSockets;
}

}  // namespace cport
