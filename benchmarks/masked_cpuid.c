// SPDX-License-Identifier: Apache-2.0
// Answers for the CPUID instructions that peer_avx2.py has replaced by two bytes d6, which no
// compiler emits and every processor refuses in 64-bit mode: the processor's own answer without
// AVX-512, AVX-VNNI and AMX. Loaded with LD_PRELOAD.
#define _GNU_SOURCE
#include <cpuid.h>
#include <signal.h>
#include <string.h>
#include <ucontext.h>

static unsigned bits(int count, const int* positions) {
  unsigned word = 0;
  for (int i = 0; i < count; ++i) {
    word |= 1u << positions[i];
  }
  return word;
}

static void answer(unsigned leaf, unsigned subleaf, unsigned out[4]) {
  __cpuid_count(leaf, subleaf, out[0], out[1], out[2], out[3]);
  if (leaf == 7 && subleaf == 0) {
    // AVX-512 F, DQ, IFMA, PF, ER, CD, BW, VL; VBMI, VBMI2, VNNI, BITALG, VPOPCNTDQ; 4VNNIW,
    // 4FMAPS, VP2INTERSECT, AMX-BF16, AVX-512 FP16, AMX-TILE, AMX-INT8
    out[1] &= ~bits(8, (int[]){16, 17, 21, 26, 27, 28, 30, 31});
    out[2] &= ~bits(5, (int[]){1, 6, 11, 12, 14});
    out[3] &= ~bits(7, (int[]){2, 3, 8, 22, 23, 24, 25});
  } else if (leaf == 7 && subleaf == 1) {
    // AVX-VNNI, AVX-512 BF16, AMX-FP16, AVX-IFMA; AVX-VNNI-INT8, NE-CONVERT, VNNI-INT16, AVX10
    out[0] &= ~bits(4, (int[]){4, 5, 21, 23});
    out[3] &= ~bits(4, (int[]){4, 5, 10, 19});
  }
}

static void on_illegal_instruction(int signal_number, siginfo_t* info, void* context) {
  (void)info;
  greg_t* registers = ((ucontext_t*)context)->uc_mcontext.gregs;
  if (memcmp((const void*)registers[REG_RIP], "\xd6\xd6", 2) != 0) {
    signal(signal_number, SIG_DFL);  // somebody else's: it happens again and ends the process
    return;
  }
  unsigned out[4];
  answer((unsigned)registers[REG_RAX], (unsigned)registers[REG_RCX], out);
  registers[REG_RAX] = out[0];
  registers[REG_RBX] = out[1];
  registers[REG_RCX] = out[2];
  registers[REG_RDX] = out[3];
  registers[REG_RIP] += 2;
}

__attribute__((constructor)) static void install(void) {
  struct sigaction action;
  memset(&action, 0, sizeof(action));
  action.sa_sigaction = on_illegal_instruction;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGILL, &action, 0);
}
