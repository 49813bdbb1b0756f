// SPDX-License-Identifier: Apache-2.0
// The table that this processor gives: on AArch64 `neon` with the dot product, else the reference.
#include <gtest/gtest.h>

#include "kernels/attention.h"
#include "kernels/kernels.h"

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>

namespace deepshock {
namespace {

TEST(NeonTables, FollowTheProcessor) {
  const Result<const Kernels*> neon = KernelsByName("neon");
  const Result<const AttentionKernels*> attention = AttentionByName("neon");
  if ((getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0) {
    ASSERT_TRUE(neon.ok()) << neon.message();
    EXPECT_EQ(&BestKernels(), *neon);
    ASSERT_TRUE(attention.ok()) << attention.message();
    EXPECT_EQ(&AttentionFor(**neon), *attention);
  } else {
    ASSERT_FALSE(neon.ok());
    EXPECT_NE(neon.message().find("\"neon\": this CPU lacks"), std::string::npos) << neon.message();
    EXPECT_FALSE(attention.ok());
    EXPECT_EQ(&BestKernels(), &ReferenceKernels());
    EXPECT_EQ(&AttentionFor(BestKernels()), &ReferenceAttention());
  }
}

}  // namespace
}  // namespace deepshock
#endif
