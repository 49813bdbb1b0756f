// SPDX-License-Identifier: Apache-2.0
// Loads a running server with streams from one thread, and checks what it answers.
//   server_load_bench --port 8080 --streams 1000 --seconds 600 --slow 0.1 --disconnect 0.1 --pid PID
// Each stream asks /v1/completions greedily for one of a few prompts, reads it to its end and asks again.
// Slow ones read 200 bytes 20 times a second, those that disconnect leave in the middle. Every answer that
// comes to its end is compared with what the same prompt gave alone before the load began. Linux only.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <fstream>
#include <map>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

const char* const kPrompts[] = {
    "The kernel allocates memory for", "Once upon a time there was a",    "def read_file(path):\\n",
    "The history of the river begins", "int main(int argc, char** argv)", "In the morning the train",
    "SELECT name FROM users WHERE",    "The committee decided that",
};
// As many different ones as are wanted.
std::string Prompt(size_t number) {
  const size_t kind = number % std::size(kPrompts), round = number / std::size(kPrompts);
  return round == 0 ? kPrompts[kind] : fmt::format("{} {}.", kPrompts[kind], round);
}
constexpr auto kSlowPause = std::chrono::milliseconds(50);
constexpr size_t kSlowBytes = 200;

struct Options {
  int port = 8080, streams = 32, max_tokens = 64;
  size_t prompts = std::size(kPrompts);
  double seconds = 30, slow = 0, disconnect = 0;
  int pid = 0;
  std::string model;
  bool check = true;
};

double Seconds(Clock::duration d) { return std::chrono::duration<double>(d).count(); }

double ResidentMegabytes(int pid) {
  std::ifstream status(fmt::format("/proc/{}/status", pid));
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("VmRSS:", 0) == 0) return std::stod(line.substr(6)) / 1024;
  }
  return 0;
}

// One answer as it is read: the text, the number of events, whether it came to its end.
class Answer {
 public:
  void Add(std::string_view bytes) {
    rest_ += bytes;
    size_t begin = 0;
    for (size_t end; (end = rest_.find('\n', begin)) != std::string::npos; begin = end + 1) {
      Line(std::string_view(rest_).substr(begin, end - begin));
    }
    rest_.erase(0, begin);
  }
  std::string text;
  int64_t events = 0;
  bool ended = false, failed = false;
  std::string status;

 private:
  void Line(std::string_view line) {
    if (line.rfind("HTTP/1.1 ", 0) == 0) {
      status = std::string(line.substr(9, 3));
      failed = status != "200";
      return;
    }
    if (line.rfind("data: ", 0) != 0) return;
    if (line.rfind("data: [DONE]", 0) == 0) {
      ended = true;
      return;
    }
    if (line.find("\"error\"") != std::string_view::npos) failed = true;
    constexpr std::string_view kText = "\"text\": \"", kAfter = "\", \"logprobs\": ";
    const size_t begin = line.find(kText), end = line.rfind(kAfter);
    if (begin == std::string_view::npos || end == std::string_view::npos) return;
    ++events;
    text += line.substr(begin + kText.size(), end - begin - kText.size());
  }
  std::string rest_;
};

struct Stream {
  int fd = -1;
  size_t prompt = 0;
  Answer answer;
  bool slow = false, connected = false, has_first = false;
  int64_t leave_after = 0;  // events; 0: never
  Clock::time_point asked, readable;
};

class Load {
 public:
  explicit Load(const Options& options) : options_(options), epoll_(::epoll_create1(0)) {}
  ~Load() { ::close(epoll_); }

  // Answers of each prompt alone. False when one fails.
  bool LearnAnswers() {
    for (size_t p = 0; p < options_.prompts; ++p) {
      Stream stream;
      stream.prompt = p;
      Open(stream, false);
      while (stream.fd >= 0) {
        char buffer[4096];
        const ssize_t n = ::recv(stream.fd, buffer, sizeof(buffer), 0);
        if (n <= 0) Close(stream);
        if (n > 0) stream.answer.Add({buffer, static_cast<size_t>(n)});
      }
      if (!stream.answer.ended || stream.answer.failed) {
        fmt::print(stderr, "the server did not answer prompt {} alone (status {})\n", p,
                   stream.answer.status);
        return false;
      }
      expected_.push_back(stream.answer.text);
    }
    return true;
  }

