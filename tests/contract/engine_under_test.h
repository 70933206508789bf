// The engines over which every contract test runs.
#pragma once

#include <completionport/completion_port.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

namespace cport::test {

struct EngineUnderTest {
    const char* name;
    COMPLETION_PORT_HANDLE (*create)();
};

inline constexpr EngineUnderTest kEnginesUnderTest[] = {
    {"epoll", [] { return completion_port_create(); }},
};

inline std::string engine_name(const ::testing::TestParamInfo<EngineUnderTest>& info) {
    return info.param.name;
}

// Sanitizers cost memory, and TSan a multiple of the time: long runs shrink under them.
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

// How often a long test repeats: ten times as often in a campaign (./dev test --long).
inline int scaled(int full, int sanitized) {
    const int campaign = std::getenv("CPORT_LONG") != nullptr ? 10 : 1;
    return campaign * (kSanitized ? sanitized : full);
}

}  // namespace cport::test

#define CPORT_ON_EVERY_ENGINE(suite)                                                               \
    INSTANTIATE_TEST_SUITE_P(Engine, suite, ::testing::ValuesIn(::cport::test::kEnginesUnderTest), \
                             ::cport::test::engine_name)
