#include <cstddef>
#include <cstdint>
#include <string>

#include "fuzz/expect_input_error.h"
#include "sim/cost/kernel_times.h"

// A user's table of kernel times; one that is accepted is also asked for a time and held against an operator.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  lastbit::fuzz::expect_input_error([&] {
    namespace cost = lastbit::sim::cost;
    const auto given = cost::parse_kernel_times(text, "fuzz.csv");
    const auto op = lastbit::sim::workload::gemm("dense", 100, 8, 8, lastbit::sim::workload::Format::kFp8);
    (void)cost::given_time(given, op);
    cost::check_kernel_times(given, {op});
  });
  return 0;
}
