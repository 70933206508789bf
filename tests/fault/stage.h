// Where a scenario of the fault sweep plays: one port over a platform that may fail, and a ledger
// of what was asked of the port and what came back.
#pragma once

#include <completionport/completion_port.h>
#include <completionport/options.h>

#include <cerrno>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "tests/support/fault_platform.h"

namespace cport::test {

// What a callback said.
struct Ended {
    COMPLETION_PORT_EPOLL_ACTION action;
    COMPLETION_PORT_RESULT result;
    int32_t amount;
    int error;
    std::string bytes;  // what a read received

    bool ok() const { return result == COMPLETION_PORT_RESULT_OK; }
    // Readiness proved false: the same add is worth a second try.
    bool spurious() const { return ok() && amount == -1; }
};

class Stage {
 public:
    using Then = std::function<void(const Ended&)>;

    // A fault whose ordinal is 0 never happens.
    explicit Stage(const Fault& fault, uint32_t workers = 1,
                   uint32_t engine = COMPLETION_PORT_ENGINE_EPOLL);
    Stage(const Stage&) = delete;
    Stage& operator=(const Stage&) = delete;

    // Makes the port. False if the fault prevented it.
    bool open();
    COMPLETION_PORT_HANDLE port() const { return port_; }
    // The scenario has neither ended the port nor given it back.
    bool usable() const { return port_ != nullptr && !shut_down_; }
    FaultPlatform& faults() { return faults_; }

    // Each returns whether the port accepted. `then` runs inside the callback.
    bool read(int socket, uint32_t length, Then then = {}, int more_events = 0);
    bool write(int socket, std::string bytes, Then then = {});
    bool watch(int descriptor, int epoll_op, Then then = {});
    bool remove_async(int socket, std::function<void()> then = {});
    void remove(int socket);
    void shutdown();
    // Gives the stage's reference back.
    void release();

    // Reads until `length` bytes came, or the stream ended, or failed. `at_end` gets all of them,
    // on the worker, or on the calling thread where an add was refused.
    void read_all(int socket, size_t length, std::function<void(const std::string&)> at_end);

    // Waits until every accepted request has ended.
    void wait_for_all();
    size_t waiting();

    // A refusal that the scenario itself provokes.
    void allow_refusal(int error);
    // The port is freed by its worker, somewhat after the last callback.
    void ends_in_callback() { ends_in_callback_ = true; }
    // Nothing may be missed: no fault, or one that the port gets over.
    bool undisturbed() const { return fault_.ordinal == 0 || fault_.benign; }
    // Whether the fault is a reason for this errno.
    bool explains(int error) const {
        return !undisturbed() && (error == shown_error() || error == EPIPE || error == ECONNRESET);
    }
    // Whether the fault has happened and will not again.
    bool recovered() { return faults_.fault_happened() && !fault_.for_good; }
    // What must hold where nothing is missed.
    void expect_if_undisturbed(bool condition, const std::string& what);
    void expect(bool condition, const std::string& what);

    // After the scenario: every breach of the contract that was seen.
    std::vector<std::string> judge();

 private:
    // One request to the port: an add or a remove_async.
    struct Request {
        Stage* stage = nullptr;
        COMPLETION_PORT_INGRESS_DATA data{};
        std::unique_ptr<char[]> buffer;  // gone when the callback starts: it is the caller's again
        Then then;
        std::function<void()> on_removed;
        bool receives = false;
        bool accepted = false;
        int callbacks = 0;
    };

    static void on_complete(void* context, COMPLETION_PORT_EPOLL_ACTION action,
                            COMPLETION_PORT_RESULT result, int32_t amount);
    static void on_removed(void* context, SOCKET_HANDLE socket);

    Request& new_request();
    bool add(Request& request);
    bool settle(Request& request, int code, const char* what);
    bool begin_callback(Request& request);
    void end_callback();
    void check_outcome(const Request& request, const Ended& ended);
    void read_next(int socket, size_t length, std::shared_ptr<std::string> so_far,
                   std::function<void(const std::string&)> at_end);
    // The errno that the fault may show to callers.
    int shown_error() const;
    void breach(const std::string& what);

    const Fault fault_;
    const uint32_t workers_;
    const uint32_t engine_;
    FaultPlatform faults_;
    COMPLETION_PORT_HANDLE port_ = nullptr;
    bool shut_down_ = false;
    bool ends_in_callback_ = false;
    std::mutex mutex_;
    std::condition_variable all_ended_;
    std::deque<Request> requests_;
    size_t waiting_ = 0;
    std::set<int> allowed_refusals_;
    std::vector<std::string> breaches_;
};

}  // namespace cport::test
