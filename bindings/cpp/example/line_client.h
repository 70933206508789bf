/* A client of a line protocol on a connected socket: an example of a class over the C API. */
#ifndef LINE_CLIENT_H
#define LINE_CLIENT_H

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>

#include "completionport/completion_port.h"

namespace example {

/* Lines end in '\n'. on_line gets each without it; on_closed comes once, with 0 for an orderly end
 * or the errno of the failure. Both run on the port's worker, one at a time, and may call send.
 * The socket stays the caller's: close it after the client is destroyed. */
class LineClient {
 public:
    static constexpr size_t kLineBytesMax = 1024;

    LineClient(COMPLETION_PORT_HANDLE completion_port, SOCKET_HANDLE socket,
               std::function<void(std::string_view line)> on_line,
               std::function<void(int error)> on_closed);
    /* Waits until no handler runs or will run. Not to be called from a handler. */
    ~LineClient();
    LineClient(const LineClient&) = delete;
    LineClient& operator=(const LineClient&) = delete;

    /* Starts reading. 0 or a negative errno; after an error no handler is called. */
    int start();
    /* Sends the line and a '\n', in the order of the calls. 0 or a negative errno. */
    int send(std::string_view line);

 private:
    static constexpr uint32_t kReceiveBytes = 4096;

    static void on_received(void* context, COMPLETION_PORT_EPOLL_ACTION action,
                            COMPLETION_PORT_RESULT result, int32_t amount);
    static void on_sent(void* context, COMPLETION_PORT_EPOLL_ACTION action,
                        COMPLETION_PORT_RESULT result, int32_t amount);

    int receive_more();
    /* False when a line was longer than kLineBytesMax. */
    bool deliver_lines(std::string_view bytes);
    void close(int error);

    const COMPLETION_PORT_HANDLE completion_port_;
    const SOCKET_HANDLE socket_;
    const std::function<void(std::string_view)> on_line_;
    const std::function<void(int)> on_closed_;
    std::array<char, kReceiveBytes> received_;
    std::string unfinished_line_;
    bool closed_ = false;

    std::mutex mutex_;
    // Borrowed by the port until their callbacks, which come in order. A deque does not move them.
    std::deque<std::string> sending_;
};

}  // namespace example

#endif
