#include "tests/support/mock_platform.h"

namespace cport::test {

MockKernel::MockKernel() = default;
MockKernel::~MockKernel() = default;
MockThreads::MockThreads() = default;
MockThreads::~MockThreads() = default;
MockMemory::MockMemory() = default;
MockMemory::~MockMemory() = default;
MockNuma::MockNuma() = default;
MockNuma::~MockNuma() = default;
MockClock::MockClock() = default;
MockClock::~MockClock() = default;

}  // namespace cport::test

namespace testing {

template class NiceMock<cport::test::MockKernel>;
template class NiceMock<cport::test::MockThreads>;
template class NiceMock<cport::test::MockMemory>;
template class NiceMock<cport::test::MockNuma>;
template class NiceMock<cport::test::MockClock>;
template class StrictMock<cport::test::MockKernel>;
template class StrictMock<cport::test::MockMemory>;
template class StrictMock<cport::test::MockClock>;

}  // namespace testing
