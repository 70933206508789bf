#include "tests/fault/ledger.h"

#include <time.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace cport::test {
namespace {

// Whether this thread is inside a submission: no callback may come there.
thread_local bool inside_submission = false;

uint64_t deadline_in(int64_t delay_ns) {
    return delay_ns == 0 ? 0 : static_cast<uint64_t>(now_ns() + delay_ns);
}

}  // namespace

int64_t now_ns() {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1'000 * kMillisecond_ns + now.tv_nsec;
}

// What removal, cancel, deadlines and the port's end say is always known.
Ledger::Ledger(Stage& stage)
    : stage_(stage), allowed_{ECANCELED, ETIMEDOUT, ENOENT, ESHUTDOWN, EALREADY} {}

void Ledger::allow(int error) {
    std::lock_guard lock(mutex_);
    allowed_.insert(error);
}

bool Ledger::is_known(int code) {
    std::lock_guard lock(mutex_);
    return code == 0 || allowed_.count(-code) != 0 || stage_.explains(-code);
}

void Ledger::expect_known(int code, const char* what) {
    if (!is_known(code)) {
        stage_.expect(false, std::string(what) + ": " + std::strerror(-code));
    }
}

uint64_t Ledger::timer(int64_t delay_ns, int64_t period_ns, Then then) {
    COMPLETION_PORT_TIMER_OPERATION form{};
    form.expires_ns = deadline_in(delay_ns);
    form.period_ns = static_cast<uint64_t>(period_ns);
    return submit(form, COMPLETION_PORT_KIND_TIMER, 0, std::move(then));
}

uint64_t Ledger::receive(int socket, int64_t delay_ns, Then then) {
    COMPLETION_PORT_RECEIVE_OPERATION form{};
    form.common.deadline_ns = deadline_in(delay_ns);
    form.buffer = buffer_;
    form.length = sizeof(buffer_);
    return submit(form, COMPLETION_PORT_KIND_RECEIVE, socket, std::move(then));
}

uint64_t Ledger::send(int socket, const std::string& bytes, int64_t delay_ns, Then then) {
    COMPLETION_PORT_SEND_OPERATION form{};
    form.common.deadline_ns = deadline_in(delay_ns);
    form.buffer = bytes.data();
    form.length = static_cast<uint32_t>(bytes.size());
    return submit(form, COMPLETION_PORT_KIND_SEND, socket, std::move(then));
}

uint64_t Ledger::poll(int descriptor, uint32_t events, int64_t delay_ns, Then then) {
    COMPLETION_PORT_POLL_OPERATION form{};
    form.common.deadline_ns = deadline_in(delay_ns);
    form.events = events;
    return submit(form, COMPLETION_PORT_KIND_POLL, descriptor, std::move(then));
}

bool Ledger::close(Descriptor descriptor, Then then) {
    const int number = descriptor.get();
    stage_.faults().ask_to_close(number);
    COMPLETION_PORT_CLOSE_OPERATION form{};
    const auto check_closed = [this, number, then](const COMPLETION_PORT_COMPLETION& record) {
        stage_.expect(!stage_.faults().take_back(number), "a close ended and closed nothing");
        if (then) then(record);
    };
    if (submit(form, COMPLETION_PORT_KIND_CLOSE, number, check_closed) != 0) {
        descriptor.release();
        return true;
    }
    stage_.expect(stage_.faults().take_back(number), "a refused close closed the descriptor");
    stage_.remove(number);
    return false;
}

bool Ledger::post(int64_t value, Then then, bool to_callback) {
    Entry& entry = new_entry(COMPLETION_PORT_KIND_POST, std::move(then), to_callback);
    inside_submission = true;
    const int code =
        completion_port_post(stage_.port(), 0, value, to_callback ? on_complete : nullptr, &entry);
    inside_submission = false;
    return settle(entry, code, "a post was refused without need");
}

