// Receives from a pool, while other threads give buffers back, cancel, remove, and give the pool
// up: each byte is received once and in its place, and no buffer stays in use.
#include <array>
#include <atomic>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <functional>
#include <iostream>
#include <mutex>
#include <random>
#include <shared_mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/contract/buffer_pool_fixture.h"

namespace cport::test {
namespace {

using Pool = COMPLETION_PORT_BUFFER_POOL_HANDLE;

constexpr size_t kSockets = 8;
constexpr size_t kOthers = 2;

char byte_at(uint64_t position) { return static_cast<char>(position * 2654435761u >> 16); }

// Threads that do what callbacks leave to them, in order.
class Others {
 public:
    Others() {
        for (size_t i = 0; i < kOthers; ++i) threads_.emplace_back([this] { run(); });
    }
    ~Others() { finish(); }
    void leave(std::function<void()> job) {
        {
            const std::lock_guard lock(mutex_);
            jobs_.push_back(std::move(job));
        }
        changed_.notify_one();
    }
    // Returns when all has been done.
    void finish() {
        {
            const std::lock_guard lock(mutex_);
            finishing_ = true;
        }
        changed_.notify_all();
        for (std::thread& thread : threads_) thread.join();
        threads_.clear();
    }

 private:
    void run() {
        std::unique_lock lock(mutex_);
        for (;;) {
            changed_.wait(lock, [this] { return finishing_ || !jobs_.empty(); });
            if (jobs_.empty()) return;
            const std::function<void()> job = std::move(jobs_.front());
            jobs_.pop_front();
            lock.unlock();
            job();
            lock.lock();
        }
    }

    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<std::function<void()>> jobs_;
    bool finishing_ = false;
    std::vector<std::thread> threads_;
};

// One connection: what was sent, and how far it has been received.
struct Stream {
    Pair pair = unix_pair();
    uint64_t sent = 0;                 // the writer's
    uint64_t received = 0;             // of the callbacks, then of the test
    std::atomic<int> armed = 0;        // operations that have not ended
    std::atomic<uint64_t> newest = 0;  // the id of the last one
    std::atomic<uint32_t> wrong = 0;

    void disarm() {
        --armed;
        armed.notify_all();
    }
    void await_endings() {
        for (int left = armed; left != 0; left = armed) armed.wait(left);
    }
    void check(const char* bytes, size_t length) {
        for (size_t i = 0; i < length; ++i) {
            if (bytes[i] != byte_at(received++)) ++wrong;
        }
    }
};

class BufferPoolRaceTest : public BufferPoolTest {
 protected:
    struct Arm {
        BufferPoolRaceTest* test;
        Stream* stream;
        Pool pool;
        std::atomic<int> endings = 0;
    };

    void arm(Stream& stream) {
        Arm* arm = nullptr;
        {
            const std::lock_guard lock(mutex_);
            arm = &arms_.emplace_back();
        }
        arm->test = this;
        arm->stream = &stream;
        const std::shared_lock pool_stays(choosing_);
        arm->pool = pool_;
        Pooled receive{};
        receive.common.size = sizeof(receive);
        receive.common.kind = COMPLETION_PORT_KIND_RECEIVE_POOLED;
        receive.common.flags = COMPLETION_PORT_FLAG_MULTISHOT;
        receive.common.descriptor = stream.pair.ours.get();
        receive.common.on_complete = &BufferPoolRaceTest::on_record;
        receive.common.context = arm;
        receive.pool = arm->pool;
        ++stream.armed;
        uint64_t id = 0;
        const int result = completion_port_submit(handle_, &receive.common, &id, nullptr);
        if (result == 0) {
            stream.newest = id;
            return;
        }
        EXPECT_TRUE(result == -ECANCELED || result == -ESHUTDOWN) << result;
        ++arm->endings;
        stream.disarm();
    }

