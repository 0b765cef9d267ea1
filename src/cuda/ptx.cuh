// SPDX-License-Identifier: Apache-2.0
// The PTX boundary: the one header a kernel includes to reach the hardware. No kernel holds inline
// PTX, a CUDA intrinsic or a CUDA header; all of that is a short wrapper in ptx/, so that
//   - each instruction's fragment layout is written down once, next to the instruction, and
//   - the same kernel source runs in two worlds: nvcc compiles the PTX below; g++, with
//     DOVETAIL_SIMT_HOST, the host twin in the same function body, which calls tests/simt's model.
//
//   platform.cuh    kernel qualifiers, vector types, thread indices, shared memory
//   number.cuh      Half, BFloat16, E4m3: conversion, packed arithmetic; lop3, prmt, ex2 and friends
//   memory.cuh      global loads and stores with cache hints, acquire / release, atomics, fences
//   arrival.cuh     counters that need no initial value
//   async_copy.cuh  cp.async with commit and wait groups
//   warp.cuh        shuffles, votes, warp and block barriers, dependent launch
//   cluster.cuh     blocks that run together: their barrier, each other's shared memory
//   matrix.cuh      ldmatrix, mma.sync
//   wgmma.cuh       wgmma; for sm_90a alone, so its kernels include it themselves
#pragma once

#include "cuda/ptx/arrival.cuh"
#include "cuda/ptx/async_copy.cuh"
#include "cuda/ptx/cluster.cuh"
#include "cuda/ptx/matrix.cuh"
#include "cuda/ptx/memory.cuh"
#include "cuda/ptx/number.cuh"
#include "cuda/ptx/platform.cuh"
#include "cuda/ptx/warp.cuh"
