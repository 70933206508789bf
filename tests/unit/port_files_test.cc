// Operations on files while the threads for them are held inside a system call.
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <time.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "tests/unit/files_fixture.h"

namespace cport::test {
namespace {

constexpr int64_t kMillisecond_ns = 1'000'000;

int64_t now_ns() {
    timespec time{};
    ::clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1'000 * kMillisecond_ns + time.tv_nsec;
}

class PortFilesTest : public ::testing::TestWithParam<uint32_t>, protected FilesFixture {
 protected:
    void SetUp() override {
        options_.workers = GetParam();
        open();
    }
    void TearDown() override {
        release();
        end();
    }
};
INSTANTIATE_TEST_SUITE_P(Workers, PortFilesTest, ::testing::Values(1u, 3u));

// Spec: CP-FILE-10, CP-FILE-11
TEST_P(PortFilesTest, CancelEndsWhatIsNotBegunAtOnce) {
    std::deque<Submission*> begun = occupy();
    std::vector<Submission*> queued;
    for (int i = 0; i < 5; ++i) queued.push_back(&accepted(i % 2 == 0 ? read() : write()));
    // From the middle, the end and the front.
    for (const size_t i : {2u, 4u, 0u, 1u, 3u}) {
        EXPECT_EQ(completion_port_cancel(port_, queued[i]->id()), 0);
        EXPECT_EQ(queued[i]->wait(), abandoned(-ECANCELED));
    }
    Submission& behind = accepted(write());
    EXPECT_EQ(completion_port_cancel(port_, begun[0]->id()), 0);
    release();
    for (Submission* each : begun) EXPECT_EQ(each->wait(), all_read());
    EXPECT_EQ(behind.wait(), finished(7));
}

// Spec: CP-FILE-10
TEST_P(PortFilesTest, ACancelOvertakesASubmission) {
    occupy();
    Submission& cancelled = read();
    Submission& timer = log_.submission().as_timer(now_ns() + kMillisecond_ns);
    timer.then([&](const auto&) {
        // The worker hears of it when this callback has returned.
        std::thread([&] { accepted(cancelled); }).join();
        EXPECT_EQ(completion_port_cancel(port_, cancelled.id()), 0);
    });
    accepted(timer);
    EXPECT_EQ(cancelled.wait(), abandoned(-ECANCELED));
}

// Spec: CP-FILE-10, CP-FILE-11
TEST_P(PortFilesTest, ADeadlineEndsWhatIsNotBegun) {
    hold();
    std::vector<Submission*> begun;
    const int64_t deadline_ns = now_ns() + 20 * kMillisecond_ns;
    for (uint32_t i = 0; i < kThreads; ++i) {
        begun.push_back(&accepted(read().with_deadline(deadline_ns)));
    }
    wait_until_held(kThreads);
    Submission& queued = accepted(read().with_deadline(now_ns() + 20 * kMillisecond_ns));
    EXPECT_EQ(queued.wait(), failed(-ETIMEDOUT));
    EXPECT_GE(now_ns(), deadline_ns);
    release();
    for (Submission* each : begun) {
        const Ending ending = each->wait();
        // The machine may have held this test up before they were begun.
        EXPECT_TRUE(ending == all_read() || ending == failed(-ETIMEDOUT)) << ending;
    }
    EXPECT_EQ(read().with_deadline(1).submit(port_), -ETIMEDOUT);
}

// Spec: CP-FILE-10, CP-FILE-12
TEST_P(PortFilesTest, RemovalWaitsForWhatIsBegun) {
    std::deque<Submission*> begun = occupy();
    Submission& queued = accepted(read());
    std::atomic<bool> returned{false};
    std::thread remover([&] {
        completion_port_remove(port_, file_.get());
        returned.store(true);
    });
    EXPECT_EQ(queued.wait(), abandoned(-ECANCELED));
    EXPECT_FALSE(returned.load());
    EXPECT_EQ(read().submit(port_), -ECANCELED);
    release();
    remover.join();
    for (Submission* each : begun) EXPECT_TRUE(each->completed());
    // The next incarnation begins.
    EXPECT_EQ(accepted(read()).wait(), all_read());
}

// Spec: CP-FILE-12
TEST_P(PortFilesTest, RemovalWaitsForACallbackThatRuns) {
    Gate entered;
    Gate leave;
    std::atomic<bool> left{false};
    Submission& last = read().then([&](const auto&) {
        entered.open();
        leave.wait();
        left.store(true);
    });
    accepted(last);
    entered.wait();
    std::thread opener([&] { leave.open(); });
    completion_port_remove(port_, file_.get());
    EXPECT_TRUE(left.load());
    opener.join();
}

// Spec: CP-FILE-12
TEST_P(PortFilesTest, InACallbackRemovalDoesNotWait) {
    Submission& first = write();
    std::deque<Submission*> begun;
    struct Removal {
        FilesFixture* test;
        std::deque<Submission*>* begun;
        Gate done;
    } removal{this, &begun, {}};
    Gate returned;
    first.then([&](const auto&) {
        begun = occupy();
        Submission& queued = accepted(read());
        completion_port_remove(port_, file_.get());
        EXPECT_FALSE(queued.completed());
        // The next incarnation may be used at once.
        accepted(write());
        const int code = completion_port_remove_async(
            port_, file_.get(),
            [](void* context, SOCKET_HANDLE) {
                auto& facts = *static_cast<Removal*>(context);
                for (Submission* each : *facts.begun) EXPECT_TRUE(each->completed());
                facts.done.open();
            },
            &removal);
        EXPECT_EQ(code, 0);
        EXPECT_EQ(write().submit(port_), -ECANCELED);
        returned.open();
    });
    accepted(first);
    returned.wait();
    EXPECT_FALSE(removal.done.is_open());
    release();
    removal.done.wait();
}

// Spec: CP-FILE-13
TEST_P(PortFilesTest, TheEndWaitsForWhatIsBegun) {
    hold();
    // A deadline to come does not end them either.
    std::deque<Submission*> begun;
    for (uint32_t i = 0; i < kThreads; ++i) {
        const int64_t late_ns = now_ns() + 3'600'000 * kMillisecond_ns;
        begun.push_back(&accepted(read().with_deadline(late_ns)));
    }
    wait_until_held(kThreads);
    std::vector<Submission*> queued;
    for (int i = 0; i < 100; ++i) queued.push_back(&accepted(i % 2 == 0 ? read() : write()));
    ASSERT_EQ(completion_port_shutdown(port_), 0);
    for (Submission* each : queued) EXPECT_EQ(each->wait(), abandoned(-ECANCELED));
    EXPECT_EQ(read().submit(port_), -ESHUTDOWN);
    for (Submission* each : begun) EXPECT_FALSE(each->completed());
    release();
    for (Submission* each : begun) EXPECT_EQ(each->wait(), all_read());
    end();
}

// Spec: CP-FILE-13
TEST_P(PortFilesTest, TheLastReferenceMayGoInTheCallbackOfOne) {
    Submission& last = read().then(
        [this](const auto&) { completion_port_dec_ref(std::exchange(port_, nullptr)); });
    accepted(last);
    last.wait();
    faults_.wait_for_threads();
    log_.expect_each_ended_once();
}

// Spec: CP-FILE-18
TEST_P(PortFilesTest, BusyThreadsAreNotWoken) {
    occupy();
    // What came before has been handed over, with the wakes for it.
    const auto wakes_so_far = [this] {
        Submission& last = accepted(write());
        EXPECT_EQ(completion_port_cancel(port_, last.id()), 0);
        EXPECT_EQ(last.wait(), abandoned(-ECANCELED));
        return faults_.calls(Call::kFutexWake);
    };
    const int wakes = wakes_so_far();
    for (int i = 0; i < 50; ++i) accepted(write());
    EXPECT_EQ(wakes_so_far(), wakes);
}

// Spec: CP-FILE-1, CP-FILE-5
TEST_P(PortFilesTest, TheLimitIsThatOfAllOperations) {
    options_.operations_max = 1;
    end();
    open();
    occupy();
    std::vector<Submission*> all;
    int code = 0;
    while (code == 0) {
        all.push_back(&write());
        code = all.back()->submit(port_);
    }
    EXPECT_EQ(code, -ENOBUFS);
    EXPECT_EQ(all.size() - 1 + kThreads, 512u);
    release();
    EXPECT_EQ(all[0]->wait(), finished(7));
}

// What a thread for files is, told by one of them.
struct ThreadFacts {
    std::string name;
    sigset_t blocked;
};

// Spec: CP-FILE-15
TEST(FileThreads, HaveNamesAndBlockSignals) {
    FilesFixture fixture;
    fixture.options_.name = "twelve chars";
    fixture.options_.file_threads = 3;
    fixture.open();
    std::mutex mutex;
    std::vector<ThreadFacts> facts;
    EXPECT_EQ(fixture.faults_.calls(Call::kThreadStart), 1);
    fixture.faults_.before_each(Call::kReadAt, [&] {
        char name[16] = "";
        pthread_getname_np(pthread_self(), name, sizeof(name));
        sigset_t blocked;
        pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
        const std::lock_guard lock(mutex);
        facts.push_back({name, blocked});
    });
    EXPECT_EQ(fixture.accepted(fixture.read()).wait(), all_read());
    EXPECT_EQ(fixture.accepted(fixture.read()).wait(), all_read());
    EXPECT_EQ(fixture.faults_.calls(Call::kThreadStart), 4);
    ASSERT_EQ(facts.size(), 2u);
    EXPECT_EQ(facts[0].name, "twelve chars-io");
    for (const int signal : {SIGTERM, SIGPIPE, SIGXFSZ, SIGUSR1}) {
        EXPECT_EQ(sigismember(&facts[0].blocked, signal), 1) << signal;
    }
    EXPECT_EQ(sigismember(&facts[0].blocked, SIGSEGV), 0);
}

// Spec: CP-FILE-15
TEST(FileThreads, DoNotShareTheCpuOfAWorker) {
    cpu_set_t process;
    ASSERT_EQ(::sched_getaffinity(::getpid(), sizeof(process), &process), 0);
    int32_t cpu = 0;
    while (!CPU_ISSET(static_cast<size_t>(cpu), &process)) ++cpu;
    FilesFixture fixture;
    fixture.options_.cpus = &cpu;
    fixture.open();
    cpu_set_t found;
    CPU_ZERO(&found);
    fixture.faults_.before_each(Call::kWriteAt,
                                [&] { ::sched_getaffinity(0, sizeof(found), &found); });
    Submission& written = fixture.write();
    Submission& starter = fixture.log_.submission().as_timer(now_ns() + kMillisecond_ns);
    starter.then([&](const auto&) { EXPECT_EQ(written.submit(fixture.port_), 0); });
    fixture.accepted(starter);
    starter.wait();
    EXPECT_EQ(written.wait(), finished(7));
    EXPECT_TRUE(CPU_EQUAL(&found, &process));
}

// Spec: CP-FILE-16
TEST(FileThreads, WhereNoneStartsTheSubmissionIsRefused) {
    // The first start is the worker's.
    FilesFixture fixture(Fault{Call::kThreadStart, 2, Effect::kError, EAGAIN});
    fixture.open();
    EXPECT_EQ(fixture.read().submit(fixture.port_), -EAGAIN);
    EXPECT_EQ(fixture.accepted(fixture.read()).wait(), all_read());
    EXPECT_EQ(fixture.faults_.calls(Call::kThreadStart), 4);
}

// Spec: CP-FILE-16
TEST(FileThreads, FewerThanWantedDoTheWork) {
    FilesFixture fixture(Fault{Call::kThreadStart, 3, Effect::kError, EAGAIN, true});
    fixture.open();
    std::vector<Submission*> all;
    for (int i = 0; i < 20; ++i) all.push_back(&fixture.accepted(fixture.read()));
    for (Submission* each : all) EXPECT_EQ(each->wait(), all_read());
    EXPECT_EQ(fixture.faults_.calls(Call::kThreadStart), 3);
}

// Spec: CP-FILE-5
TEST(FileFailures, HaveTheBytesBeforeThem) {
    for (const bool reads : {true, false}) {
        const Call call = reads ? Call::kReadAt : Call::kWriteAt;
        for (const int error : {EIO, EINTR, EINVAL}) {
            FilesFixture fixture(Fault{call, 2, Effect::kError, error});
            fixture.open();
            int calls = 0;
            // The file ends after one byte of the first call; a write is one call.
            Submission& one = reads ? fixture.read(FilesFixture::kFileBytes - 1) : fixture.write();
            fixture.accepted(one);
            const Ending ending = one.wait();
            calls = fixture.faults_.calls(call);
            if (!reads) {
                EXPECT_EQ(ending, finished(7));
                EXPECT_EQ(calls, 1);
            } else if (error == EIO) {
                EXPECT_EQ(ending, failed(-EIO, 1));
            } else {
                // An unbuffered file refuses to be read on from there.
                EXPECT_EQ(ending, finished(1));
                EXPECT_EQ(calls, error == EINTR ? 3 : 2);
            }
        }
    }
}

// Spec: CP-FILE-5
TEST(FileFailures, WhatComesShortGoesOn) {
    for (const Call call : {Call::kReadAt, Call::kWriteAt, Call::kReadAtOnce}) {
        FilesFixture fixture(Fault{call, 1, Effect::kShort});
        fixture.open();
        if (call == Call::kWriteAt) {
            EXPECT_EQ(fixture.accepted(fixture.write()).wait(), finished(7));
            char bytes[8] = "";
            EXPECT_EQ(::pread(fixture.file_.get(), bytes, 7, 0), 7);
            EXPECT_STREQ(bytes, "written");
        } else if (call == Call::kReadAt) {
            EXPECT_EQ(fixture.accepted(fixture.read()).wait(), all_read());
        } else {
            ASSERT_EQ(::pwrite(fixture.file_.get(), "some bytes", 10, 0), 10);
            Submission& small = fixture.read();
            reinterpret_cast<COMPLETION_PORT_FILE_READ_OPERATION&>(small.common()).length = 10;
            EXPECT_EQ(fixture.accepted(small).wait(), finished(10));
            EXPECT_EQ(small.bytes(), "some bytes");
        }
        EXPECT_TRUE(fixture.faults_.fault_happened());
    }
}

// Spec: CP-FILE-13
TEST(FileThreads, EndBeforeOnEnded) {
    FilesFixture fixture;
    struct Seen {
        FilesFixture* fixture;
        int threads = -1;
    } seen{&fixture};
    fixture.options_.on_ended_context = &seen;
    fixture.options_.on_ended = [](void* context) {
        auto& facts = *static_cast<Seen*>(context);
        facts.threads = facts.fixture->faults_.holdings().threads_running;
    };
    fixture.open();
    EXPECT_EQ(fixture.accepted(fixture.read()).wait(), all_read());
    fixture.end();
    EXPECT_EQ(seen.threads, 1);
}

// Spec: CP-FILE-7
TEST(DrivenFiles, AreDoneByTheThreadsForFiles) {
    for (const bool single : {false, true}) {
        FilesFixture fixture;
        fixture.options_.caller_driven = true;
        fixture.options_.single_threaded = single;
        fixture.open();
        std::set<uint64_t> ids;
        for (int i = 0; i < 20; ++i) {
            Submission& each = i % 2 == 0 ? fixture.read() : fixture.write();
            ids.insert(fixture.accepted(each.for_waiters()).id());
        }
        COMPLETION_PORT_COMPLETION record{};
        while (!ids.empty()) {
            ASSERT_EQ(completion_port_wait(fixture.port_, &record, 1, -1), 1);
            EXPECT_EQ(record.result, COMPLETION_PORT_RESULT_OK);
            EXPECT_EQ(ids.erase(record.operation), 1u);
        }
        // Removal returns at once only where there is one thread, and the end does what is left.
        Submission& removed = fixture.accepted(fixture.read());
        completion_port_remove(fixture.port_, fixture.file_.get());
        EXPECT_TRUE(single || removed.completed());
        fixture.end();
        EXPECT_TRUE(removed.completed());
    }
}

}  // namespace
}  // namespace cport::test
