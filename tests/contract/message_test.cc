// Messages: addresses, ancillary data, flags.
#include <netinet/ip.h>
#include <unistd.h>

#include <array>

#include "tests/contract/kinds_fixture.h"

namespace cport::test {
namespace {

// A message over one string, with room for what comes beside it.
struct Message {
    explicit Message(std::string all) : bytes(std::move(all)) {
        piece = {bytes.data(), bytes.size()};
        header.msg_iov = &piece;
        header.msg_iovlen = 1;
    }
    Message(const Message&) = delete;
    Message& operator=(const Message&) = delete;

    void make_room() {
        header.msg_control = control.data();
        header.msg_controllen = control.size();
        header.msg_name = &name;
        header.msg_namelen = sizeof(name);
    }
    void attach(int descriptor) {
        header.msg_control = control.data();
        header.msg_controllen = CMSG_SPACE(sizeof(int));
        cmsghdr* first = CMSG_FIRSTHDR(&header);
        first->cmsg_level = SOL_SOCKET;
        first->cmsg_type = SCM_RIGHTS;
        first->cmsg_len = CMSG_LEN(sizeof(int));
        std::memcpy(CMSG_DATA(first), &descriptor, sizeof(descriptor));
    }
    // The descriptor that came, or none.
    Descriptor attached() {
        cmsghdr* first = CMSG_FIRSTHDR(&header);
        if (first == nullptr || first->cmsg_type != SCM_RIGHTS) return {};
        int descriptor = -1;
        std::memcpy(&descriptor, CMSG_DATA(first), sizeof(descriptor));
        return Descriptor(descriptor);
    }

