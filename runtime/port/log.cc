#include "runtime/port/log.h"

#include <cerrno>
#include <cstdarg>
#include <cstdio>

namespace cport {
namespace {

constexpr unsigned char kFirstPrintable = 0x20;
constexpr unsigned char kDelete = 0x7f;

}  // namespace

Log::Log(const PortOptions& options)
    : on_log_(options.on_log), context_(options.log_context), level_(options.log_level) {
    std::snprintf(name_.data(), name_.size(), "%s", options.name_or_default());
    // A line is one line, whatever the port is called.
    for (char& character : name_) {
        const auto byte = static_cast<unsigned char>(character);
        if (byte != 0 && (byte < kFirstPrintable || byte == kDelete)) character = '?';
    }
}

void Log::write(uint32_t level, const char* format, ...) const {
    if (on_log_ == nullptr || level > level_) return;
    const int errno_of_caller = errno;
    std::array<char, COMPLETION_PORT_LOG_MESSAGE_MAX> line{};
    const auto begin =
        static_cast<size_t>(std::snprintf(line.data(), line.size(), "%s: ", name_.data()));
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(line.data() + begin, line.size() - begin, format, arguments);
    va_end(arguments);
    on_log_(context_, level, line.data());
    errno = errno_of_caller;
}

void WorkerLog::started() const {
    log_.write(COMPLETION_PORT_LOG_DEBUG, "worker %u started", worker_);
}

void WorkerLog::ended() const { log_.write(COMPLETION_PORT_LOG_DEBUG, "worker %u ended", worker_); }

void WorkerLog::found_closed(int descriptor) const {
    log_.write(COMPLETION_PORT_LOG_WARNING,
               "worker %u: descriptor %d was closed without remove, its operations are abandoned",
               worker_, descriptor);
}

void WorkerLog::watch_failed(int descriptor, int error) {
    if (!watch_.ring()) return;
    log_.write(COMPLETION_PORT_LOG_ERROR, "worker %u: epoll cannot watch descriptor %d (errno %d)",
               worker_, descriptor, -error);
}

void WorkerLog::wait_failed(int error) {
    if (!wait_.ring()) return;
    log_.write(COMPLETION_PORT_LOG_ERROR, "worker %u: epoll cannot wait (errno %d)", worker_,
               -error);
}

void WorkerLog::slot_refused(int error, uint32_t slots_max) {
    const bool limit = error == -ENOBUFS;
    if (!(limit ? limit_ : memory_).ring()) return;
    if (limit) {
        log_.write(COMPLETION_PORT_LOG_WARNING,
                   "worker %u: the limit of %u operations is reached, more are refused", worker_,
                   slots_max);
    } else {
        log_.write(COMPLETION_PORT_LOG_WARNING,
                   "worker %u: no memory for more operations, they are refused", worker_);
    }
}

void WorkerLog::end_period() {
    for (Alarm* alarm : {&limit_, &memory_, &watch_, &wait_}) alarm->end_period();
}

}  // namespace cport
