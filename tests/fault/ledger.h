// Operations of operations.h that a scenario of the fault sweep submits: each accepted one must end
// in exactly one record without MORE, and with an error that something explains.
#pragma once

#include <completionport/connections.h>
#include <completionport/operations.h>
#include <completionport/timers.h>

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <set>
#include <string>

#include "tests/fault/stage.h"
#include "tests/support/sockets.h"

namespace cport::test {

constexpr int64_t kMillisecond_ns = 1'000'000;
constexpr int64_t kHour_ns = 3'600'000 * kMillisecond_ns;

// CLOCK_MONOTONIC.
int64_t now_ns();

class Ledger {
 public:
    using Then = std::function<void(const COMPLETION_PORT_COMPLETION&)>;

    explicit Ledger(Stage& stage);
    Ledger(const Ledger&) = delete;
    Ledger& operator=(const Ledger&) = delete;

    // Each gives the id, or 0 if it was refused. `then` runs inside each callback. What the form
    // points to lives until its record.
    template <typename Form>
    uint64_t submit(Form& form, uint32_t kind, int descriptor, Then then = {}) {
        return submit(prepare(form, kind, descriptor), std::move(then), true);
    }
    // Its records go to `take_records`.
    template <typename Form>
    uint64_t submit_for_waiters(Form& form, uint32_t kind, int descriptor, Then then = {}) {
        return submit(prepare(form, kind, descriptor), std::move(then), false);
    }
    uint64_t timer(int64_t delay_ns, int64_t period_ns = 0, Then then = {});
    // Without a delay there is no deadline.
    uint64_t receive(int socket, int64_t delay_ns = 0, Then then = {});
    uint64_t send(int socket, const std::string& bytes, int64_t delay_ns = 0, Then then = {});
    uint64_t poll(int descriptor, uint32_t events, int64_t delay_ns = 0, Then then = {});
    // The port closes it. Where it refuses, it is removed and closed here.
    bool close(Descriptor descriptor, Then then = {});
    bool post(int64_t value, Then then = {}, bool to_callback = true);

    // The descriptor that an accept's record names, now the test's; none if it names none.
    Descriptor take_over(const COMPLETION_PORT_COMPLETION& record);
    // Takes what waits in the port's queue, until the last operation for waiters has ended.
    void take_records();

    // An errno that the scenario brings about by itself, in records or as a refusal.
    void allow(int error);
    void expect_known(int code, const char* what);
    void wait_for_all();

 private:
    struct Entry {
        Ledger* ledger;
        Then then;
        uint32_t kind;
        bool to_callback;
        bool over = false;
    };

    template <typename Form>
    static COMPLETION_PORT_OPERATION& prepare(Form& form, uint32_t kind, int descriptor) {
        form.common.size = sizeof(form);
        form.common.kind = kind;
        form.common.descriptor = descriptor;
        return form.common;
    }
    uint64_t submit(COMPLETION_PORT_OPERATION& operation, Then then, bool to_callback);
    Entry& new_entry(uint32_t kind, Then then, bool to_callback);
    bool settle(Entry& entry, int code, const char* what);
    void take(Entry& entry, const COMPLETION_PORT_COMPLETION& record);
    void check(const Entry& entry, const COMPLETION_PORT_COMPLETION& record);
    bool is_known(int code);
    static void on_complete(void* context, const COMPLETION_PORT_COMPLETION* record);

    Stage& stage_;
    std::mutex mutex_;
    std::condition_variable ended_;
    std::deque<Entry> entries_;
    std::set<int> allowed_;
    size_t waiting_ = 0;
    size_t waiting_for_waiters_ = 0;
    char buffer_[64] = {};
};

}  // namespace cport::test
