#include "tests/integration/core/allocation_count.h"

#include <stdlib.h>

#include <atomic>
#include <cstddef>

#include "tests/contract/engine_under_test.h"

namespace {

std::atomic<size_t> allocations{0};

}  // namespace

#if defined(CPORT_TEST_SANITIZED)

// The sanitizers own malloc, and tell of each call.
extern "C" int __sanitizer_install_malloc_and_free_hooks(void (*on_malloc)(const volatile void*,
                                                                           size_t),
                                                         void (*on_free)(const volatile void*));

namespace {

void count_allocation(const volatile void*, size_t) { allocations.fetch_add(1); }
void ignore_release(const volatile void*) {}

[[maybe_unused]] const int hook_installed =
    __sanitizer_install_malloc_and_free_hooks(count_allocation, ignore_release);

}  // namespace

#else

// The C library's own functions, behind the names that everybody calls; operator new calls malloc.
extern "C" {
void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* memory, size_t size);
void* __libc_memalign(size_t alignment, size_t size);

void* malloc(size_t size) {
    allocations.fetch_add(1);
    return __libc_malloc(size);
}

void* calloc(size_t count, size_t size) {
    allocations.fetch_add(1);
    return __libc_calloc(count, size);
}

void* realloc(void* memory, size_t size) {
    allocations.fetch_add(1);
    return __libc_realloc(memory, size);
}

void* aligned_alloc(size_t alignment, size_t size) {
    allocations.fetch_add(1);
    return __libc_memalign(alignment, size);
}

int posix_memalign(void** memory, size_t alignment, size_t size) {
    allocations.fetch_add(1);
    *memory = __libc_memalign(alignment, size);
    return *memory == nullptr ? 12 : 0;
}
}

#endif

size_t cport::test::allocation_count() { return allocations.load(); }
