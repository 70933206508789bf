// The two ways in which a program gives up: each is one line on stderr and an exit status.
#pragma once

#include <stdexcept>
#include <string>
#include <system_error>

namespace cport::programs {

inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;

// What an errno says in words.
[[nodiscard]] inline std::string error_text(int error) {
    return std::generic_category().message(error);
}

// What the user asked for makes no sense; the message says what does.
class UsageError : public std::runtime_error {
 public:
    using std::runtime_error::runtime_error;
};

// The machine or the network said no.
class OperatingError : public std::runtime_error {
 public:
    using std::runtime_error::runtime_error;
};

}  // namespace cport::programs
