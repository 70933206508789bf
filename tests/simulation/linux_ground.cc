#include "tests/simulation/linux_ground.h"

#include <completionport/messages.h>
#include <completionport/operations.h>

#include <cstdio>
#include <cstdlib>

#include "platform/linux/linux_platform.h"
#include "runtime/abi/handle.h"
#include "tests/support/recorder.h"

namespace cport::test {
namespace {

void must(int code, const char* what) {
    if (code == 0) return;
    std::fprintf(stderr, "%s: %d\n", what, code);
    std::abort();
}

COMPLETION_PORT_HANDLE create_port(platform::Clock& clock, uint32_t engine) {
    const platform::Platform& real = platform::linux_platform();
    PortOptions options;
    options.engine = engine;
    return create_handle({real.kernel, real.threads, real.memory, clock, real.rings}, options);
}

void open_gate(void* context, const COMPLETION_PORT_COMPLETION*) {
    static_cast<Gate*>(context)->open();
}

}  // namespace

LinuxGround::LinuxGround(LinuxWorld& world, uint32_t engine)
    : world_(world), port_(create_port(clock_, engine)) {
    must(port_ == nullptr ? 1 : 0, "no port");
}

// The kernel reports events first in, first out. The turn shows that the worker knows of the
// receive; then its byte follows every event of before.
void LinuxGround::fence() {
    Gate received;
    Gate turned;
    char byte = 0;
    COMPLETION_PORT_RECEIVE_OPERATION receive{};
    receive.common.size = sizeof(receive);
    receive.common.kind = COMPLETION_PORT_KIND_RECEIVE;
    receive.common.descriptor = fence_.ours.get();
    receive.common.on_complete = open_gate;
    receive.common.context = &received;
    receive.buffer = &byte;
    receive.length = 1;
    must(completion_port_submit(port_, &receive.common, nullptr, nullptr), "receive");
    must(completion_port_post(port_, 0, 0, open_gate, &turned), "post");
    turned.wait();
    write_all(fence_.theirs.get(), "f");
    received.wait();
}

KindsGround LinuxGround::ground() {
    KindsGround ground{world_, port_, [this] { fence(); },
                       [this](int64_t by_ns) { clock_.advance(by_ns); },
                       [this] { return clock_.now_ns(); }};
    ground.beside = ground.may_be_late = true;
    return ground;
}

}  // namespace cport::test
