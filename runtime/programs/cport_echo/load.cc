#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <memory>
#include <numeric>
#include <vector>

#include "runtime/programs/common/descriptor_limit.h"
#include "runtime/programs/common/errors.h"
#include "runtime/programs/common/network_address.h"
#include "runtime/programs/common/signals.h"
#include "runtime/programs/cport_echo/commands.h"
#include "runtime/programs/cport_echo/load_report.h"
#include "runtime/programs/cport_echo/load_worker.h"

namespace cport::programs {
namespace {

constexpr int64_t kProgressNs = 1'000'000'000;
// How long the last messages may take to come back.
constexpr int64_t kFinishNs = 5'000'000'000;
constexpr uint64_t kDescriptorsOfProcess = 16;
constexpr uint64_t kDescriptorsPerThread = 6;

using Workers = std::vector<std::unique_ptr<LoadWorker>>;

uint64_t total(const Workers& workers, uint64_t (LoadWorker::*figure)() const) {
    return std::accumulate(
        workers.begin(), workers.end(), uint64_t{0},
        [figure](uint64_t sum, const auto& worker) { return sum + (worker.get()->*figure)(); });
}

// A line a second; on a terminal it is the same line.
class Progress {
 public:
    Progress()
        : terminal_(isatty(STDERR_FILENO) == 1), begin_ns_(monotonic_ns()), last_ns_(begin_ns_) {}
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;
    ~Progress() {
        if (terminal_ && printed_) fmt::print(stderr, "\n");
    }

    [[nodiscard]] int64_t next_ns() const { return begin_ns_ + (lines_ + 1) * kProgressNs; }

    void print(const Workers& workers, const char* what) {
        const int64_t now_ns = monotonic_ns();
        if (now_ns < next_ns()) return;
        const uint64_t messages = total(workers, &LoadWorker::messages);
        const uint64_t bytes = total(workers, &LoadWorker::bytes);
        const double seconds = static_cast<double>(now_ns - last_ns_) / 1e9;
        // The counts begin anew when all are connected.
        last_messages_ = messages < last_messages_ ? 0 : last_messages_;
        last_bytes_ = bytes < last_bytes_ ? 0 : last_bytes_;
        fmt::print(stderr,
                   "{}{:>4.0f} s  {}: {} opened, {} failed, {:.0f} messages/s, {:.1f} MiB/s{}",
                   terminal_ ? "\r" : "", static_cast<double>(now_ns - begin_ns_) / 1e9, what,
                   total(workers, &LoadWorker::opened), total(workers, &LoadWorker::failed),
                   static_cast<double>(messages - last_messages_) / seconds,
                   static_cast<double>(bytes - last_bytes_) / seconds / 1048576.0,
                   terminal_ ? "\x1b[K" : "\n");
        std::fflush(stderr);
        printed_ = true;
        lines_ = (now_ns - begin_ns_) / kProgressNs;
        last_ns_ = now_ns;
        last_messages_ = messages;
        last_bytes_ = bytes;
    }

 private:
    const bool terminal_;
    const int64_t begin_ns_;
    int64_t lines_ = 0;
    int64_t last_ns_;
    uint64_t last_messages_ = 0;
    uint64_t last_bytes_ = 0;
    bool printed_ = false;
};

void check_descriptors(const LoadOptions& options) {
    const uint64_t limit = raise_descriptor_limit();
    const uint64_t needed =
        options.connections + options.threads * kDescriptorsPerThread + kDescriptorsOfProcess;
    if (needed > limit) {
        throw OperatingError(
            fmt::format("--connections {} does not fit into this process's limit of {} open files: "
                        "lower it, or raise ulimit -n",
                        options.connections, limit));
    }
}

Workers make_workers(LoadRun& run, uint32_t threads) {
    Workers workers;
    const uint32_t connections = run.options.connections;
    for (uint32_t i = 0; i < threads; ++i) {
        const auto first = static_cast<uint32_t>(uint64_t{connections} * i / threads);
        const auto next = static_cast<uint32_t>(uint64_t{connections} * (i + 1) / threads);
        workers.push_back(std::make_unique<LoadWorker>(run, first, next - first));
    }
    return workers;
}

// Drives a run through its phases from the main thread.
class Conductor {
 public:
    Conductor(LoadRun& run, Workers& workers, Signals& signals)
        : run_(run), workers_(workers), signals_(signals) {}

    // Returns the seconds that were measured.
    double conduct() {
        wait_until(INT64_MAX, "connecting",
                   [this] { return run_.channels_untried.load(std::memory_order_acquire) == 0; });
        const int64_t begin_ns = monotonic_ns();
        announce(LoadPhase::kMeasuring);
        wait_until(begin_ns + run_.options.duration_ns, "measuring", [] { return false; });
        const int64_t end_ns = monotonic_ns();
        announce(LoadPhase::kFinishing);
        interrupted_ = false;
        wait_until(end_ns + kFinishNs, "finishing", [] { return false; });
        return static_cast<double>(end_ns - begin_ns) / 1e9;
    }

 private:
    void announce(LoadPhase phase) {
        // Pairs with the acquire in LoadWorker::follow_phase.
        run_.phase.store(phase, std::memory_order_release);
        for (const auto& worker : workers_) worker->kick();
    }

    // Until the condition holds, the time has come, no channel is left, or the user has had enough.
    template <typename Condition>
    void wait_until(int64_t deadline_ns, const char* what, Condition condition) {
        while (!interrupted_ && !condition() &&
               run_.channels_alive.load(std::memory_order_acquire) != 0) {
            const int64_t now_ns = monotonic_ns();
            if (now_ns >= deadline_ns) return;
            progress_.print(workers_, what);
            const int64_t until_ns = std::min(deadline_ns, progress_.next_ns());
            wait_readable(signals_.descriptor(), run_.wakeup.descriptor(),
                          std::max<int64_t>(until_ns - now_ns, 0));
            [[maybe_unused]] const bool woken = run_.wakeup.take();
            interrupted_ = signals_.take() != 0;
        }
    }

    LoadRun& run_;
    Workers& workers_;
    Signals& signals_;
    Progress progress_;
    bool interrupted_ = false;
};

}  // namespace

int run_load(const LoadOptions& options) {
    Signals signals{SIGINT, SIGTERM};
    check_descriptors(options);
    const auto run = std::make_unique<LoadRun>(options);
    const std::vector<SocketAddress> addresses = resolve(options.connect);
    // Of several addresses one that answers is wanted; a single one is left to the channels.
    run->address = addresses.size() == 1 ? addresses.front() : connect_to(options.connect).address;
    run->channels_untried = options.connections;
    run->channels_alive = options.connections;
    Workers workers = make_workers(*run, std::min(options.threads, options.connections));
    for (const auto& worker : workers) worker->start();
    LoadFigures figures;
    figures.seconds = Conductor(*run, workers, signals).conduct();
    for (const auto& worker : workers) {
        worker->stop();
        figures.mismatches += worker->mismatches();
        figures.latency.add(worker->latency());
        if (figures.first_failure.empty()) figures.first_failure = worker->first_failure();
    }
    figures.opened = total(workers, &LoadWorker::opened);
    figures.failed = total(workers, &LoadWorker::failed);
    figures.messages = total(workers, &LoadWorker::messages);
    figures.bytes = total(workers, &LoadWorker::bytes);
    if (options.json) {
        print_json(options, figures);
    } else {
        print_table(options, figures);
    }
    return figures.good() ? 0 : kExitFailed;
}

}  // namespace cport::programs
