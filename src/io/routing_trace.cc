#include "io/routing_trace.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "core/error.h"
#include "core/suggest.h"
#include "io/json.h"

namespace lastbit::io {
namespace {

using tensor::NamedTensors;
using tensor::Tensor;

constexpr const char* kFormat = "lastbit-routing-trace";
constexpr std::int64_t kVersion = 1;
constexpr std::int64_t kMostExperts = kNoExpert - 1;

std::size_t size_of_trace(std::int64_t count) { return static_cast<std::size_t>(count); }

// Numbers of a trace's header.
void check_header(const RoutingTrace& trace, const std::string& name) {
  const auto in_range = [&name](const char* what, std::int64_t value, std::int64_t least, std::int64_t most) {
    if (value < least || value > most)
      core::fail_input("{}: {}: found {}, expected {} to {}", name, what, value, least, most);
  };
  in_range("experts", trace.experts, 1, kMostExperts);
  in_range("top_k", trace.top_k, 1, trace.experts);
  in_range("groups", trace.groups, 1, trace.experts);
  in_range("kept_groups", trace.kept_groups, 1, trace.groups);
  if (trace.experts % trace.groups != 0)
    core::fail_input("{}: {} experts do not divide into {} groups", name, trace.experts, trace.groups);
}

void check_ascending(const std::vector<std::int64_t>& values, const char* what, const std::string& name) {
  if (values.empty()) core::fail_input("{}: {} is empty, expected at least one", name, what);
  if (values.front() < 0) core::fail_input("{}: {}[0] is {}, expected at least 0", name, what, values.front());
  for (std::size_t i = 1; i < values.size(); ++i) {
    if (values[i] <= values[i - 1])
      core::fail_input("{}: {}[{}] is {}, expected more than {} before it", name, what, i, values[i], values[i - 1]);
  }
}

// The tokens of all steps; their choices and counts have sizes below 2^62.
std::int64_t check_tokens(const RoutingTrace& trace, const std::string& name) {
  if (trace.tokens.size() != trace.steps.size())
    core::fail_input("{}: tokens has {} entries, expected one for each of {} steps", name, trace.tokens.size(),
                     trace.steps.size());
  constexpr std::int64_t kMostTokens = std::int64_t{1} << 40;
  std::int64_t sum = 0;
  for (std::size_t s = 0; s < trace.tokens.size(); ++s) {
    if (trace.tokens[s] < 1 || trace.tokens[s] > kMostTokens - sum)
      core::fail_input("{}: tokens[{}] is {}, expected 1 or more and at most {} in all", name, s, trace.tokens[s],
                       kMostTokens);
    sum += trace.tokens[s];
  }
  return sum;
}

void expect_size(std::size_t found, const char* what, const std::vector<std::int64_t>& shape, const std::string& name) {
  const std::int64_t expected = tensor::element_count(shape, name + ": " + what);
  if (found != size_of_trace(expected))
    core::fail_input("{}: {} has {} entries, expected {} for {}", name, what, found, expected,
                     tensor::to_string(shape));
}

// Adds one step's choices to its counts [L, E].
void count_choices(const RoutingTrace& trace, std::span<const std::uint16_t> choices, std::int64_t first_token,
                   std::span<std::int64_t> counts, const std::string& name) {
  const std::size_t top_k = size_of_trace(trace.top_k);
  const std::size_t experts = size_of_trace(trace.experts);
  const std::size_t layers = trace.layers.size();
  std::vector<std::size_t> last_row(experts, 0);  // the row, from 1, that chose the expert last
  for (std::size_t row = 0; row * top_k < choices.size(); ++row) {
    for (std::size_t i = 0; i < top_k; ++i) {
      const std::uint16_t expert = choices[row * top_k + i];
      if (expert == kNoExpert) continue;
      const auto token = first_token + static_cast<std::int64_t>(row / layers);
      if (expert >= experts)
        core::fail_input("{}: choices: token {} chose expert {}, expected one below {}, or {} for none", name, token,
                         expert, experts, kNoExpert);
      if (last_row[expert] == row + 1)
        core::fail_input("{}: choices: token {} chose expert {} twice in layer {}", name, token, expert,
                         trace.layers[row % layers]);
      last_row[expert] = row + 1;
      ++counts[row % layers * experts + expert];
    }
  }
}

void check_counts_alone(const RoutingTrace& trace, const std::string& name) {
  const std::size_t experts = size_of_trace(trace.experts);
  for (std::size_t row = 0; row < trace.steps.size() * trace.layers.size(); ++row) {
    const std::int64_t tokens = trace.tokens[row / trace.layers.size()];
    std::int64_t sum = 0;
    for (std::size_t e = 0; e < experts; ++e) {
      const std::int64_t count = trace.counts[row * experts + e];
      if (count < 0 || count > tokens)
        core::fail_input("{}: counts: {} tokens chose expert {} at step {}, expected 0 to {}", name, count, e,
                         trace.steps[row / trace.layers.size()], tokens);
      sum += count;
    }
    if (sum > tokens * trace.top_k)
      core::fail_input("{}: counts: {} choices at step {} in layer {}, expected at most {} ({} tokens x top {})", name,
                       sum, trace.steps[row / trace.layers.size()], trace.layers[row % trace.layers.size()],
                       tokens * trace.top_k, tokens, trace.top_k);
  }
}

void check_counts_of_choices(const RoutingTrace& trace, const std::string& name) {
  const std::size_t a_step = trace.layers.size() * size_of_trace(trace.experts);
  const std::size_t a_token = trace.layers.size() * size_of_trace(trace.top_k);
  std::vector<std::int64_t> counts(a_step);
  std::size_t token = 0;
  for (std::size_t s = 0; s < trace.steps.size(); ++s) {
    std::fill(counts.begin(), counts.end(), 0);
    const std::size_t tokens = size_of_trace(trace.tokens[s]);
    count_choices(trace, std::span(trace.choices).subspan(token * a_token, tokens * a_token),
                  static_cast<std::int64_t>(token), counts, name);
    token += tokens;
    if (!std::equal(counts.begin(), counts.end(), trace.counts.begin() + static_cast<std::ptrdiff_t>(s * a_step)))
      core::fail_input("{}: counts of step {} are not those of its choices", name, trace.steps[s]);
  }
}

// An attribute of type T.
template <typename T>
T attribute(const Attributes& attributes, const std::string& key, const char* expected, const std::string& name) {
  const auto found = attributes.find(key);
  if (found == attributes.end()) core::fail_input("{}: no attribute '{}', expected {}", name, key, expected);
  const T* value = std::get_if<T>(&found->second);
  if (value == nullptr) core::fail_input("{}: attribute '{}' is not {}", name, key, expected);
  return *value;
}

// A dataset's elements; T is its element type.
template <typename T>
std::vector<T> dataset(const NamedTensors& arrays, const std::string& key, std::int64_t rank, const std::string& name) {
  const auto found = arrays.find(key);
  if (found == arrays.end()) core::fail_input("{}: no dataset '{}', which a routing trace has", name, key);
  const Tensor& array = found->second;
  if (array.dtype() != tensor::kDTypeOf<T> || array.rank() != rank)
    core::fail_input("{}: {} is {} of {}, expected {} of {} dimensions", name, key, tensor::name(array.dtype()),
                     tensor::to_string(array.shape()), tensor::name(tensor::kDTypeOf<T>), rank);
  const std::span<const T> values = array.values<T>();
  return {values.begin(), values.end()};
}

void expect_shape(const NamedTensors& arrays, const std::string& key, const tensor::Shape& shape,
                  const std::string& name) {
  if (arrays.at(key).shape() != shape)
    core::fail_input("{}: {} has the shape {}, expected {}", name, key, tensor::to_string(arrays.at(key).shape()),
                     tensor::to_string(shape));
}

void refuse_unknown_datasets(const NamedTensors& arrays, const std::string& name) {
  const std::vector<std::string> known{"choices", "counts", "layers", "steps", "tokens"};
  for (const auto& [key, array] : arrays) {
    if (std::find(known.begin(), known.end(), key) == known.end())
      core::fail_input("{}: unknown dataset '{}'{}", name, key, core::suggestion(key, known));
  }
}

}  // namespace

void append_step(RoutingTrace& trace, std::int64_t step, std::span<const std::uint16_t> choices, bool keep_choices) {
  const std::string name = "routing of step " + std::to_string(step);
  check_header(trace, name);
  check_ascending(trace.layers, "layers", name);
  const std::size_t a_token = trace.layers.size() * size_of_trace(trace.top_k);
  if (choices.empty() || choices.size() % a_token != 0)
    core::fail_input("{}: found {} choices, expected a multiple of {} layers x top {}", name, choices.size(),
                     trace.layers.size(), trace.top_k);
  if (step < 0 || (!trace.steps.empty() && step <= trace.steps.back()))
    core::fail_input("{}: expected a step from 0, after those before it", name);
  if (!trace.steps.empty() && keep_choices == trace.choices.empty())
    core::fail_input("{}: choices are kept of every step of a trace or of none", name);
  std::vector<std::int64_t> counts(trace.layers.size() * size_of_trace(trace.experts), 0);
  count_choices(trace, choices, std::accumulate(trace.tokens.begin(), trace.tokens.end(), std::int64_t{0}), counts,
                name);
  trace.steps.push_back(step);
  trace.tokens.push_back(static_cast<std::int64_t>(choices.size() / a_token));
  trace.counts.insert(trace.counts.end(), counts.begin(), counts.end());
  if (keep_choices) trace.choices.insert(trace.choices.end(), choices.begin(), choices.end());
}

void check_routing_trace(const RoutingTrace& trace, const std::string& name) {
  check_header(trace, name);
  check_ascending(trace.layers, "layers", name);
  check_ascending(trace.steps, "steps", name);
  const std::int64_t tokens = check_tokens(trace, name);
  const auto layers = static_cast<std::int64_t>(trace.layers.size());
  expect_size(trace.counts.size(), "counts", {static_cast<std::int64_t>(trace.steps.size()), layers, trace.experts},
              name);
  check_counts_alone(trace, name);
  if (trace.choices.empty()) return;
  expect_size(trace.choices.size(), "choices", {tokens, layers, trace.top_k}, name);
  check_counts_of_choices(trace, name);
}

void save_routing_trace(const std::string& path, const RoutingTrace& trace) {
  check_routing_trace(trace, path);
  const auto steps = static_cast<std::int64_t>(trace.steps.size());
  const auto layers = static_cast<std::int64_t>(trace.layers.size());
  NamedTensors arrays;
  arrays.emplace("layers", Tensor::from<std::int64_t>({layers}, trace.layers));
  arrays.emplace("steps", Tensor::from<std::int64_t>({steps}, trace.steps));
  arrays.emplace("tokens", Tensor::from<std::int64_t>({steps}, trace.tokens));
  arrays.emplace("counts", Tensor::from<std::int64_t>({steps, layers, trace.experts}, trace.counts));
  if (!trace.choices.empty()) {
    const std::int64_t tokens = std::accumulate(trace.tokens.begin(), trace.tokens.end(), std::int64_t{0});
    arrays.emplace("choices", Tensor::from<std::uint16_t>({tokens, layers, trace.top_k}, trace.choices));
  }
  save_hdf5(path, arrays,
            {{"",
              {{"format", std::string(kFormat)},
               {"version", kVersion},
               {"source", trace.source},
               {"experts", trace.experts},
               {"top_k", trace.top_k},
               {"groups", trace.groups},
               {"kept_groups", trace.kept_groups}}}});
}

RoutingTrace parse_routing_trace(const NamedTensors& arrays, const Attributes& attributes, const std::string& name) {
  const auto format = attribute<std::string>(attributes, "format", "the string 'lastbit-routing-trace'", name);
  if (format != kFormat)
    core::fail_input("{}: attribute 'format' is {}, expected '{}'", name, describe_json(format), kFormat);
  const auto version = attribute<std::int64_t>(attributes, "version", "an integer", name);
  if (version != kVersion) core::fail_input("{}: version {} of the format, expected {}", name, version, kVersion);
  refuse_unknown_datasets(arrays, name);
  RoutingTrace trace;
  trace.source = attribute<std::string>(attributes, "source", "a string", name);
  trace.experts = attribute<std::int64_t>(attributes, "experts", "an integer", name);
  trace.top_k = attribute<std::int64_t>(attributes, "top_k", "an integer", name);
  trace.groups = attribute<std::int64_t>(attributes, "groups", "an integer", name);
  trace.kept_groups = attribute<std::int64_t>(attributes, "kept_groups", "an integer", name);
  trace.layers = dataset<std::int64_t>(arrays, "layers", 1, name);
  trace.steps = dataset<std::int64_t>(arrays, "steps", 1, name);
  trace.tokens = dataset<std::int64_t>(arrays, "tokens", 1, name);
  trace.counts = dataset<std::int64_t>(arrays, "counts", 3, name);
  const auto steps = static_cast<std::int64_t>(trace.steps.size());
  const auto layers = static_cast<std::int64_t>(trace.layers.size());
  expect_shape(arrays, "counts", {steps, layers, trace.experts}, name);
  if (arrays.contains("choices")) {
    trace.choices = dataset<std::uint16_t>(arrays, "choices", 3, name);
    expect_shape(arrays, "choices", {arrays.at("choices").shape()[0], layers, trace.top_k}, name);
    if (trace.choices.empty())
      core::fail_input("{}: choices is empty; a trace of counts alone has no such dataset", name);
  }
  check_routing_trace(trace, name);
  return trace;
}

RoutingTrace load_routing_trace(const std::string& path) {
  const NamedTensors arrays = load_hdf5(path);
  return parse_routing_trace(arrays, load_hdf5_attributes(path, ""), path);
}

}  // namespace lastbit::io
