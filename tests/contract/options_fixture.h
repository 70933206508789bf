// The fixture of the tests of ports made to measure.
#pragma once

#include <completionport/options.h>
#include <gtest/gtest.h>
#include <sys/epoll.h>

#include <deque>
#include <string>
#include <utility>

#include "tests/contract/engine_under_test.h"
#include "tests/support/recorder.h"
#include "tests/support/sockets.h"

namespace cport::test {

class OptionsTest : public ::testing::Test {
 protected:
    OptionsTest() { options_.size = sizeof(options_); }
    void TearDown() override {
        close();
        recorder_.expect_each_add_ended_once();
    }

    void open() {
        port_ = completion_port_create_with_options(&options_);
        ASSERT_NE(port_, nullptr);
    }
    // Gives the test's reference back; waits for the port's end.
    void close() { completion_port_dec_ref(std::exchange(port_, nullptr)); }

    Operation& operation(std::string buffer = {}) { return recorder_.operation(std::move(buffer)); }
    // Descriptors that outlive the port.
    Pair& keep(Pair pair) { return pairs_.emplace_back(std::move(pair)); }
    Descriptor& keep(Descriptor descriptor) {
        return descriptors_.emplace_back(std::move(descriptor));
    }

    COMPLETION_PORT_OPTIONS options_{};
    COMPLETION_PORT_HANDLE port_ = nullptr;
    Recorder recorder_;

 private:
    std::deque<Pair> pairs_;
    std::deque<Descriptor> descriptors_;
};

}  // namespace cport::test
