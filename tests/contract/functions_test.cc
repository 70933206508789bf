// Every public function where it is dangerous: in a forked child, while the process exits, and
// beside removals and the end. The mock's list says which functions there are: one that is new has
// to be added here too.
#include <completionport/buffers.h>
#include <completionport/connections.h>
#include <completionport/source.h>
#include <completionport/stats.h>
#include <completionport/testing/completion_port_functions.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "tests/contract/operations_fixture.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/lsan_interface.h>
#endif

namespace cport::test {
namespace {

using Record = COMPLETION_PORT_COMPLETION;

constexpr uint64_t kLate_ns = COMPLETION_PORT_TIME_MAX_NS;

// What the functions are called with, and how many of their requests were accepted and have ended.
struct Caller {
    COMPLETION_PORT_HANDLE port = nullptr;
    int socket = -1;
    std::atomic<uint64_t> timer{1};
    std::atomic<uint64_t> source{1};
    std::atomic<uint64_t> accepted{0};
    std::atomic<uint64_t> ended{0};
    char byte = 0;

    static void on_record(void* context, const Record*) { ++static_cast<Caller*>(context)->ended; }
    static void on_add(void* context, COMPLETION_PORT_EPOLL_ACTION, COMPLETION_PORT_RESULT,
                       int32_t) {
        ++static_cast<Caller*>(context)->ended;
    }
    static void on_removed(void* context, SOCKET_HANDLE) { ++static_cast<Caller*>(context)->ended; }

