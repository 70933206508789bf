/* What an idle connection costs in user memory while a receive waits on it that has no buffer yet,
 * and what an add costs that waits for its owner. All runtimes allocate in steps: as much as fills
 * the steps is there before the first look, and what is counted fills them too. */
#include <completionport/buffers.h>
#include <completionport/completions.h>
#include <sys/epoll.h>
#include <uv.h>

#include <asio.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "perf/micro/idle_connections.h"
#include "perf/micro/support.h"
#include "perf/micro/user_memory.h"

namespace cport::perf {

namespace {

/* The port's slots come by 512 and its records of descriptors by 256; libuv's table of descriptors
 * doubles, and is full with nearly 8192. */
constexpr std::size_t kBefore = 512;
constexpr std::size_t kCounted = 14 * 512;
constexpr std::size_t kConnections = kBefore + kCounted;

/* Opens more connections, and arms a receive of each. */
template <typename Receives>
void arm_more(IdleConnections& connections, Receives& receives, std::size_t count) {
    const std::size_t first = connections.size();
    connections.open(count);
    for (std::size_t i = first; i < connections.size(); ++i) {
        receives.arm(connections, i);
    }
    receives.settle();
}

template <typename Receives>
void run_idle(benchmark::State& state) {
    if (!descriptors_allowed(state, kConnections)) {
        return;
    }
    for ([[maybe_unused]] auto _ : state) {
        IdleConnections connections(kConnections);
        const UserMemory memory;
        Receives receives;
        arm_more(connections, receives, kBefore);
        const std::uint64_t before = memory.bytes();
        arm_more(connections, receives, kCounted);
        report_bytes(state, memory.bytes() - before, kCounted);
    }
}

/* Returns when the worker has heard of everything that was added before. */
void await_worker(const Port& port) {
    Signal heard;
    const auto on_post = [](void* context, const COMPLETION_PORT_COMPLETION* /*completion*/) {
        static_cast<Signal*>(context)->raise();
    };
    require(completion_port_post(port.handle(), 0, 0, on_post, &heard) == 0,
            "completion_port_post");
    heard.wait();
}

class PooledReceives {
 public:
    PooledReceives() {
        COMPLETION_PORT_BUFFER_POOL_OPTIONS options{};
        options.size = sizeof(options);
        options.bytes_max = 64 << 20;
        pool_ = completion_port_buffer_pool_create(port_.handle(), &options);
        require(pool_ != nullptr, "completion_port_buffer_pool_create");
    }
    PooledReceives(const PooledReceives&) = delete;
    PooledReceives& operator=(const PooledReceives&) = delete;
    ~PooledReceives() { completion_port_buffer_pool_destroy(pool_); }

    void arm(IdleConnections& connections, std::size_t index) {
        COMPLETION_PORT_RECEIVE_POOLED_OPERATION receive{};
        receive.common.size = sizeof(receive);
        receive.common.kind = COMPLETION_PORT_KIND_RECEIVE_POOLED;
        receive.common.flags = COMPLETION_PORT_FLAG_MULTISHOT;
        receive.common.descriptor = connections[index];
        receive.common.on_complete = [](void*, const COMPLETION_PORT_COMPLETION*) {};
        receive.pool = pool_;
        require(completion_port_submit(port_.handle(), &receive.common, nullptr, nullptr) == 0,
                "completion_port_submit");
    }
    void settle() const { await_worker(port_); }

 private:
    Port port_;
    COMPLETION_PORT_BUFFER_POOL_HANDLE pool_;
};

class ReadinessAdds {
 public:
    void arm(IdleConnections& connections, std::size_t index) {
        port_.add(
            EPOLLIN, connections[index],
            [](void*, COMPLETION_PORT_EPOLL_ACTION, COMPLETION_PORT_RESULT, std::int32_t) {},
            nullptr);
    }
    void settle() const { await_worker(port_); }

 private:
    Port port_;
};

/* A handle must stay where it is until it is closed: each has its own allocation, as where
 * connections come and go. */
class UvReads {
 public:
    UvReads() { uv_loop_init(&loop_); }
    UvReads(const UvReads&) = delete;
    UvReads& operator=(const UvReads&) = delete;
    ~UvReads() {
        uv_walk(
            &loop_, [](uv_handle_t* handle, void*) { uv_close(handle, nullptr); }, nullptr);
        uv_run(&loop_, UV_RUN_DEFAULT);
        uv_loop_close(&loop_);
    }

