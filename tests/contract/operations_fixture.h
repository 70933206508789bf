// The fixture of the tests of operations: as PortTest, and each submission with a callback must
// have ended exactly once when the port is gone. Spec: CP-SUBMIT-6
#pragma once

#include <completionport/operations.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <cstdint>
#include <string>
#include <vector>

#include "tests/contract/port_fixture.h"
#include "tests/support/record_log.h"

namespace cport::test {

class OperationsTest : public PortTest {
 protected:
    void TearDown() override;

    Submission& submission(std::string buffer = {}) { return log_.submission(std::move(buffer)); }
    // Submissions that must be accepted.
    Submission& submit_receive(int socket, size_t length);
    Submission& submit_send(int socket, std::string bytes);
    Submission& submit_poll(int descriptor, uint32_t events);

    // The next record for waiters; waits for it.
    COMPLETION_PORT_COMPLETION wait_for_record();
    // All records that are there.
    std::vector<COMPLETION_PORT_COMPLETION> records_there();

    RecordLog log_;
};

// What a forked child finds wrong, as its exit status: 0 for nothing.
int status_of_child(int (*body)(COMPLETION_PORT_HANDLE port, int socket),
                    COMPLETION_PORT_HANDLE port, int socket);

}  // namespace cport::test
