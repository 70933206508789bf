#include <completionport/operations.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <semaphore>
#include <string>
#include <thread>
#include <vector>

#include "runtime/programs/common/errors.h"
#include "runtime/programs/common/network_address.h"
#include "runtime/programs/common/port.h"
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

// Writes what returns to standard output, on a thread of its own: a slow reader of ours must not
// stop the port's worker.
std::string receive_all(COMPLETION_PORT_HANDLE port, int socket) {
    Direction<COMPLETION_PORT_RECEIVE_OPERATION> direction(port, socket,
                                                           COMPLETION_PORT_KIND_RECEIVE);
    std::vector<char> buffer(kChunkBytes);
    for (;;) {
        const int64_t received = direction.transfer(buffer.data(), kChunkBytes);
        if (received <= 0) {
            return received == 0
                       ? ""
                       : fmt::format("cannot receive: {}", error_text(static_cast<int>(-received)));
        }
        for (int64_t written = 0; written < received;) {
            const ssize_t bytes = write(STDOUT_FILENO, buffer.data() + written,
                                        static_cast<size_t>(received - written));
            if (bytes < 0 && errno != EINTR) {
                return fmt::format("cannot write standard output: {}", error_text(errno));
            }
            written += bytes < 0 ? 0 : bytes;
        }
    }
}

std::string send_all(COMPLETION_PORT_HANDLE port, int socket) {
    Direction<COMPLETION_PORT_SEND_OPERATION> direction(port, socket, COMPLETION_PORT_KIND_SEND);
    std::vector<char> buffer(kChunkBytes);
    for (;;) {
        const ssize_t bytes = read(STDIN_FILENO, buffer.data(), buffer.size());
        if (bytes == 0) return "";
        if (bytes < 0) {
            if (errno == EINTR) continue;
            return fmt::format("cannot read standard input: {}", error_text(errno));
        }
        const int64_t sent = direction.transfer(buffer.data(), static_cast<uint32_t>(bytes));
        if (sent < 0) return fmt::format("cannot send: {}", error_text(static_cast<int>(-sent)));
    }
}

}  // namespace

int run_pipe(const PipeOptions& options) {
    // A reader that goes away is told of by write, as an error with a line.
    std::signal(SIGPIPE, SIG_IGN);
    const Connected connected = connect_to(options.connect);
    const int socket = connected.socket.get();
    const Port port;
    std::string receive_error;
    std::thread receiver([&] {
        receive_error = receive_all(port.get(), socket);
        if (!receive_error.empty()) {
            // Ends a send that waits for a peer which we no longer read.
            shutdown(socket, SHUT_RDWR);
        }
    });
    const std::string send_error = send_all(port.get(), socket);
    shutdown(socket, send_error.empty() ? SHUT_WR : SHUT_RDWR);
    receiver.join();
    completion_port_remove(port.get(), socket);
    if (!receive_error.empty() || !send_error.empty()) {
        throw OperatingError(receive_error.empty() ? send_error : receive_error);
    }
    return 0;
}

}  // namespace cport::programs
