// SPDX-License-Identifier: Apache-2.0
// A client for tests that sends exactly the bytes it is given. IPv4 on loopback.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <string_view>

namespace deepshock {

class RawClient {
 public:
  explicit RawClient(int port) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  }
  ~RawClient() { Close(); }
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  bool connected() const { return connected_; }
  bool Send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(n));
    }
    return true;
  }
  // Reads until `end` has been seen (empty: until the server closes); what was read, up to the time limit.
  std::string ReadUntil(std::string_view end, int timeout_ms = 100'000) {
    std::string text = std::move(rest_);
    rest_.clear();
    for (;;) {
      const size_t found = end.empty() ? std::string::npos : text.find(end);
      if (found != std::string::npos) {
        rest_ = text.substr(found + end.size());
        text.resize(found + end.size());
        return text;
      }
      pollfd poller{fd_, POLLIN, 0};
      if (::poll(&poller, 1, timeout_ms) <= 0) return text;
      char buffer[4096];
      const ssize_t n = ::recv(fd_, buffer, sizeof(buffer), 0);
      if (n <= 0) {
        closed_ = true;
        return text;
      }
      text.append(buffer, static_cast<size_t>(n));
    }
  }
  // All that comes until the server closes.
  std::string ReadAll(int timeout_ms = 100'000) { return ReadUntil({}, timeout_ms); }
  int fd() const { return fd_; }
  bool closed_by_server() const { return closed_; }
  void Close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

 private:
  int fd_;
  bool connected_ = false, closed_ = false;
  std::string rest_;
};

}  // namespace deepshock
