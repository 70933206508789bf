// What the tests of the kinds of operations share: any structure as a submission, listeners, and
// flags of descriptors.
#pragma once

#include <completionport/connections.h>
#include <completionport/files.h>
#include <completionport/messages.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>

#include "tests/contract/operations_fixture.h"
#include "tests/support/listener.h"

namespace cport::test {

inline uint64_t now_ns() {
    timespec time{};
    ::clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(time.tv_nsec);
}
constexpr uint64_t kSoon_ns = 5'000'000;

class KindsTest : public OperationsTest {
 protected:
    // An operation that is refused; it must not complete.
    template <typename Structure>
    static Structure form(uint32_t kind, int descriptor) {
        Structure structure{};
        structure.common.size = sizeof(Structure);
        structure.common.kind = kind;
        structure.common.descriptor = descriptor;
        structure.common.on_complete = [](void*, const COMPLETION_PORT_COMPLETION*) {
            ADD_FAILURE() << "an operation that was refused completed";
        };
        return structure;
    }
    template <typename Structure>
    int submit(const Structure& structure) {
        return completion_port_submit(port(), &structure.common, nullptr, nullptr);
    }
    // What the port says to `good` after `change`.
    template <typename Structure, typename Change>
    int submit_changed(Structure good, Change change) {
        change(good);
        return submit(good);
    }
    // What every kind refuses that takes a socket.
    template <typename Structure>
    void expect_sockets_only(const Structure& good) {
        EXPECT_EQ(submit_changed(good, [](Structure& s) { s.common.descriptor = -1; }), -EBADF);
        const int closed = closed_number();
        EXPECT_EQ(submit_changed(good, [&](Structure& s) { s.common.descriptor = closed; }),
                  -EBADF);
        Descriptor& event = keep(idle_eventfd());
        EXPECT_EQ(submit_changed(good, [&](Structure& s) { s.common.descriptor = event.get(); }),
                  -ENOTSOCK);
        expect_common_refusals(good);
    }
    template <typename Structure>
    void expect_common_refusals(const Structure& good) {
        EXPECT_EQ(submit_changed(good, [](Structure& s) { s.common.flags = 1u << 31; }), -EINVAL);
        EXPECT_EQ(submit_changed(good, [](Structure& s) { s.common.size = 8; }), -EINVAL);
        EXPECT_EQ(submit_changed(good, [](Structure& s) { s.common.deadline_ns = UINT64_MAX; }),
                  -ERANGE);
        EXPECT_EQ(submit_changed(good, [](Structure& s) { s.common.deadline_ns = 1; }), -ETIMEDOUT);
        struct {
            Structure structure;
            uint64_t tail;
        } longer{good, 1};
        longer.structure.common.size = sizeof(longer);
        EXPECT_EQ(submit(longer.structure), -E2BIG);
    }
    // Both ends of a cancelled operation that waits: it must be waiting already.
    void expect_cancelled(Submission& waiting) {
        EXPECT_EQ(completion_port_cancel(port(), waiting.id()), 0);
        EXPECT_EQ(waiting.wait(), abandoned(-ECANCELED));
    }
};

}  // namespace cport::test
