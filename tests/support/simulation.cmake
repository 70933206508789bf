# The simulated machine, for the tests that run on it.
set(support "${PROJECT_SOURCE_DIR}/tests/support")
add_library(cport_simulation STATIC EXCLUDE_FROM_ALL
    "${support}/simulated_connect.cc"
    "${support}/simulated_epoll.cc"
    "${support}/simulated_kernel.cc"
    "${support}/simulated_listener.cc"
    "${support}/simulated_machine.cc"
    "${support}/simulated_others.cc"
    "${support}/simulated_process.cc"
    "${support}/simulated_ring.cc"
    "${support}/simulated_schedule.cc"
    "${support}/simulated_tcp.cc"
    "${support}/simulated_unix.cc")
target_link_libraries(cport_simulation PUBLIC cport_options Threads::Threads)
