// A listening stream socket: what has connected waits in its backlog until it is accepted.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>

#include "tests/support/simulated_file.h"

namespace cport::test {

class SimulatedListener final : public SimulatedFile {
 public:
    // As listen(2): one more than `backlog` may wait.
    SimulatedListener(SimulatedPerturbation& perturbation, bool is_tcp, int backlog)
        : SimulatedFile(perturbation), is_tcp_(is_tcp), backlog_(static_cast<size_t>(backlog)) {}

    platform::DescriptorKind kind() const override { return platform::DescriptorKind::kSocket; }
    uint32_t poll() override;
    void close() override;
    int socket_type() const override;
    int socket_protocol() const override;
    int unread_bytes() const override { return -EINVAL; }
    int64_t receive(char*, size_t, int) override;
    int64_t send(std::string_view) override;
    int accept_end(std::shared_ptr<SimulatedFile>& end) override;

    bool is_tcp() const { return is_tcp_; }
    bool is_open() const { return open_; }
    bool has_room() const { return waiting_.size() <= backlog_; }
    void push(std::shared_ptr<SimulatedFile> end);
    // Called once there is room, or nobody listens any more.
    void when_room(std::function<void()> knock) { knocking_.push_back(std::move(knock)); }

 private:
    const bool is_tcp_;
    const size_t backlog_;
    bool open_ = true;
    std::deque<std::shared_ptr<SimulatedFile>> waiting_;
    std::deque<std::function<void()>> knocking_;
};

}  // namespace cport::test
