#include "sim/network/ranks.h"

#include <charconv>
#include <cmath>
#include <numeric>
#include <string_view>

#include "core/error.h"

namespace lastbit::sim::network {
namespace {

// A whole number from 0 on that fits; `what` names it in the message.
std::uint32_t parse_rank(std::string_view text, const char* what) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size())
    core::fail_input("{}: found '{}', expected a whole number, or GPUs and ranges such as 0-7,16-23", what, text);
  return value;
}

std::vector<std::uint32_t> parse_list(std::string_view text, const Fabric& fabric) {
  std::vector<std::uint32_t> all;
  while (!text.empty()) {
    const std::size_t comma = std::min(text.find(','), text.size());
    const std::string_view item = text.substr(0, comma);
    text.remove_prefix(std::min(comma + 1, text.size()));
    const std::size_t dash = item.find('-');
    const std::uint32_t first = parse_rank(item.substr(0, dash), "ranks");
    const std::uint32_t last = dash == std::string_view::npos ? first : parse_rank(item.substr(dash + 1), "ranks");
    if (last < first || last >= fabric.num_gpus())
      core::fail_input("ranks: found '{}', {} has GPUs 0 to {}", item, fabric.cluster().name, fabric.num_gpus() - 1);
    for (std::uint32_t gpu = first; gpu <= last; ++gpu) all.push_back(gpu);
  }
  return all;
}

}  // namespace

Groups parse_groups(const std::string& ranks, const std::string& count, const Fabric& fabric) {
  if (ranks.find_first_of(",-") != std::string::npos) {
    if (count != "1") core::fail_input("groups: found '{}', expected 1 with a list of ranks", count);
    return {parse_list(ranks, fabric)};
  }
  const std::uint32_t size = parse_rank(ranks, "ranks");
  if (size == 0 || size > fabric.num_gpus())
    core::fail_input("ranks: found {}, expected 1 to the {} GPUs of {}", size, fabric.num_gpus(),
                     fabric.cluster().name);
  const std::uint32_t most = fabric.num_gpus() / size;
  const std::uint32_t num = count == "all" ? most : parse_rank(count, "groups");
  if (num == 0 || num > most)
    core::fail_input("groups: found {}, expected 1 to {} groups of {} of the {} GPUs of {}", num, most, size,
                     fabric.num_gpus(), fabric.cluster().name);
  Groups groups(num, std::vector<std::uint32_t>(size));
  for (std::uint32_t i = 0; i < num; ++i) std::iota(groups[i].begin(), groups[i].end(), i * size);
  return groups;
}

std::size_t nodes_of(const std::vector<std::uint32_t>& group, const Fabric& fabric) {
  std::size_t nodes = group.empty() ? 0 : 1;
  for (std::size_t i = 1; i < group.size(); ++i)
    nodes += fabric.node_of(group[i]) != fabric.node_of(group[i - 1]) ? 1 : 0;
  return nodes;
}

double token_bytes(double hidden, const std::string& format) {
  if (format == "bf16") return 2 * hidden;
  if (format == "fp8") return hidden + 4 * std::ceil(hidden / 128);
  core::fail_input("format: found '{}', expected fp8 or bf16", format);
}

}  // namespace lastbit::sim::network
