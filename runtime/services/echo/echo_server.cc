// The server over its shards, and the C boundary: checks, calls the server, translates the result.
#include "runtime/services/echo/echo_server.h"

#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <latch>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "runtime/services/echo/listening_socket.h"
#include "runtime/services/echo/shard.h"

namespace cport::echo {
namespace {

constexpr uint32_t kPortsMax = 1024;
constexpr uint32_t kConnectionsMaxDefault = 10'000;
constexpr uint32_t kBacklogDefault = 4096;
constexpr uint64_t kBufferBytesDefault = 64 << 20;
constexpr uint64_t kNsPerSecond = 1'000'000'000;

template <typename Number>
Number or_default(Number value, Number fallback) {
    return value == 0 ? fallback : value;
}

bool valid(const ECHO_SERVER_OPTIONS* options) {
    return options != nullptr && options->ports != nullptr && options->port_count != 0 &&
           options->port_count <= kPortsMax &&
           std::all_of(options->ports, options->ports + options->port_count,
                       [](COMPLETION_PORT_HANDLE port) { return port != nullptr; });
}

// Counts the shards that have not ended.
class Ending {
 public:
    Ending(uint32_t shards, ON_ECHO_SERVER_ENDED on_ended, void* context)
        : running_(shards), done_(shards), on_ended_(on_ended), context_(context) {}

    // A shard that never ran ends silently.
    void shard_ended(bool ran) {
        // Acquire and release: the last one sees what the others did.
        if (running_.fetch_sub(1, std::memory_order_acq_rel) == 1 && ran && on_ended_ != nullptr) {
            on_ended_(context_);
        }
        done_.count_down();
    }

    void wait() { done_.wait(); }

 private:
    std::atomic<uint32_t> running_;
    std::latch done_;
    ON_ECHO_SERVER_ENDED on_ended_;
    void* context_;
};

class Server {
 public:
    explicit Server(const ECHO_SERVER_OPTIONS& options);
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;
    // Aborts, and waits until every shard has ended.
    ~Server();

    [[nodiscard]] int open();
    [[nodiscard]] int listen(const sockaddr* address, socklen_t address_length,
                             sockaddr_storage* bound);
    [[nodiscard]] int start();
    void command(Phase phase);
    void snapshot(ECHO_SERVER_COUNTERS* counters) const;

 private:
    Common common_;
    uint32_t backlog_;
    bool started_ = false;
    // Shared with the shards' last calls, which may return after the server is gone.
    std::shared_ptr<Ending> ending_;
    std::vector<std::unique_ptr<Shard>> shards_;
};

Server::Server(const ECHO_SERVER_OPTIONS& options)
    : backlog_(or_default(options.backlog, kBacklogDefault)),
      ending_(std::make_shared<Ending>(options.port_count, options.on_ended,
                                       options.on_ended_context)) {
    common_.connections_max = or_default(options.connections_max, kConnectionsMaxDefault);
    common_.idle_timeout_ns = options.idle_timeout_s * kNsPerSecond;
    common_.buffer_bytes_max = or_default(options.buffer_bytes_max, kBufferBytesDefault);
    shards_.reserve(options.port_count);
    for (uint32_t i = 0; i < options.port_count; ++i) {
        shards_.push_back(std::make_unique<Shard>(
            options.ports[i], common_, [ending = ending_] { ending->shard_ended(true); }));
    }
}

Server::~Server() {
    if (started_) {
        command(Phase::kAborting);
        ending_->wait();
    }
}

int Server::open() {
    for (const auto& shard : shards_) {
        const int status = shard->open();
        if (status != 0) return status;
    }
    return 0;
}

int Server::listen(const sockaddr* address, socklen_t address_length, sockaddr_storage* bound) {
    if (started_) return -EALREADY;
    std::vector<Descriptor> sockets;
    sockets.reserve(shards_.size());
    const int status = listen_on(address, address_length, static_cast<uint32_t>(shards_.size()),
                                 backlog_, &sockets, bound);
    if (status != 0) return status;
    for (size_t i = 0; i < shards_.size(); ++i) shards_[i]->add_listener(std::move(sockets[i]));
    return 0;
}

int Server::start() {
    if (started_) return -EALREADY;
    started_ = true;
    int first_error = 0;
    for (const auto& shard : shards_) {
        bool runs = false;
        const int status = first_error == 0 ? shard->start(&runs) : first_error;
        if (!runs) ending_->shard_ended(false);
        if (status != 0) first_error = status;
    }
    if (first_error != 0) command(Phase::kAborting);
    return first_error;
}

void Server::command(Phase phase) {
    for (const auto& shard : shards_) shard->command(phase);
}

void Server::snapshot(ECHO_SERVER_COUNTERS* counters) const {
    *counters = {};
    for (const auto& shard : shards_) {
        const Counters& from = shard->counters();
        counters->connections_active += from.active.get();
        counters->buffer_bytes += shard->buffer_bytes();
        counters->connections_accepted += from.accepted.get();
        counters->connections_refused += from.refused.get();
        counters->accept_failures += from.accept_failures.get();
        counters->closed_by_peer += from.closed_by_peer.get();
        counters->closed_by_error += from.closed_by_error.get();
        counters->closed_idle += from.closed_idle.get();
        counters->closed_by_stop += from.closed_by_stop.get();
        counters->bytes_received += from.bytes_received.get();
        counters->bytes_sent += from.bytes_sent.get();
    }
}

}  // namespace
}  // namespace cport::echo

using cport::echo::Phase;
using cport::echo::Server;
using cport::echo::valid;

struct ECHO_SERVER_TAG {
    explicit ECHO_SERVER_TAG(const ECHO_SERVER_OPTIONS& options) : server(options) {}
    Server server;
};

ECHO_SERVER_HANDLE echo_server_create(const ECHO_SERVER_OPTIONS* options) {
    if (!valid(options)) {
        errno = EINVAL;
        return nullptr;
    }
    try {
        auto result = std::make_unique<ECHO_SERVER_TAG>(*options);
        const int status = result->server.open();
        if (status == 0) return result.release();
        result.reset();
        errno = -status;
    } catch (const std::bad_alloc&) {
        errno = ENOMEM;
    }
    return nullptr;
}

int echo_server_listen(ECHO_SERVER_HANDLE server, const struct sockaddr* address,
                       socklen_t address_length, struct sockaddr_storage* bound) {
    if (server == nullptr || address == nullptr ||
        (address->sa_family != AF_INET && address->sa_family != AF_INET6)) {
        return -EINVAL;
    }
    try {
        sockaddr_storage ignored{};
        return server->server.listen(address, address_length, bound == nullptr ? &ignored : bound);
    } catch (const std::bad_alloc&) {
        return -ENOMEM;
    }
}

int echo_server_start(ECHO_SERVER_HANDLE server) {
    return server == nullptr ? -EINVAL : server->server.start();
}

int echo_server_stop(ECHO_SERVER_HANDLE server) {
    if (server == nullptr) return -EINVAL;
    server->server.command(Phase::kStopping);
    return 0;
}

int echo_server_abort(ECHO_SERVER_HANDLE server) {
    if (server == nullptr) return -EINVAL;
    server->server.command(Phase::kAborting);
    return 0;
}

int echo_server_counters(ECHO_SERVER_HANDLE server, ECHO_SERVER_COUNTERS* counters) {
    if (server == nullptr || counters == nullptr) return -EINVAL;
    server->server.snapshot(counters);
    return 0;
}

void echo_server_destroy(ECHO_SERVER_HANDLE server) {
    std::unique_ptr<ECHO_SERVER_TAG> owned(server);
}
