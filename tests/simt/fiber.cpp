// SPDX-License-Identifier: Apache-2.0
#include "simt/fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <new>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace dovetail::simt {
namespace {

constexpr size_t kPage = 4096;
#if defined(__SANITIZE_ADDRESS__)
constexpr size_t kStackBytes = 256 * 1024;
#else
constexpr size_t kStackBytes = 64 * 1024;
#endif

auto& free_stacks = *new std::vector<char*>;  // outlives every fiber
Fiber* entering = nullptr;                    // the fiber that is being switched to
Fiber* leaving = nullptr;                     // and the one it replaces

char* take_stack() {
  if (!free_stacks.empty()) {
    char* stack = free_stacks.back();
    free_stacks.pop_back();
    return stack;
  }
  void* map = mmap(nullptr, kPage + kStackBytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (map == MAP_FAILED) throw std::bad_alloc();
  mprotect(map, kPage, PROT_NONE);
  return static_cast<char*>(map) + kPage;
}

}  // namespace

#if defined(__x86_64__)
// dovetail_simt_switch(void** save, void* resume): pushes the callee-saved registers, swaps stacks.
extern "C" void dovetail_simt_switch(void** save, void* resume);
asm(R"(
.text
.type dovetail_simt_switch, @function
dovetail_simt_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size dovetail_simt_switch, .-dovetail_simt_switch
)");
#endif

Fiber::~Fiber() {
  if (stack_ != nullptr) free_stacks.push_back(stack_);
}

void Fiber::prepare(void (*entry)()) {
  if (stack_ == nullptr) stack_ = take_stack();
  entry_ = entry;
  bottom_ = stack_;
  size_ = kStackBytes;
#if defined(__SANITIZE_ADDRESS__)
  ASAN_UNPOISON_MEMORY_REGION(stack_, kStackBytes);  // frames that a failed launch left behind
  fake_stack_ = nullptr;
#endif
#if defined(__x86_64__)
  // What switch_to pops: six registers, then the return address; the slot above keeps the alignment
  // of a called function (stack pointer = 16n + 8 on entry).
  auto* top = reinterpret_cast<uintptr_t*>(stack_ + kStackBytes) - 3;
  top[0] = 0;
  *--top = reinterpret_cast<uintptr_t>(&Fiber::enter);
  for (int i = 0; i < 6; ++i) *--top = 0;
  stack_pointer_ = top;
#else
  getcontext(&context_);
  context_.uc_stack.ss_sp = stack_;
  context_.uc_stack.ss_size = kStackBytes;
  context_.uc_link = nullptr;
  makecontext(&context_, &Fiber::enter, 0);
#endif
}

void Fiber::enter() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &leaving->bottom_, &leaving->size_);
#endif
  entering->entry_();
}

void Fiber::switch_to(Fiber& from, Fiber& to, [[maybe_unused]] bool last) {
  leaving = &from;
  entering = &to;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(last ? nullptr : &from.fake_stack_, to.bottom_, to.size_);
#endif
#if defined(__x86_64__)
  dovetail_simt_switch(&from.stack_pointer_, to.stack_pointer_);
#else
  swapcontext(&from.context_, &to.context_);
#endif
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(from.fake_stack_, &leaving->bottom_, &leaving->size_);
#endif
}

}  // namespace dovetail::simt