    void arm(IdleConnections& connections, std::size_t index) {
        handles_[index] = std::make_unique<uv_tcp_t>();
        uv_tcp_t* handle = handles_[index].get();
        require(uv_tcp_init(&loop_, handle) == 0, "uv_tcp_init");
        require(uv_tcp_open(handle, connections.give(index)) == 0, "uv_tcp_open");
        const auto no_buffer = [](uv_handle_t*, std::size_t, uv_buf_t* buffer) {
            *buffer = uv_buf_init(nullptr, 0);
        };
        auto* stream = reinterpret_cast<uv_stream_t*>(handle);
        require(
            uv_read_start(stream, no_buffer, [](uv_stream_t*, ssize_t, const uv_buf_t*) {}) == 0,
            "uv_read_start");
    }
    void settle() { uv_run(&loop_, UV_RUN_NOWAIT); }

 private:
    uv_loop_t loop_;
    /* Not counted: they are there from the beginning. */
    std::vector<std::unique_ptr<uv_tcp_t>> handles_{kConnections};
};

class AsioWaits {
 public:
    void arm(IdleConnections& connections, std::size_t index) {
        sockets_[index] =
            std::make_unique<Socket>(context_, asio::ip::tcp::v4(), connections.give(index));
        sockets_[index]->async_wait(asio::socket_base::wait_read, [](const asio::error_code&) {});
    }
    void settle() {
        context_.restart();
        context_.poll();
    }

 private:
    using Socket = asio::basic_stream_socket<asio::ip::tcp, asio::io_context::executor_type>;

    asio::io_context context_{1};
    std::vector<std::unique_ptr<Socket>> sockets_{kConnections};
};

/* Adds that wait in the mailbox of a worker that is inside a callback. */
void run_queued_adds(benchmark::State& state) {
    constexpr std::size_t kAdds = 100 * kBefore;
    const SocketPairs writable(Transport::kUnix, 1);
    for ([[maybe_unused]] auto _ : state) {
        const UserMemory memory;
        Signal begun;
        Signal may_end;
        struct Blocker {
            Signal& begun;
            Signal& may_end;
        } blocker{begun, may_end};
        Port port;
        const auto block = [](void* context, const COMPLETION_PORT_COMPLETION* /*completion*/) {
            auto* self = static_cast<Blocker*>(context);
            self->begun.raise();
            self->may_end.wait();
        };
        require(completion_port_post(port.handle(), 0, 0, block, &blocker) == 0,
                "completion_port_post");
        begun.wait();
        const auto add_some = [&](std::size_t count) {
            for (std::size_t i = 0; i < count; ++i) {
                port.add(
                    EPOLLOUT, writable.near(0),
                    [](void*, COMPLETION_PORT_EPOLL_ACTION, COMPLETION_PORT_RESULT, std::int32_t) {
                    },
                    nullptr);
            }
        };
        add_some(kBefore);
        const std::uint64_t before = memory.bytes();
        add_some(kAdds);
        report_bytes(state, memory.bytes() - before, kAdds);
        may_end.raise();
    }
}

/* What a message needs at least: who is meant, what for, and a link. */
void run_queued_messages(benchmark::State& state) {
    constexpr std::size_t kMessages = 100 * kBefore;
    struct Message {
        Message* next;
        void (*callback)(void*);
        void* context;
    };
    for ([[maybe_unused]] auto _ : state) {
        const UserMemory memory;
        Message* newest = nullptr;
        const std::uint64_t before = memory.bytes();
        for (std::size_t i = 0; i < kMessages; ++i) {
            newest = new Message{newest, nullptr, nullptr};
        }
        report_bytes(state, memory.bytes() - before, kMessages);
        while (newest != nullptr) {
            const std::unique_ptr<Message> gone(newest);
            newest = gone->next;
        }
    }
}

void once(benchmark::internal::Benchmark* benchmark) { benchmark->Iterations(1); }

BENCHMARK(run_idle<PooledReceives>)->Name("idle_bytes/port_pooled")->Apply(once);
BENCHMARK(run_idle<ReadinessAdds>)->Name("idle_bytes/port_add")->Apply(once);
BENCHMARK(run_idle<UvReads>)->Name("idle_bytes/libuv")->Apply(once);
BENCHMARK(run_idle<AsioWaits>)->Name("idle_bytes/asio")->Apply(once);
BENCHMARK(run_queued_adds)->Name("queued_bytes/port_add")->Apply(once);
BENCHMARK(run_queued_messages)->Name("queued_bytes/eventfd")->Apply(once);

}  // namespace

}  // namespace cport::perf