    std::string bytes;
    iovec piece{};
    alignas(cmsghdr) std::array<char, 256> control{};
    sockaddr_storage name{};
    msghdr header{};
};

class MessageTest : public KindsTest {
 protected:
    Submission& receive_into(int socket, Message& message, uint32_t flags = 0) {
        Submission& submitted = submission();
        auto& receive = submitted.as<COMPLETION_PORT_RECEIVE_MESSAGE_OPERATION>(
            COMPLETION_PORT_KIND_RECEIVE_MESSAGE, socket);
        receive.message = &message.header;
        receive.message_flags = flags;
        return submitted;
    }
    Submission& submit_receive_into(int socket, Message& message, uint32_t flags = 0) {
        Submission& submitted = receive_into(socket, message, flags);
        EXPECT_EQ(submitted.submit(port()), 0);
        return submitted;
    }
    Submission& submit_send_of(int socket, const Message& message, uint32_t flags = 0) {
        Submission& submitted = submission();
        auto& send = submitted.as<COMPLETION_PORT_SEND_MESSAGE_OPERATION>(
            COMPLETION_PORT_KIND_SEND_MESSAGE, socket);
        send.message = &message.header;
        send.message_flags = flags;
        EXPECT_EQ(submitted.submit(port()), 0);
        return submitted;
    }
    template <typename Structure>
    void expect_refusals(uint32_t kind, uint32_t flag_of_the_other) {
        Pair& pair = keep(tcp_pair());
        Message message("bytes");
        auto good = form<Structure>(kind, pair.ours.get());
        good.message = &message.header;
        expect_sockets_only(good);
        EXPECT_EQ(submit_changed(good, [](Structure& s) { s.message = nullptr; }), -EINVAL);
        EXPECT_EQ(submit_changed(good, [](Structure& s) { s.reserved = 1; }), -EINVAL);
        for (uint32_t flag : {flag_of_the_other, uint32_t{MSG_OOB}, uint32_t{MSG_WAITALL}}) {
            EXPECT_EQ(submit_changed(good, [&](Structure& s) { s.message_flags = flag; }), -EINVAL);
        }
        message.header.msg_iovlen = COMPLETION_PORT_VECTORS_MAX + 1;
        EXPECT_EQ(submit(good), -EINVAL);
        message.header.msg_iovlen = 1;
        message.piece = {nullptr, 5};
        EXPECT_EQ(submit(good), -EINVAL);
        message.piece = {message.bytes.data(), size_t{INT32_MAX} + 1};
        EXPECT_EQ(submit(good), -EINVAL);
        message.header.msg_iov = nullptr;
        EXPECT_EQ(submit(good), -EINVAL);
        fence();
        EXPECT_EQ(read_available(pair.theirs.get()), "");
    }
};
CPORT_ON_EVERY_ENGINE(MessageTest);

// Spec: CP-MESSAGE-1
TEST_P(MessageTest, CarriesAddresses) {
    Pair& udp = keep(udp_pair());
    sockaddr_in theirs{};
    socklen_t length = sizeof(theirs);
    ASSERT_EQ(::getsockname(udp.theirs.get(), reinterpret_cast<sockaddr*>(&theirs), &length), 0);
    Descriptor& stranger = keep(Descriptor(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)));
    sockaddr_in nowhere{};
    nowhere.sin_family = AF_UNSPEC;
    // A socket that is connected hears its peer alone.
    ASSERT_EQ(::connect(udp.theirs.get(), reinterpret_cast<sockaddr*>(&nowhere), sizeof(nowhere)),
              0);
    ASSERT_EQ(::bind(udp.theirs.get(), reinterpret_cast<sockaddr*>(&theirs), sizeof(theirs)), 0)
        << "the kernel gave the port to somebody else";
    Message sent("to you");
    sent.header.msg_name = &theirs;
    sent.header.msg_namelen = sizeof(theirs);
    Submission& send = submit_send_of(stranger.get(), sent);
    const COMPLETION_PORT_COMPLETION record = send.wait_for(1).record;
    EXPECT_EQ(ending_of(record), finished(6));
    EXPECT_EQ(record.kind, static_cast<uint32_t>(COMPLETION_PORT_KIND_SEND_MESSAGE));
    EXPECT_EQ(record.buffer, &sent.header);
    Message received("??????????");
    received.make_room();
    Submission& receive = submit_receive_into(udp.theirs.get(), received);
    EXPECT_EQ(receive.wait(), finished(6));
    EXPECT_EQ(received.bytes, "to you????");
    sockaddr_in from{};
    length = sizeof(from);
    ASSERT_EQ(::getsockname(stranger.get(), reinterpret_cast<sockaddr*>(&from), &length), 0);
    const auto& told = reinterpret_cast<const sockaddr_in&>(received.name);
    EXPECT_EQ(received.header.msg_namelen, sizeof(sockaddr_in));
    EXPECT_EQ(told.sin_port, from.sin_port);
}

// Spec: CP-MESSAGE-2
TEST_P(MessageTest, CarriesDescriptorsThatAreCloseOnExec) {
    for (int type : {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET}) {
        Pair& pair = keep(unix_pair(type));
        Descriptor& event = keep(ready_eventfd());
        Message received("?????");
        received.make_room();
        Submission& receive = submit_receive_into(pair.theirs.get(), received);
        fence();
        Message sent("with");
        sent.attach(event.get());
        EXPECT_EQ(submit_send_of(pair.ours.get(), sent).wait(), finished(4));
        EXPECT_EQ(receive.wait(), finished(4));
        const Descriptor came = received.attached();
        ASSERT_GE(came.get(), 0);
        EXPECT_NE(::fcntl(came.get(), F_GETFD) & FD_CLOEXEC, 0);
        EXPECT_NE(wait_until_polled(came.get(), POLLIN) & POLLIN, 0);
        EXPECT_NE(received.header.msg_flags & MSG_CMSG_CLOEXEC, 0);
    }
}

// Spec: CP-MESSAGE-2
TEST_P(MessageTest, TellsAboutThePacket) {
    Pair& udp = keep(udp_pair());
    const int on = 1;
    ASSERT_EQ(::setsockopt(udp.ours.get(), IPPROTO_IP, IP_PKTINFO, &on, sizeof(on)), 0);
    Message received("?????");
    received.make_room();
    Submission& receive = submit_receive_into(udp.ours.get(), received);
    write_all(udp.theirs.get(), "hello");
    EXPECT_EQ(receive.wait(), finished(5));
    const cmsghdr* first = CMSG_FIRSTHDR(&received.header);
    ASSERT_NE(first, nullptr);
    EXPECT_EQ(first->cmsg_level, IPPROTO_IP);
    EXPECT_EQ(first->cmsg_type, IP_PKTINFO);
}

// Spec: CP-MESSAGE-3
TEST_P(MessageTest, ALongSendCarriesItsDescriptorOnce) {
    constexpr size_t kBytes = 8u << 20;
    Pair& pair = keep(unix_pair());
    Descriptor& event = keep(ready_eventfd());
    Message sent(pattern(kBytes));
    sent.attach(event.get());
    Submission& send = submit_send_of(pair.ours.get(), sent);
    size_t taken = 0;
    int descriptors = 0;
    while (taken < kBytes) {
        Message received(std::string(1u << 20, '?'));
        received.make_room();
        const Ending ending = submit_receive_into(pair.theirs.get(), received).wait();
        ASSERT_EQ(ending.result, COMPLETION_PORT_RESULT_OK);
        const auto count = static_cast<size_t>(ending.value);
        ASSERT_GT(count, 0u);
        ASSERT_TRUE(received.bytes.compare(0, count, sent.bytes, taken, count) == 0);
        descriptors += received.attached().get() >= 0 ? 1 : 0;
        taken += count;
    }
    EXPECT_EQ(send.wait(), finished(kBytes));
    EXPECT_EQ(descriptors, 1);
}

// Spec: CP-MESSAGE-3
TEST_P(MessageTest, ALongSendOverTcpArrivesWhole) {
    Pair& pair = keep(tcp_pair());
    Message sent(pattern(8u << 20));
    Submission& send = submit_send_of(pair.ours.get(), sent, MSG_MORE | MSG_NOSIGNAL);
    EXPECT_TRUE(read_exactly(pair.theirs.get(), sent.bytes.size()) == sent.bytes);
    EXPECT_EQ(send.wait(), finished(static_cast<int64_t>(sent.bytes.size())));
}

// Spec: CP-MESSAGE-4
TEST_P(MessageTest, PeeksAndTellsWhatDidNotFit) {
    for (bool is_unix : {false, true}) {
        Pair& pair = keep(is_unix ? unix_pair(SOCK_DGRAM) : udp_pair());
        write_all(pair.theirs.get(), "datagram");
        Message peeked("????????");
        EXPECT_EQ(submit_receive_into(pair.ours.get(), peeked, MSG_PEEK).wait(), finished(8));
        EXPECT_EQ(peeked.bytes, "datagram");
        Message small("????");
        EXPECT_EQ(submit_receive_into(pair.ours.get(), small, MSG_PEEK | MSG_TRUNC).wait(),
                  finished(8));
        EXPECT_EQ(submit_receive_into(pair.ours.get(), small).wait(), finished(4));
        EXPECT_EQ(small.bytes, "data");
        EXPECT_NE(small.header.msg_flags & MSG_TRUNC, 0);
        // It is gone, with its rest.
        Submission& next = submit_receive_into(pair.ours.get(), small);
        fence();
        EXPECT_FALSE(next.completed());
        write_all(pair.theirs.get(), "");
        ASSERT_EQ(::send(pair.theirs.get(), "", 0, 0), 0);
        EXPECT_EQ(next.wait(), finished(0));
    }
}

// Spec: CP-MESSAGE-4
TEST_P(MessageTest, OfAStreamEndsWithWhatIsThereAndAtItsEnd) {
    for (bool is_unix : {false, true}) {
        Pair& pair = keep(is_unix ? unix_pair() : tcp_pair());
        Message received("????????");
        Submission& receive = submit_receive_into(pair.ours.get(), received);
        fence();
        write_all(pair.theirs.get(), "bytes");
        EXPECT_EQ(receive.wait(), finished(5));
        half_close(pair.theirs.get());
        EXPECT_EQ(submit_receive_into(pair.ours.get(), received).wait(), finished(0));
    }
}

// Spec: CP-MESSAGE-5
TEST_P(MessageTest, ReadsTheQueueOfErrors) {
    Descriptor& socket = keep(Descriptor(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)));
    const int on = 1;
    ASSERT_EQ(::setsockopt(socket.get(), IPPROTO_IP, IP_RECVERR, &on, sizeof(on)), 0);
    sockaddr_in gone{};
    socklen_t length = sizeof(gone);
    {
        Pair nobody = udp_pair();
        ASSERT_EQ(::getsockname(nobody.ours.get(), reinterpret_cast<sockaddr*>(&gone), &length), 0);
    }
    Message report("????????");
    report.make_room();
    Submission& errors = submit_receive_into(socket.get(), report, MSG_ERRQUEUE);
    fence();
    EXPECT_FALSE(errors.completed());
    ASSERT_EQ(::sendto(socket.get(), "lost", 4, 0, reinterpret_cast<sockaddr*>(&gone), length), 4);
    // The bytes that found nobody.
    EXPECT_EQ(errors.wait(), finished(4));
    EXPECT_NE(report.header.msg_flags & MSG_ERRQUEUE, 0);
    const cmsghdr* first = CMSG_FIRSTHDR(&report.header);
    ASSERT_NE(first, nullptr);
    EXPECT_EQ(first->cmsg_type, IP_RECVERR);
}

