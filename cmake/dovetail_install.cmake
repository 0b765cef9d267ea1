# SPDX-License-Identifier: Apache-2.0
# What `cmake --install` gives to C++ users: find_package(dovetail) with the targets dovetail::ops,
# dovetail::cpu and dovetail::runtime. Programs and plugin libraries are installed where they are
# declared.
include(CMakePackageConfigHelpers)

set(_libraries ops cpu)
if(TARGET dovetail_runtime)
  list(APPEND _libraries runtime)
endif()
set(_package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/dovetail)
foreach(name IN LISTS _libraries)
  set_target_properties(dovetail_${name} PROPERTIES EXPORT_NAME ${name})
  install(TARGETS dovetail_${name} EXPORT dovetail ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
          COMPONENT development)
endforeach()
install(DIRECTORY include/dovetail DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development)
install(EXPORT dovetail NAMESPACE dovetail:: FILE dovetailTargets.cmake
        DESTINATION ${_package_folder} COMPONENT development)
configure_package_config_file(cmake/dovetailConfig.cmake.in
  "${PROJECT_BINARY_DIR}/dovetailConfig.cmake" INSTALL_DESTINATION ${_package_folder})
# 0.x: a minor version may change the interface.
write_basic_package_version_file("${PROJECT_BINARY_DIR}/dovetailConfigVersion.cmake"
                                 COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/dovetailConfig.cmake"
              "${PROJECT_BINARY_DIR}/dovetailConfigVersion.cmake"
        DESTINATION ${_package_folder} COMPONENT development)
