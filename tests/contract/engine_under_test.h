// The engines over which every contract test runs.
#pragma once

#include <completionport/completion_port.h>
#include <completionport/options.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

namespace cport::test {

struct EngineUnderTest {
    const char* name;
    COMPLETION_PORT_HANDLE (*create)();
    size_t workers;
    uint32_t engine;
};

inline COMPLETION_PORT_HANDLE create_with(uint32_t engine, uint32_t workers) {
    COMPLETION_PORT_OPTIONS options{};
    options.size = sizeof(options);
    options.engine = engine;
    options.workers = workers;
    return completion_port_create_with_options(&options);
}

inline constexpr EngineUnderTest kEnginesUnderTest[] = {
    {"epoll", [] { return completion_port_create(); }, 1, COMPLETION_PORT_ENGINE_EPOLL},
    {"epoll_3_workers", [] { return create_with(COMPLETION_PORT_ENGINE_EPOLL, 3); }, 3,
     COMPLETION_PORT_ENGINE_EPOLL},
    {"io_uring", [] { return create_with(COMPLETION_PORT_ENGINE_IO_URING, 1); }, 1,
     COMPLETION_PORT_ENGINE_IO_URING},
    {"io_uring_3_workers", [] { return create_with(COMPLETION_PORT_ENGINE_IO_URING, 3); }, 3,
     COMPLETION_PORT_ENGINE_IO_URING},
};

inline std::vector<EngineUnderTest> engines_of_one_worker() {
    std::vector<EngineUnderTest> engines;
    for (const EngineUnderTest& engine : kEnginesUnderTest) {
        if (engine.workers == 1) engines.push_back(engine);
    }
    return engines;
}

inline std::string engine_name(const ::testing::TestParamInfo<EngineUnderTest>& info) {
    return info.param.name;
}

// Sanitizers cost memory, and TSan a multiple of the time.
#if defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define CPORT_TEST_SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define CPORT_TEST_SANITIZED 1
#endif

#if defined(CPORT_TEST_SANITIZED)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

#if defined(__SANITIZE_THREAD__)
#define CPORT_TEST_THREAD_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CPORT_TEST_THREAD_SANITIZED 1
#endif
#endif

#if defined(CPORT_TEST_THREAD_SANITIZED)
inline constexpr bool kThreadSanitized = true;
#else
inline constexpr bool kThreadSanitized = false;
#endif

// There only where the program runs on the simulated machine, whose calls all take one lock.
[[gnu::weak]] bool on_simulated_machine();

// Whether long runs shrink.
inline bool runs_shrink() { return kSanitized || on_simulated_machine != nullptr; }

// How often a long test repeats: ten times as often in a campaign (./dev test --long).
inline int scaled(int full, int shrunk) {
    const int campaign = std::getenv("CPORT_LONG") != nullptr ? 10 : 1;
    return campaign * (runs_shrink() ? shrunk : full);
}

}  // namespace cport::test

#define CPORT_ON_EVERY_ENGINE(suite)                                                               \
    INSTANTIATE_TEST_SUITE_P(Engine, suite, ::testing::ValuesIn(::cport::test::kEnginesUnderTest), \
                             ::cport::test::engine_name)
