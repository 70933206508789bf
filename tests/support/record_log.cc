#include "tests/support/record_log.h"

#include <gtest/gtest.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace cport::test {
namespace {

constexpr uint64_t kRenewed_ns = 5'000'000;
// A test may choose a time this long before it tells the submission of it.
constexpr uint64_t kChosenBefore_ns = 1'000'000'000;

uint64_t monotonic_ns() {
    timespec time{};
    ::clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(time.tv_nsec);
}

bool is_last(const Recorded& recorded) {
    return (recorded.record.flags & COMPLETION_PORT_COMPLETION_MORE) == 0;
}

}  // namespace

std::ostream& operator<<(std::ostream& stream, const Ending& ending) {
    const auto result = static_cast<COMPLETION_PORT_RESULT>(ending.result);
    const char* name = MU_ENUM_TO_STRING(COMPLETION_PORT_RESULT, result);
    return stream << "(" << (name != nullptr ? name : "no result") << ", " << ending.value
                  << ", error " << ending.error << ")";
}

Ending ending_of(const COMPLETION_PORT_COMPLETION& record) {
    return {record.result, record.value, record.error};
}

Ending finished(int64_t value) { return {COMPLETION_PORT_RESULT_OK, value, 0}; }

Ending abandoned(int32_t error, int64_t value) {
    return {COMPLETION_PORT_RESULT_ABANDONED, value, error};
}

Ending failed(int32_t error, int64_t value) { return {COMPLETION_PORT_RESULT_ERROR, value, error}; }

Submission::Submission(RecordLog& log, uint64_t key, std::string buffer)
    : log_(log), buffer_(std::move(buffer)) {
    std::memset(&any_, 0, sizeof(any_));
    any_.common.key = key;
    any_.common.on_complete = &Submission::on_complete;
    any_.common.context = this;
}

void Submission::prepare(uint32_t kind, size_t size, int descriptor) {
    any_.common.size = static_cast<uint32_t>(size);
    any_.common.kind = kind;
    any_.common.descriptor = descriptor;
}

Submission& Submission::as_receive(int socket) {
    prepare(COMPLETION_PORT_KIND_RECEIVE, sizeof(any_.receive), socket);
    any_.receive.buffer = buffer_.data();
    any_.receive.length = static_cast<uint32_t>(buffer_.size());
    return *this;
}

Submission& Submission::as_send(int socket) {
    prepare(COMPLETION_PORT_KIND_SEND, sizeof(any_.send), socket);
    any_.send.buffer = buffer_.data();
    any_.send.length = static_cast<uint32_t>(buffer_.size());
    return *this;
}

Submission& Submission::as_poll(int descriptor, uint32_t events) {
    prepare(COMPLETION_PORT_KIND_POLL, sizeof(any_.poll), descriptor);
    any_.poll.events = events;
    return *this;
}

Submission& Submission::as_timer(int64_t expires_ns, int64_t period_ns) {
    prepare(COMPLETION_PORT_KIND_TIMER, sizeof(any_.timer), 0);
    any_.timer.expires_ns = static_cast<uint64_t>(expires_ns);
    note_time(any_.timer.expires_ns);
    any_.timer.period_ns = static_cast<uint64_t>(period_ns);
    return *this;
}

Submission& Submission::with_deadline(int64_t deadline_ns) {
    any_.common.deadline_ns = static_cast<uint64_t>(deadline_ns);
    note_time(any_.common.deadline_ns);
    return *this;
}

Submission& Submission::for_waiters() {
    any_.common.on_complete = nullptr;
    return *this;
}

Submission& Submission::then(Hook hook) {
    hook_ = std::move(hook);
    return *this;
}

int Submission::submit(COMPLETION_PORT_HANDLE port) { return submit_to(port, nullptr); }

int Submission::submit_inline(COMPLETION_PORT_HANDLE port, COMPLETION_PORT_COMPLETION& completed) {
    any_.common.flags |= COMPLETION_PORT_FLAG_INLINE;
    return submit_to(port, &completed);
}

int Submission::submit_to(COMPLETION_PORT_HANDLE port, COMPLETION_PORT_COMPLETION* completed) {
    const bool called_back = any_.common.on_complete != nullptr;
    int result = completion_port_submit(port, &any_.common, &id_, completed);
    while (result == -ETIMEDOUT && renew_times()) {
        result = completion_port_submit(port, &any_.common, &id_, completed);
    }
    if (result == 0 && called_back) expected_.fetch_add(1);
    return result;
}

void Submission::note_time(uint64_t time_ns) {
    ahead_ns_ = time_ns + kChosenBefore_ns > monotonic_ns() ? time_ns : 0;
}

// A thread may rest for long between the choice of a time and the call. A time that lay ahead when
// it was chosen is chosen again.
bool Submission::renew_times() {
    const auto renewed = [this](uint64_t& time_ns) {
        const uint64_t now_ns = monotonic_ns();
        if (time_ns == 0 || time_ns != ahead_ns_ || time_ns > now_ns) return false;
        time_ns = ahead_ns_ = now_ns + kRenewed_ns;
        return true;
    };
    const bool is_timer = any_.common.kind == COMPLETION_PORT_KIND_TIMER;
    return renewed(is_timer ? any_.timer.expires_ns : any_.common.deadline_ns);
}

void Submission::accept(uint64_t id) {
    id_ = id;
    if (any_.common.on_complete != nullptr) expected_.fetch_add(1);
}

Recorded Submission::wait_for(size_t records) {
    std::unique_lock lock(mutex_);
    recorded_.wait(lock, [&] { return records_.size() >= records; });
    return records_[records - 1];
}

size_t Submission::records() {
    std::lock_guard lock(mutex_);
    return records_.size();
}

Recorded Submission::wait_for_last() {
    std::unique_lock lock(mutex_);
    recorded_.wait(lock, [&] { return !records_.empty() && is_last(records_.back()); });
    return records_.back();
}

size_t Submission::endings() {
    std::lock_guard lock(mutex_);
    return static_cast<size_t>(std::count_if(records_.begin(), records_.end(), is_last));
}

std::string Submission::bytes() {
    return buffer_.substr(0, static_cast<size_t>(wait_for(1).record.value));
}

void Submission::on_complete(void* context, const COMPLETION_PORT_COMPLETION* completion) {
    auto* submission = static_cast<Submission*>(context);
    const Recorded recorded{*completion, ::gettid(), submission->log_.next_sequence()};
    if (submission->hook_) submission->hook_(*completion);
    // Notified under the lock, so that a waiter may free the submission as soon as it has seen it.
    std::lock_guard lock(submission->mutex_);
    submission->records_.push_back(recorded);
    submission->recorded_.notify_all();
}

Submission& RecordLog::submission(std::string buffer) {
    std::lock_guard lock(mutex_);
    const uint64_t key = 0x1000 + submissions_.size();
    return submissions_.emplace_back(*this, key, std::move(buffer));
}

void RecordLog::expect_each_ended_once() {
    std::lock_guard lock(mutex_);
    for (size_t i = 0; i < submissions_.size(); ++i) {
        EXPECT_EQ(submissions_[i].expected_endings(), submissions_[i].endings())
            << "submission " << i << " of this test";
    }
}

}  // namespace cport::test
