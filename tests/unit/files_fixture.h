// Operations on files over real system calls, where a test may hold the threads inside them.
#pragma once

#include <completionport/files.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <string>
#include <utility>

#include "platform/linux/linux_platform.h"
#include "runtime/abi/handle.h"
#include "tests/support/fault_platform.h"
#include "tests/support/record_log.h"
#include "tests/support/recorder.h"
#include "tests/support/sockets.h"

namespace cport::test {

class FilesFixture {
 public:
    static constexpr uint32_t kThreads = 2;

    explicit FilesFixture(const Fault& fault = {}) : faults_(platform::linux_platform(), fault) {
        options_.file_threads = kThreads;
    }
    ~FilesFixture() { end(); }
    FilesFixture(const FilesFixture&) = delete;
    FilesFixture& operator=(const FilesFixture&) = delete;

    void open() {
        port_ = create_handle(faults_.platform(), options_);
        ASSERT_NE(port_, nullptr);
        file_ = Descriptor(::memfd_create("files_test", MFD_CLOEXEC));
        ASSERT_EQ(::ftruncate(file_.get(), kFileBytes), 0);
    }
    // The last reference; everything must be gone when it has been given back.
    void end() {
        if (port_ == nullptr) return;
        completion_port_dec_ref(std::exchange(port_, nullptr));
        faults_.wait_for_threads();
        EXPECT_TRUE(faults_.holdings().empty()) << faults_.holdings().to_string();
        EXPECT_TRUE(faults_.breaches().empty());
        log_.expect_each_ended_once();
    }

    // From here on a thread that takes up a read or a write waits for `release`.
    void hold() {
        faults_.before_each(Call::kReadAt, [this] { wait_at_gate(); });
        faults_.before_each(Call::kWriteAt, [this] { wait_at_gate(); });
    }
    void release() { gate_.open(); }
    void wait_until_held(uint32_t threads) {
        for (uint32_t held = held_.load(); held < threads; held = held_.load()) held_.wait(held);
    }

    // Too much to be read at once.
    Submission& read(uint64_t offset = 0) {
        Submission& submitted = log_.submission(std::string(kReadBytes, '\0'));
        auto& form = submitted.as<COMPLETION_PORT_FILE_READ_OPERATION>(
            COMPLETION_PORT_KIND_FILE_READ, file_.get());
        form.buffer = submitted.buffer().data();
        form.length = kReadBytes;
        form.offset = offset;
        return submitted;
    }
    Submission& write(uint64_t offset = 0) {
        Submission& submitted = log_.submission("written");
        auto& form = submitted.as<COMPLETION_PORT_FILE_WRITE_OPERATION>(
            COMPLETION_PORT_KIND_FILE_WRITE, file_.get());
        form.buffer = submitted.buffer().data();
        form.length = 7;
        form.offset = offset;
        return submitted;
    }
    Submission& accepted(Submission& submitted) {
        EXPECT_EQ(submitted.submit(port_), 0);
        return submitted;
    }
    // One for each thread, begun and held.
    std::deque<Submission*> occupy() {
        hold();
        std::deque<Submission*> begun;
        for (uint32_t i = 0; i < options_.file_threads; ++i) begun.push_back(&accepted(read()));
        wait_until_held(options_.file_threads);
        return begun;
    }

    static constexpr uint32_t kReadBytes = 100'000;
    static constexpr off_t kFileBytes = 1 << 20;

    PortOptions options_;
    FaultPlatform faults_;
    COMPLETION_PORT_HANDLE port_ = nullptr;
    Descriptor file_;
    RecordLog log_;

 private:
    void wait_at_gate() {
        held_.fetch_add(1);
        held_.notify_all();
        gate_.wait();
    }

    Gate gate_;
    std::atomic<uint32_t> held_{0};
};

inline Ending all_read() { return finished(FilesFixture::kReadBytes); }

}  // namespace cport::test
