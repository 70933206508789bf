// How often this process has allocated memory. A program that links this counts from its start.
#pragma once

#include <cstddef>

namespace cport::test {

size_t allocation_count();

}  // namespace cport::test
