// SPDX-License-Identifier: Apache-2.0
#include "apps/process.h"

#include <csignal>
#include <fstream>
#include <string>
#include <string_view>

namespace dovetail::apps {
namespace {

volatile std::sig_atomic_t interrupt_flag = 0;

// A field of /proc/self/status, which counts in kB; 0 where there is none.
std::uint64_t status_bytes(std::string_view field) {
  std::ifstream status("/proc/self/status");
  for (std::string key; status >> key;) {
    if (key == field) {
      std::uint64_t kilobytes = 0;
      status >> kilobytes;
      return kilobytes * 1024;
    }
    status.ignore(4096, '\n');
  }
  return 0;
}

}  // namespace

void catch_interrupt() {
  struct sigaction action {};
  action.sa_handler = [](int) { interrupt_flag = 1; };
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  ::sigaction(SIGINT, &action, nullptr);
}

bool interrupted() {
  return interrupt_flag != 0;
}

// Not getrusage: its maximum counts what the parent held when it started this program.
std::uint64_t peak_resident_bytes() {
  return status_bytes("VmHWM:");
}

std::uint64_t anonymous_resident_bytes() {
  return status_bytes("RssAnon:");
}

}  // namespace dovetail::apps