  void Run() {
    std::vector<Stream> streams(static_cast<size_t>(options_.streams));
    start_ = Clock::now();
    const auto end =
        start_ + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(options_.seconds));
    for (Stream& stream : streams) Begin(stream);
    double next_sample = 0;
    while (Clock::now() < end) {
      epoll_event events[256];
      const int n = ::epoll_wait(epoll_, events, 256, 20);
      for (int i = 0; i < n; ++i) OnEvent(*static_cast<Stream*>(events[i].data.ptr), events[i].events);
      const auto now = Clock::now();
      for (Stream& stream : streams) {
        if (stream.fd < 0) {
          Begin(stream);
        } else if (stream.slow && stream.connected && now >= stream.readable) {
          stream.readable = now + kSlowPause;
          ReadSome(stream, kSlowBytes);
        }
      }
      if (options_.pid > 0 && Seconds(now - start_) >= next_sample) {
        memory_.push_back(ResidentMegabytes(options_.pid));
        next_sample += options_.seconds / 20;
      }
    }
    seconds_ = Seconds(Clock::now() - start_);
    for (Stream& stream : streams) Close(stream);
  }

  int Report() {
    std::sort(first_ms_.begin(), first_ms_.end());
    const auto quantile = [&](double q) {
      return first_ms_.empty()
                 ? 0
                 : first_ms_[static_cast<size_t>(q * static_cast<double>(first_ms_.size() - 1))];
    };
    fmt::print("{} streams for {:.1f} s: {:.1f} tokens/s, {} answers, {} left by us, {} wrong, {} failed\n",
               options_.streams, seconds_, static_cast<double>(tokens_) / seconds_, finished_, left_, wrong_,
               failed_);
    fmt::print("first byte after {:.1f} ms (median), {:.1f} ms (p95), {:.1f} ms (p99)\n", quantile(0.5),
               quantile(0.95), quantile(0.99));
    for (const auto& [status, count] : statuses_) fmt::print("status {}: {}\n", status, count);
    if (!memory_.empty()) {
      fmt::print("server's memory, MB:");
      for (const double mb : memory_) fmt::print(" {:.1f}", mb);
      fmt::print("\n");
    }
    return wrong_ > 0 ? 1 : 0;
  }

 private:
  void Begin(Stream& stream) {
    std::uniform_real_distribution<double> uniform(0, 1);
    stream.prompt = random_() % options_.prompts;
    stream.slow = uniform(random_) < options_.slow;
    stream.leave_after =
        uniform(random_) < options_.disconnect
            ? 1 + static_cast<int64_t>(random_() % static_cast<uint64_t>(options_.max_tokens))
            : 0;
    Open(stream, true);
  }

  void Open(Stream& stream, bool watch) {
    stream.answer = {};
    stream.connected = stream.has_first = false;
    stream.asked = Clock::now();
    stream.fd = ::socket(AF_INET, SOCK_STREAM | (watch ? SOCK_NONBLOCK : 0), 0);
    if (stream.fd < 0) return;
    if (stream.slow) {
      const int bytes = 4096;
      ::setsockopt(stream.fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
    }
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(options_.port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int status = ::connect(stream.fd, reinterpret_cast<sockaddr*>(&address), sizeof(address));
    if (status != 0 && errno != EINPROGRESS) return Close(stream);
    if (!watch) return SendRequest(stream);
    epoll_event event{};
    event.events = EPOLLOUT;
    event.data.ptr = &stream;
    ::epoll_ctl(epoll_, EPOLL_CTL_ADD, stream.fd, &event);
  }

  void SendRequest(Stream& stream) {
    std::string model = options_.model.empty() ? "" : fmt::format(R"("model": "{}", )", options_.model);
    const std::string body = fmt::format(
        R"({{{}"prompt": "{}", "max_tokens": {}, "temperature": 0, "stream": true, "ignore_eos": true}})",
        model, Prompt(stream.prompt), options_.max_tokens);
    const std::string request = fmt::format(
        "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: "
        "close\r\n"
        "Content-Length: {}\r\n\r\n{}",
        body.size(), body);
    if (::send(stream.fd, request.data(), request.size(), MSG_NOSIGNAL) !=
        static_cast<ssize_t>(request.size())) {
      ++failed_;
      return Close(stream);
    }
    stream.connected = true;
    stream.readable = Clock::now();
  }

  void OnEvent(Stream& stream, uint32_t events) {
    if (stream.fd < 0) return;
    if (!stream.connected) {
      if ((events & (EPOLLERR | EPOLLHUP)) != 0) {
        ++failed_;
        return Close(stream);
      }
      SendRequest(stream);
      if (stream.fd < 0) return;
      epoll_event event{};
      event.events = EPOLLIN;
      event.data.ptr = &stream;
      // Slow ones are read by the clock.
      ::epoll_ctl(epoll_, stream.slow ? EPOLL_CTL_DEL : EPOLL_CTL_MOD, stream.fd, &event);
      return;
    }
    ReadSome(stream, 65536);
  }

  void ReadSome(Stream& stream, size_t most) {
    char buffer[65536];
    const ssize_t n = ::recv(stream.fd, buffer, std::min(most, sizeof(buffer)), MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) return Done(stream);
    const int64_t before = stream.answer.events;
    stream.answer.Add({buffer, static_cast<size_t>(n)});
    tokens_ += stream.answer.events - before;
    if (!stream.has_first && stream.answer.events > 0) {
      stream.has_first = true;
      first_ms_.push_back(Seconds(Clock::now() - stream.asked) * 1000);
    }
    if (stream.leave_after > 0 && stream.answer.events >= stream.leave_after) {
      ++left_;
      Close(stream);
    } else if (stream.answer.ended) {
      Done(stream);
    }
  }

  void Done(Stream& stream) {
    const Answer& answer = stream.answer;
    if (!answer.status.empty()) ++statuses_[answer.status];
    if (!answer.ended || answer.failed) {
      ++failed_;
    } else {
      ++finished_;
      if (options_.check && answer.text != expected_[stream.prompt]) ++wrong_;
    }
    Close(stream);
  }

  void Close(Stream& stream) {
    if (stream.fd >= 0) ::close(stream.fd);
    stream.fd = -1;
  }

  const Options& options_;
  int epoll_;
  std::mt19937_64 random_{42};
  std::vector<std::string> expected_;
  Clock::time_point start_;
  double seconds_ = 0;
  int64_t tokens_ = 0, finished_ = 0, left_ = 0, wrong_ = 0, failed_ = 0;
  std::map<std::string, int64_t> statuses_;
  std::vector<double> first_ms_, memory_;
};

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("Loads a running server with streams", "server_load_bench");
  app.add_option("--port", options.port, "Of the server, on loopback")->capture_default_str();
  app.add_option("--streams", options.streams, "At once")->capture_default_str();
  app.add_option("--seconds", options.seconds, "How long")->capture_default_str();
  app.add_option("--max_tokens", options.max_tokens, "Of each answer")->capture_default_str();
  app.add_option("--prompts", options.prompts, "How many different ones")->capture_default_str();
  app.add_option("--slow", options.slow, "Share of answers that are read slowly");
  app.add_option("--disconnect", options.disconnect, "Share of answers that are left in the middle");
  app.add_option("--pid", options.pid, "Of the server: tells its memory");
  app.add_option("--model", options.model, "Its name");
  app.add_flag("!--no_check", options.check, "Do not compare answers with those given alone");
  CLI11_PARSE(app, argc, argv);
  std::signal(SIGPIPE, SIG_IGN);
  Load load(options);
  if (options.check && !load.LearnAnswers()) return 1;
  load.Run();
  return load.Report();
}
