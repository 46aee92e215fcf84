// A pipeline schedule: which stages a rank holds, and the verbs that it runs, in order.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lastbit::sim::schedule {

enum class Verb : std::uint8_t {
  kForward,        // F
  kBackward,       // B: full backward, input and weight gradients
  kBackwardInput,  // Bi: input gradient only; its W comes later
  kWeight,         // W: the weight gradient of an earlier Bi
  kFused,          // F&B: a forward overlapped with a full backward
};

// A micro-batch's passage through one stage, as the rank sees it: slot is the rank's chunk (interleaved), direction
// (DualPipe: 0 down, 1 up) or phase (DualPipeV); micro_batch counts from 0 within its path.
struct Chunk {
  std::int32_t micro_batch = 0;
  std::int16_t slot = 0;

  bool operator==(const Chunk&) const = default;
};

// One verb of a rank's list. `second` is the backward half of a fused verb, whose forward half is `chunk`.
struct Op {
  Verb verb = Verb::kForward;
  Chunk chunk;
  Chunk second;

  bool operator==(const Op&) const = default;
};

// The stage that a rank holds in a slot, and the path of micro-batches that passes through it.
struct Placement {
  int stage = 0;
  int path = 0;
};

// How labels are written: "F3.0" is micro-batch 3, chunk 0, or direction 3, micro-batch 0.
enum class LabelStyle : std::uint8_t {
  kChunk,      // F<mb>.<chunk>, B or Bi written BW (full) and B (input only), as the zero-bubble reference does
  kDirection,  // F<direction>.<mb>, full backward B, input only Bi, fused F0.3&B1.1, as DualPipe does
};

struct Schedule {
  std::string kind;
  LabelStyle labels = LabelStyle::kChunk;
  int ranks = 0;
  int stages = 0;            // of the model; each path passes all of them in order
  int slots = 1;             // most stages that a rank holds
  int paths = 1;             // streams of micro-batches: 2 in DualPipe (down and up)
  int micro_batches = 0;     // in all; each path has micro_batches / paths
  int activation_limit = 0;  // most micro-batches in flight that the lists were built for; 0: the kind has no choice
  std::vector<std::vector<Placement>> placement;  // [ranks][the rank's slots]
  std::vector<std::vector<Op>> order;             // [ranks][verbs]

  [[nodiscard]] const Placement& at(int rank, int slot) const {
    return placement[static_cast<std::size_t>(rank)][static_cast<std::size_t>(slot)];
  }
};

// A schedule of one stage a rank and one path, its lists still empty.
[[nodiscard]] Schedule one_stage_a_rank(std::string kind, int ranks, int micro_batches);

// "F3.0", "BW3.0", "Bi1.2", "F0.3&B1.1": see LabelStyle.
[[nodiscard]] std::string label(const Op& op, LabelStyle style);
// The micro-batch and slot alone: "3.0", "1.2".
[[nodiscard]] std::string chunk_label(const Chunk& chunk, LabelStyle style);
// The verb that label() writes so; nothing if there is none. Also read: BW for a full backward and Bi for an input-only
// one in either style, and a chunk label without its chunk ("F3") for chunk 0.
[[nodiscard]] std::optional<Op> parse_label(std::string_view text, LabelStyle style);

// Whether any list has a fused verb.
[[nodiscard]] bool has_fused(const Schedule& schedule);

// Throws Error(kInput) unless every stage of every path is held once, by one rank, and each rank's list has every
// micro-batch of each of its slots exactly once forward and once backward (full, or input-only followed by its weight
// part), in ranges; the message names the verb.
void validate(const Schedule& schedule);

}  // namespace lastbit::sim::schedule
