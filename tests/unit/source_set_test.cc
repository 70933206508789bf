// The sources of a worker over a scripted kernel: which calls they cost, and what fails.
#include "runtime/port/source_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/epoll.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>

#include "tests/support/mock_platform.h"

namespace cport {
namespace {

using ::testing::_;
using ::testing::NiceMock;
using ::testing::Return;

constexpr int kEpoll = 100;
constexpr int kWake = 101;
constexpr int kDescriptor = 7;

struct Log {
    std::string calls;
    int32_t error = 1;
};

class SourceSetTest : public ::testing::Test {
 protected:
    void SetUp() override {
        ON_CALL(kernel_, epoll_create()).WillByDefault(Return(kEpoll));
        ON_CALL(kernel_, eventfd_create()).WillByDefault(Return(kWake));
        ON_CALL(memory_, allocate(_, _)).WillByDefault([](size_t size, size_t alignment) {
            void* memory = nullptr;
            return ::posix_memalign(&memory, alignment, size) == 0 ? std::memset(memory, 0, size)
                                                                   : nullptr;
        });
        ON_CALL(memory_, release(_, _)).WillByDefault([](void* memory, size_t) {
            std::free(memory);
        });
        ASSERT_EQ(engine_.open(), 0);
    }

    Source& attach(uint32_t flags = 0) {
        int error = 0;
        Source* source = sources_.take(error);
        EXPECT_NE(source, nullptr);
        source->form.descriptor = kDescriptor;
        source->form.flags = flags;
        source->form.budget = 8;
        source->form.drain = [](void* context, uint32_t) -> int32_t {
            static_cast<Log*>(context)->calls += 'd';
            return 0;
        };
        source->form.arm = [](void* context) -> int32_t {
            static_cast<Log*>(context)->calls += 'a';
            return 0;
        };
        source->form.on_detached = [](void* context, int32_t error_of) {
            static_cast<Log*>(context)->calls += 'x';
            static_cast<Log*>(context)->error = error_of;
        };
        source->form.context = &log_;
        const uint32_t generation = SourceWord::generation(source->word);
        EXPECT_TRUE(source->move(generation, SourceWord::kTaken, SourceWord::kAttached));
        sources_.begin(*source);
        return *source;
    }
    void run() {
        while (sources_.has_ready()) sources_.run_round();
        while (!completed_.empty()) {
            sources_.run_detached(static_cast<SourceMessage*>(completed_.pop())->source);
        }
    }
    static Edge edge_of(const Source& source) {
        return Edge{static_cast<int>(Edge::kSourceName | source.index), source.generation, EPOLLIN};
    }

