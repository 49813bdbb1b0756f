// SPDX-License-Identifier: Apache-2.0
#include "base/buffer_pool.h"

#include <gtest/gtest.h>

namespace deepshock {
namespace {

TEST(BufferPool, GivesTheSameMemoryAgainAndNeverTwiceAtOnce) {
  BufferPool pool;
  float* first;
  {
    BufferPool::Buffer<float> a = pool.Borrow<float>(1000), b = pool.Borrow<float>(1000);
    EXPECT_NE(a.data(), b.data());
    EXPECT_EQ(reinterpret_cast<uintptr_t>(a.data()) % 64, 0u);
    first = a.data();
    a[999] = 1;
    BufferPool::Buffer<float> moved = std::move(a);
    EXPECT_EQ(moved.data(), first);
    b = std::move(moved);
    EXPECT_EQ(b.data(), first);
  }
  BufferPool::Buffer<float> c = pool.Borrow<float>(900), d = pool.Borrow<float>(900);
  EXPECT_TRUE(c.data() == first || d.data() == first);
  EXPECT_NE(c.data(), d.data());
  EXPECT_EQ(pool.Borrow<float>(0).size(), 0);
}

TEST(BufferPool, ALargeBufferIsNotSpentOnASmallRequest) {
  BufferPool pool;
  char* large;
  {
    BufferPool::Buffer<char> a = pool.Borrow<char>(1 << 20);
    large = a.data();
  }
  BufferPool::Buffer<char> small = pool.Borrow<char>(100);
  EXPECT_NE(small.data(), large);
  EXPECT_EQ(pool.Borrow<char>(1 << 19).data(), large);
}

}  // namespace
}  // namespace deepshock