    static void on_record(void* context, const COMPLETION_PORT_COMPLETION* record) {
        Arm& arm = *static_cast<Arm*>(context);
        Stream& stream = *arm.stream;
        if (record->buffer != nullptr) {
            ++arm.test->buffers_;
            stream.check(static_cast<const char*>(record->buffer),
                         static_cast<size_t>(record->value));
            arm.test->others_.leave([pool = arm.pool, buffer = record->buffer] {
                EXPECT_EQ(completion_port_buffer_release(pool, buffer), 0);
            });
        }
        if ((record->flags & kMore) != 0) return;
        ++arm.endings;
        EXPECT_TRUE(record->error == -ENOBUFS || record->error == -ECANCELED) << record->error;
        // By somebody who comes after those who give back what is in use; or at once.
        BufferPoolRaceTest* test = arm.test;
        if (record->error == -ENOBUFS) {
            test->others_.leave([test, &stream] { test->arm(stream); });
        } else if (test->rearms_) {
            test->arm(stream);
        }
        stream.disarm();
    }

    void write_on(const std::atomic<bool>& stop, uint32_t seed) {
        std::mt19937 random(seed);
        std::string bytes;
        while (!stop) {
            Stream& stream = streams_[random() % kSockets];
            bytes.resize(1 + random() % 20'000);
            for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = byte_at(stream.sent + i);
            const ssize_t count = ::send(stream.pair.theirs.get(), bytes.data(), bytes.size(),
                                         MSG_DONTWAIT | MSG_NOSIGNAL);
            if (count > 0) stream.sent += static_cast<uint64_t>(count);
        }
    }

    // A cancel or a removal of one of the streams, which goes on receiving afterwards.
    void disturb(std::mt19937& random) {
        Stream& stream = streams_[random() % kSockets];
        if (random() % 2 == 0) {
            const uint64_t id = stream.newest;
            if (id != 0) completion_port_cancel(port(), id);
        } else {
            completion_port_remove(port(), stream.pair.ours.get());
        }
        if (stream.armed == 0) arm(stream);
    }

    std::array<Stream, kSockets> streams_;
    COMPLETION_PORT_HANDLE handle_ = nullptr;  // valid in callbacks to the last
    std::shared_mutex choosing_;               // held while one submits with `pool_`
    Pool pool_ = nullptr;
    std::atomic<bool> rearms_ = true;
    std::atomic<int> buffers_ = 0;  // that came
    std::mutex mutex_;
    std::deque<Arm> arms_;
    Others others_;
};
CPORT_ON_EVERY_ENGINE(BufferPoolRaceTest);

// Spec: CP-POOL-16 CP-POOL-10 CP-POOL-8
TEST_P(BufferPoolRaceTest, EachByteIsReceivedOnce) {
    const uint32_t seed = std::random_device{}();
    std::cout << "seed " << seed << std::endl;
    std::mt19937 random(seed);
    // Small enough to be used up again and again.
    Pool given_up = own_pool(kKib, 16 * kKib, 96 * kKib);
    Pool last = make_pool(kKib, 16 * kKib, 96 * kKib);
    handle_ = port();
    pool_ = given_up;
    for (Stream& stream : streams_) arm(stream);
    std::atomic<bool> stop = false;
    std::thread writer([&] { write_on(stop, seed + 1); });
    const int rounds = scaled(2000, 300);
    for (int i = 0; i < rounds || buffers_ < rounds; ++i) {
        disturb(random);
        if (i != rounds / 2) continue;
        {
            const std::unique_lock nobody_submits(choosing_);
            pool_ = last;
        }
        completion_port_buffer_pool_destroy(given_up);
    }
    stop = true;
    writer.join();
    rearms_ = random() % 2 == 0;
    completion_port_shutdown(port());
    for (Stream& stream : streams_) stream.await_endings();
    others_.finish();
    end();
    for (const Arm& arm : arms_) EXPECT_EQ(arm.endings, 1);
    for (Stream& stream : streams_) {
        const std::string left = read_available(stream.pair.ours.get());
        stream.check(left.data(), left.size());
        EXPECT_EQ(stream.received, stream.sent);
        EXPECT_EQ(stream.wrong, 0u);
        EXPECT_EQ(stream.armed, 0);
    }
}

}  // namespace
}  // namespace cport::test
