#include "model/parameter_groups.h"

#include <array>
#include <cstddef>

namespace lastbit::model {
namespace {

enum Place : std::size_t { kMatrices, kEmbeddings, kNorms, kBiases };

Place place_of(const WeightSpec& spec) {
  if (spec.kind == WeightKind::kNorm) return kNorms;
  if (spec.kind == WeightKind::kBias) return kBiases;
  return spec.name == "model.embed_tokens.weight" || spec.name == "lm_head.weight" ? kEmbeddings : kMatrices;
}

}  // namespace

std::vector<ParameterGroup> parameter_groups(const std::vector<WeightSpec>& specs,
                                             const ParameterGroupOptions& options) {
  std::array<ParameterGroup, 4> all{{{"matrices", true, {}},
                                     {"embeddings", options.decay_embeddings, {}},
                                     {"norms", false, {}},
                                     {"biases", false, {}}}};
  for (const WeightSpec& spec : specs)
    if (spec.copy_of.empty() && !spec.role.ends_with("e_score_correction_bias"))
      all.at(place_of(spec)).weights.push_back(spec.name);
  std::vector<ParameterGroup> groups;
  for (ParameterGroup& group : all)
    if (!group.weights.empty()) groups.push_back(std::move(group));
  return groups;
}

}  // namespace lastbit::model