// Spec: CP-MESSAGE-5
TEST_P(MessageTest, AnEmptyQueueOfErrorsHidesNoBytes) {
    for (bool queued : {false, true}) {
        Pair& pair = keep(udp_pair());
        write_all(pair.theirs.get(), "there");
        Message report("????????");
        Submission& errors = submit_receive_into(pair.ours.get(), report, MSG_ERRQUEUE);
        fence();
        if (queued) {
            Submission& behind = submit_receive(pair.ours.get(), 5);
            fence();
            EXPECT_FALSE(behind.completed());
            expect_cancelled(errors);
            EXPECT_EQ(behind.wait(), finished(5));
        } else {
            expect_cancelled(errors);
            EXPECT_EQ(submit_receive(pair.ours.get(), 5).wait(), finished(5));
        }
    }
}

// Spec: CP-MESSAGE-6
TEST_P(MessageTest, RefusesBadForms) {
    expect_refusals<COMPLETION_PORT_RECEIVE_MESSAGE_OPERATION>(COMPLETION_PORT_KIND_RECEIVE_MESSAGE,
                                                               MSG_MORE);
    expect_refusals<COMPLETION_PORT_SEND_MESSAGE_OPERATION>(COMPLETION_PORT_KIND_SEND_MESSAGE,
                                                            MSG_PEEK);
}