    // Counts what was accepted.
    int settle(int code, uint64_t requests = 1) {
        if (code >= 0) accepted += requests;
        return code;
    }
    template <typename Form>
    void fill_in(Form& form, uint32_t kind, int descriptor) {
        form.common.size = sizeof(form);
        form.common.kind = kind;
        form.common.descriptor = descriptor;
        form.common.on_complete = on_record;
        form.common.context = this;
    }
    COMPLETION_PORT_RECEIVE_OPERATION receive_form() {
        COMPLETION_PORT_RECEIVE_OPERATION form{};
        fill_in(form, COMPLETION_PORT_KIND_RECEIVE, socket);
        form.buffer = &byte;
        form.length = 1;
        return form;
    }
    COMPLETION_PORT_TIMER_OPERATION timer_form() {
        COMPLETION_PORT_TIMER_OPERATION form{};
        fill_in(form, COMPLETION_PORT_KIND_TIMER, 0);
        form.expires_ns = kLate_ns;
        return form;
    }
};

// Makes one call; a negative errno, or what else it said.
using Call = int (*)(Caller& caller);

int add(Caller& caller) {
    COMPLETION_PORT_INGRESS_DATA data{};
    data.epoll_op = EPOLLIN;
    data.socket = caller.socket;
    data.event_callback = Caller::on_add;
    data.event_callback_ctx = &caller;
    data.buffer_data = {&caller.byte, 1};
    return caller.settle(completion_port_add(caller.port, &data));
}

int remove(Caller& caller) {
    completion_port_remove(caller.port, caller.socket);
    return -EPERM;
}

int remove_async(Caller& caller) {
    return caller.settle(
        completion_port_remove_async(caller.port, caller.socket, Caller::on_removed, &caller));
}

int reference(Caller& caller) {
    completion_port_inc_ref(caller.port);
    completion_port_dec_ref(caller.port);
    return -EPERM;
}

int wait(Caller& caller) {
    Record record;
    return completion_port_wait(caller.port, &record, 1, 0);
}

int wait_leave(Caller& caller) { return completion_port_wait_leave(caller.port); }

int next_timeout(Caller& caller) {
    return static_cast<int>(completion_port_next_timeout(caller.port));
}

int post(Caller& caller) {
    return caller.settle(completion_port_post(caller.port, 1, 1, Caller::on_record, &caller));
}

int submit(Caller& caller) {
    const COMPLETION_PORT_RECEIVE_OPERATION receive = caller.receive_form();
    const int code =
        caller.settle(completion_port_submit(caller.port, &receive.common, nullptr, nullptr));
    const COMPLETION_PORT_TIMER_OPERATION timer = caller.timer_form();
    uint64_t id = 0;
    const int timer_code =
        caller.settle(completion_port_submit(caller.port, &timer.common, &id, nullptr));
    if (timer_code == 0) caller.timer = id;
    // A descriptor of its own, which the port closes.
    COMPLETION_PORT_CLOSE_OPERATION close{};
    Descriptor copy(::dup(caller.socket));
    caller.fill_in(close, COMPLETION_PORT_KIND_CLOSE, copy.get());
    const int close_code =
        caller.settle(completion_port_submit(caller.port, &close.common, nullptr, nullptr));
    if (close_code == 0) copy.release();
    return code == -EPERM && timer_code == -EPERM && close_code != -EPERM ? close_code : code;
}

int submit_batch(Caller& caller) {
    const COMPLETION_PORT_RECEIVE_OPERATION receive = caller.receive_form();
    const COMPLETION_PORT_TIMER_OPERATION timer = caller.timer_form();
    const std::array<const COMPLETION_PORT_OPERATION*, 2> both{&timer.common, &receive.common};
    const int count = completion_port_submit_batch(caller.port, both.data(), both.size(), nullptr);
    return caller.settle(count, static_cast<uint64_t>(count));
}

int cancel(Caller& caller) { return completion_port_cancel(caller.port, caller.timer); }

int timer_move(Caller& caller) {
    return completion_port_timer_move(caller.port, caller.timer, kLate_ns - 1);
}

int shutdown(Caller& caller) { return completion_port_shutdown(caller.port); }
int descriptor(Caller& caller) { return completion_port_fd(caller.port); }

int stats(Caller& caller) {
    COMPLETION_PORT_STATS all{};
    all.size = sizeof(all);
    return completion_port_stats(caller.port, &all);
}

int worker_stats(Caller& caller) {
    COMPLETION_PORT_WORKER_STATS one{};
    one.size = sizeof(one);
    return completion_port_worker_stats(caller.port, 0, &one);
}

// All of a pool's functions; where there can be none, the others have nothing to refuse.
int pool(Caller& caller) {
    COMPLETION_PORT_BUFFER_POOL_OPTIONS options{};
    options.size = sizeof(options);
    options.bytes_max = 1 << 20;
    COMPLETION_PORT_BUFFER_POOL_HANDLE made =
        completion_port_buffer_pool_create(caller.port, &options);
    if (made == nullptr) return -errno;
    COMPLETION_PORT_RECEIVE_POOLED_OPERATION form{};
    caller.fill_in(form, COMPLETION_PORT_KIND_RECEIVE_POOLED, caller.socket);
    form.common.on_complete = [](void* context, const Record* record) {
        auto& its = *static_cast<Caller*>(context);
        if (record->buffer != nullptr) {
            EXPECT_EQ(completion_port_buffer_release(
                          reinterpret_cast<COMPLETION_PORT_BUFFER_POOL_HANDLE>(record->key),
                          record->buffer),
                      0);
        }
        ++its.ended;
    };
    form.common.key = reinterpret_cast<uint64_t>(made);
    form.pool = made;
    caller.settle(completion_port_submit(caller.port, &form.common, nullptr, nullptr));
    EXPECT_GE(completion_port_buffer_pool_in_use(made), 0);
    completion_port_buffer_pool_destroy(made);
    return 0;
}

int source_attach(Caller& caller) {
    COMPLETION_PORT_SOURCE source{};
    source.size = sizeof(source);
    source.descriptor = COMPLETION_PORT_SOURCE_NO_DESCRIPTOR;
    source.drain = [](void*, uint32_t) -> int32_t { return 0; };
    source.on_detached = [](void* context, int32_t) { ++static_cast<Caller*>(context)->ended; };
    source.context = &caller;
    uint64_t id = 0;
    const int code = caller.settle(completion_port_source_attach(caller.port, &source, &id));
    if (code == 0) caller.source = id;
    return code;
}

int source_kick(Caller& caller) { return completion_port_source_kick(caller.port, caller.source); }

int source_detach(Caller& caller) {
    return completion_port_source_detach(caller.port, caller.source);
}

// A port of the child's own is no concern of its parent's.
int create(Caller&) { return -EPERM; }

struct Function {
    const char* name;
    Call call;
    bool ends = false;  // nothing is accepted afterwards
};

constexpr std::array kFunctions{
    Function{"completion_port_create", create},
    Function{"completion_port_create_with_options", create},
    Function{"completion_port_inc_ref", reference},
    Function{"completion_port_dec_ref", reference},
    Function{"completion_port_shutdown", shutdown, true},
    Function{"completion_port_add", add},
    Function{"completion_port_remove", remove},
    Function{"completion_port_remove_async", remove_async},
    Function{"completion_port_wait", wait},
    Function{"completion_port_wait_leave", wait_leave},
    Function{"completion_port_fd", descriptor},
    Function{"completion_port_next_timeout", next_timeout},
    Function{"completion_port_post", post},
    Function{"completion_port_submit", submit},
    Function{"completion_port_submit_batch", submit_batch},
    Function{"completion_port_cancel", cancel},
    Function{"completion_port_timer_move", timer_move},
    Function{"completion_port_stats", stats},
    Function{"completion_port_worker_stats", worker_stats},
    Function{"completion_port_buffer_pool_create", pool},
    Function{"completion_port_buffer_pool_in_use", pool},
    Function{"completion_port_buffer_release", pool},
    Function{"completion_port_buffer_pool_destroy", pool},
    Function{"completion_port_source_attach", source_attach},
    Function{"completion_port_source_kick", source_kick},
    Function{"completion_port_source_detach", source_detach},
};

#define CPORT_NAME_OF(result, name, parameters, arguments, failure) #name,
constexpr std::array kPublicNames{COMPLETION_PORT_MOCKED_FUNCTIONS(CPORT_NAME_OF) ""};
#undef CPORT_NAME_OF

class FunctionsTest : public OperationsTest {};
CPORT_ON_EVERY_ENGINE(FunctionsTest);

// 0, or the place of the first function that says something else than -EPERM.
int first_that_is_not_refused(COMPLETION_PORT_HANDLE port, int socket) {
    Caller caller;
    caller.port = port;
    caller.socket = socket;
    for (size_t i = 0; i < kFunctions.size(); ++i) {
        if (kFunctions[i].call(caller) != -EPERM) return static_cast<int>(i) + 1;
    }
    return 0;
}

std::string name_at(int place) {
    const auto index = static_cast<size_t>(place) - 1;
    return index < kFunctions.size() ? kFunctions[index].name : std::to_string(place);
}

// Spec: CP-BAD-8
TEST(Functions, AreAllInTheTable) {
    std::set<std::string> names;
    for (const Function& function : kFunctions) names.insert(function.name);
    for (const char* name : kPublicNames) {
        if (*name == '\0') continue;
        EXPECT_EQ(names.erase(name), 1u) << name << " is missing";
    }
    EXPECT_TRUE(names.empty()) << *names.begin() << " is no public function";
}

// Spec: CP-BAD-8, CP-SUBMIT-3, CP-POST-3, CP-WAIT-5, CP-CANCEL-2, CP-TIMER-8
TEST_P(FunctionsTest, AForkedChildIsRefusedByEach) {
    Pair& pair = keep(unix_pair());
    Submission& waiting = submit_receive(pair.ours.get(), 8);
    fence();
    const int first = status_of_child(first_that_is_not_refused, port(), pair.ours.get());
    EXPECT_EQ(first, 0) << name_at(first);
    write_all(pair.theirs.get(), "parent");
    EXPECT_EQ(waiting.wait(), finished(6));
}

// Spec: CP-BAD-8
TEST_P(FunctionsTest, AChildThatIsForkedInACallbackIsRefusedByEach) {
    Pair& pair = keep(unix_pair());
    Submission& waiting = submit_receive(pair.ours.get(), 8);
    int first = -1;
    run_on_worker_of(pair.ours.get(), [&] {
        first = status_of_child(first_that_is_not_refused, port(), pair.ours.get());
    });
    EXPECT_EQ(first, 0) << name_at(first);
    write_all(pair.theirs.get(), "parent");
    EXPECT_EQ(waiting.wait(), finished(6));
}

// Spec: CP-WORKERS-9, CP-SUBMIT-6, CP-RMASYNC-1
TEST_P(FunctionsTest, RunBesideRemovalsAndTheEnd) {
    const int rounds = scaled(300, 30);
    for (int round = 0; round < rounds; ++round) {
        Caller caller;
        const Pair pair = unix_pair();
        caller.port = GetParam().create();
        ASSERT_NE(caller.port, nullptr);
        caller.socket = pair.ours.get();
        std::atomic<bool> begun{false};
        std::vector<std::thread> threads;
        for (size_t t = 0; t < 3; ++t) {
            threads.emplace_back([&, t] {
                begun.wait(false);
                for (int i = 0; i < 4; ++i) {
                    for (size_t each = 0; each < kFunctions.size(); ++each) {
                        const size_t place = (each + t * 5) % kFunctions.size();
                        if (!kFunctions[place].ends) kFunctions[place].call(caller);
                    }
                    write_all(pair.theirs.get(), "x");
                }
            });
        }
        begun.store(true);
        begun.notify_all();
        if (round % 2 == 0) completion_port_shutdown(caller.port);
        for (std::thread& thread : threads) thread.join();
        completion_port_dec_ref(caller.port);
        ASSERT_EQ(caller.ended.load(), caller.accepted.load()) << "round " << round;
    }
}

// Where a process ends while its port is busy: callbacks that run on, of every worker.
struct Busy {
    COMPLETION_PORT_HANDLE port;
    Descriptor ready = ready_eventfd();
    std::atomic<int> left{200};
    bool exits_inside = false;

