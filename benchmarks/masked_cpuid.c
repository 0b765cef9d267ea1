// SPDX-License-Identifier: Apache-2.0
// Answers for the CPUID instructions that peer_avx2.py has replaced by two bytes d6, which no
// compiler emits and every processor refuses in 64-bit mode: the processor's own answer without
// AVX-512, AVX-VNNI and AMX. Loaded with LD_PRELOAD.
#define _GNU_SOURCE
#include <cpuid.h>
#include <signal.h>
#include <string.h>
#include <ucontext.h>

static void answer(unsigned leaf, unsigned subleaf, unsigned out[4]) {
  __cpuid_count(leaf, subleaf, out[0], out[1], out[2], out[3]);
  if (leaf == 7 && subleaf == 0) {
    out[1] &= ~(1u << 16 | 1u << 17 | 1u << 21 | 1u << 26 | 1u << 27 | 1u << 28 | 1u << 30 |
                1u << 31);                                                // F DQ IFMA PF ER CD BW VL
    out[2] &= ~(1u << 1 | 1u << 6 | 1u << 11 | 1u << 12 | 1u << 14);      // VBMI VBMI2 VNNI BITALG ..
    out[3] &= ~(1u << 2 | 1u << 3 | 1u << 8 | 1u << 22 | 1u << 23 | 1u << 24 | 1u << 25);  // AMX FP16
  } else if (leaf == 7 && subleaf == 1) {
    out[0] &= ~(1u << 4 | 1u << 5 | 1u << 21 | 1u << 23);  // AVX-VNNI, BF16, AMX-FP16, AVX-IFMA
    out[3] &= ~(1u << 4 | 1u << 5 | 1u << 10 | 1u << 19);  // AVX-VNNI-INT8, NE-CONVERT, INT16, AVX10
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