// Spec: CP-MESSAGE-7
TEST_P(MessageTest, CancelDeadlineAndRemoveEndThem) {
    for (bool is_unix : {false, true}) {
        Pair& pair = keep(is_unix ? unix_pair() : tcp_pair());
        Message into("????");
        Submission& cancelled = submit_receive_into(pair.ours.get(), into);
        Submission& late = receive_into(pair.ours.get(), into);
        late.with_deadline(static_cast<int64_t>(now_ns() + kSoon_ns));
        ASSERT_EQ(late.submit(port()), 0);
        Submission& removed = submit_receive_into(pair.ours.get(), into);
        fill_send_buffer(pair.ours.get());
        Message words("words");
        Submission& unsent = submit_send_of(pair.ours.get(), words);
        Submission& unsent_removed = submit_send_of(pair.ours.get(), words);
        fence();
        expect_cancelled(cancelled);
        expect_cancelled(unsent);
        EXPECT_EQ(late.wait(), failed(-ETIMEDOUT));
        completion_port_remove(port(), pair.ours.get());
        EXPECT_EQ(removed.wait(), abandoned(-ECANCELED));
        EXPECT_EQ(unsent_removed.wait(), abandoned(-ECANCELED));
    }
}

}  // namespace
}  // namespace cport::test
