// SPDX-License-Identifier: Apache-2.0
#include "runtime/child_process.h"

#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "ops/message.h"

extern char** environ;

namespace dovetail {

Result<ChildProcess> ChildProcess::start(const std::vector<std::string>& command) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return internal_error("cannot make a socket: ", std::strerror(errno));
  }
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDIN_FILENO);  // without close-on-exec
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  std::vector<char*> arguments;
  for (const std::string& argument : command) {
    arguments.push_back(const_cast<char*>(argument.c_str()));
  }
  arguments.push_back(nullptr);
  pid_t process = -1;
  const int error =
      ::posix_spawnp(&process, arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  if (error != 0) {
    ::close(ends[0]);
    return not_found("cannot start ", command[0], ": ", std::strerror(error));
  }
  return ChildProcess(process, ends[0], command[0]);
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : process_(std::exchange(other.process_, -1)),
      socket_(std::exchange(other.socket_, -1)),
      name_(std::move(other.name_)) {}

ChildProcess::~ChildProcess() {
  if (socket_ >= 0) {
    ::close(socket_);
  }
  if (process_ > 0) {
    ::waitpid(process_, nullptr, 0);
  }
}

Status ChildProcess::ended() {
  int state = 0;
  if (process_ <= 0 || ::waitpid(process_, &state, 0) != std::exchange(process_, -1)) {
    return internal_error(name_, " ended");
  }
  return WIFSIGNALED(state) ? internal_error(name_, " ended with ", ::strsignal(WTERMSIG(state)),
                                             "; its last messages are above")
                            : internal_error(name_, " ended with exit code ", WEXITSTATUS(state),
                                             "; its last messages are above");
}

Status ChildProcess::send(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) {
      continue;
    }
    if (sent <= 0) {
      return ended();
    }
    bytes = bytes.subspan(static_cast<std::size_t>(sent));
  }
  return Status::success();
}

Status ChildProcess::receive(std::span<std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t received = ::recv(socket_, bytes.data(), bytes.size(), 0);
    if (received < 0 && errno == EINTR) {
      continue;
    }
    if (received <= 0) {
      return ended();
    }
    bytes = bytes.subspan(static_cast<std::size_t>(received));
  }
  return Status::success();
}

Result<std::string> ChildProcess::receive_line() {
  std::string line;
  for (std::byte byte{}; true; line.push_back(static_cast<char>(byte))) {
    DOVETAIL_RETURN_IF_ERROR(receive({&byte, 1}));
    if (byte == std::byte{'\n'}) {
      return line;
    }
  }
}

}  // namespace dovetail
