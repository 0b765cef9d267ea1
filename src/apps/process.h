// SPDX-License-Identifier: Apache-2.0
// What a command asks of its process: the interrupt flag and the memory it used.
#pragma once

#include <cstdint>

namespace dovetail::apps {

// The first Ctrl-C sets a flag, the second one ends the process as usual.
void catch_interrupt();
bool interrupted();
inline constexpr int kInterruptedExitCode = 130;  // 128 + SIGINT, what shells expect

// The most memory the process ever had resident, mapped files included.
std::uint64_t peak_resident_bytes();
// Resident memory that no file backs, now: what the process takes from others.
std::uint64_t anonymous_resident_bytes();

}  // namespace dovetail::apps
