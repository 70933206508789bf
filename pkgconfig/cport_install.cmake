# What `cmake --install` puts where: headers as they are, the libraries, pkg-config and CMake packages.
include(CMakePackageConfigHelpers)

set(cmake_package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/completionport")

install(DIRECTORY "${PROJECT_SOURCE_DIR}/api/completionport"
        DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" FILES_MATCHING PATTERN "*.h"
        # What the sources of the mock library alone include.
        REGEX "/testing/(capture_state|kind_rules|sized_structure|submission_rules)\\.h$" EXCLUDE)
install(TARGETS completionport EXPORT completionport
        LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}")
install(EXPORT completionport NAMESPACE completionport:: DESTINATION "${cmake_package_dir}"
        FILE completionport-targets.cmake)

# Both .pc files find their prefix from where they lie, so that `cmake --install --prefix` and a
# moved tree work.
file(RELATIVE_PATH prefix_from_pc "/prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/prefix")
string(REGEX REPLACE "/$" "" prefix_from_pc "${prefix_from_pc}")
set(pc_modules libcompletionport)

if(TARGET completionport_mock)
    set_target_properties(completionport_mock PROPERTIES EXPORT_NAME mock)
    install(TARGETS completionport_mock EXPORT completionport-mock
            ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}")
    install(EXPORT completionport-mock NAMESPACE completionport:: DESTINATION "${cmake_package_dir}"
            FILE completionport-mock-targets.cmake)
    list(APPEND pc_modules libcompletionport-mock)
endif()

foreach(module IN LISTS pc_modules)
    configure_file("${PROJECT_SOURCE_DIR}/pkgconfig/${module}.pc.in"
                   "${PROJECT_BINARY_DIR}/pkgconfig/${module}.pc" @ONLY)
    install(FILES "${PROJECT_BINARY_DIR}/pkgconfig/${module}.pc"
            DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
endforeach()

configure_package_config_file("${PROJECT_SOURCE_DIR}/pkgconfig/completionport-config.cmake.in"
    "${PROJECT_BINARY_DIR}/pkgconfig/completionport-config.cmake"
    INSTALL_DESTINATION "${cmake_package_dir}")
write_basic_package_version_file("${PROJECT_BINARY_DIR}/pkgconfig/completionport-config-version.cmake"
    COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/pkgconfig/completionport-config.cmake"
              "${PROJECT_BINARY_DIR}/pkgconfig/completionport-config-version.cmake"
        DESTINATION "${cmake_package_dir}")
