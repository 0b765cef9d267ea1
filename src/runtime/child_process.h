// SPDX-License-Identifier: Apache-2.0
// A child process that is spoken to over one socket, its standard input and output. It ends when
// the socket is closed.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "dovetail/status.h"

namespace dovetail {

class ChildProcess {
 public:
  // The program is searched for on PATH.
  static Result<ChildProcess> start(const std::vector<std::string>& command);
  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&&) = delete;
  ~ChildProcess();

  // The child's end is an error that says how it ended.
  Status send(std::span<const std::byte> bytes);
  Status receive(std::span<std::byte> bytes);
  Result<std::string> receive_line();

 private:
  ChildProcess(pid_t process, int socket, std::string name)
      : process_(process), socket_(socket), name_(std::move(name)) {}
  Status ended();

  pid_t process_;
  int socket_;
  std::string name_;
};

}  // namespace dovetail
