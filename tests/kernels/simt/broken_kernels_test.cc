// Every kernel with a fault is caught, every one without is accepted.
#include "simt/broken_kernels.h"

#include <gtest/gtest.h>

#include "kernels/simt/every_order.h"

namespace lastbit::broken {
namespace {

std::vector<BrokenKernel> all_kernels() {
  std::vector<BrokenKernel> all;
  for (auto* list :
       {broken_indices, broken_barriers, broken_warps, broken_reductions, broken_copies, broken_products}) {
    const std::vector<BrokenKernel> some = list();
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

TEST(BrokenKernels, TwinsWithoutTheFaultAreAccepted) {
  for (const BrokenKernel& kernel : all_kernels()) {
    SCOPED_TRACE(kernel.name);
    EXPECT_EQ(simt::in_every_order(kernel.name, [&] { return kernel.run(false); }), kernel.expected);
  }
}

TEST(BrokenKernels, AllAreCaught) {
  EXPECT_EQ(all_kernels().size(), 45u);  // docs/kernels.md says so
  for (const BrokenKernel& kernel : all_kernels()) {
    SCOPED_TRACE(kernel.name + ": " + kernel.fault);
    try {
      const std::vector<float> result = simt::in_every_order(kernel.name, [&] { return kernel.run(true); });
      EXPECT_FALSE(kernel.finding.has_value()) << "no finding";
      EXPECT_NE(result, kernel.expected);
    } catch (const simt::Finding& finding) {
      std::printf("%-28s %s\n", kernel.name.c_str(), finding.what());
      ASSERT_TRUE(kernel.finding.has_value()) << finding.what();
      EXPECT_EQ(to_string(finding.kind()), to_string(*kernel.finding)) << finding.what();
      EXPECT_EQ(std::string(finding.what()).find('\n'), std::string::npos);
    }
  }
}

}  // namespace
}  // namespace lastbit::broken
