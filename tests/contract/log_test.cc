// What a port says of itself to its user's log.
#include <completionport/log.h>
#include <completionport/operations.h>
#include <completionport/options.h>
#include <completionport/stats.h>
#include <completionport/timers.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "tests/contract/engine_under_test.h"
#include "tests/contract/process_facts.h"
#include "tests/contract/timing.h"
#include "tests/support/record_log.h"
#include "tests/support/recorder.h"
#include "tests/support/sockets.h"

namespace cport::test {
namespace {

struct Line {
    uint32_t level;
    std::string text;
};

// Keeps what is logged.
class Lines {
 public:
    static void on_log(void* context, uint32_t level, const char* message) {
        auto& self = *static_cast<Lines*>(context);
        {
            const std::lock_guard lock(self.mutex_);
            self.lines_.push_back({level, message});
        }
        if (self.hook) self.hook();
        errno = EXDEV;  // what the library says must not depend on it
    }
    std::vector<Line> all() {
        const std::lock_guard lock(mutex_);
        return lines_;
    }
    size_t count(uint32_t level, const std::string& part) {
        size_t found = 0;
        for (const Line& line : all()) {
            if (line.level == level && line.text.find(part) != std::string::npos) ++found;
        }
        return found;
    }

    std::function<void()> hook;

 private:
    std::mutex mutex_;
    std::vector<Line> lines_;
};

class LogTest : public ::testing::TestWithParam<EngineUnderTest> {
 protected:
    LogTest() {
        // The engine under test, asked for.
        COMPLETION_PORT_HANDLE like = GetParam().create();
        COMPLETION_PORT_STATS stats{};
        stats.size = sizeof(stats);
        EXPECT_EQ(completion_port_stats(like, &stats), 0);
        completion_port_dec_ref(like);
        options_.size = sizeof(options_);
        options_.workers = stats.workers;
        options_.engine = stats.engine;
        options_.on_log = Lines::on_log;
        options_.log_context = &lines_;
    }
    void TearDown() override {
        close();
        log_.expect_each_ended_once();
        for (const Line& line : lines_.all()) {
            EXPECT_LT(line.text.size(), size_t{COMPLETION_PORT_LOG_MESSAGE_MAX});
            EXPECT_TRUE(std::none_of(line.text.begin(), line.text.end(), [](char character) {
                return static_cast<unsigned char>(character) < 0x20;
            })) << line.text;
        }
    }

    void open() {
        port_ = completion_port_create_with_options(&options_);
        ASSERT_NE(port_, nullptr);
    }
    void close() { completion_port_dec_ref(std::exchange(port_, nullptr)); }
    // Through every worker that there is.
    void receive_some() {
        for (uint32_t i = 0; i < options_.workers; ++i) {
            Pair pair = unix_pair();
            Submission& read = log_.submission("?").as_receive(pair.ours.get());
            ASSERT_EQ(read.submit(port_), 0);
            write_all(pair.theirs.get(), "x");
            EXPECT_EQ(read.wait(), finished(1));
            completion_port_remove(port_, pair.ours.get());
        }
    }

