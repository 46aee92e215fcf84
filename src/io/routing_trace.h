// Routing traces: which experts the tokens of a run chose, recorded in HDF5 for the forecast to replay.
// docs/routing_traces.md describes the file.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "io/hdf5.h"

namespace lastbit::io {

// In `choices`: no expert, for a token that the router dropped.
inline constexpr std::uint16_t kNoExpert = 0xFFFF;

struct RoutingTrace {
  std::string source;                  // what routed: a model's name, a command; free text
  std::int64_t experts = 0;            // E, 1 to 65534
  std::int64_t top_k = 0;              // k, 1 to E
  std::int64_t groups = 1;             // of experts, in order; they divide E
  std::int64_t kept_groups = 1;        // groups that a token may choose from
  std::vector<std::int64_t> layers;    // [L] the model's layers that route, ascending
  std::vector<std::int64_t> steps;     // [S] step numbers, ascending
  std::vector<std::int64_t> tokens;    // [S] tokens of each step
  std::vector<std::int64_t> counts;    // [S, L, E] tokens that chose each expert
  std::vector<std::uint16_t> choices;  // [sum of tokens, L, k] every token's experts; empty: only counts were recorded
};

// Adds a step and its counts. choices: [tokens, L, k], experts or kNoExpert, distinct within a token and layer.
// keep_choices: also every token's own, as `choices`; the same for all steps of a trace.
// Errors: bad input, as by check_routing_trace.
void append_step(RoutingTrace& trace, std::int64_t step, std::span<const std::uint16_t> choices, bool keep_choices);

// Refuses (bad input, `name` in front) sizes that do not fit each other, numbers out of range or order, experts chosen
// twice by one token, and counts that are not those of the choices or exceed tokens x top_k.
void check_routing_trace(const RoutingTrace& trace, const std::string& name);

// Checked before anything is written; the same trace gives the same bytes.
void save_routing_trace(const std::string& path, const RoutingTrace& trace);
// Errors: bad input for a file that is no HDF5, no trace, of another version, with unknown datasets, or that
// check_routing_trace refuses.
[[nodiscard]] RoutingTrace load_routing_trace(const std::string& path);
// The same from arrays and the file's attributes in memory.
[[nodiscard]] RoutingTrace parse_routing_trace(const tensor::NamedTensors& arrays, const Attributes& attributes,
                                               const std::string& name);

}  // namespace lastbit::io
