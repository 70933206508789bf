#include "runtime/buffer/buffer_pool.h"

#include <algorithm>
#include <cerrno>
#include <new>

#include "runtime/check.h"

namespace cport {
namespace {

constexpr size_t kDataAlignment = 4096;

// Where a run of units of that class may begin in a word.
constexpr std::array<uint64_t, BufferPool::kClassesMax> kStarts = {~uint64_t{0},
                                                                   0x5555555555555555,
                                                                   0x1111111111111111,
                                                                   0x0101010101010101,
                                                                   0x0001000100010001,
                                                                   0x0000000100000001,
                                                                   1};

// So many bits, the lowest first; 1 to 64.
constexpr uint64_t ones(uint32_t count) { return ~uint64_t{0} >> (64 - count); }

// The bits at which a free run of that class begins.
uint64_t free_starts(uint64_t used, uint32_t size_class) {
    uint64_t free = ~used;
    for (uint32_t i = 0; i < size_class; ++i) free &= free >> (1u << i);
    return free & kStarts[size_class];
}

// The first bit of a run that is in use from now on; -1: there is none.
int take_run(uint64_t& word, uint32_t size_class) {
    const std::atomic_ref<uint64_t> atomic_word(word);
    uint64_t used = atomic_word.load(std::memory_order_relaxed);
    for (;;) {
        const uint64_t starts = free_starts(used, size_class);
        if (starts == 0) return -1;
        const int bit = std::countr_zero(starts);
        // Acquire pairs with clear_units: the buffer's former user is done with it.
        if (atomic_word.compare_exchange_weak(used, used | ones(1u << size_class) << bit,
                                              std::memory_order_acquire,
                                              std::memory_order_relaxed)) {
            return bit;
        }
    }
}

}  // namespace

BufferPool* BufferPool::create(platform::Memory& memory, const void* owner,
                               const BufferPoolOptions& options, int& error) {
    const auto units = static_cast<uint32_t>(
        std::min<uint64_t>(options.bytes_max / options.buffer_bytes, kUnitsMax));
    CPORT_CHECK(units > 0);
    auto* block =
        static_cast<std::byte*>(memory.allocate(size_with_tables(units), alignof(BufferPool)));
    if (block == nullptr) {
        error = -ENOMEM;
        return nullptr;
    }
    auto* pool = new (block) BufferPool(memory, owner, options, units, block + sizeof(BufferPool));
    error = pool->open(options.home);
    if (error == 0) return pool;
    pool->destroy();
    return nullptr;
}

BufferPool::BufferPool(platform::Memory& memory, const void* owner,
                       const BufferPoolOptions& options, uint32_t units, std::byte* behind)
    : memory_(memory),
      owner_(owner),
      unit_bytes_(options.buffer_bytes),
      unit_shift_(static_cast<uint32_t>(std::countr_zero(options.buffer_bytes))),
      largest_class_(
          static_cast<uint32_t>(std::countr_zero(options.buffer_bytes_max / options.buffer_bytes))),
      unit_count_(units),
      word_count_(words_for(units)),
      words_(reinterpret_cast<uint64_t*>(behind)),
      drawn_as_(reinterpret_cast<uint8_t*>(words_ + word_count_)) {
    CPORT_CHECK(largest_class_ < kClassesMax);
    // The last word's units that do not exist are in use for good.
    const uint32_t missing = word_count_ * kUnitsOfWord - units;
    if (missing > 0) words_[word_count_ - 1] = ones(missing) << (kUnitsOfWord - missing);
}

size_t BufferPool::size_with_tables(uint32_t units) {
    return sizeof(BufferPool) + words_for(units) * sizeof(uint64_t) + units;
}

int BufferPool::open(const platform::MemoryHome& home) {
    fork_mark_ = memory_.fork_mark_create();
    if (fork_mark_ == nullptr) return -ENOMEM;
    const size_t size = size_t{unit_count_} * unit_bytes_;
    data_ = static_cast<std::byte*>(memory_.allocate(size, kDataAlignment));
    if (data_ == nullptr) return -ENOMEM;
    home.claim(data_, size);
    return 0;
}

void BufferPool::destroy() {
    platform::Memory& memory = memory_;
    if (data_ != nullptr) memory.release(data_, size_t{unit_count_} * unit_bytes_);
    if (fork_mark_ != nullptr) memory.fork_mark_destroy(fork_mark_);
    const size_t size = size_with_tables(unit_count_);
    this->~BufferPool();
    memory.release(this, size);
}

uint32_t BufferPool::class_for(uint64_t bytes) const {
    if (bytes <= unit_bytes_) return 0;
    const uint64_t units = (bytes + unit_bytes_ - 1) >> unit_shift_;
    return std::min(static_cast<uint32_t>(std::bit_width(units - 1)), largest_class_);
}

bool BufferPool::reserve(uint32_t units) {
    uint64_t held = held_.load(std::memory_order_relaxed);
    do {
        if ((held & kOpen) == 0 || units_of(held) + units > unit_count_) return false;
    } while (!held_.compare_exchange_weak(held, held + units, std::memory_order_relaxed,
                                          std::memory_order_relaxed));
    return true;
}

uint32_t BufferPool::find(uint32_t size_class) {
    std::atomic<uint32_t>& first_look = first_looks_[size_class];
    // Who has reserved one unit finds it, unless others move what is free faster than it looks.
    const uint32_t looks =
        size_class == 0 ? kRoundsMax * word_count_ : std::min(kLooksMax, word_count_);
    const uint32_t from = first_look.load(std::memory_order_relaxed);
    uint32_t word = from;
    for (uint32_t i = 0; i < looks; ++i) {
        const int bit = take_run(words_[word], size_class);
        if (bit >= 0) {
            if (word != from) first_look.store(word, std::memory_order_relaxed);
            return word * kUnitsOfWord + static_cast<uint32_t>(bit);
        }
        if (++word == word_count_) word = 0;
    }
    first_look.store(word, std::memory_order_relaxed);
    return kNoUnit;
}

char* BufferPool::draw(uint32_t wanted, uint32_t least, uint32_t& drawn) {
    for (drawn = wanted;; --drawn) {
        if (reserve(1u << drawn)) {
            const uint32_t unit = find(drawn);
            if (unit != kNoUnit) {
                std::atomic_ref<uint8_t>(drawn_as_[unit])
                    .store(static_cast<uint8_t>(drawn + 1), std::memory_order_relaxed);
                return reinterpret_cast<char*>(data_ + size_t{unit} * unit_bytes_);
            }
            leave(1u << drawn);
        }
        if (drawn == least) return nullptr;
    }
}

void BufferPool::clear_units(uint32_t first, uint32_t count) {
    const uint32_t word = first / kUnitsOfWord;
    const uint64_t kept = ~(ones(count) << (first % kUnitsOfWord));
    // Release pairs with take_run.
    std::atomic_ref<uint64_t>(words_[word]).fetch_and(kept, std::memory_order_release);
    for (std::atomic<uint32_t>& first_look : first_looks_) {
        if (word < first_look.load(std::memory_order_relaxed)) {
            first_look.store(word, std::memory_order_relaxed);
        }
    }
}

uint32_t BufferPool::unit_at(const void* buffer) const {
    const uintptr_t offset =
        reinterpret_cast<uintptr_t>(buffer) - reinterpret_cast<uintptr_t>(data_);
    const uintptr_t unit = offset >> unit_shift_;
    return unit < unit_count_ && offset == unit << unit_shift_ ? static_cast<uint32_t>(unit)
                                                               : kNoUnit;
}

void BufferPool::trim(char* buffer, uint32_t bytes) {
    const uint32_t unit = unit_at(buffer);
    const std::atomic_ref<uint8_t> drawn_as(drawn_as_[unit]);
    const uint32_t units = 1u << (drawn_as.load(std::memory_order_relaxed) - 1);
    const uint32_t size_class = class_for(bytes);
    const uint32_t kept = 1u << size_class;
    if (kept >= units) return;
    drawn_as.store(static_cast<uint8_t>(size_class + 1), std::memory_order_relaxed);
    clear_units(unit + kept, units - kept);
    leave(units - kept);
}

int BufferPool::release(void* buffer) {
    if (forked()) return -EPERM;
    const uint32_t unit = unit_at(buffer);
    if (unit == kNoUnit) return -EINVAL;
    // Of two threads that give the same buffer back, one is told.
    const uint8_t drawn_as =
        std::atomic_ref<uint8_t>(drawn_as_[unit]).exchange(0, std::memory_order_acquire);
    if (drawn_as == 0) return -EINVAL;
    const uint32_t units = 1u << (drawn_as - 1);
    clear_units(unit, units);
    leave(units);
    return 0;
}

bool BufferPool::hold() {
    uint64_t held = held_.load(std::memory_order_relaxed);
    do {
        if ((held & kOpen) == 0) return false;
    } while (!held_.compare_exchange_weak(held, held + kHolderOne, std::memory_order_relaxed,
                                          std::memory_order_relaxed));
    return true;
}

void BufferPool::leave(uint64_t held) {
    // Acquire and release: what every holder did comes before the end.
    if (held_.fetch_sub(held, std::memory_order_acq_rel) == held) destroy();
}

void BufferPool::close() {
    const uint64_t before = held_.fetch_and(~kOpen, std::memory_order_acq_rel);
    CPORT_CHECK((before & kOpen) != 0);
    if (before == kOpen) destroy();
}

}  // namespace cport