    static void on_record(void* context, const Record* record) {
        auto& busy = *static_cast<Busy*>(context);
        if (busy.left.fetch_sub(1) == 1 && busy.exits_inside) std::exit(0);
        busy.left.notify_all();
        if (record->kind == COMPLETION_PORT_KIND_POLL) busy.poll();
        if (record->kind == COMPLETION_PORT_KIND_POST) {
            completion_port_post(busy.port, 0, 0, on_record, &busy);
        }
    }
    void poll() {
        COMPLETION_PORT_POLL_OPERATION form{};
        form.common.size = sizeof(form);
        form.common.kind = COMPLETION_PORT_KIND_POLL;
        form.common.descriptor = ready.get();
        form.common.on_complete = on_record;
        form.common.context = this;
        form.events = POLLIN;
        completion_port_submit(port, &form.common, nullptr, nullptr);
    }
};

// What lives on when a process exits is no leak, but the checker cannot see through mapped memory.
void switch_leak_check_off() {
#if defined(__SANITIZE_ADDRESS__)
    __lsan_disable();
#endif
}

// It outlives main: callbacks go on while the process exits.
[[noreturn]] void exit_while_busy(const EngineUnderTest& engine, bool inside) {
    switch_leak_check_off();
    COMPLETION_PORT_HANDLE port = engine.create();
    static Busy* const busy = new Busy{port};
    busy->exits_inside = inside;
    busy->poll();
    completion_port_post(port, 0, 0, Busy::on_record, busy);
    COMPLETION_PORT_TIMER_OPERATION timer{};
    timer.common.size = sizeof(timer);
    timer.common.kind = COMPLETION_PORT_KIND_TIMER;
    timer.common.on_complete = Busy::on_record;
    timer.common.context = busy;
    timer.expires_ns = kLate_ns;
    completion_port_submit(port, &timer.common, nullptr, nullptr);
    for (int left = busy->left; inside || left > 0; left = busy->left) busy->left.wait(left);
    std::exit(0);
}

class ExitDeathTest : public ::testing::TestWithParam<EngineUnderTest> {};
CPORT_ON_EVERY_ENGINE(ExitDeathTest);

// Spec: CP-END-8
TEST_P(ExitDeathTest, AProcessMayExitWhileCallbacksRun) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    EXPECT_EXIT(exit_while_busy(GetParam(), false), ::testing::ExitedWithCode(0), "");
}

// Spec: CP-END-8
TEST_P(ExitDeathTest, ACallbackMayExitTheProcess) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    EXPECT_EXIT(exit_while_busy(GetParam(), true), ::testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace cport::test
