#include <sys/socket.h>
#include <uv.h>

#include <asio.hpp>
#include <memory>
#include <thread>
#include <vector>

#include "perf/micro/ready_operation.h"

namespace cport::perf {

namespace {

using Executor = asio::io_context::executor_type;
using AsioSocket = asio::basic_stream_socket<asio::generic::stream_protocol, Executor>;

class AsioReader {
 public:
    AsioReader(ReadySockets& ready, Transport transport) {
        const asio::generic::stream_protocol protocol(
            transport == Transport::kTcp ? AF_INET : AF_UNIX, 0);
        for (ReadySocket& socket : ready.sockets()) {
            /* asio closes what it owns, and the pairs close theirs. */
            readers_.push_back({AsioSocket(context_, protocol, dup(socket.descriptor)), &socket});
        }
    }

    std::uint64_t run_batch() {
        context_.restart();
        const std::uint64_t start_ns = now_ns();
        for (Reader& reader : readers_) {
            submit(reader);
        }
        context_.run();
        return now_ns() - start_ns;
    }

 private:
    struct Reader {
        AsioSocket stream;
        ReadySocket* socket;
    };

    static void submit(Reader& reader) {
        reader.stream.async_read_some(asio::buffer(reader.socket->buffer),
                                      [&reader](const asio::error_code& error, std::size_t length) {
                                          require(!error && length == kUnitBytes, "a read of asio");
                                          if (--reader.socket->units != 0) {
                                              submit(reader);
                                          }
                                      });
    }

    asio::io_context context_{1};
    std::vector<Reader> readers_;
};

void run_asio(benchmark::State& state, Transport transport) {
    pin_to_cpu(kWorkerCpu);
    ReadySockets ready(transport);
    AsioReader reader(ready, transport);
    time_batches(state, ready, [&reader] { return reader.run_batch(); });
}

/* On a worker thread while the main thread sleeps, as the port runs. It costs more: with a second
 * thread the kernel counts references to each file, and glibc's recv opens a cancellation point. */
void run_asio_on_worker(benchmark::State& state, Transport transport) {
    pin_to_cpu(kWorkerCpu);
    ReadySockets ready(transport);
    AsioReader reader(ready, transport);
    time_batches(state, ready, [&reader] {
        std::uint64_t batch_ns = 0;
        std::thread worker([&] { batch_ns = reader.run_batch(); });
        worker.join();
        return batch_ns;
    });
}

/* A loop that closes its handles and itself. */
class Loop {
 public:
    Loop() { require(uv_loop_init(&loop_) == 0, "uv_loop_init"); }
    Loop(const Loop&) = delete;
    Loop& operator=(const Loop&) = delete;

    ~Loop() {
        uv_walk(
            &loop_, [](uv_handle_t* handle, void* /*context*/) { uv_close(handle, nullptr); },
            nullptr);
        uv_run(&loop_, UV_RUN_DEFAULT);
        uv_loop_close(&loop_);
    }

    uv_loop_t* get() { return &loop_; }

 private:
    uv_loop_t loop_;
};

struct UvReader {
    union {
        uv_pipe_t pipe;
        uv_poll_t poll;
    };
    ReadySocket* socket;
};

void lend_unit(uv_handle_t* handle, std::size_t /*suggested*/, uv_buf_t* buffer) {
    auto* reader = static_cast<UvReader*>(handle->data);
    *buffer = uv_buf_init(reader->socket->buffer, kUnitBytes);
}

void on_read(uv_stream_t* stream, ssize_t read, const uv_buf_t* /*buffer*/) {
    require(read == kUnitBytes, "a read of libuv");
    auto* reader = static_cast<UvReader*>(stream->data);
    if (--reader->socket->units == 0) {
        uv_read_stop(stream);
    }
}

void on_readable(uv_poll_t* poll, int status, int /*events*/) {
    auto* reader = static_cast<UvReader*>(poll->data);
    require(status == 0 && recv(reader->socket->descriptor, reader->socket->buffer, kUnitBytes,
                                0) == kUnitBytes,
            "a read behind uv_poll");
    if (--reader->socket->units == 0) {
        uv_poll_stop(poll);
    }
}

/* The loop ends by itself once no handle reads. */
void run_libuv_read(benchmark::State& state, Transport transport) {
    pin_to_cpu(kWorkerCpu);
    ReadySockets ready(transport);
    std::vector<UvReader> readers(kReadySockets);
    Loop loop;
    for (std::size_t i = 0; i < kReadySockets; ++i) {
        readers[i].socket = &ready.sockets()[i];
        uv_pipe_init(loop.get(), &readers[i].pipe, 0);
        readers[i].pipe.data = &readers[i];
        require(uv_pipe_open(&readers[i].pipe, dup(readers[i].socket->descriptor)) == 0,
                "uv_pipe_open");
    }
    time_batches(state, ready, [&] {
        const std::uint64_t start_ns = now_ns();
        for (UvReader& reader : readers) {
            uv_read_start(reinterpret_cast<uv_stream_t*>(&reader.pipe), lend_unit, on_read);
        }
        uv_run(loop.get(), UV_RUN_DEFAULT);
        return now_ns() - start_ns;
    });
}

void run_libuv_poll(benchmark::State& state, Transport transport) {
    pin_to_cpu(kWorkerCpu);
    ReadySockets ready(transport);
    std::vector<UvReader> readers(kReadySockets);
    Loop loop;
    for (std::size_t i = 0; i < kReadySockets; ++i) {
        readers[i].socket = &ready.sockets()[i];
        uv_poll_init(loop.get(), &readers[i].poll, readers[i].socket->descriptor);
        readers[i].poll.data = &readers[i];
    }
    time_batches(state, ready, [&] {
        const std::uint64_t start_ns = now_ns();
        for (UvReader& reader : readers) {
            uv_poll_start(&reader.poll, UV_READABLE, on_readable);
        }
        uv_run(loop.get(), UV_RUN_DEFAULT);
        return now_ns() - start_ns;
    });
}

BENCHMARK_CAPTURE(run_asio, unix, Transport::kUnix)->Name("ready_unix/asio")->UseManualTime();
BENCHMARK_CAPTURE(run_asio, tcp, Transport::kTcp)->Name("ready_tcp/asio")->UseManualTime();
BENCHMARK_CAPTURE(run_asio_on_worker, unix, Transport::kUnix)
    ->Name("ready_unix/asio_on_worker")
    ->UseManualTime();
BENCHMARK_CAPTURE(run_asio_on_worker, tcp, Transport::kTcp)
    ->Name("ready_tcp/asio_on_worker")
    ->UseManualTime();
BENCHMARK_CAPTURE(run_libuv_read, unix, Transport::kUnix)
    ->Name("ready_unix/libuv_read")
    ->UseManualTime();
BENCHMARK_CAPTURE(run_libuv_read, tcp, Transport::kTcp)
    ->Name("ready_tcp/libuv_read")
    ->UseManualTime();
BENCHMARK_CAPTURE(run_libuv_poll, unix, Transport::kUnix)
    ->Name("ready_unix/libuv_poll")
    ->UseManualTime();
BENCHMARK_CAPTURE(run_libuv_poll, tcp, Transport::kTcp)
    ->Name("ready_tcp/libuv_poll")
    ->UseManualTime();

}  // namespace

}  // namespace cport::perf
