#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "fuzz/expect_input_error.h"
#include "sim/schedule/execute.h"
#include "sim/schedule/operator_file.h"
#include "sim/schedule/schedule_file.h"

namespace {

namespace schedule = lastbit::sim::schedule;

// What is accepted runs or names a deadlock, and comes back from its own text.
void read_and_execute(std::string_view text, bool toml) {
  const schedule::Schedule own = schedule::parse_schedule(text, "fuzz", toml);
  if (schedule::parse_schedule(schedule::schedule_text(own), "again", true).order != own.order) std::abort();
  const schedule::Execution execution =
      schedule::execute(own, schedule::uniform_costs({{1}, {2}, {1}}, {3}, {0.1}, {1}));
  if (!(execution.total.s >= 3)) std::abort();  // one stage's forward and backward
}

}  // namespace

// The first byte chooses the language and what is read.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const bool toml = data[0] % 2 == 1;
  if (data[0] / 2 % 2 == 0) {
    lastbit::fuzz::expect_input_error([&] { read_and_execute(text, toml); });
  } else {
    lastbit::fuzz::expect_input_error([&] {
      for (const schedule::Units& units : schedule::parse_operators(text, "fuzz", toml, 3)) {
        (void)schedule::run_fused(units, units);
        (void)schedule::run_backward_input(units);
      }
    });
  }
  return 0;
}
