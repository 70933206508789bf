# cport_add_test(NAME name SOURCES file... LABELS label... TIMEOUT seconds
#                [LIBRARIES target...] [ENVIRONMENT NAME=value...] [SHARDS count] [LINK_SHARED]
#                [NO_MAIN])
#
# A GoogleTest program that is one ctest entry. It links completionport_core, with LINK_SHARED the
# shared library instead; NO_MAIN says that the sources or LIBRARIES bring main. A program whose label
# is not among CPORT_TEST_KINDS is neither built nor run. SHARDS makes it so many entries, name_1 and so
# on, which share its tests out; each has the whole TIMEOUT. What may take longest starts first.
function(cport_add_test)
    cmake_parse_arguments(PARSE_ARGV 0 arg "LINK_SHARED;NO_MAIN" "NAME;TIMEOUT;SHARDS"
                          "SOURCES;LABELS;LIBRARIES;ENVIRONMENT")
    if(NOT arg_NAME OR NOT arg_SOURCES OR NOT arg_LABELS OR NOT arg_TIMEOUT)
        message(FATAL_ERROR "cport_add_test needs NAME, SOURCES, LABELS and TIMEOUT")
    endif()
    find_package(GTest REQUIRED)

    add_executable(${arg_NAME} ${arg_SOURCES})
    target_link_libraries(${arg_NAME} PRIVATE cport_options ${arg_LIBRARIES})
    if(arg_LINK_SHARED)
        target_link_libraries(${arg_NAME} PRIVATE completionport)
    else()
        target_link_libraries(${arg_NAME} PRIVATE completionport_core)
    endif()
    if(NOT arg_NO_MAIN)
        target_link_libraries(${arg_NAME} PRIVATE GTest::gmock_main)
    endif()
    target_link_libraries(${arg_NAME} PRIVATE GTest::gmock GTest::gtest Threads::Threads)

    set(wanted FALSE)
    foreach(label IN LISTS arg_LABELS)
        if(label IN_LIST CPORT_TEST_KINDS)
            set(wanted TRUE)
        endif()
    endforeach()
    if(NOT wanted)
        set_target_properties(${arg_NAME} PROPERTIES EXCLUDE_FROM_ALL TRUE)
        return()
    endif()
    # It ends what hangs, not what is slow on a busy machine.
    math(EXPR timeout "${arg_TIMEOUT} * ${CPORT_TIMEOUT_FACTOR}")
    if(timeout GREATER 900)
        set(timeout 900)
    endif()
    set(entries ${arg_NAME})
    if(arg_SHARDS)
        list(TRANSFORM entries APPEND "_1")
        foreach(shard RANGE 2 ${arg_SHARDS})
            list(APPEND entries ${arg_NAME}_${shard})
        endforeach()
    endif()
    set(shard 0)
    foreach(entry IN LISTS entries)
        set(environment ${CPORT_SANITIZER_ENVIRONMENT} ${arg_ENVIRONMENT})
        if(arg_SHARDS)
            list(APPEND environment GTEST_TOTAL_SHARDS=${arg_SHARDS} GTEST_SHARD_INDEX=${shard})
            math(EXPR shard "${shard} + 1")
        endif()
        add_test(NAME ${entry} COMMAND ${arg_NAME})
        set_tests_properties(${entry} PROPERTIES
            LABELS "${arg_LABELS}" TIMEOUT ${timeout} COST ${arg_TIMEOUT}
            ENVIRONMENT "${environment}")
    endforeach()
endfunction()

# Child processes of a test inherit these. detect_leaks stays on: a leak is a failure.
set(CPORT_SANITIZER_ENVIRONMENT
    "ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1"
    "UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1"
    "TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1")
