/* An echo server over standalone asio. The concrete executor type avoids any_io_executor's
 * indirection, the concurrency hint 1 says that one thread runs the context, and asio recycles the
 * memory of the handlers, which hold one pointer each. */
#include <asio.hpp>
#include <cstdio>
#include <memory>
#include <utility>

#include "perf/peers/listener.h"

namespace cport::perf {

namespace {

using Executor = asio::io_context::executor_type;
using Socket = asio::basic_stream_socket<asio::ip::tcp, Executor>;
using Acceptor = asio::basic_socket_acceptor<asio::ip::tcp, Executor>;

class Connection {
 public:
    explicit Connection(Socket socket)
        : socket_(std::move(socket)), buffer_(std::make_unique<char[]>(kReceiveBytes)) {}

    /* The connection lives in its one pending handler. */
    static void receive(std::unique_ptr<Connection> self) {
        Connection& connection = *self;
        connection.socket_.async_read_some(
            asio::buffer(connection.buffer_.get(), kReceiveBytes),
            [self = std::move(self)](const asio::error_code& error, std::size_t length) mutable {
                if (!error) {
                    send(std::move(self), length);
                }
            });
    }

 private:
    static void send(std::unique_ptr<Connection> self, std::size_t length) {
        Connection& connection = *self;
        asio::async_write(
            connection.socket_, asio::buffer(connection.buffer_.get(), length),
            [self = std::move(self)](const asio::error_code& error, std::size_t /*sent*/) mutable {
                if (!error) {
                    receive(std::move(self));
                }
            });
    }

    Socket socket_;
    std::unique_ptr<char[]> buffer_;
};

void accept(Acceptor& acceptor) {
    acceptor.async_accept([&acceptor](const asio::error_code& error, Socket socket) {
        if (!error) {
            asio::error_code ignored;
            socket.set_option(asio::ip::tcp::no_delay(true), ignored);
            Connection::receive(std::make_unique<Connection>(std::move(socket)));
        }
        accept(acceptor);
    });
}

}  // namespace

}  // namespace cport::perf

int main(int argc, char** argv) {
    using namespace cport::perf;
    const int listener = listen_on_loopback(parse_port(argc, argv));
    asio::io_context context(1);
    Acceptor acceptor(context.get_executor(), asio::ip::tcp::v4(), listener);
    asio::signal_set ending(context, SIGTERM, SIGINT);
    ending.async_wait(
        [&context](const asio::error_code& /*error*/, int /*number*/) { context.stop(); });
    accept(acceptor);
    announce(listener);
    context.run();
    return 0;
}
