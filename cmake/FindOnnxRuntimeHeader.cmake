# SPDX-License-Identifier: Apache-2.0
# find_package(OnnxRuntimeHeader): ONNX Runtime's C API header, as the target OnnxRuntime::header.
# There is no library to link: the adapter gets the API table from its host, the engine opens the
# library itself.
#
# Where it looks: ONNXRUNTIME_INCLUDE_DIR, the system, .cache/onnxruntime. When there is none and
# DOVETAIL_FETCH_HEADERS is on, scripts/onnxruntime_header.sh unpacks the distribution's package
# there.
option(DOVETAIL_FETCH_HEADERS "Let configure download a missing ONNX Runtime header"
       ${PROJECT_IS_TOP_LEVEL})

function(_dovetail_find_onnxruntime_header)
  find_path(ONNXRUNTIME_INCLUDE_DIR onnxruntime_c_api.h
    HINTS "${PROJECT_SOURCE_DIR}/.cache/onnxruntime/include"
    PATH_SUFFIXES onnxruntime onnxruntime/core/session
    DOC "Folder of onnxruntime_c_api.h")
endfunction()

_dovetail_find_onnxruntime_header()
if(NOT ONNXRUNTIME_INCLUDE_DIR AND DOVETAIL_FETCH_HEADERS)
  message(STATUS "Fetching the ONNX Runtime header into .cache/onnxruntime")
  execute_process(COMMAND "${PROJECT_SOURCE_DIR}/scripts/onnxruntime_header.sh" OUTPUT_QUIET
                  ERROR_VARIABLE _fetch_log RESULT_VARIABLE _fetch_result)
  if(NOT _fetch_result EQUAL 0)
    message(STATUS "${_fetch_log}")
  endif()
  _dovetail_find_onnxruntime_header()
endif()

if(ONNXRUNTIME_INCLUDE_DIR AND EXISTS "${ONNXRUNTIME_INCLUDE_DIR}/onnxruntime_c_api.h")
  file(STRINGS "${ONNXRUNTIME_INCLUDE_DIR}/onnxruntime_c_api.h" _version_line
       REGEX "^#define ORT_API_VERSION [0-9]+")
  string(REGEX REPLACE "^#define ORT_API_VERSION ([0-9]+).*" "\\1" OnnxRuntimeHeader_VERSION
         "${_version_line}")
endif()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(OnnxRuntimeHeader
  REQUIRED_VARS ONNXRUNTIME_INCLUDE_DIR OnnxRuntimeHeader_VERSION
  VERSION_VAR OnnxRuntimeHeader_VERSION
  REASON_FAILURE_MESSAGE "run scripts/onnxruntime_header.sh, or configure with \
-DONNXRUNTIME_INCLUDE_DIR=<folder of onnxruntime_c_api.h>, or with -DDOVETAIL_ONNXRUNTIME=OFF")
mark_as_advanced(ONNXRUNTIME_INCLUDE_DIR)

if(OnnxRuntimeHeader_FOUND AND NOT TARGET OnnxRuntime::header)
  add_library(OnnxRuntime::header INTERFACE IMPORTED GLOBAL)
  target_include_directories(OnnxRuntime::header SYSTEM INTERFACE "${ONNXRUNTIME_INCLUDE_DIR}")
  target_compile_definitions(OnnxRuntime::header INTERFACE ORT_API_MANUAL_INIT)
endif()
