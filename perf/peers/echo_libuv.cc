/* An echo server over libuv: one receive buffer for the loop (a read callback is done with it when
 * it returns), uv_try_write first, and a queued write only for what the peer did not take. Reading
 * stops until that write is done. */
#include <uv.h>

#include <csignal>
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

#include "perf/peers/listener.h"

namespace cport::perf {

namespace {

constexpr int kBacklog = 4096;

struct Connection {
    uv_tcp_t stream;
    uv_write_t write;
    std::vector<char> unsent;
};

struct LoopBuffer {
    char bytes[kReceiveBytes];
};

Connection* connection_of(uv_stream_t* stream) { return static_cast<Connection*>(stream->data); }

uv_handle_t* handle_of(Connection* connection) {
    return reinterpret_cast<uv_handle_t*>(&connection->stream);
}

void end(Connection* connection) {
    if (uv_is_closing(handle_of(connection)) == 0) {
        uv_close(handle_of(connection),
                 [](uv_handle_t* handle) { delete static_cast<Connection*>(handle->data); });
    }
}

void lend_buffer(uv_handle_t* handle, std::size_t /*suggested*/, uv_buf_t* buffer) {
    auto* shared = static_cast<LoopBuffer*>(handle->loop->data);
    *buffer = uv_buf_init(shared->bytes, sizeof(shared->bytes));
}

void on_read(uv_stream_t* stream, ssize_t received, const uv_buf_t* buffer);

void on_written(uv_write_t* write, int status) {
    Connection* connection = connection_of(write->handle);
    connection->unsent.clear();
    if (status != 0) {
        end(connection);
        return;
    }
    uv_read_start(write->handle, lend_buffer, on_read);
}

void on_read(uv_stream_t* stream, ssize_t received, const uv_buf_t* buffer) {
    Connection* connection = connection_of(stream);
    if (received <= 0) {
        if (received < 0) {
            end(connection);
        }
        return;
    }
    const uv_buf_t whole = uv_buf_init(buffer->base, static_cast<unsigned>(received));
    int taken = uv_try_write(stream, &whole, 1);
    if (taken == received) {
        return;
    }
    if (taken < 0 && taken != UV_EAGAIN) {
        end(connection);
        return;
    }
    taken = taken < 0 ? 0 : taken;
    uv_read_stop(stream);
    connection->unsent.assign(buffer->base + taken, buffer->base + received);
    const uv_buf_t rest =
        uv_buf_init(connection->unsent.data(), static_cast<unsigned>(connection->unsent.size()));
    if (uv_write(&connection->write, stream, &rest, 1, on_written) != 0) {
        end(connection);
    }
}

void on_connection(uv_stream_t* listener, int status) {
    if (status != 0) {
        return;
    }
    auto connection = std::make_unique<Connection>();
    uv_tcp_init(listener->loop, &connection->stream);
    Connection* accepted = connection.release();
    accepted->stream.data = accepted;
    auto* stream = reinterpret_cast<uv_stream_t*>(&accepted->stream);
    if (uv_accept(listener, stream) != 0) {
        end(accepted);
        return;
    }
    uv_tcp_nodelay(&accepted->stream, 1);
    uv_read_start(stream, lend_buffer, on_read);
}

}  // namespace

}  // namespace cport::perf

int main(int argc, char** argv) {
    using namespace cport::perf;
    const std::uint16_t port = parse_port(argc, argv);
    std::signal(SIGPIPE, SIG_IGN);

    uv_loop_t loop;
    uv_loop_init(&loop);
    const auto buffer = std::make_unique<LoopBuffer>();
    loop.data = buffer.get();

    const int descriptor = listen_on_loopback(port);
    uv_tcp_t listener;
    uv_tcp_init(&loop, &listener);
    uv_tcp_open(&listener, descriptor);
    if (uv_listen(reinterpret_cast<uv_stream_t*>(&listener), kBacklog, on_connection) != 0) {
        std::fprintf(stderr, "uv_listen failed\n");
        return 1;
    }

    uv_signal_t ending;
    uv_signal_init(&loop, &ending);
    uv_signal_start(
        &ending, [](uv_signal_t* handle, int /*number*/) { uv_stop(handle->loop); }, SIGTERM);
    announce(descriptor);
    uv_run(&loop, UV_RUN_DEFAULT);
    return 0;
}