    NiceMock<test::MockKernel> kernel_;
    NiceMock<test::MockMemory> memory_;
    EpollEngine engine_{kernel_};
    TaskList completed_;
    SourceSet sources_{memory_, engine_, completed_};
    Log log_;
};

// Spec: CP-SOURCE-5
TEST_F(SourceSetTest, AsksForTheDescriptorOnceBeforeItRests) {
    EXPECT_CALL(kernel_, epoll_ctl(kEpoll, EPOLL_CTL_MOD, kDescriptor, EPOLLIN | EPOLLET, _))
        .Times(1);
    attach();
    run();
    EXPECT_EQ(log_.calls, "dad");
}

// Spec: CP-SOURCE-6
TEST_F(SourceSetTest, OneThatEmptiesItsDescriptorIsNotAskedFor) {
    EXPECT_CALL(kernel_, epoll_ctl(_, EPOLL_CTL_MOD, _, _, _)).Times(0);
    Source& source = attach(COMPLETION_PORT_SOURCE_EMPTIES_DESCRIPTOR);
    run();
    sources_.on_edge(edge_of(source));
    run();
    EXPECT_EQ(log_.calls, "daddad");
}

// Spec: CP-SOURCE-6
TEST_F(SourceSetTest, AnEdgeBetweenArmAndDrainMakesItArmAgain) {
    Source& source = attach(COMPLETION_PORT_SOURCE_EMPTIES_DESCRIPTOR);
    sources_.run_round();
    ASSERT_EQ(log_.calls, "da");
    sources_.on_edge(edge_of(source));
    run();
    EXPECT_EQ(log_.calls, "dadad");
}

// Spec: CP-SOURCE-14
TEST_F(SourceSetTest, AWatchThatFailsDetaches) {
    EXPECT_CALL(kernel_, epoll_ctl(_, EPOLL_CTL_MOD, _, _, _)).WillOnce(Return(-ENOENT));
    EXPECT_CALL(kernel_, epoll_ctl(_, EPOLL_CTL_DEL, kDescriptor, _, _)).Times(1);
    attach();
    run();
    EXPECT_EQ(log_.calls, "dadx");
    EXPECT_EQ(log_.error, -ENOENT);
}

// Spec: CP-SOURCE-16
TEST_F(SourceSetTest, AnEdgeOfBeforeIsDropped) {
    Source& first = attach();
    run();
    const Edge edge = edge_of(first);
    ASSERT_TRUE(first.move(first.generation, SourceWord::kAttached, SourceWord::kDetaching));
    sources_.finish(first);
    run();
    EXPECT_EQ(log_.calls, "dadx");
    Source& second = attach();
    ASSERT_EQ(&second, &first);
    run();
    log_.calls.clear();
    sources_.on_edge(edge);
    sources_.on_edge(Edge{static_cast<int>(Edge::kSourceName | 900u), 1, EPOLLIN});
    run();
    EXPECT_EQ(log_.calls, "");
}

// Spec: CP-SOURCE-17
TEST_F(SourceSetTest, ANoticeOfBeforeIsNoKick) {
    Source& first = attach();
    run();
    ASSERT_TRUE(first.move(first.generation, SourceWord::kAttached, SourceWord::kDetaching));
    sources_.hear(first);
    sources_.hear(first);
    run();
    EXPECT_EQ(log_.calls, "dadx");
    // Free, and taken by a thread that has not published it.
    sources_.hear(first);
    int error = 0;
    ASSERT_EQ(sources_.take(error), &first);
    sources_.hear(first);
    EXPECT_FALSE(sources_.has_ready());
    EXPECT_TRUE(completed_.empty());
}

// Spec: CP-SOURCE-15
TEST_F(SourceSetTest, WhatArrivesAfterTheEndIsDetached) {
    sources_.end_all();
    attach();
    run();
    EXPECT_EQ(log_.calls, "x");
    EXPECT_EQ(log_.error, -ECANCELED);
}

// Spec: CP-SOURCE-15
TEST_F(SourceSetTest, TheEndFinishesADetachThatIsOnItsWay) {
    Source& source = attach();
    run();
    ASSERT_TRUE(source.move(source.generation, SourceWord::kAttached, SourceWord::kDetaching));
    sources_.end_all();
    run();
    EXPECT_EQ(log_.calls, "dadx");
    EXPECT_EQ(log_.error, 0);
}

// Spec: CP-SOURCE-20, CP-SOURCE-22
TEST_F(SourceSetTest, NoMemoryIsAnErrorAndOnlyAttachNeedsIt) {
    int error = 0;
    EXPECT_CALL(memory_, allocate(_, _)).WillOnce(Return(nullptr));
    EXPECT_EQ(sources_.take(error), nullptr);
    EXPECT_EQ(error, -ENOMEM);
    ::testing::Mock::VerifyAndClearExpectations(&memory_);
    ON_CALL(memory_, allocate(_, _)).WillByDefault([](size_t size, size_t alignment) {
        void* memory = nullptr;
        return ::posix_memalign(&memory, alignment, size) == 0 ? std::memset(memory, 0, size)
                                                               : nullptr;
    });
    Source& source = attach();
    EXPECT_CALL(memory_, allocate(_, _)).Times(0);
    run();
    sources_.kick(source);
    ASSERT_TRUE(source.move(source.generation, SourceWord::kAttached, SourceWord::kDetaching));
    sources_.finish(source);
    run();
    EXPECT_EQ(log_.calls, "dadx");
    attach();
    ON_CALL(memory_, release(_, _)).WillByDefault([](void* memory, size_t) { std::free(memory); });
}

}  // namespace
}  // namespace cport