Descriptor Ledger::take_over(const COMPLETION_PORT_COMPLETION& record) {
    if (record.result != COMPLETION_PORT_RESULT_OK) return Descriptor();
    const int accepted = static_cast<int>(record.value);
    const bool known = stage_.faults().take_over(accepted);
    stage_.expect(known, "an accept gives a descriptor that it did not accept");
    return known ? Descriptor(accepted) : Descriptor();
}

Ledger::Entry& Ledger::new_entry(uint32_t kind, Then then, bool to_callback) {
    std::lock_guard lock(mutex_);
    ++(to_callback ? waiting_ : waiting_for_waiters_);
    return entries_.emplace_back(Entry{this, std::move(then), kind, to_callback});
}

bool Ledger::settle(Entry& entry, int code, const char* what) {
    if (code == 0) return true;
    expect_known(code, what);
    std::lock_guard lock(mutex_);
    entry.over = true;
    --(entry.to_callback ? waiting_ : waiting_for_waiters_);
    ended_.notify_all();
    return false;
}

uint64_t Ledger::submit(COMPLETION_PORT_OPERATION& operation, Then then, bool to_callback) {
    Entry& entry = new_entry(operation.kind, std::move(then), to_callback);
    operation.on_complete = to_callback ? on_complete : nullptr;
    operation.context = &entry;
    uint64_t id = 0;
    inside_submission = true;
    const int code = completion_port_submit(stage_.port(), &operation, &id, nullptr);
    inside_submission = false;
    return settle(entry, code, "an operation was refused without need") ? id : 0;
}

void Ledger::check(const Entry& entry, const COMPLETION_PORT_COMPLETION& record) {
    const bool more = (record.flags & COMPLETION_PORT_COMPLETION_MORE) != 0;
    stage_.expect(!inside_submission, "a callback came inside the call that asked for it");
    stage_.expect(!entry.over, "a record followed the last one");
    stage_.expect(record.kind == entry.kind, "a record of another kind");
    stage_.expect((record.error == 0) == (record.result == COMPLETION_PORT_RESULT_OK),
                  "the error does not fit the result");
    stage_.expect(!more || record.error == 0, "an operation goes on after an error");
    // A close that the kernel complains of has closed.
    const bool of_close = record.kind == COMPLETION_PORT_KIND_CLOSE && record.error == -EIO;
    if (!of_close) expect_known(record.error, "an operation failed");
}

void Ledger::take(Entry& entry, const COMPLETION_PORT_COMPLETION& record) {
    check(entry, record);
    if (entry.then) entry.then(record);
    if ((record.flags & COMPLETION_PORT_COMPLETION_MORE) != 0) return;
    std::lock_guard lock(mutex_);
    entry.over = true;
    --(entry.to_callback ? waiting_ : waiting_for_waiters_);
    ended_.notify_all();
}

void Ledger::on_complete(void* context, const COMPLETION_PORT_COMPLETION* record) {
    auto& entry = *static_cast<Entry*>(context);
    entry.ledger->take(entry, *record);
}

void Ledger::take_records() {
    const auto any_left = [this] {
        std::lock_guard lock(mutex_);
        return waiting_for_waiters_ > 0;
    };
    std::array<COMPLETION_PORT_COMPLETION, 4> records;
    while (any_left()) {
        const int count =
            completion_port_wait(stage_.port(), records.data(), records.size(), kHour_ns);
        stage_.expect(count > 0, "a wait failed, though records are to come");
        if (count <= 0) return;
        for (int i = 0; i < count; ++i) {
            const COMPLETION_PORT_COMPLETION& record = records[static_cast<size_t>(i)];
            take(*static_cast<Entry*>(record.context), record);
        }
    }
}

void Ledger::wait_for_all() {
    std::unique_lock lock(mutex_);
    ended_.wait(lock, [this] { return waiting_ == 0; });
}

}  // namespace cport::test
