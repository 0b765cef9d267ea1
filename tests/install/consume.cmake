# SPDX-License-Identifier: Apache-2.0
function(step)
  execute_process(COMMAND ${ARGN}
    RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(result)
    message(FATAL_ERROR "${ARGN}\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

file(REMOVE_RECURSE "${WORK}/prefix" "${WORK}/consumer")
step(${CMAKE_COMMAND} --install ${DOVETAIL_BUILD} --prefix ${WORK}/prefix --component development)
step(${CMAKE_COMMAND} -S ${EXAMPLES} -B ${WORK}/consumer -G ${GENERATOR}
     -DCMAKE_PREFIX_PATH=${WORK}/prefix "-DCMAKE_CXX_FLAGS=${FLAGS}"
     -DCMAKE_CXX_COMPILER=${COMPILER} -DCMAKE_CXX_COMPILER_LAUNCHER=${LAUNCHER})
step(${CMAKE_COMMAND} --build ${WORK}/consumer)
step(${WORK}/consumer/example_int4_gemm)
if(NOT output MATCHES "0 32 64 96\n128 160 192 224\n$")
  message(FATAL_ERROR "example_int4_gemm printed:\n${output}")
endif()
step(${CMAKE_COMMAND} -E env --unset=LD_LIBRARY_PATH
     sh -c "${WORK}/consumer/example_generate 2>&1 || test $? = 1")
if(NOT output MATCHES "usage: generate PACKAGE")
  message(FATAL_ERROR "example_generate printed:\n${output}")
endif()
