// Scenarios with several pieces of memory, messages, descriptors beside them, files and pipes.
#include <completionport/files.h>
#include <completionport/messages.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/fault/ledger.h"
#include "tests/fault/scenarios.h"
#include "tests/support/listener.h"

namespace cport::test {
namespace {

using Record = COMPLETION_PORT_COMPLETION;

constexpr size_t kManyBytes = 1u << 20;

// Pieces of memory over `bytes`, of lengths that differ.
std::vector<iovec> pieces_of(std::string& bytes) {
    std::vector<iovec> pieces;
    for (size_t at = 0; at < bytes.size();) {
        const size_t length = std::min(bytes.size() - at, 1 + pieces.size() * 997 % 30'000);
        pieces.push_back({bytes.data() + at, length});
        at += length;
    }
    return pieces;
}

// A message of one piece, with room for descriptors.
struct Message {
    explicit Message(std::string content) : bytes(std::move(content)) {
        piece = {bytes.data(), bytes.size()};
        reset();
    }
    Message(const Message&) = delete;
    Message& operator=(const Message&) = delete;

    void reset() {
        header = {};
        header.msg_iov = &piece;
        header.msg_iovlen = 1;
        header.msg_control = control;
        header.msg_controllen = sizeof(control);
    }
    void carry(int descriptor) {
        std::memset(control, 0, sizeof(control));
        cmsghdr* rights = CMSG_FIRSTHDR(&header);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(sizeof(int));
        std::memcpy(CMSG_DATA(rights), &descriptor, sizeof(descriptor));
    }
    // The descriptors that came; the caller's.
    std::vector<Descriptor> descriptors() {
        std::vector<Descriptor> found;
        for (cmsghdr* each = CMSG_FIRSTHDR(&header); each != nullptr;
             each = CMSG_NXTHDR(&header, each)) {
            if (each->cmsg_type != SCM_RIGHTS) continue;
            for (size_t at = 0; at < each->cmsg_len - CMSG_LEN(0); at += sizeof(int)) {
                int number = -1;
                std::memcpy(&number, CMSG_DATA(each) + at, sizeof(number));
                found.emplace_back(number);
            }
        }
        return found;
    }

    std::string bytes;
    iovec piece{};
    msghdr header{};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
};

bool is_ok(const Record& record) { return record.result == COMPLETION_PORT_RESULT_OK; }

// What `begin` makes the port send arrives at a peer that reads to the end.
void send_to_reader(Stage& stage, Ledger& ledger, const Pair& pair, const std::string& bytes,
                    const std::function<void(Ledger::Then)>& begin) {
    std::string arrived;
    std::thread peer([&] { arrived = read_to_end(pair.theirs.get()); });
    std::atomic<bool> sent = false;
    begin([&](const Record& record) {
        sent = is_ok(record) && record.value == static_cast<int64_t>(bytes.size());
    });
    ledger.wait_for_all();
    stage.remove(pair.ours.get());
    ::shutdown(pair.ours.get(), SHUT_WR);
    peer.join();
    stage.expect_if_undisturbed(sent, "a send did not end with its whole length");
    stage.expect(!sent || arrived == bytes, "other bytes were sent");
    stage.expect(bytes.compare(0, arrived.size(), arrived) == 0, "bytes were sent out of place");
}

// Receives messages until the stream ends or fails; keeps the bytes and counts the descriptors.
class MessageReader {
 public:
    MessageReader(Ledger& ledger, int socket) : ledger_(ledger), socket_(socket) {}

    void next() {
        message_.reset();
        COMPLETION_PORT_RECEIVE_MESSAGE_OPERATION form{};
        form.message = &message_.header;
        const bool accepted = ledger_.submit(form, COMPLETION_PORT_KIND_RECEIVE_MESSAGE, socket_,
                                             [this](const Record& record) { take(record); }) != 0;
        // Nobody reads any more: who sends must not wait for it.
        if (!accepted) ::shutdown(socket_, SHUT_RDWR);
    }
    const std::string& bytes() const { return bytes_; }
    size_t descriptors() const { return descriptors_; }

 private:
    void take(const Record& record) {
        if (is_ok(record)) {
            for (const Descriptor& each : message_.descriptors()) {
                descriptors_ += each.get() >= 0 ? 1 : 0;
            }
            bytes_.append(message_.bytes, 0, static_cast<size_t>(record.value));
            if (record.value > 0) return next();
        }
        ::shutdown(socket_, SHUT_RDWR);
    }

    Ledger& ledger_;
    const int socket_;
    Message message_{std::string(100'000, ' ')};
    std::string bytes_;
    size_t descriptors_ = 0;
};

}  // namespace

void vectors(Stage& stage) {
    Ledger ledger(stage);
    std::string bytes = pattern(kManyBytes);
    const std::vector<iovec> pieces = pieces_of(bytes);
    const Pair pair = unix_pair();
    COMPLETION_PORT_SEND_VECTOR_OPERATION send{};
    send.vectors = pieces.data();
    send.count = static_cast<uint32_t>(pieces.size());
    send_to_reader(stage, ledger, pair, bytes, [&](Ledger::Then then) {
        ledger.submit(send, COMPLETION_PORT_KIND_SEND_VECTOR, pair.ours.get(), std::move(then));
    });

    const Pair tcp = tcp_pair();
    std::string room(64, ' ');
    std::array<iovec, 2> parts{{{room.data(), 4}, {room.data() + 4, 60}}};
    COMPLETION_PORT_RECEIVE_VECTOR_OPERATION receive{};
    receive.vectors = parts.data();
    receive.count = parts.size();
    std::string received;
    const uint64_t reading = ledger.submit(
        receive, COMPLETION_PORT_KIND_RECEIVE_VECTOR, tcp.ours.get(), [&](const Record& record) {
            received = room.substr(0, static_cast<size_t>(record.value));
        });
    if (reading != 0) write_all(tcp.theirs.get(), "some bytes");
    ledger.wait_for_all();
    stage.expect(std::string("some bytes").starts_with(received), "other bytes were received");
    stage.remove(tcp.ours.get());

    const Pair udp = udp_pair();
    ledger.allow(EMSGSIZE);
    ledger.submit(receive, COMPLETION_PORT_KIND_RECEIVE_VECTOR, udp.ours.get());
    write_all(udp.theirs.get(), std::string(100, 'd'));
    const std::array<iovec, 2> few{{{bytes.data(), 10}, {bytes.data() + 10, 10}}};
    send.vectors = few.data();
    send.count = few.size();
    ledger.submit(send, COMPLETION_PORT_KIND_SEND_VECTOR, udp.ours.get());
    ledger.wait_for_all();
    stage.remove(udp.ours.get());
}

void messages(Stage& stage) {
    Ledger ledger(stage);
    const Pair pair = unix_pair();
    MessageReader reader(ledger, pair.theirs.get());
    Descriptor event = idle_eventfd();
    Message large(pattern(kManyBytes));
    large.carry(event.get());
    Message small("last");
    small.carry(event.get());
    reader.next();
    std::atomic<int> sent = 0;
    std::atomic<int> left = 2;
    // The stream ends behind the last of them, however they end.
    const auto one_less = [&] {
        if (--left == 0) ::shutdown(pair.ours.get(), SHUT_WR);
    };
    for (Message* message : {&large, &small}) {
        COMPLETION_PORT_SEND_MESSAGE_OPERATION form{};
        form.message = &message->header;
        const auto on_sent = [&](const Record& record) {
            sent += is_ok(record) ? 1 : 0;
            one_less();
        };
        const uint64_t sending =
            ledger.submit(form, COMPLETION_PORT_KIND_SEND_MESSAGE, pair.ours.get(), on_sent);
        if (sending == 0) one_less();
    }
    ledger.wait_for_all();
    stage.expect_if_undisturbed(sent == 2, "a message was not sent");
    stage.expect_if_undisturbed(reader.bytes() == large.bytes + small.bytes, "other bytes arrived");
    stage.expect_if_undisturbed(reader.descriptors() == 2, "a descriptor was lost");
    stage.expect(reader.descriptors() <= 2, "a descriptor came twice");
    // The first may have been refused.
    stage.expect(
        reader.bytes() == small.bytes || (large.bytes + small.bytes).starts_with(reader.bytes()),
        "bytes arrived out of place");
    stage.remove(pair.ours.get());
    stage.remove(pair.theirs.get());
}

void sendfiles(Stage& stage) {
    Ledger ledger(stage);
    const std::string bytes = pattern(kManyBytes);
    const Descriptor file(::memfd_create("scenario", MFD_CLOEXEC));
    stage.expect(
        ::write(file.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()),
        "the file");
    for (const bool is_tcp : {true, false}) {
        const Pair pair = is_tcp ? tcp_pair() : unix_pair();
        set_non_blocking(pair.ours.get());
        COMPLETION_PORT_SENDFILE_OPERATION form{};
        form.file = file.get();
        // Past its end.
        form.length = bytes.size() + 10;
        send_to_reader(stage, ledger, pair, bytes, [&](Ledger::Then then) {
            ledger.submit(form, COMPLETION_PORT_KIND_SENDFILE, pair.ours.get(), std::move(then));
        });
    }
}

void pipes_and_eventfds(Stage& stage) {
    Ledger ledger(stage);
    // Towards the port; its flags stay as they are.
    Pair in = pipe_pair();
    std::string received;
    ledger.receive(in.ours.get(), 0, [&](const Record& record) {
        received.resize(static_cast<size_t>(record.value));
    });
    stage.expect(::write(in.theirs.get(), "bytes", 5) == 5, "the pipe");
    ledger.wait_for_all();
    stage.expect_if_undisturbed(!received.empty(), "the bytes of a pipe are lost");
    stage.remove(in.ours.get());

    // From the port.
    std::string bytes = pattern(kManyBytes / 4);
    const std::vector<iovec> pieces = pieces_of(bytes);
    Pair out = pipe_pair();
    std::string arrived;
    std::thread peer([&] {
        std::string chunk(4096, ' ');
        for (ssize_t count = 1; count > 0;) {
            count = ::read(out.ours.get(), chunk.data(), chunk.size());
            if (count > 0) arrived.append(chunk, 0, static_cast<size_t>(count));
        }
    });
    COMPLETION_PORT_SEND_VECTOR_OPERATION send{};
    send.vectors = pieces.data();
    send.count = static_cast<uint32_t>(pieces.size());
    std::atomic<bool> sent = false;
    ledger.submit(send, COMPLETION_PORT_KIND_SEND_VECTOR, out.theirs.get(),
                  [&](const Record& record) { sent = is_ok(record); });
    ledger.wait_for_all();
    stage.remove(out.theirs.get());
    out.theirs.close();
    peer.join();
    stage.expect_if_undisturbed(sent, "a send to a pipe failed without need");
    stage.expect(!sent || arrived == bytes, "other bytes went through the pipe");
    stage.expect(bytes.starts_with(arrived), "bytes went through the pipe out of place");

    // What has no other way than not to block must not block.
    const Descriptor event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    const uint64_t one = 1;
    const std::string number(reinterpret_cast<const char*>(&one), sizeof(one));
    const uint64_t counting = ledger.receive(event.get());
    ledger.send(event.get(), number);
    // Whatever became of the send.
    if (counting != 0) {
        stage.expect(::write(event.get(), &one, sizeof(one)) == sizeof(one), "the eventfd");
    }
    ledger.wait_for_all();
    stage.remove(event.get());
}

}  // namespace cport::test
