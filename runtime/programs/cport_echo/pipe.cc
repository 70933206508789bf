#include <fmt/format.h>
#include <sys/epoll.h>
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

namespace cport::programs {
namespace {

constexpr uint32_t kChunkBytes = 256 * 1024;

// One direction of the connection: adds an operation and waits for its callback.
class Direction {
 public:
    Direction(COMPLETION_PORT_HANDLE port, int socket, int operation)
        : port_(port), socket_(socket), operation_(operation) {}

    // Bytes, 0 at the end of the stream, or a negative errno.
    int64_t transfer(void* buffer, uint32_t length) {
        COMPLETION_PORT_INGRESS_DATA data{};
        data.epoll_op = operation_;
        data.socket = socket_;
        data.event_callback = on_complete;
        data.event_callback_ctx = this;
        data.buffer_data.buffer = buffer;
        data.buffer_data.length = length;
        do {
            const int status = completion_port_add(port_, &data);
            if (status != 0) return status;
            done_.acquire();
        } while (result_ == COMPLETION_PORT_RESULT_OK && amount_ < 0);
        return result_ == COMPLETION_PORT_RESULT_OK ? amount_ : -error_;
    }

 private:
    static void on_complete(void* context, COMPLETION_PORT_EPOLL_ACTION action,
                            COMPLETION_PORT_RESULT result, int32_t amount) {
        auto& self = *static_cast<Direction*>(context);
        self.error_ = action == COMPLETION_PORT_CLOSING || errno == 0 ? ECANCELED : errno;
        self.result_ = result;
        self.amount_ = amount;
        self.done_.release();
    }

    COMPLETION_PORT_HANDLE port_;
    const int socket_;
    const int operation_;
    std::binary_semaphore done_{0};
    COMPLETION_PORT_RESULT result_ = COMPLETION_PORT_RESULT_OK;
    int32_t amount_ = 0;
    int error_ = 0;
};

// Writes what returns to standard output, on a thread of its own: a slow reader of ours must not
// stop the port's worker.
std::string receive_all(COMPLETION_PORT_HANDLE port, int socket) {
    Direction direction(port, socket, EPOLLIN);
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
    Direction direction(port, socket, EPOLLOUT);
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
