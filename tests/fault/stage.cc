#include "tests/fault/stage.h"

#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "platform/linux/linux_platform.h"
#include "runtime/abi/handle.h"

namespace cport::test {
namespace {

// Whether this thread is inside completion_port_add: no callback may come there.
thread_local bool inside_add = false;

}  // namespace

Stage::Stage(const Fault& fault, uint32_t workers, uint32_t engine)
    : fault_(fault),
      workers_(workers),
      engine_(engine),
      faults_(platform::linux_platform(), fault) {}

bool Stage::open() {
    errno = 0;
    PortOptions options;
    options.workers = workers_;
    options.engine = engine_;
    port_ = create_handle(faults_.platform(), options);
    if (port_ != nullptr) return true;
    const int error = errno;
    // Spec: CP-CREATE-2
    expect(!undisturbed(), "create failed without need");
    expect(error == shown_error(), "create failed with " + std::string(std::strerror(error)));
    return false;
}

int Stage::shown_error() const {
    return fault_.effect == Effect::kNoMemory ? ENOMEM : fault_.error;
}

Stage::Request& Stage::new_request() {
    std::lock_guard lock(mutex_);
    ++waiting_;
    Request& request = requests_.emplace_back();
    request.stage = this;
    return request;
}

bool Stage::read(int socket, uint32_t length, Then then, int more_events) {
    Request& request = new_request();
    request.receives = true;
    request.buffer = std::make_unique<char[]>(length);
    request.then = std::move(then);
    request.data.epoll_op = static_cast<int>(EPOLLIN) | more_events;
    request.data.socket = socket;
    request.data.buffer_data = {request.buffer.get(), length};
    return add(request);
}

bool Stage::write(int socket, std::string bytes, Then then) {
    Request& request = new_request();
    request.buffer = std::make_unique<char[]>(bytes.size());
    std::copy(bytes.begin(), bytes.end(), request.buffer.get());
    request.then = std::move(then);
    request.data.epoll_op = EPOLLOUT;
    request.data.socket = socket;
    request.data.buffer_data = {request.buffer.get(), static_cast<uint32_t>(bytes.size())};
    return add(request);
}

bool Stage::watch(int descriptor, int epoll_op, Then then) {
    Request& request = new_request();
    request.then = std::move(then);
    request.data.epoll_op = epoll_op;
    request.data.socket = descriptor;
    return add(request);
}

bool Stage::add(Request& request) {
    request.data.event_callback = on_complete;
    request.data.event_callback_ctx = &request;
    inside_add = true;
    const int code = completion_port_add(port_, &request.data);
    inside_add = false;
    return settle(request, code, "add");
}

bool Stage::remove_async(int socket, std::function<void()> then) {
    Request& request = new_request();
    request.on_removed = std::move(then);
    request.data.socket = socket;
    inside_add = true;
    const int code = completion_port_remove_async(port_, socket, on_removed, &request);
    inside_add = false;
    return settle(request, code, "remove_async");
}

// Spec: CP-BAD-9, CP-BAD-10
bool Stage::settle(Request& request, int code, const char* what) {
    std::lock_guard lock(mutex_);
    request.accepted = code == 0;
    if (code == 0) return true;
    --waiting_;
    all_ended_.notify_all();
    const bool injected = !undisturbed() && -code == shown_error();
    if (!injected && allowed_refusals_.count(-code) == 0) {
        breaches_.push_back(std::string(what) + " was refused with " + std::strerror(-code));
    }
    return false;
}

// Counts a callback; false if it is one too many.
bool Stage::begin_callback(Request& request) {
    if (inside_add) breach("a callback came inside the call that asked for it");
    std::lock_guard lock(mutex_);
    if (++request.callbacks == 1) return true;
    breaches_.push_back("a request was called back more than once");
    return false;
}

void Stage::end_callback() {
    std::lock_guard lock(mutex_);
    --waiting_;
    all_ended_.notify_all();
}

void Stage::on_complete(void* context, COMPLETION_PORT_EPOLL_ACTION action,
                        COMPLETION_PORT_RESULT result, int32_t amount) {
    Ended ended{action, result, amount, errno, {}};
    auto& request = *static_cast<Request*>(context);
    Stage& stage = *request.stage;
    if (!stage.begin_callback(request)) return;
    stage.check_outcome(request, ended);
    if (request.receives && amount > 0)
        ended.bytes.assign(request.buffer.get(), static_cast<size_t>(amount));
    request.buffer.reset();
    if (request.then) request.then(ended);
    stage.end_callback();
}

void Stage::on_removed(void* context, SOCKET_HANDLE socket) {
    auto& request = *static_cast<Request*>(context);
    Stage& stage = *request.stage;
    if (!stage.begin_callback(request)) return;
    stage.expect(socket == request.data.socket, "on_removed names another socket");
    if (request.on_removed) request.on_removed();
    stage.end_callback();
}

void Stage::check_outcome(const Request& request, const Ended& ended) {
    const auto length = static_cast<int64_t>(request.data.buffer_data.length);
    expect(ended.amount >= -1 && ended.amount <= length, "the amount is out of range");
    expect(ended.ok() == (ended.error == 0) || ended.result == COMPLETION_PORT_RESULT_ABANDONED,
           "errno does not fit the result");
    expect(!ended.ok() || request.buffer != nullptr || ended.amount == -1,
           "a readiness add transferred bytes");
    if (ended.result == COMPLETION_PORT_RESULT_ERROR) {
        // Spec: CP-FAULT-1
        expect(!undisturbed(),
               "an operation failed with " + std::string(std::strerror(ended.error)));
    }
}

void Stage::remove(int socket) { completion_port_remove(port_, socket); }

void Stage::shutdown() {
    allow_refusal(ESHUTDOWN);
    shut_down_ = true;
    expect(completion_port_shutdown(port_) == 0, "shutdown failed");
}

void Stage::release() { completion_port_dec_ref(std::exchange(port_, nullptr)); }

void Stage::read_all(int socket, size_t length, std::function<void(const std::string&)> at_end) {
    read_next(socket, length, std::make_shared<std::string>(), std::move(at_end));
}

void Stage::read_next(int socket, size_t length, std::shared_ptr<std::string> so_far,
                      std::function<void(const std::string&)> at_end) {
    const auto wanted = static_cast<uint32_t>(length - so_far->size());
    auto on_bytes = [this, socket, length, so_far, at_end](const Ended& ended) {
        so_far->append(ended.bytes);
        const bool go_on = ended.ok() && ended.amount != 0 && so_far->size() < length;
        if (go_on) {
            read_next(socket, length, so_far, at_end);
        } else {
            at_end(*so_far);
        }
    };
    if (!read(socket, wanted, on_bytes)) at_end(*so_far);
}

void Stage::wait_for_all() {
    std::unique_lock lock(mutex_);
    all_ended_.wait(lock, [this] { return waiting_ == 0; });
}

size_t Stage::waiting() {
    std::lock_guard lock(mutex_);
    return waiting_;
}

void Stage::allow_refusal(int error) {
    std::lock_guard lock(mutex_);
    allowed_refusals_.insert(error);
}

void Stage::expect_if_undisturbed(bool condition, const std::string& what) {
    if (undisturbed()) expect(condition, what);
}

void Stage::expect(bool condition, const std::string& what) {
    if (!condition) breach(what);
}

void Stage::breach(const std::string& what) {
    std::lock_guard lock(mutex_);
    breaches_.push_back(what);
}

// Spec: CP-FAULT-1, CP-FAULT-2
std::vector<std::string> Stage::judge() {
    if (port_ != nullptr) release();
    // The last dec_ref outside callbacks leaves nothing behind when it returns.
    if (!ends_in_callback_) {
        const Holdings left = faults_.holdings();
        expect(left.empty(), "left when the end returned: " + left.to_string());
    }
    faults_.wait_for_threads();
    const Holdings left = faults_.holdings();
    expect(left.empty(), "left for good: " + left.to_string());
    for (const std::string& breached : faults_.breaches()) breach(breached);

    std::lock_guard lock(mutex_);
    for (const Request& request : requests_) {
        if (request.accepted && request.callbacks == 0) {
            breaches_.push_back("an accepted request was never called back");
        }
        if (!request.accepted && request.callbacks != 0) {
            breaches_.push_back("a refused request was called back");
        }
    }
    return breaches_;
}

}  // namespace cport::test
