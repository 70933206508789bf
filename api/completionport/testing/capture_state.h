/* What a CompletionCapture keeps: used by its own files, not by tests. */
#ifndef COMPLETIONPORT_TESTING_CAPTURE_STATE_H
#define COMPLETIONPORT_TESTING_CAPTURE_STATE_H

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "completionport/buffers.h"
#include "completionport/completion_port.h"
#include "completionport/completions.h"
#include "completionport/stats.h"
#include "completionport/testing/completion_capture.h"

namespace completionport::testing {

/* Calls the add back, with errno as the real port sets it. */
void call_back(const CapturedAdd& add, const Completion& completion);

/* Everything but run and start_removed needs the lock. */
class CompletionCapture::State {
 public:
    using Handle = COMPLETION_PORT_HANDLE;
    using Job = std::function<void()>;
    struct Port {
        size_t references = 1;
        bool ending = false;
        bool freed = false;
        std::deque<COMPLETION_PORT_COMPLETION> records;  // for completion_port_wait
        std::set<std::thread::id> running;  // threads that hold a place, where they are limited
        std::vector<uint64_t> due;          // submissions without callback; some may have ended
        CapturedOptions options;
        std::optional<COMPLETION_PORT_STATS> stats;  // the test's
        std::map<uint32_t, COMPLETION_PORT_WORKER_STATS> worker_stats;

        // For this thread, whose own place its wait gives back.
        bool has_place() const {
            const uint32_t running_max = options.options.waiters_running_max;
            return running_max == 0 ||
                   running.size() - running.count(std::this_thread::get_id()) < running_max;
        }
    };
    struct Pool {
        Handle completion_port;
        COMPLETION_PORT_BUFFER_POOL_OPTIONS options;
        bool destroyed = false;
        std::map<void*, std::vector<char>> buffers;  // in use
    };
    struct Removal {
        Handle completion_port;
        SOCKET_HANDLE socket;
    };
    // A success at once that the test asked for: with the value, or with bytes to receive.
    struct InlineSuccess {
        int64_t value;
        std::optional<std::string> bytes;
    };
    // Another family of what can wait is one more type here, with an `abandon`.
    using Waiting = std::variant<CapturedAdd, CapturedSubmission, CapturedSource>;
    using WaitingIterator = std::vector<Waiting>::iterator;

    // The port of a handle that may still be used; otherwise the test fails.
    Port* find(Handle handle, const char* function);
    const Port* find_known(Handle handle) const;
    // 0, or why the port takes nothing new from the function: -EINVAL, -ESHUTDOWN.
    int refusal_of(Handle handle, const char* function);
    // The same for something that is to wait for a socket: also -ECANCELED.
    int refusal_of(Handle handle, SOCKET_HANDLE socket, const char* function);
    bool is_removing(Handle handle, SOCKET_HANDLE socket) const;
    void lift_removal(Handle handle, SOCKET_HANDLE socket);
    void start_removed(Handle handle, SOCKET_HANDLE socket);

    // The pool of a handle that may still be used; otherwise the test fails.
    Pool* find_pool(COMPLETION_PORT_BUFFER_POOL_HANDLE handle, const char* function);
    // Whether the port may receive into the operation's pool.
    bool pool_serves(const CapturedSubmission& submission, const char* function);

    Handle new_port(const CapturedOptions& options);
    // Refuses from here on, and ends what waits; nothing where that has begun.
    void begin_end(Port& port);

    // The family's oldest that matches, or waiting_.end().
    template <typename Captured, typename Predicate>
    WaitingIterator first(Predicate matches);
    // Copies of the family's, oldest first.
    template <typename Captured>
    std::vector<Captured> all() const;

    // Queues the callback, or the record for those that wait.
    void deliver(const CapturedAdd& add, const Completion& completion);
    void deliver(const CapturedSubmission& submission, const SubmissionCompletion& completion);
    // Ends what is no longer in waiting_ as the port's end or a removal does.
    void abandon(const CapturedAdd& add);
    void abandon(const CapturedSubmission& submission);
    void abandon(const CapturedSource& source);
    // The same for what matches and waits.
    void abandon_if(const std::function<bool(Handle, SOCKET_HANDLE)>& matches);
    void abandon_port(Handle handle);
    void abandon_socket(Handle handle, SOCKET_HANDLE socket);
    // Takes in what its port does not refuse, and gives it its id.
    int accept(CapturedSubmission& submission, const char* function);
    // Leaves the end of a submission that waits for the next run, or wait.
    void make_due(const CapturedSubmission& submission);
    void end_due(uint64_t id);
    // The attached source of that port, or nullptr.
    CapturedSource* find_source(Handle handle, uint64_t id);
    // Leaves its on_detached for the next run.
    void detach(const CapturedSource& source, int32_t error);
    void fail_source(uint64_t id, int32_t error);
    // Runs one of its callbacks as the worker does.
    int32_t run_source(uint64_t id, const std::function<int32_t(CapturedSource&)>& body,
                       const char* function);
    // waiting_.end() if it does not wait.
    WaitingIterator find_submission(uint64_t id);
    // The port that gave the id; none if the id was never given.
    std::optional<Handle> submitted_to(uint64_t id) const;
    // Whether the test wants it to have succeeded at once; if so it has, and does not wait.
    bool succeed_inline(const CapturedSubmission& submission,
                        COMPLETION_PORT_COMPLETION& completed);

    bool is_running_here() const { return running_ && runner_ == std::this_thread::get_id(); }
    // Runs the queue until it is empty. Inside a callback the run that called it goes on instead.
    void run();

    mutable std::mutex mutex_;
    std::condition_variable idle_;
    std::vector<std::unique_ptr<Port>> ports_;
    std::vector<std::unique_ptr<Pool>> pools_;
    std::vector<Waiting> waiting_;
    std::vector<Removal> removals_;
    std::deque<Job> queue_;
    std::deque<InlineSuccess> inline_successes_;
    uint64_t last_number_ = 0;
    uint64_t last_source_ = uint64_t{1} << 32;
    std::vector<Handle> submitted_to_;  // by each submission, in the order of their ids
    bool running_ = false;
    std::thread::id runner_;
};

template <typename Captured, typename Predicate>
CompletionCapture::State::WaitingIterator CompletionCapture::State::first(Predicate matches) {
    return std::find_if(waiting_.begin(), waiting_.end(), [&](const Waiting& each) {
        const auto* const captured = std::get_if<Captured>(&each);
        return captured != nullptr && matches(*captured);
    });
}

template <typename Captured>
std::vector<Captured> CompletionCapture::State::all() const {
    std::vector<Captured> found;
    for (const Waiting& each : waiting_) {
        const auto* const captured = std::get_if<Captured>(&each);
        if (captured != nullptr) found.push_back(*captured);
    }
    return found;
}

}  // namespace completionport::testing

#endif
