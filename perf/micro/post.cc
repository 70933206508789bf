/* What a message to a callback costs: posts of the callbacks' own thread, of another thread, and of
 * four of them. The time goes from the first post to the last callback. The foreign threads post
 * without pause, at most kUnderWay ahead of the callbacks, so that this is the cost of a message
 * among many and not of a wake. */
#include <asio.hpp>
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "completionport/completions.h"
#include "completionport/options.h"
#include "perf/micro/support.h"

namespace cport::perf {

namespace {

constexpr std::uint32_t kPosts = 100'000;
constexpr std::uint32_t kUnderWay = 4096;

/* Counts callbacks on the thread that runs them. */
class Callbacks {
 public:
    void expect(std::uint32_t count) { left_ = count; }
    /* Whether more are to come. */
    bool count() {
        /* One thread writes it. */
        done_.store(done_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
        if (--left_ > 0) return true;
        ended_.raise();
        return false;
    }
    std::uint32_t done() const { return done_.load(std::memory_order_acquire); }
    void wait() { ended_.wait(); }

 private:
    std::uint32_t left_ = 0;
    std::atomic<std::uint32_t> done_{0};
    Signal ended_;
};

class PortTarget {
 public:
    PortTarget() {
        const std::int32_t cpu = kWorkerCpu;
        COMPLETION_PORT_OPTIONS options{};
        options.size = sizeof(options);
        options.worker_cpus = &cpu;
        port_ = completion_port_create_with_options(&options);
        require(port_ != nullptr, "completion_port_create_with_options");
    }
    PortTarget(const PortTarget&) = delete;
    PortTarget& operator=(const PortTarget&) = delete;
    ~PortTarget() { completion_port_dec_ref(port_); }

    Callbacks& callbacks() { return callbacks_; }
    void post() { send(on_post); }
    void post_chain() { send(on_chain); }

 private:
    void send(ON_COMPLETION_PORT_COMPLETION callback) {
        require(completion_port_post(port_, 0, 0, callback, this) == 0, "completion_port_post");
    }
    static void on_post(void* context, const COMPLETION_PORT_COMPLETION* /*completion*/) {
        static_cast<PortTarget*>(context)->callbacks_.count();
    }
    static void on_chain(void* context, const COMPLETION_PORT_COMPLETION* /*completion*/) {
        auto* target = static_cast<PortTarget*>(context);
        if (target->callbacks_.count()) target->post_chain();
    }

    COMPLETION_PORT_HANDLE port_;
    Callbacks callbacks_;
};

class AsioTarget {
 public:
    AsioTarget() : work_(asio::make_work_guard(context_)) {
        worker_ = std::thread([this] {
            pin_to_cpu(kWorkerCpu);
            context_.run();
        });
    }
    AsioTarget(const AsioTarget&) = delete;
    AsioTarget& operator=(const AsioTarget&) = delete;
    ~AsioTarget() {
        work_.reset();
        worker_.join();
    }

    Callbacks& callbacks() { return callbacks_; }
    void post() {
        asio::post(context_, [this] { callbacks_.count(); });
    }
    void post_chain() {
        asio::post(context_, [this] {
            if (callbacks_.count()) post_chain();
        });
    }

 private:
    asio::io_context context_{1};
    asio::executor_work_guard<asio::io_context::executor_type> work_;
    Callbacks callbacks_;
    std::thread worker_;
};

template <typename Target>
void same_thread(benchmark::State& state) {
    pin_to_cpu(kForeignCpu);
    Target target;
    std::uint64_t total_ns = 0;
    std::uint64_t posts = 0;
    for ([[maybe_unused]] auto _ : state) {
        const std::uint64_t start_ns = now_ns();
        target.callbacks().expect(kPosts);
        target.post_chain();
        target.callbacks().wait();
        total_ns += now_ns() - start_ns;
        posts += kPosts;
    }
    report_operations(state, total_ns, posts);
}

/* Keeps its share of what may be under way ahead of the callbacks. */
template <typename Target>
void produce(Target& target, std::uint32_t before, std::uint32_t share, std::uint32_t producers) {
    for (std::uint32_t posted = 0; posted < share; ++posted) {
        while (posted * producers > target.callbacks().done() - before + kUnderWay) {
            std::this_thread::yield();
        }
        target.post();
    }
}

template <typename Target, std::uint32_t producers>
void to_one(benchmark::State& state) {
    pin_to_cpu(kForeignCpu);
    Target target;
    std::uint64_t total_ns = 0;
    std::uint64_t posts = 0;
    for ([[maybe_unused]] auto _ : state) {
        const std::uint32_t before = target.callbacks().done();
        target.callbacks().expect(kPosts);
        const std::uint64_t start_ns = now_ns();
        std::vector<std::thread> others;
        for (std::uint32_t i = 1; i < producers; ++i) {
            others.emplace_back([&] { produce(target, before, kPosts / producers, producers); });
        }
        produce(target, before, kPosts / producers, producers);
        target.callbacks().wait();
        total_ns += now_ns() - start_ns;
        for (std::thread& other : others) other.join();
        posts += kPosts;
    }
    report_operations(state, total_ns, posts);
}

BENCHMARK(same_thread<PortTarget>)->Name("post_same_thread/port")->UseRealTime();
BENCHMARK(same_thread<AsioTarget>)->Name("post_same_thread/asio")->UseRealTime();
BENCHMARK((to_one<PortTarget, 1>))->Name("post_one_to_one/port")->UseRealTime();
BENCHMARK((to_one<AsioTarget, 1>))->Name("post_one_to_one/asio")->UseRealTime();
BENCHMARK((to_one<PortTarget, 4>))->Name("post_four_to_one/port")->UseRealTime();
BENCHMARK((to_one<AsioTarget, 4>))->Name("post_four_to_one/asio")->UseRealTime();

}  // namespace

}  // namespace cport::perf
