// The descriptors beside streams: datagram sockets, pipes, eventfds and regular files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>

#include "tests/support/simulated_file.h"

namespace cport::test {

// One of two UDP sockets that are connected to each other.
class SimulatedDatagrams final : public SimulatedFile {
 public:
    static constexpr size_t kDatagramBytesMax = 65'507;

    using SimulatedFile::SimulatedFile;
    static void connect(SimulatedDatagrams& one, SimulatedDatagrams& other);
    // To whom has the name; only from there messages come then.
    void set_peer(const std::weak_ptr<SimulatedDatagrams>& peer) { peer_ = peer; }

    platform::DescriptorKind kind() const override { return platform::DescriptorKind::kSocket; }
    uint32_t poll() override;
    void close() override;
    int socket_type() const override;
    int socket_protocol() const override;
    int unread_bytes() const override;
    int64_t receive(char* buffer, size_t length, int flags) override;
    int64_t send(std::string_view bytes) override;

 private:
    std::weak_ptr<SimulatedDatagrams> peer_;
    bool open_ = true;
    std::deque<std::string> queue_;
    size_t queued_bytes_ = 0;
    int error_ = 0;
};

// What both ends of a pipe share.
struct SimulatedPipe {
    static constexpr size_t kBytesMax = 64 * 1024;

    std::string bytes;
    SimulatedFile* reader = nullptr;
    SimulatedFile* writer = nullptr;
};

class SimulatedPipeReader final : public SimulatedFile {
 public:
    SimulatedPipeReader(SimulatedPerturbation& perturbation, std::shared_ptr<SimulatedPipe> pipe);
    uint32_t poll() override;
    void close() override;
    int unread_bytes() const override { return static_cast<int>(pipe_->bytes.size()); }
    int64_t read(char* buffer, size_t length) override;
    int64_t write(std::string_view) override { return -EBADF; }
    void tell(uint32_t key) { wake(key); }

 private:
    std::shared_ptr<SimulatedPipe> pipe_;
};

class SimulatedPipeWriter final : public SimulatedFile {
 public:
    SimulatedPipeWriter(SimulatedPerturbation& perturbation, std::shared_ptr<SimulatedPipe> pipe);
    uint32_t poll() override;
    void close() override;
    int unread_bytes() const override { return static_cast<int>(pipe_->bytes.size()); }
    int64_t read(char*, size_t) override { return -EBADF; }
    int64_t write(std::string_view bytes) override;
    void tell(uint32_t key) { wake(key); }

 private:
    std::shared_ptr<SimulatedPipe> pipe_;
};

class SimulatedEventfd final : public SimulatedFile {
 public:
    using SimulatedFile::SimulatedFile;
    uint32_t poll() override;
    int64_t read(char* buffer, size_t length) override;
    int64_t write(std::string_view bytes) override;

 private:
    uint64_t count_ = 0;
};

// What epoll refuses although it is no file.
class SimulatedNullDevice final : public SimulatedFile {
 public:
    using SimulatedFile::SimulatedFile;
    bool can_be_watched() const override { return false; }
    uint32_t poll() override { return EPOLLIN | EPOLLOUT | EPOLLRDNORM | EPOLLWRNORM; }
    int64_t read(char*, size_t) override { return 0; }
    int64_t write(std::string_view bytes) override { return static_cast<int64_t>(bytes.size()); }
};

// An empty regular file.
class SimulatedRegularFile final : public SimulatedFile {
 public:
    using SimulatedFile::SimulatedFile;
    platform::DescriptorKind kind() const override {
        return platform::DescriptorKind::kFileOrDirectory;
    }
    bool can_be_watched() const override { return false; }
    uint32_t poll() override { return EPOLLIN | EPOLLOUT | EPOLLRDNORM | EPOLLWRNORM; }
    int unread_bytes() const override { return 0; }
    int64_t read(char*, size_t) override { return 0; }
};

}  // namespace cport::test
