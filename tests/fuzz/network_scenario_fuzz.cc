#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

#include "fuzz/expect_input_error.h"
#include "io/json.h"
#include "sim/network/scenario.h"
#include "sim/network/solve.h"

// A scenario file; small ones that are accepted are also solved.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  lastbit::fuzz::expect_input_error([&] {
    namespace network = lastbit::sim::network;
    const network::Scenario scenario = network::read_scenario(lastbit::io::parse_json(text, "fuzz.json"), "fuzz.json");
    if (scenario.flows.size() < 200)
      (void)network::solve(scenario.links, scenario.flows, {.sharing = scenario.sharing, .bins = 3});
  });
  return 0;
}
