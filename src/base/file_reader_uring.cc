// SPDX-License-Identifier: Apache-2.0
// FileReader on io_uring. Requests are submitted by whoever has the mutex; one thread sleeps until the kernel
// reports an end and then submits what waits, so that the disk stays busy while the caller computes.
#include "base/file_reader_queue.h"

#ifdef DEEPSHOCK_URING
#include <liburing.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>

#include "base/check.h"
#endif

namespace deepshock {

#ifdef DEEPSHOCK_URING
namespace {

class UringReader final : public QueuedReader {
 public:
  UringReader(OpenFiles* files, const Options& options)
      : QueuedReader(std::move(*files), options.request_bytes,
                     files->direct ? "io_uring, O_DIRECT" : "io_uring, through the page cache"),
        flights_(static_cast<size_t>(options.num_requests)) {
    for (size_t i = 0; i < flights_.size(); ++i) free_.push_back(i);
  }
  // Takes the ring over.
  void Run(const io_uring& ring) {
    ring_ = ring;
    thread_ = std::thread([this] { Loop(); });
  }
  ~UringReader() override {
    {
      std::unique_lock lock(mutex_);
      idle_.wait(lock, [this] { return free_.size() == flights_.size(); });
      io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
      io_uring_prep_nop(sqe);
      io_uring_sqe_set_data(sqe, nullptr);
      Submit();
    }
    thread_.join();
    io_uring_queue_exit(&ring_);
  }

  void Start(const FileRead& read) override {
    std::lock_guard lock(mutex_);
    queue_.Add(read);
    Pump();
  }

 private:
  // Fills the places that are free. Under the mutex.
  void Pump() {
    bool any = false;
    while (!free_.empty()) {
      const std::optional<FileRequest> request = queue_.Next();
      if (!request) break;
      io_uring_sqe* sqe = io_uring_get_sqe(&ring_);  // as many entries as places: there is one
      DS_CHECK(sqe != nullptr, "the submission queue has room");
      const size_t place = free_.back();
      free_.pop_back();
      FileRequest& flight = flights_[place];
      flight = *request;
      io_uring_prep_read(sqe, FdOf(flight), flight.to,
                         static_cast<unsigned>(flight.padded), static_cast<uint64_t>(flight.offset));
      io_uring_sqe_set_data(sqe, &flight);
      any = true;
    }
    if (any) Submit();
  }

  void Submit() {
    // The kernel may be short of memory for a moment; entries stay queued until it takes them.
    while (io_uring_sq_ready(&ring_) > 0) {
      const int submitted = io_uring_submit(&ring_);
      if (submitted >= 0) continue;
      DS_CHECK(submitted == -EINTR || submitted == -EAGAIN || submitted == -EBUSY,
               "io_uring takes what it has been asked for");
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }

  void Loop() {
    for (;;) {
      io_uring_cqe* cqe = nullptr;
      const int waited = io_uring_wait_cqe(&ring_, &cqe);
      if (waited == -EINTR || waited == -EAGAIN) continue;
      DS_CHECK(waited == 0, "io_uring reports what has ended");
      std::lock_guard lock(mutex_);
      bool stop = false;
      do {
        auto* flight = static_cast<FileRequest*>(io_uring_cqe_get_data(cqe));
        const int result = cqe->res;
        io_uring_cqe_seen(&ring_, cqe);
        stop = flight == nullptr;
        if (!stop) Land(flight, result);
      } while (!stop && io_uring_peek_cqe(&ring_, &cqe) == 0);
      if (stop) return;
      Pump();
      if (queue_.has_done()) done_.notify_all();
      if (free_.size() == flights_.size()) idle_.notify_all();
    }
  }

  void Land(FileRequest* flight, int result) {
    const bool again = result == -EINTR || result == -EAGAIN;  // the kernel asks to try again
    queue_.Finish(*flight, again ? ReadNow(*flight) : result);
    free_.push_back(static_cast<size_t>(flight - flights_.data()));
  }

  std::condition_variable idle_;
  std::vector<FileRequest> flights_;
  std::vector<size_t> free_;  // places in flights_
  io_uring ring_ = {};
  std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<FileReader>> MakeUringReader(OpenFiles* files, const FileReader::Options& options) {
  io_uring ring;
  const int status = io_uring_queue_init(static_cast<unsigned>(options.num_requests) + 1, &ring, 0);
  if (status < 0) return Fail("io_uring is refused: {}", std::strerror(-status));
  auto reader = std::make_unique<UringReader>(files, options);
  reader->Run(ring);
  return std::unique_ptr<FileReader>(std::move(reader));
}

#else
Result<std::unique_ptr<FileReader>> MakeUringReader(OpenFiles*, const FileReader::Options&) {
  return Fail("this program was built without io_uring");
}
#endif

}  // namespace deepshock
