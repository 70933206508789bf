// Owns one reference of a completion port.
#pragma once

#include <completionport/completion_port.h>
#include <completionport/options.h>
#include <fmt/format.h>

#include <cerrno>
#include <cstdint>
#include <utility>

#include "runtime/programs/common/errors.h"

namespace cport::programs {

class Port {
 public:
    // Throws OperatingError.
    explicit Port(uint32_t engine = COMPLETION_PORT_ENGINE_EPOLL, uint64_t spin_ns = 0)
        : handle_(create(engine, spin_ns)) {
        if (handle_ == nullptr) {
            throw OperatingError(
                fmt::format("cannot create a completion port: {}", error_text(errno)));
        }
    }
    Port(Port&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
    Port(const Port&) = delete;
    Port& operator=(const Port&) = delete;
    ~Port() { completion_port_dec_ref(handle_); }

    [[nodiscard]] COMPLETION_PORT_HANDLE get() const { return handle_; }
    // Ends the port now; no callback runs after it returned. Until then callbacks use the handle.
    void release() {
        completion_port_dec_ref(handle_);
        handle_ = nullptr;
    }

 private:
    static COMPLETION_PORT_HANDLE create(uint32_t engine, uint64_t spin_ns) {
        COMPLETION_PORT_OPTIONS options{};
        options.size = sizeof(options);
        options.engine = engine;
        options.spin_ns = spin_ns;
        return completion_port_create_with_options(&options);
    }

    COMPLETION_PORT_HANDLE handle_;
};

}  // namespace cport::programs
