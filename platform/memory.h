// Memory, as an interface, so that its end can be tested.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cport::platform {

class Memory {
 public:
    virtual ~Memory() = default;

    // Blocks of so many bytes, and of more, share no page with others.
    static constexpr size_t kOwnPages_bytes = size_t{16} * 1024;

    // `alignment` is a power of two. nullptr when there is none left. The memory is zero-filled.
    virtual void* allocate(size_t size, size_t alignment) = 0;
    virtual void release(void* memory, size_t size) = 0;

    // A word that holds 1 in this process and 0 in every child that fork makes; nullptr when there
    // is no memory left.
    virtual const volatile uint32_t* fork_mark_create() = 0;
    virtual void fork_mark_destroy(const volatile uint32_t* mark) = 0;
};

}  // namespace cport::platform
