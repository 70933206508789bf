/* What a second worker buys: the always-ready operation of ready_operation.h, its sockets shared
 * out among the workers of one port, each worker on a CPU of its own. Nothing but the port's own
 * tables and the kernel's socket layer is shared, so two workers should take little more than half
 * of the time. The time goes from the first kick to the last callback of all. */
#include <sys/epoll.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <vector>

#include "completionport/options.h"
#include "perf/micro/ready_operation.h"

namespace cport::perf {

namespace {

class WorkersReader {
 public:
    WorkersReader(ReadySockets& ready, std::uint32_t workers)
        : kicks_(Transport::kUnix, workers), shares_(workers) {
        const std::array<std::int32_t, 2> cpus{kWorkerCpu, kForeignCpu};
        COMPLETION_PORT_OPTIONS options{};
        options.size = sizeof(options);
        options.workers = workers;
        options.worker_cpus = cpus.data();
        port_ = completion_port_create_with_options(&options);
        require(port_ != nullptr, "completion_port_create_with_options");
        for (std::size_t i = 0; i < kReadySockets; ++i) {
            Share& share = shares_[i % workers];
            share.owner = this;
            share.readers.push_back({&share, &ready.sockets()[i]});
        }
    }
    WorkersReader(const WorkersReader&) = delete;
    WorkersReader& operator=(const WorkersReader&) = delete;
    ~WorkersReader() { completion_port_dec_ref(port_); }

    /* The kicks go to the workers in turn, and what their callbacks add stays there. */
    std::uint64_t run_batch() {
        busy_.store(shares_.size(), std::memory_order_relaxed);
        const std::uint64_t start_ns = now_ns();
        for (std::size_t i = 0; i < shares_.size(); ++i) {
            shares_[i].units = shares_[i].readers.size() * kUnitsPerSocket;
            add(EPOLLOUT, kicks_.near(i), nullptr, on_kick, &shares_[i]);
        }
        done_.wait();
        return end_ns_ - start_ns;
    }

 private:
    struct Share;
    struct Reader {
        Share* share;
        ReadySocket* socket;
    };
    /* One worker's. On cache lines of its own. */
    struct alignas(128) Share {
        WorkersReader* owner = nullptr;
        std::vector<Reader> readers;
        std::uint64_t units = 0;
    };

    void add(std::int32_t operation, int descriptor, char* buffer,
             ON_COMPLETION_PORT_EVENT_COMPLETE callback, void* context) {
        COMPLETION_PORT_INGRESS_DATA data{};
        data.epoll_op = operation;
        data.socket = descriptor;
        data.event_callback = callback;
        data.event_callback_ctx = context;
        data.buffer_data.buffer = buffer;
        data.buffer_data.length = buffer == nullptr ? 0 : kUnitBytes;
        require(completion_port_add(port_, &data) == 0, "completion_port_add");
    }
    static void read(Reader* reader) {
        reader->share->owner->add(EPOLLIN, reader->socket->descriptor, reader->socket->buffer,
                                  on_read, reader);
    }

    static void on_kick(void* context, COMPLETION_PORT_EPOLL_ACTION /*action*/,
                        COMPLETION_PORT_RESULT /*result*/, std::int32_t /*amount*/) {
        for (Reader& reader : static_cast<Share*>(context)->readers) {
            read(&reader);
        }
    }

    static void on_read(void* context, COMPLETION_PORT_EPOLL_ACTION /*action*/,
                        COMPLETION_PORT_RESULT /*result*/, std::int32_t amount) {
        auto* reader = static_cast<Reader*>(context);
        require(amount == kUnitBytes, "a read of the port");
        if (--reader->socket->units != 0) {
            read(reader);
        }
        if (--reader->share->units != 0) {
            return;
        }
        WorkersReader* owner = reader->share->owner;
        /* Release and acquire: the last one's time is seen by the thread that waits. */
        if (owner->busy_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
            owner->end_ns_ = now_ns();
            owner->done_.raise();
        }
    }

    SocketPairs kicks_;
    std::vector<Share> shares_;
    Signal done_;
    std::atomic<std::size_t> busy_{0};
    std::uint64_t end_ns_ = 0;
    COMPLETION_PORT_HANDLE port_ = nullptr;
};

void run_workers(benchmark::State& state, Transport transport, std::uint32_t workers) {
    ReadySockets ready(transport);
    WorkersReader reader(ready, workers);
    time_batches(state, ready, [&reader] { return reader.run_batch(); });
}

BENCHMARK_CAPTURE(run_workers, unix_one, Transport::kUnix, 1)->Name("workers/one")->UseManualTime();
BENCHMARK_CAPTURE(run_workers, unix_two, Transport::kUnix, 2)->Name("workers/two")->UseManualTime();

}  // namespace

}  // namespace cport::perf
