// What attach, kick and detach refuse, with which error, and that nothing has changed afterwards.
#include <completionport/options.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <memory>
#include <vector>

#include "tests/contract/operations_fixture.h"
#include "tests/contract/source_fixture.h"

namespace cport::test {
namespace {

class SourceRefusedTest : public SourceTest {
 protected:
    void expect_refusal(int error, const std::function<void(COMPLETION_PORT_SOURCE&)>& change) {
        TestSource& refused = source();
        change(refused.form());
        uint64_t id = 77;
        const auto refuse = [&] {
            EXPECT_EQ(completion_port_source_attach(port(), &refused.form(), &id), error);
        };
        refuse();
        run_on_worker(refuse);
        EXPECT_EQ(id, 77u);
        fence();
        EXPECT_EQ(refused.calls(), "");
    }
};
CPORT_ON_EVERY_ENGINE(SourceRefusedTest);

// Spec: CP-SOURCE-18
TEST_P(SourceRefusedTest, BadForms) {
    TestSource& good = source();
    uint64_t id = 77;
    EXPECT_EQ(completion_port_source_attach(nullptr, &good.form(), &id), -EINVAL);
    EXPECT_EQ(completion_port_source_attach(port(), nullptr, &id), -EINVAL);
    EXPECT_EQ(completion_port_source_attach(port(), &good.form(), nullptr), -EINVAL);
    EXPECT_EQ(id, 77u);
    expect_refusal(-EINVAL, [](auto& form) { form.drain = nullptr; });
    expect_refusal(-EINVAL, [](auto& form) { form.size = 7; });
    expect_refusal(-EINVAL, [](auto& form) { form.flags = 4; });
    expect_refusal(-EINVAL, [](auto& form) { form.reserved = 1; });
    expect_refusal(-EINVAL,
                   [](auto& form) { form.budget = COMPLETION_PORT_SOURCE_BUDGET_MAX + 1; });
    const auto workers = static_cast<uint32_t>(GetParam().workers);
    expect_refusal(-EINVAL, [=](auto& form) { form.worker = workers + 1; });
    expect_refusal(-EINVAL, [](auto& form) { form.worker = UINT32_MAX; });
    // Without what lies beyond `drain` there is none.
    expect_refusal(-EINVAL,
                   [](auto& form) { form.size = offsetof(COMPLETION_PORT_SOURCE, drain); });
}

// Spec: CP-SOURCE-18
TEST_P(SourceRefusedTest, SizesOfOtherVersions) {
    struct {
        COMPLETION_PORT_SOURCE known;
        uint64_t added_later;
    } longer = {source().form(), 1};
    longer.known.size = sizeof(longer);
    uint64_t id = 0;
    EXPECT_EQ(completion_port_source_attach(port(), &longer.known, &id), -E2BIG);
    longer.known.size = 5000;
    EXPECT_EQ(completion_port_source_attach(port(), &longer.known, &id), -E2BIG);
    longer.added_later = 0;
    longer.known.size = sizeof(longer);
    longer.known.on_detached = nullptr;
    EXPECT_EQ(completion_port_source_attach(port(), &longer.known, &id), 0);
    EXPECT_EQ(completion_port_source_detach(port(), id), 0);
    // The largest budget, and a structure without the end.
    COMPLETION_PORT_SOURCE shorter = longer.known;
    shorter.budget = COMPLETION_PORT_SOURCE_BUDGET_MAX;
    shorter.size = offsetof(COMPLETION_PORT_SOURCE, on_detached);
    shorter.arm = nullptr;
    shorter.drain = [](void* context, uint32_t budget) -> int32_t {
        EXPECT_EQ(context, nullptr);
        EXPECT_EQ(budget, uint32_t{COMPLETION_PORT_SOURCE_BUDGET_MAX});
        return 0;
    };
    shorter.on_detached = [](void*, int32_t) { ADD_FAILURE(); };
    EXPECT_EQ(completion_port_source_attach(port(), &shorter, &id), 0);
    fence();
    EXPECT_EQ(completion_port_source_detach(port(), id), 0);
}

// Spec: CP-SOURCE-19
TEST_P(SourceRefusedTest, Descriptors) {
    const Descriptor file(::memfd_create("file", MFD_CLOEXEC));
    const Descriptor directory(::open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    const Descriptor null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    const int closed = closed_number();
    expect_refusal(-EBADF, [](auto& form) { form.descriptor = -2; });
    expect_refusal(-EBADF, [=](auto& form) { form.descriptor = closed; });
    expect_refusal(-EPERM, [&](auto& form) { form.descriptor = file.get(); });
    expect_refusal(-EPERM, [&](auto& form) { form.descriptor = directory.get(); });
    expect_refusal(-EPERM, [&](auto& form) { form.descriptor = null.get(); });
    TestSource& attached = source();
    attached.form().worker = 1;
    ASSERT_EQ(attached.attach(port()), 0);
    rest(attached);
    expect_refusal(-EEXIST, [&](auto& form) {
        form.descriptor = attached.event().get();
        form.worker = 1;
    });
    attached.put_and_signal(1);
    attached.wait_until_taken(1);
    EXPECT_EQ(attached.detach(), 0);
    ASSERT_EQ(attached.endings(), 1);
}

// Spec: CP-SOURCE-19
TEST_P(SourceRefusedTest, AnEndingPort) {
    TestSource& resting = resting_source();
    TestSource& late = source();
    EXPECT_EQ(completion_port_shutdown(port()), 0);
    EXPECT_EQ(late.attach(port()), -ESHUTDOWN);
    EXPECT_EQ(resting.kick(), -ESHUTDOWN);
}

// Spec: CP-SOURCE-19
TEST_P(SourceRefusedTest, AForkedChild) {
    TestSource& resting = resting_source();
    static uint64_t id;
    static COMPLETION_PORT_SOURCE form;
    id = resting.id();
    form = resting.form();
    const auto child = [](COMPLETION_PORT_HANDLE port, int) {
        uint64_t none = 0;
        if (completion_port_source_attach(port, &form, &none) != -EPERM) return 1;
        if (completion_port_source_kick(port, id) != -EPERM) return 2;
        if (completion_port_source_detach(port, id) != -EPERM) return 3;
        return 0;
    };
    EXPECT_EQ(status_of_child(child, port(), -1), 0);
    resting.put_and_signal(1);
    resting.wait_until_taken(1);
    EXPECT_EQ(resting.detach(), 0);
}

// Spec: CP-SOURCE-22
TEST_P(SourceRefusedTest, KickAndDetachOfNothing) {
    EXPECT_EQ(completion_port_source_kick(nullptr, 1), -EINVAL);
    EXPECT_EQ(completion_port_source_kick(port(), 0), -EINVAL);
    EXPECT_EQ(completion_port_source_detach(nullptr, 1), -EINVAL);
    EXPECT_EQ(completion_port_source_detach(port(), 0), -EINVAL);
    EXPECT_EQ(completion_port_source_kick(port(), 1), -ENOENT);
    EXPECT_EQ(completion_port_source_detach(port(), 1), -ENOENT);
    // A number of a worker that there is not.
    EXPECT_EQ(completion_port_source_kick(port(), (uint64_t{1} << 32) | 0xff0001), -ENOENT);
}

// Spec: CP-SOURCE-20
TEST_P(SourceRefusedTest, TheLimitOfAWorker) {
    struct Counter {
        std::atomic<int> detached{0};
    } counter;
    COMPLETION_PORT_SOURCE form{};
    form.size = sizeof(form);
    form.descriptor = COMPLETION_PORT_SOURCE_NO_DESCRIPTOR;
    form.worker = 1;
    form.drain = [](void*, uint32_t) -> int32_t { return 0; };
    form.on_detached = [](void* context, int32_t) { ++static_cast<Counter*>(context)->detached; };
    form.context = &counter;
    std::vector<uint64_t> ids;
    uint64_t id = 0;
    while (completion_port_source_attach(port(), &form, &id) == 0) ids.push_back(id);
    EXPECT_EQ(ids.size(), size_t{COMPLETION_PORT_SOURCES_MAX});
    EXPECT_EQ(completion_port_source_attach(port(), &form, &id), -ENOBUFS);
    EXPECT_EQ(completion_port_source_detach(port(), ids[500]), 0);
    EXPECT_EQ(completion_port_source_attach(port(), &form, &ids[500]), 0);
    EXPECT_EQ(completion_port_source_attach(port(), &form, &id), -ENOBUFS);
    for (const uint64_t each : ids) EXPECT_EQ(completion_port_source_detach(port(), each), 0);
    EXPECT_EQ(counter.detached, COMPLETION_PORT_SOURCES_MAX + 1);
}

}  // namespace
}  // namespace cport::test
