#include <gmock/gmock.h>
#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <cstdint>
#include <functional>
#include <vector>

#include "completionport/options.h"
#include "completionport/source.h"
#include "submission_capture_fixture.h"

namespace {

using completionport::testing::CapturedSource;
using testing::ElementsAre;
using testing::IsEmpty;

// A source's context.
struct Ring {
    std::vector<uint32_t> drains;  // the budgets
    int32_t drained = 0;           // what drain returns
    int32_t armed = 0;             // what arm returns
    std::vector<int32_t> detached;
    std::function<void()> in_drain;

    static int32_t drain(void* context, uint32_t budget) {
        auto& self = *static_cast<Ring*>(context);
        self.drains.push_back(budget);
        if (self.in_drain) self.in_drain();
        return self.drained;
    }
    static int32_t arm(void* context) { return static_cast<Ring*>(context)->armed; }
    static void on_detached(void* context, int32_t error) {
        static_cast<Ring*>(context)->detached.push_back(error);
    }
};

// A base, so that it outlives the port, whose end detaches what is attached.
struct RingOfTest {
    Ring ring_;
};

class SourceCaptureTest : protected RingOfTest, public SubmissionCaptureTest {
 protected:
    COMPLETION_PORT_SOURCE source() {
        COMPLETION_PORT_SOURCE source{};
        source.size = sizeof(source);
        source.descriptor = kSocket;
        source.drain = Ring::drain;
        source.arm = Ring::arm;
        source.on_detached = Ring::on_detached;
        source.context = &ring_;
        return source;
    }
    uint64_t attach(const COMPLETION_PORT_SOURCE& source) {
        uint64_t id = 0;
        EXPECT_EQ(0, completion_port_source_attach(port_, &source, &id));
        EXPECT_NE(0u, id);
        return id;
    }
    template <typename Change>
    int refusal_with(const Change& change) {
        COMPLETION_PORT_SOURCE changed = source();
        change(changed);
        uint64_t id = 5;
        const int result = completion_port_source_attach(port_, &changed, &id);
        EXPECT_EQ(5u, id);
        return result;
    }
};

// Spec: CP-MOCK-SOURCE-1
TEST_F(SourceCaptureTest, KeepsWhatIsAttachedAndDrainsItWhenTheTestSaysSo) {
    COMPLETION_PORT_SOURCE given = source();
    given.budget = 7;
    const uint64_t first = attach(given);
    const uint64_t second = attach(source());
    EXPECT_NE(first, second);
    ASSERT_EQ(2u, capture_.sources().size());
    EXPECT_EQ(first, capture_.sources()[0].id);
    EXPECT_EQ(port_, capture_.sources()[0].completion_port);
    EXPECT_EQ(kSocket, capture_.sources()[0].source.descriptor);
    EXPECT_THAT(ring_.drains, IsEmpty());
    ring_.drained = 3;
    EXPECT_EQ(3, capture_.drain_source(first));
    EXPECT_EQ(3, capture_.drain_source(second));
    EXPECT_THAT(ring_.drains, ElementsAre(7u, 64u));
    ring_.armed = 1;
    EXPECT_EQ(1, capture_.arm_source(first));
    EXPECT_THAT(ring_.detached, IsEmpty());
}

// Spec: CP-MOCK-SOURCE-1
TEST_F(SourceCaptureTest, CountsKicksSinceTheLastDrain) {
    const uint64_t id = attach(source());
    EXPECT_EQ(0, completion_port_source_kick(port_, id));
    EXPECT_EQ(0, completion_port_source_kick(port_, id));
    EXPECT_EQ(2u, capture_.sources()[0].kicks);
    EXPECT_EQ(0, capture_.drain_source(id));
    EXPECT_EQ(0u, capture_.sources()[0].kicks);
    EXPECT_EQ(-ENOENT, completion_port_source_kick(port_, id + 1));
    EXPECT_EQ(-EINVAL, completion_port_source_kick(port_, 0));
    EXPECT_EQ(-EINVAL, completion_port_source_kick(nullptr, id));
}

// Spec: CP-MOCK-SOURCE-2
TEST_F(SourceCaptureTest, DetachCallsOnDetachedBeforeItReturns) {
    const uint64_t id = attach(source());
    EXPECT_EQ(0, completion_port_source_detach(port_, id));
    EXPECT_THAT(ring_.detached, ElementsAre(0));
    EXPECT_EQ(-ENOENT, completion_port_source_detach(port_, id));
    EXPECT_EQ(-ENOENT, completion_port_source_kick(port_, id));
    EXPECT_EQ(-EINVAL, completion_port_source_detach(port_, 0));
    EXPECT_EQ(-EINVAL, completion_port_source_detach(nullptr, id));
    EXPECT_NONFATAL_FAILURE(capture_.drain_source(id), "no source of that id");
    EXPECT_THAT(ring_.detached, ElementsAre(0));
}

// Spec: CP-MOCK-SOURCE-2
TEST_F(SourceCaptureTest, DetachInsideDrainIsToldWhenThatHasReturned) {
    const uint64_t id = attach(source());
    ring_.drained = -EIO;
    ring_.in_drain = [&] {
        EXPECT_EQ(0, completion_port_source_detach(port_, id));
        EXPECT_THAT(ring_.detached, IsEmpty());
    };
    EXPECT_EQ(-EIO, capture_.drain_source(id));
    EXPECT_THAT(ring_.detached, ElementsAre(0));
}

// Spec: CP-MOCK-SOURCE-2
TEST_F(SourceCaptureTest, AFailureDetaches) {
    const uint64_t first = attach(source());
    const uint64_t second = attach(source());
    ring_.drained = -EIO;
    ring_.armed = -EPIPE;
    EXPECT_EQ(-EIO, capture_.drain_source(first));
    EXPECT_EQ(-EPIPE, capture_.arm_source(second));
    EXPECT_THAT(ring_.detached, ElementsAre(-EIO, -EPIPE));
    EXPECT_THAT(capture_.sources(), IsEmpty());
}

// Spec: CP-MOCK-SOURCE-2
TEST_F(SourceCaptureTest, ThePortsEndDetaches) {
    const uint64_t id = attach(source());
    completion_port_remove(port_, kSocket);
    EXPECT_EQ(1u, capture_.sources().size());
    EXPECT_EQ(0, completion_port_shutdown(port_));
    EXPECT_THAT(ring_.detached, IsEmpty());
    EXPECT_EQ(-ESHUTDOWN, completion_port_source_kick(port_, id));
    EXPECT_EQ(-ESHUTDOWN, refusal_with([](auto&) {}));
    EXPECT_EQ(-ENOENT, completion_port_source_detach(port_, id));
    EXPECT_THAT(ring_.detached, ElementsAre(-ECANCELED));
}

// Spec: CP-MOCK-SOURCE-1
TEST_F(SourceCaptureTest, RefusesWhatTheLibraryRefuses) {
    COMPLETION_PORT_SOURCE good = source();
    uint64_t id = 0;
    EXPECT_EQ(-EINVAL, completion_port_source_attach(nullptr, &good, &id));
    EXPECT_EQ(-EINVAL, completion_port_source_attach(port_, nullptr, &id));
    EXPECT_EQ(-EINVAL, completion_port_source_attach(port_, &good, nullptr));
    EXPECT_EQ(-EINVAL, refusal_with([](auto& s) { s.size = 7; }));
    EXPECT_EQ(-EINVAL, refusal_with([](auto& s) { s.drain = nullptr; }));
    EXPECT_EQ(-EINVAL, refusal_with([](auto& s) { s.flags = 4; }));
    EXPECT_EQ(-EINVAL, refusal_with([](auto& s) { s.reserved = 1; }));
    EXPECT_EQ(-EINVAL, refusal_with([](auto& s) { s.budget = 65537; }));
    EXPECT_EQ(-EINVAL, refusal_with([](auto& s) { s.worker = 2; }));
    EXPECT_EQ(-EBADF, refusal_with([](auto& s) { s.descriptor = -2; }));
    EXPECT_THAT(capture_.sources(), IsEmpty());
    good.worker = 1;
    good.descriptor = COMPLETION_PORT_SOURCE_NO_DESCRIPTOR;
    attach(good);
}

}  // namespace
