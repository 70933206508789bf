/* Reads of a file in the page cache at random offsets, a window of them under way: the port (in a
 * callback's chain), libuv with as many threads, and pread in a loop. Two sizes: one that the port
 * may read at once, and one that always goes to its threads. */
#include "completionport/files.h"

#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

#include <cstdint>
#include <cstdlib>
#include <random>
#include <vector>

#include "completionport/completion_port.h"
#include "perf/micro/support.h"

namespace cport::perf {

namespace {

constexpr std::size_t kFileBytes = 64u << 20;
constexpr std::size_t kSmallBytes = 4u << 10;
constexpr std::size_t kLargeBytes = 128u << 10;
constexpr std::uint64_t kReadsARound = 4096;
constexpr std::size_t kWindow = 16;
constexpr int kRounds = 10;

/* A file without a name whose bytes are all in the page cache. */
class CachedFile {
 public:
    CachedFile() {
        char path[] = "/var/tmp/cport-micro-XXXXXX";
        descriptor_ = mkostemp(path, O_CLOEXEC);
        require(descriptor_ >= 0 && unlink(path) == 0, "mkostemp");
        const std::vector<char> part(1u << 20, 'x');
        for (std::size_t written = 0; written < kFileBytes; written += part.size()) {
            require(
                write(descriptor_, part.data(), part.size()) == static_cast<ssize_t>(part.size()),
                "write");
        }
    }
    CachedFile(const CachedFile&) = delete;
    CachedFile& operator=(const CachedFile&) = delete;
    ~CachedFile() { close(descriptor_); }

    int descriptor() const { return descriptor_; }

 private:
    int descriptor_ = -1;
};

/* The same offsets for everybody. */
class Offsets {
 public:
    explicit Offsets(std::size_t length) : places_(kFileBytes / length), length_(length) {}
    std::uint64_t next() { return random_() % places_ * length_; }

 private:
    std::minstd_rand random_{1};
    std::uint64_t places_;
    std::size_t length_;
};

/* Threads for files may run wherever there is room: the calling thread was pinned for others. */
void unpin() {
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    for (const int cpu : {kWorkerCpu, kForeignCpu}) CPU_SET(static_cast<std::size_t>(cpu), &cpus);
    require(sched_setaffinity(0, sizeof(cpus), &cpus) == 0, "sched_setaffinity");
}

/* Times rounds of kReadsARound reads; `run` returns when the last of them has ended. */
template <typename Run>
void time_rounds(benchmark::State& state, Run&& run) {
    std::uint64_t total_ns = 0;
    for ([[maybe_unused]] auto _ : state) {
        const std::uint64_t start_ns = now_ns();
        run();
        const std::uint64_t spent_ns = now_ns() - start_ns;
        total_ns += spent_ns;
        state.SetIterationTime(static_cast<double>(spent_ns) * 1e-9);
    }
    report_operations(state, total_ns, kReadsARound * static_cast<std::uint64_t>(kRounds));
}

template <std::size_t kBytes>
void run_pread(benchmark::State& state) {
    unpin();
    const CachedFile file;
    Offsets offsets(kBytes);
    std::vector<char> buffer(kBytes);
    time_rounds(state, [&] {
        for (std::uint64_t i = 0; i < kReadsARound; ++i) {
            require(pread(file.descriptor(), buffer.data(), kBytes,
                          static_cast<off_t>(offsets.next())) == static_cast<ssize_t>(kBytes),
                    "pread");
        }
    });
}

/* Each completion submits the next read of its slot. */
template <std::size_t kBytes>
class PortReads {
 public:
    PortReads() : offsets_(kBytes), slots_(kWindow) {
        unpin();
        for (Slot& slot : slots_) {
            slot.reads = this;
            slot.buffer.resize(kBytes);
        }
    }
    void run() {
        ended_ = 0;
        for (Slot& slot : slots_) {
            slot.turns_left = kReadsARound / kWindow;
            slot.submit();
        }
        done_.wait();
    }

 private:
    struct Slot {
        PortReads* reads;
        std::vector<char> buffer;
        std::uint64_t turns_left;

