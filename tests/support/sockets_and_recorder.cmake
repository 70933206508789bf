# The library of helpers that contract and integration tests share.
include_guard(GLOBAL)

find_package(GTest REQUIRED)

add_library(cport_test_support STATIC EXCLUDE_FROM_ALL
    "${PROJECT_SOURCE_DIR}/tests/support/record_log.cc"
    "${PROJECT_SOURCE_DIR}/tests/support/recorder.cc"
    "${PROJECT_SOURCE_DIR}/tests/support/sockets.cc"
    "${PROJECT_SOURCE_DIR}/tests/contract/operations_fixture.cc"
    "${PROJECT_SOURCE_DIR}/tests/contract/port_fixture.cc"
    "${PROJECT_SOURCE_DIR}/tests/contract/process_facts.cc")
target_link_libraries(cport_test_support PUBLIC cport_options GTest::gtest Threads::Threads)
