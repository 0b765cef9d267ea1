// SPDX-License-Identifier: Apache-2.0
// A fiber: a stack and the saved registers of a suspended function. Switching costs a few
// nanoseconds on x86-64 (own code, callee-saved registers only) and a system call elsewhere
// (ucontext). AddressSanitizer is told about every switch. Stacks come from a pool, each above a
// page that faults on overflow.
#pragma once

#include <cstddef>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace dovetail::simt {

class Fiber {
 public:
  Fiber() = default;  // of the calling thread: the place that others switch back to
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;
  ~Fiber();

  // Makes this fiber run `entry`, which must never return, at the next switch to it.
  void prepare(void (*entry)());

  // Suspends `from`, resumes `to`. With `last`, `from` is never resumed, its frames are dropped.
  static void switch_to(Fiber& from, Fiber& to, bool last = false);

 private:
  static void enter();

#if defined(__x86_64__)
  void* stack_pointer_ = nullptr;
#else
  ucontext_t context_;
#endif
  char* stack_ = nullptr;
  void (*entry_)() = nullptr;
  void* fake_stack_ = nullptr;    // AddressSanitizer's
  const void* bottom_ = nullptr;  // bounds of the stack in use: ours,
  size_t size_ = 0;               // or learnt at the first switch away
};

}  // namespace dovetail::simt
