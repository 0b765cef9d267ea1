# SPDX-License-Identifier: Apache-2.0
# Compiles SOURCE for sm_ARCH with NVCC and fails when a kernel spills registers or nothing was compiled.
execute_process(
  COMMAND ${NVCC} -std=c++20 --expt-relaxed-constexpr -cubin -arch=sm_${ARCH} -Xptxas -v
          --Werror all-warnings -I ${ROOT}/src -I ${ROOT}/include ${SOURCE} -o ${OUTPUT}
  RESULT_VARIABLE result OUTPUT_VARIABLE report ERROR_VARIABLE report)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "${SOURCE} does not compile for sm_${ARCH}:\n${report}")
endif()
string(REGEX MATCHALL "[0-9]+ bytes spill stores" spills "${report}")
list(LENGTH spills kernels)
if(kernels EQUAL 0)
  message(FATAL_ERROR "no kernel in the compiler's report:\n${report}")
endif()
list(FILTER spills EXCLUDE REGEX "^0 ")
if(spills)
  message(FATAL_ERROR "registers spill:\n${report}")
endif()
message(STATUS "${kernels} kernels, no spills")
