// SPDX-License-Identifier: Apache-2.0
#include "simt/planted.h"

#include "cuda/launch.cuh"
#include "cuda/ptx.cuh"
#include "cuda/ptx/wgmma.cuh"

namespace dovetail::simt_test {
namespace {

DOVETAIL_KERNEL(kThreads) rotate_kernel(const DOVETAIL_GRID_CONSTANT Parameters p) {
  auto* tile = ptx::shared_memory<uint32_t>();  // [kThreads]
  DOVETAIL_SHARED(uint32_t[kThreads], turned);
  const uint32_t i = ptx::thread_index().x;
  const uint32_t base = ptx::block_index().x * kThreads;
  const uint32_t neighbour = (i + 1) % kThreads;

  uint32_t extra = 0;  // what a bug reads; zero without one
  if (p.bug != Bug::kUninitialisedShared || i != 5) turned[i] = 0;
  tile[i] = 0;
  ptx::sync_threads();
  ptx::copy_async_cached<4>(&tile[i], &p.in[base + i]);
  ptx::copy_async_commit();
  if (p.bug == Bug::kUnfinishedCopy) return;
  if (p.bug != Bug::kMissingWait) ptx::copy_async_wait<0>();
  if (p.bug == Bug::kEarlyExit && i == 7) return;
  if (p.bug == Bug::kDivergentBarrier && i >= 32) {
    ptx::sync_threads();
  } else if (p.bug != Bug::kMissingBarrierAfterWait) {
    ptx::sync_threads();
  }
  uint32_t v = tile[neighbour];  // missing wait, missing barrier after wait
  if (p.bug == Bug::kOutOfBoundsShared) extra = tile[neighbour + 1];  // out of bounds shared

  if (p.bug != Bug::kUninitialisedShared || i != 5) turned[i] = v;
  if (p.bug == Bug::kOutOfBoundsStatic) turned[i + 1] = v;       // out of bounds static
  if (p.bug == Bug::kMissingWarpBarrier) extra = turned[i ^ 1];  // missing warp barrier
  if (p.bug != Bug::kMissingBarrier) ptx::sync_threads();
  v = turned[(i + 32) % kThreads];  // missing barrier
  if (p.bug != Bug::kWriteAfterRead) ptx::sync_threads();
  turned[i] = v;  // write after read
  ptx::sync_warp();
  if (p.bug == Bug::kMisaligned && i == 1) {
    extra = ptx::load_constant_16(&p.in[base + i]).x;  // misaligned
  }
  if (p.bug == Bug::kDivergentWarp && i % 32 >= 16) {
    v = ptx::shuffle_xor(v, 0);
  } else {
    v = ptx::shuffle(v, ptx::lane_index());
  }
  if (p.bug == Bug::kDeadlock) {
    ptx::barrier_sync(3, 96);  // deadlock
  } else {
    ptx::barrier_sync(3, 64);
  }
  if (p.bug == Bug::kUninitialisedGlobal) extra = p.out[base + i];  // uninitialised global
  const uint32_t beyond = p.bug == Bug::kOutOfBoundsGlobal ? 1 : 0;
  p.out[base + i + beyond] = v + extra;  // out of bounds global
}

DOVETAIL_KERNEL(32) product_kernel(const DOVETAIL_GRID_CONSTANT ProductParameters p) {
  DOVETAIL_SHARED(uint16_t[16][24], a_tile);
  DOVETAIL_SHARED(uint16_t[8][24], b_tile);
  const uint32_t lane = ptx::lane_index();
  for (uint32_t i = lane; i < 256; i += 32) a_tile[i / 16][i % 16] = p.a[i];
  for (uint32_t i = lane; i < 128; i += 32) b_tile[i / 16][i % 16] = p.b[i];
  ptx::sync_warp();
  uint32_t a[4], b[2];
  const bool swapped = p.bug == FragmentBug::kSwappedA;  // matrices 1 and 2 exchanged
  const uint32_t row = swapped ? lane / 16 * 8 + lane % 8 : lane % 16;
  const uint32_t column = swapped ? lane / 8 % 2 * 8 : lane / 16 * 8;
  ptx::load_matrix<4>(a, &a_tile[row][column]);
  ptx::load_matrix<2>(b, &b_tile[lane % 8][lane / 8 % 2 * 8]);
  float d[4] = {};
  ptx::mma_m16n8k16<ptx::Half>(d, a, b);
  const uint32_t g = lane / 4, t = p.bug == FragmentBug::kWrongColumn ? lane % 4 ^ 1 : lane % 4;
  for (uint32_t r = 0; r < 4; ++r) p.c[(g + r / 2 * 8) * 8 + 2 * t + r % 2] = d[r];
}

DOVETAIL_KERNEL(128) group_product_kernel(const DOVETAIL_GRID_CONSTANT GroupProductParameters p) {
  DOVETAIL_SHARED(uint16_t[2 * 64 * 64], room);  // B, 1024-byte aligned
  const uint32_t i = ptx::thread_index().x;
  auto* b = reinterpret_cast<uint16_t*>((reinterpret_cast<uintptr_t>(room) + 1023) / 1024 * 1024);
  for (uint32_t at = i; at < 64 * 64; at += 128) b[at ^ at / 64 % 8 * 8] = p.b[at];  // unfenced B
  if (p.bug != ProductBug::kMissingFence) ptx::fence_shared_for_wgmma();
  ptx::sync_threads();
  const uint32_t one = ptx::pack2<ptx::Half>(1.0f, 1.0f);
  uint32_t a[4] = {one, one, one, one};
  float d[8][4] = {};
  const ptx::SharedMatrix matrix = ptx::shared_matrix(b);
  ptx::fence_wgmma();
  for (uint32_t step = 0; step < 4; ++step)
    ptx::wgmma<ptx::Half, 64, false>(d, a, matrix.advanced(32 * step));  // the product
  ptx::commit_wgmma();
  if (p.bug == ProductBug::kUnfinished) return;
  if (p.bug == ProductBug::kEarlyWriteOfB) {
    ptx::sync_threads();
    if (i == 77) b[5] = 0;  // early write of B
  }
  if (p.bug == ProductBug::kEarlyRead) p.d[i] = d[0][0];  // early read
  if (p.bug == ProductBug::kEarlyWriteOfA) a[3] = 0;      // early write of A
  ptx::wait_wgmma<0>(d);
  const uint32_t row = i / 32 * 16 + i % 32 / 4, column = i % 4 * 2;
  for (uint32_t n = 0; n < 8; ++n) {
    for (uint32_t r = 0; r < 4; ++r) p.d[(row + r / 2 * 8) * 64 + 8 * n + column + r % 2] = d[n][r];
  }
}

DOVETAIL_KERNEL(32) last_block_kernel(const DOVETAIL_GRID_CONSTANT LastBlockParameters p) {
  const uint32_t block = ptx::block_index().x;
  DOVETAIL_SHARED(uint32_t, place);
  if (ptx::thread_index().x == 0) {
    p.parts[block] = p.in[block];
    if (p.ordering == Ordering::kAcquireRelease) {
      place = ptx::atomic_add_acquire_release(p.arrived, 1);
    } else {
      if (p.ordering == Ordering::kFences) ptx::thread_fence();
      place = ptx::atomic_add(p.arrived, 1);
      if (p.ordering == Ordering::kFences) ptx::thread_fence();
    }
  }
  ptx::sync_threads();
  if (place + 1 != p.blocks) return;
  if (ptx::thread_index().x != 1) return;
  uint32_t sum = 0;
  for (uint32_t i = 0; i < p.blocks; ++i) sum += p.parts[i];  // unordered blocks
  *p.sum = sum;
}

DOVETAIL_KERNEL(32) dependent_kernel(const DOVETAIL_GRID_CONSTANT DependentParameters p) {
  if (p.wait) ptx::wait_for_previous_kernel();
  if (ptx::thread_index().x == 0) *p.out = *p.value + 1;  // missing wait for the previous kernel
}

DOVETAIL_KERNEL(32) cluster_kernel(const DOVETAIL_GRID_CONSTANT ClusterParameters p) {
  DOVETAIL_SHARED(uint32_t[32], mine);
  DOVETAIL_SHARED(uint32_t[32], received);
  const uint32_t i = ptx::thread_index().x, at = ptx::block_index().x * 32 + i;
  const uint32_t next = (ptx::cluster_rank() + 1) % p.blocks;
  mine[i] = p.in[at];
  if (p.bug != ClusterBug::kNoStart) {
    ptx::cluster_arrive();
    ptx::cluster_wait();
  }
  const uint32_t v = ptx::load_cluster(&mine[(i + 1) % 32], next);  // start of a neighbour
  if (p.bug == ClusterBug::kEarlyLeave) {
    p.out[at] = v;
    return;
  }
  ptx::store_cluster(&received[i], next, v);
  if (p.bug != ClusterBug::kNoBarrier) {
    ptx::cluster_arrive();
    if (p.bug == ClusterBug::kArriveTwice) ptx::cluster_arrive();  // second arrival
    ptx::cluster_wait();
  }
  p.out[at] = received[i];
}

DOVETAIL_KERNEL(32) mail_kernel(const DOVETAIL_GRID_CONSTANT MailParameters p) {
  DOVETAIL_SHARED(ptx::Vec4[32], received);
  DOVETAIL_SHARED(uint64_t, mailbox);
  const uint32_t i = ptx::thread_index().x, at = ptx::block_index().x * 32 + i;
  if (i == 0 && p.bug != MailBug::kNotOpened) {
    ptx::open_mailbox(&mailbox);
    ptx::expect_mail(&mailbox, (p.bug == MailBug::kTooMuch ? 31 : 32) * 16);
  }
  ptx::cluster_arrive_relaxed();
  ptx::cluster_wait();
  if (p.bug != MailBug::kLost || i != 5) {
    const uint32_t v = p.in[at], next = (ptx::cluster_rank() + 1) % p.blocks;
    ptx::post(&received[i], next, {v, v, v, v}, &mailbox);  // to the next block
  }
  if (p.bug != MailBug::kNoWait) ptx::wait_for_mail(&mailbox);  // for all of it
  p.out[at] = received[(i + 1) % 32].w;
}

DOVETAIL_KERNEL(128) work_kernel(const DOVETAIL_GRID_CONSTANT WorkParameters p) {
  DOVETAIL_SHARED(float[128], sums);
  const uint32_t i = ptx::thread_index().x;
  const uint32_t one = ptx::pack2<ptx::Half>(1.0f, 1.0f);
  const uint32_t a[4] = {one, one, one, one}, b[2] = {one, one};
  float d[4] = {};
  for (int n = 0; n < p.mma; ++n) ptx::mma_m16n8k16<ptx::Half>(d, a, b);
  for (int n = 0; n < p.shuffles; ++n) d[0] = ptx::shuffle_xor(d[0], 1);
  sums[i] = d[0];
  for (int n = 0; n < p.increments; ++n) const_cast<volatile float&>(sums[i]) = sums[i] + 1.0f;
  p.out[ptx::block_index().x * 128 + i] = sums[i];
}

}  // namespace

Status rotate(const Parameters& p, uint32_t blocks) {
  return cuda::launch(rotate_kernel,
                      {.grid = {blocks}, .block = {kThreads}, .shared_bytes = kThreads * 4}, p);
}

Status product(const ProductParameters& p) {
  return cuda::launch(product_kernel, {.grid = {1}, .block = {32}}, p);
}

Status group_product(const GroupProductParameters& p) {
  return cuda::launch(group_product_kernel, {.grid = {1}, .block = {128}}, p);
}

Status last_block_sum(const LastBlockParameters& p) {
  return cuda::launch(last_block_kernel, {.grid = {p.blocks}, .block = {32}}, p);
}

Status dependent(const DependentParameters& p, bool overlap_previous) {
  return cuda::launch(dependent_kernel,
                      {.grid = {1}, .block = {32}, .overlap_previous = overlap_previous}, p);
}

Status send_on(const MailParameters& p) {
  return cuda::launch(mail_kernel, {.grid = {p.blocks}, .block = {32}, .cluster_blocks = p.blocks},
                      p);
}

Status pass_on(const ClusterParameters& p) {
  return cuda::launch(cluster_kernel,
                      {.grid = {p.blocks}, .block = {32}, .cluster_blocks = p.blocks}, p);
}

Status work(const WorkParameters& p, uint32_t blocks) {
  return cuda::launch(work_kernel, {.grid = {blocks}, .block = {128}}, p);
}

}  // namespace dovetail::simt_test