    Lines lines_;
    COMPLETION_PORT_OPTIONS options_{};
    COMPLETION_PORT_HANDLE port_ = nullptr;
    RecordLog log_;
};
CPORT_ON_EVERY_ENGINE(LogTest);

// Spec: CP-LOG-1 CP-LOG-2 CP-LOG-9
TEST_P(LogTest, TellsBeginAndEndByDefaultAndNothingBetween) {
    options_.name = "dam";
    size_t lines_at_end = 0;
    const auto count_lines = [&] { lines_at_end = lines_.all().size(); };
    std::function<void()> on_ended = count_lines;
    options_.on_ended = [](void* context) { (*static_cast<std::function<void()>*>(context))(); };
    options_.on_ended_context = &on_ended;
    open();
    ASSERT_EQ(lines_.all().size(), 1u);
    const Line created = lines_.all().front();
    EXPECT_EQ(created.level, uint32_t{COMPLETION_PORT_LOG_INFO});
    const std::string workers = std::to_string(options_.workers) + " workers";
    EXPECT_EQ(created.text.rfind("dam: created", 0), 0u) << created.text;
    EXPECT_NE(created.text.find("asked for"), std::string::npos) << created.text;
    EXPECT_NE(created.text.find(workers), std::string::npos) << created.text;
    receive_some();
    EXPECT_EQ(lines_.all().size(), 1u);
    // Its callback is the last.
    Pair pair = unix_pair();
    Submission& last = log_.submission("?").as_receive(pair.ours.get());
    last.then([&](const COMPLETION_PORT_COMPLETION&) { EXPECT_EQ(lines_.all().size(), 1u); });
    ASSERT_EQ(last.submit(port_), 0);
    close();
    ASSERT_EQ(lines_.all().size(), 2u);
    EXPECT_EQ(lines_.all().back().level, uint32_t{COMPLETION_PORT_LOG_INFO});
    EXPECT_EQ(lines_.all().back().text, "dam: ended");
    EXPECT_EQ(lines_at_end, 2u);
}

// Spec: CP-LOG-1 CP-LOG-2
TEST_P(LogTest, WorkersTellTheirBeginAndEndAtDebug) {
    options_.log_level = COMPLETION_PORT_LOG_DEBUG;
    open();
    receive_some();
    close();
    EXPECT_EQ(lines_.count(COMPLETION_PORT_LOG_DEBUG, "started"), options_.workers);
    EXPECT_EQ(lines_.count(COMPLETION_PORT_LOG_DEBUG, "ended"), options_.workers);
    EXPECT_EQ(lines_.count(COMPLETION_PORT_LOG_INFO, "created"), 1u);
    EXPECT_EQ(lines_.all().back().text, "cport: ended");
    EXPECT_EQ(lines_.all().size(), 2 * size_t{options_.workers} + 2);
}

// Spec: CP-LOG-1
TEST_P(LogTest, LessSevereLevelsAreLeftOut) {
    options_.log_level = COMPLETION_PORT_LOG_WARNING;
    open();
    receive_some();
    close();
    EXPECT_EQ(lines_.all().size(), 0u);
}

// Spec: CP-LOG-1
TEST_P(LogTest, NoCallbackNoLog) {
    options_.on_log = nullptr;
    options_.log_level = COMPLETION_PORT_LOG_DEBUG;
    open();
    receive_some();
    close();
    EXPECT_EQ(lines_.all().size(), 0u);
}

// Spec: CP-LOG-1 CP-OPT-3
TEST_P(LogTest, AnUnknownLevelIsRefused) {
    options_.log_level = COMPLETION_PORT_LOG_DEBUG + 1;
    errno = 0;
    EXPECT_EQ(completion_port_create_with_options(&options_), nullptr);
    EXPECT_EQ(errno, EINVAL);
    EXPECT_EQ(lines_.all().size(), 0u);
}

// Spec: CP-LOG-3
TEST_P(LogTest, ANameWithLinesMakesNoLines) {
    options_.name = "a\nb\x7f\x01 \xc3\xa9";
    open();
    close();
    ASSERT_EQ(lines_.all().size(), 2u);
    EXPECT_EQ(lines_.all().back().text, "a?b?? \xc3\xa9: ended");
}

// Spec: CP-LOG-3 CP-LOG-4
TEST_P(LogTest, APortThatCannotBeMadeSaysWhy) {
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
    // Also where the library could free descriptors by itself, there are none to be had.
    const rlimit none{0, before.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
    errno = 0;
    COMPLETION_PORT_HANDLE refused = completion_port_create_with_options(&options_);
    const int error = errno;
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
    EXPECT_EQ(refused, nullptr);
    EXPECT_EQ(error, EMFILE);
    ASSERT_EQ(lines_.all().size(), 1u);
    EXPECT_EQ(lines_.all().front().level, uint32_t{COMPLETION_PORT_LOG_ERROR});
    EXPECT_EQ(lines_.all().front().text,
              "cport: cannot be created (errno " + std::to_string(EMFILE) + ")");
}

// Spec: CP-LOG-5 CP-LOG-8 CP-STATS-11
TEST_P(LogTest, TheLimitIsToldOnceAndNoLockIsHeld) {
    options_.workers = 1;
    options_.operations_max = 1;
    open();
    uint64_t refused_in_log = 0;
    lines_.hook = [&] {
        COMPLETION_PORT_STATS stats{};
        stats.size = sizeof(stats);
        EXPECT_EQ(completion_port_stats(port_, &stats), 0);
        refused_in_log = stats.total.slots_refused_limit;
    };
    Submission& timer = log_.submission().as_timer(now_ns() + kHour_ns);
    while (timer.submit(port_) == 0) {
    }
    EXPECT_EQ(refused_in_log, 1u);
    EXPECT_EQ(timer.submit(port_), -ENOBUFS);
    EXPECT_EQ(completion_port_post(port_, 0, 0, nullptr, nullptr), -ENOBUFS);
    EXPECT_EQ(lines_.count(COMPLETION_PORT_LOG_WARNING, "limit of 512 operations"), 1u);
    EXPECT_EQ(lines_.all().size(), 2u);
    lines_.hook = nullptr;
}

// Spec: CP-LOG-8
TEST_P(LogTest, StatsMayBeAskedForFromEachMessageOfAWorker) {
    options_.workers = 1;
    options_.operations_max = 1;
    options_.log_level = COMPLETION_PORT_LOG_DEBUG;
    open();
    receive_some();
    lines_.hook = [&] {
        COMPLETION_PORT_WORKER_STATS stats{};
        stats.size = sizeof(stats);
        EXPECT_EQ(completion_port_worker_stats(port_, 0, &stats), 0);
    };
    // In a callback, where the worker itself finds no slot.
    Submission& first = log_.submission().as_timer(now_ns());
    Submission& filler = log_.submission().as_timer(now_ns() + kHour_ns);
    first.then([&](const COMPLETION_PORT_COMPLETION&) {
        while (filler.submit(port_) == 0) {
        }
    });
    first.as_timer(now_ns() + kMillisecond_ns);
    ASSERT_EQ(first.submit(port_), 0);
    first.wait();
    EXPECT_EQ(lines_.count(COMPLETION_PORT_LOG_WARNING, "limit"), 1u);
    lines_.hook = nullptr;
}

}  // namespace
}  // namespace cport::test
