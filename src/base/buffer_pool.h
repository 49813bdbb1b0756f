// SPDX-License-Identifier: Apache-2.0
// BufferPool: memory for the temporaries of a computation that repeats. A buffer that is given back is used
// for the next request that it fits, so that after the first pass nothing is allocated and no fresh pages are
// faulted in. Contents are undefined. One thread; buffers die before their pool.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <utility>
#include <vector>

#include "base/check.h"

namespace deepshock {

class BufferPool {
  struct Free {
    void operator()(void* p) const { std::free(p); }
  };
  struct Block {
    std::unique_ptr<void, Free> memory;
    size_t bytes = 0;
  };

 public:
  // An array of T that goes back to the pool when it dies. T is trivial.
  template <typename T>
  class Buffer {
   public:
    Buffer() = default;
    Buffer(Buffer&& other) noexcept
        : pool_(std::exchange(other.pool_, nullptr)), block_(std::move(other.block_)), size_(other.size_) {}
    Buffer& operator=(Buffer&& other) noexcept {
      Return();
      pool_ = std::exchange(other.pool_, nullptr);
      block_ = std::move(other.block_);
      size_ = other.size_;
      return *this;
    }
    ~Buffer() { Return(); }

    T* data() { return static_cast<T*>(block_.memory.get()); }
    const T* data() const { return static_cast<const T*>(block_.memory.get()); }
    int64_t size() const { return size_; }
    T& operator[](int64_t i) { return data()[i]; }

   private:
    friend class BufferPool;
    void Return() {
      if (pool_ != nullptr) pool_->spare_.push_back(std::move(block_));
      pool_ = nullptr;
    }
    BufferPool* pool_ = nullptr;
    Block block_;
    int64_t size_ = 0;
  };

  template <typename T>
  Buffer<T> Borrow(int64_t count) {
    static_assert(std::is_trivially_copyable_v<T>);
    Buffer<T> buffer;
    buffer.pool_ = this;
    buffer.block_ = Take(static_cast<size_t>(count) * sizeof(T));
    buffer.size_ = count;
    return buffer;
  }

 private:
  static constexpr size_t kAlignment = 64;  // a cache line

  // The smallest spare block that is large enough, and no more than four times too large; else a new one.
  Block Take(size_t bytes) {
    bytes = (bytes + kAlignment) / kAlignment * kAlignment;
    size_t best = spare_.size();
    for (size_t i = 0; i < spare_.size(); ++i) {
      const size_t has = spare_[i].bytes;
      if (has < bytes || has / 4 > bytes + 4096) continue;
      if (best == spare_.size() || has < spare_[best].bytes) best = i;
    }
    if (best < spare_.size()) {
      Block block = std::move(spare_[best]);
      spare_[best] = std::move(spare_.back());
      spare_.pop_back();
      return block;
    }
    // Blocks of other sizes belong to other work, a long prompt perhaps: they are let go before more is
    // taken.
    constexpr size_t kMostSpare = 32;
    if (spare_.size() >= kMostSpare) spare_.clear();
    Block block;
    block.memory.reset(std::aligned_alloc(kAlignment, bytes));
    DS_CHECK(block.memory != nullptr, "out of memory");
    block.bytes = bytes;
    return block;
  }

  std::vector<Block> spare_;
};

}  // namespace deepshock
