#include <completionport/operations.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <semaphore>
#include <string>
#include <thread>
#include <vector>

#include "runtime/programs/common/errors.h"
#include "runtime/programs/common/network_address.h"
#include "runtime/programs/common/port.h"
#include "runtime/programs/common/signals.h"
#include "runtime/programs/cport_echo/commands.h"
#include "runtime/services/echo/operation.h"

namespace cport::programs {
namespace {

constexpr uint32_t kChunkBytes = 256 * 1024;

// One direction of the connection: submits an operation and waits for its callback.
template <typename Operation>
class Direction {
 public:
    Direction(COMPLETION_PORT_HANDLE port, int socket, uint32_t kind)
        : port_(port),
          operation_(echo::operation_of<Operation, &Direction::on_complete>(kind, socket, *this)) {}
    Direction(const Direction&) = delete;
    Direction& operator=(const Direction&) = delete;

    // Bytes, 0 at the end of the stream, or a negative errno.
    int64_t transfer(void* buffer, uint32_t length) {
        operation_.buffer = buffer;
        operation_.length = length;
        const int status = completion_port_submit(port_, &operation_.common, nullptr, nullptr);
        if (status != 0) return status;
        done_.acquire();
        return outcome_;
    }

 private:
    void on_complete(const echo::Completion& completion) {
        outcome_ = completion.error != 0 ? completion.error : completion.value;
        done_.release();
    }

    COMPLETION_PORT_HANDLE port_;
    Operation operation_;
    std::binary_semaphore done_{0};
    int64_t outcome_ = 0;
};

// What one direction has done.
struct Outcome {
    uint64_t bytes = 0;
    std::string error;
};

// Writes what returns to standard output, on a thread of its own: a slow reader of ours must not
// stop the port's worker.
Outcome receive_all(COMPLETION_PORT_HANDLE port, int socket) {
    Outcome outcome;
    Direction<COMPLETION_PORT_RECEIVE_OPERATION> direction(port, socket,
                                                           COMPLETION_PORT_KIND_RECEIVE);
    std::vector<char> buffer(kChunkBytes);
    for (;;) {
        const int64_t received = direction.transfer(buffer.data(), kChunkBytes);
        if (received < 0) {
            outcome.error =
                fmt::format("cannot receive: {}", error_text(static_cast<int>(-received)));
        }
        if (received <= 0) return outcome;
        outcome.bytes += static_cast<uint64_t>(received);
        for (int64_t written = 0; written < received;) {
            const ssize_t bytes = write(STDOUT_FILENO, buffer.data() + written,
                                        static_cast<size_t>(received - written));
            if (bytes < 0 && errno != EINTR) {
                outcome.error = fmt::format("cannot write standard output: {}", error_text(errno));
                return outcome;
            }
            written += bytes < 0 ? 0 : bytes;
        }
    }
}

// Until the end of standard input, or of what returns.
Outcome send_all(COMPLETION_PORT_HANDLE port, int socket, const Wakeup& ended) {
    Outcome outcome;
    Direction<COMPLETION_PORT_SEND_OPERATION> direction(port, socket, COMPLETION_PORT_KIND_SEND);
    std::vector<char> buffer(kChunkBytes);
    for (;;) {
        wait_readable(STDIN_FILENO, ended.descriptor(), -1);
        if (ended.take()) return outcome;
        const ssize_t bytes = read(STDIN_FILENO, buffer.data(), buffer.size());
        if (bytes == 0) return outcome;
        if (bytes < 0) {
            if (errno == EINTR || errno == EAGAIN) continue;
            outcome.error = fmt::format("cannot read standard input: {}", error_text(errno));
            return outcome;
        }
        const int64_t sent = direction.transfer(buffer.data(), static_cast<uint32_t>(bytes));
        if (sent < 0) {
            outcome.error = fmt::format("cannot send: {}", error_text(static_cast<int>(-sent)));
            return outcome;
        }
        outcome.bytes += static_cast<uint64_t>(sent);
    }
}

}  // namespace

int run_pipe(const PipeOptions& options) {
    const Connected connected = connect_to(options.connect);
    const int socket = connected.socket.get();
    const Port port;
    const Wakeup ended;
    Outcome received;
    std::thread receiver([&] {
        received = receive_all(port.get(), socket);
        // Ends a send that waits for a peer which we no longer read.
        if (!received.error.empty()) shutdown(socket, SHUT_RDWR);
        ended.signal();
    });
    const Outcome sent = send_all(port.get(), socket, ended);
    shutdown(socket, sent.error.empty() ? SHUT_WR : SHUT_RDWR);
    receiver.join();
    completion_port_remove(port.get(), socket);
    if (!received.error.empty()) throw OperatingError(received.error);
    if (!sent.error.empty()) throw OperatingError(sent.error);
    if (received.bytes != sent.bytes) {
        throw OperatingError(
            fmt::format("the server ended after {} of {} bytes", received.bytes, sent.bytes));
    }
    return 0;
}

}  // namespace cport::programs
