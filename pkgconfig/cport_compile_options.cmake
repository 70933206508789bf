# How everything here is compiled.

set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin")
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/lib")
set(CMAKE_ARCHIVE_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/lib")
set(CMAKE_INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}")

if(NOT CMAKE_BUILD_TYPE)
    set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()
# Assertions stay on in a release: no NDEBUG.
set(CMAKE_C_FLAGS_RELEASE "-O2 -g")
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -g")

find_program(CPORT_CCACHE ccache)
if(CPORT_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
    set(CMAKE_C_COMPILER_LAUNCHER "${CPORT_CCACHE}")
    set(CMAKE_CXX_COMPILER_LAUNCHER "${CPORT_CCACHE}")
endif()

add_compile_options(
    -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wcast-align -Wcast-qual -Wformat=2 -Wundef -Wvla
    -Wno-sign-conversion -fno-omit-frame-pointer
    $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes>
    "$<$<COMPILE_LANGUAGE:CXX>:-Wnon-virtual-dtor;-Woverloaded-virtual;-Wold-style-cast>"
    $<$<COMPILE_LANG_AND_ID:CXX,Clang>:-Wthread-safety>)
if(CPORT_WERROR)
    add_compile_options(-Werror)
endif()

# For code that sees the project's own folders.
add_library(cport_options INTERFACE)
target_include_directories(cport_options INTERFACE
    "${PROJECT_SOURCE_DIR}/api" "${PROJECT_SOURCE_DIR}")

# For the code of the shared library.
add_library(cport_library_options INTERFACE)
target_compile_options(cport_library_options INTERFACE
    -Wsign-conversion $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wduplicated-cond>)

if(CPORT_SANITIZERS)
    add_compile_options(-fsanitize=${CPORT_SANITIZERS} -fno-sanitize-recover=all)
    # fuzzer-no-link instruments; only a fuzz target itself links libFuzzer's main.
    string(REPLACE "fuzzer-no-link," "" linked_sanitizers "${CPORT_SANITIZERS}")
    add_link_options(-fsanitize=${linked_sanitizers})
else()
    add_compile_definitions($<$<CONFIG:RelWithDebInfo,Debug>:_GLIBCXX_ASSERTIONS>)
endif()
if(CPORT_COVERAGE)
    add_compile_options(--coverage -fprofile-update=atomic)
    add_link_options(--coverage)
endif()