        void submit() {
            COMPLETION_PORT_FILE_READ_OPERATION read = {};
            read.common.size = sizeof(read);
            read.common.kind = COMPLETION_PORT_KIND_FILE_READ;
            read.common.descriptor = reads->file_.descriptor();
            read.common.on_complete = on_complete;
            read.common.context = this;
            read.buffer = buffer.data();
            read.length = static_cast<std::uint32_t>(kBytes);
            read.offset = reads->offsets_.next();
            require(
                completion_port_submit(reads->port_.handle(), &read.common, nullptr, nullptr) == 0,
                "completion_port_submit");
        }
        static void on_complete(void* context, const COMPLETION_PORT_COMPLETION* record) {
            Slot& slot = *static_cast<Slot*>(context);
            require(record->value == static_cast<std::int64_t>(kBytes), "a read of the port");
            if (--slot.turns_left != 0) {
                slot.submit();
            } else if (++slot.reads->ended_ == kWindow) {
                slot.reads->done_.raise();
            }
        }
    };

    CachedFile file_;
    Offsets offsets_;
    Signal done_;
    std::size_t ended_ = 0;
    std::vector<Slot> slots_;
    Port port_;
};

template <std::size_t kBytes>
void run_port(benchmark::State& state) {
    PortReads<kBytes> reads;
    time_rounds(state, [&] { reads.run(); });
}

/* Its loop has four threads for files unless the environment says otherwise. */
template <std::size_t kBytes>
class UvReads {
 public:
    UvReads() : offsets_(kBytes), slots_(kWindow) {
        unpin();
        require(uv_loop_init(&loop_) == 0, "uv_loop_init");
        for (Slot& slot : slots_) {
            slot.reads = this;
            slot.buffer.resize(kBytes);
        }
    }
    UvReads(const UvReads&) = delete;
    UvReads& operator=(const UvReads&) = delete;
    ~UvReads() { uv_loop_close(&loop_); }

    void run() {
        for (Slot& slot : slots_) {
            slot.turns_left = kReadsARound / kWindow;
            slot.submit();
        }
        uv_run(&loop_, UV_RUN_DEFAULT);
    }

 private:
    struct Slot {
        UvReads* reads;
        uv_fs_t request;
        std::vector<char> buffer;
        std::uint64_t turns_left;

        void submit() {
            request.data = this;
            const uv_buf_t piece = uv_buf_init(buffer.data(), static_cast<unsigned>(kBytes));
            require(uv_fs_read(&reads->loop_, &request, reads->file_.descriptor(), &piece, 1,
                               static_cast<std::int64_t>(reads->offsets_.next()), on_read) == 0,
                    "uv_fs_read");
        }
        static void on_read(uv_fs_t* request) {
            Slot& slot = *static_cast<Slot*>(request->data);
            require(request->result == static_cast<ssize_t>(kBytes), "a read of libuv");
            uv_fs_req_cleanup(request);
            if (--slot.turns_left != 0) slot.submit();
        }
    };

    CachedFile file_;
    Offsets offsets_;
    std::vector<Slot> slots_;
    uv_loop_t loop_;
};

template <std::size_t kBytes>
void run_libuv(benchmark::State& state) {
    UvReads<kBytes> reads;
    time_rounds(state, [&] { reads.run(); });
}

void in_rounds(benchmark::internal::Benchmark* benchmark) {
    benchmark->UseManualTime()->Iterations(kRounds);
}

BENCHMARK(run_port<kSmallBytes>)->Name("file_read_4k/port")->Apply(in_rounds);
BENCHMARK(run_libuv<kSmallBytes>)->Name("file_read_4k/libuv")->Apply(in_rounds);
BENCHMARK(run_pread<kSmallBytes>)->Name("file_read_4k/pread")->Apply(in_rounds);
BENCHMARK(run_port<kLargeBytes>)->Name("file_read_128k/port")->Apply(in_rounds);
BENCHMARK(run_libuv<kLargeBytes>)->Name("file_read_128k/libuv")->Apply(in_rounds);
BENCHMARK(run_pread<kLargeBytes>)->Name("file_read_128k/pread")->Apply(in_rounds);

}  // namespace

}  // namespace cport::perf
