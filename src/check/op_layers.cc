// Operators of one layer without a product: embedding, RMSNorm, RoPE, SwiGLU, residuals.
#include <algorithm>

#include "check/op_arguments.h"
#include "check/op_families.h"
#include "ops/add.h"
#include "ops/embedding.h"
#include "ops/rms_norm.h"
#include "ops/rope.h"
#include "ops/swiglu.h"

namespace lastbit::check {
namespace {

using tensor::NamedTensors;
using tensor::Tensor;

NamedTensors run_embedding(const OpArguments& in) {
  in.require_range("ids", 0, in.size("vocabulary"));
  NamedTensors out{{"y", ops::embedding(in.tensor("ids"), in.tensor("table"))}};
  if (const Tensor* dy = in.find("dy")) {
    Tensor dtable = Tensor::zeros(in.dtype(), in.tensor("table").shape());
    ops::embedding_backward(*dy, in.tensor("ids"), dtable);
    out.emplace("dtable", dtable);
  }
  return out;
}

NamedTensors run_rms_norm(const OpArguments& in) {
  const Tensor& x = in.tensor("x");
  const Tensor& weight = in.tensor("weight");
  const double eps = in.number("eps");
  NamedTensors out{{"y", ops::rms_norm(x, weight, eps)}};
  if (const Tensor* dy = in.find("dy")) {
    Tensor dweight = Tensor::zeros(in.dtype(), weight.shape());
    out.emplace("dx", ops::rms_norm_backward(*dy, x, weight, eps, dweight));
    out.emplace("dweight", dweight);
  }
  return out;
}

NamedTensors run_swiglu(const OpArguments& in) {
  NamedTensors out{{"y", ops::swiglu(in.tensor("gate"), in.tensor("up"))}};
  if (const Tensor* dy = in.find("dy")) {
    const ops::SwigluGradients gradients = ops::swiglu_backward(*dy, in.tensor("gate"), in.tensor("up"));
    out.emplace("dgate", gradients.dgate);
    out.emplace("dup", gradients.dup);
  }
  return out;
}

NamedTensors run_add(const OpArguments& in) { return {{"y", ops::add(in.tensor("a"), in.tensor("b"))}}; }

constexpr std::int64_t kMostTableElements = std::int64_t{1} << 28;  // 2 GB of cosines in FP64

const std::vector<std::string> kYarnKeys{"beta_fast", "beta_slow", "mscale", "mscale_all_dim"};
const std::vector<std::string> kLlama3Keys{"low_freq_factor", "high_freq_factor"};

ops::RopeParameters rope_parameters(const OpArguments& in) {
  const std::int64_t width = in.size("width");
  const std::int64_t first = in.whole("first");
  ops::RopeParameters parameters;
  parameters.dim = in.given("dim") ? in.whole("dim") : width - first;
  if (parameters.dim < 2 || parameters.dim % 2 != 0 || first > width - parameters.dim)
    core::fail_input("{}: turns {} elements from {} on, expected an even number within the {} of a vector", in.op(),
                     parameters.dim, first, width);
  parameters.theta = in.number("theta");
  const std::string& scaling = in.text("scaling");
  if (scaling != "yarn") in.refuse_settings(kYarnKeys, "they belong to scaling=yarn");
  if (scaling != "llama3") in.refuse_settings(kLlama3Keys, "they belong to scaling=llama3");
  if (scaling == "none") {
    in.refuse_settings({"factor", "original_positions"}, "scaling is none");
  } else if (scaling == "yarn") {
    parameters.yarn = ops::YarnParameters{in.number("factor"),    in.number("original_positions"),
                                          in.number("beta_fast"), in.number("beta_slow"),
                                          in.number("mscale"),    in.number("mscale_all_dim")};
    if (parameters.yarn->beta_fast < parameters.yarn->beta_slow)
      core::fail_input("{}: beta_fast {} below beta_slow {}, expected no less", in.op(), parameters.yarn->beta_fast,
                       parameters.yarn->beta_slow);
  } else {
    parameters.llama3 = ops::Llama3Parameters{in.number("factor"), in.number("low_freq_factor"),
                                              in.number("high_freq_factor"), in.number("original_positions")};
    if (parameters.llama3->high_freq_factor <= parameters.llama3->low_freq_factor)
      core::fail_input("{}: high_freq_factor {} and low_freq_factor {}, expected the first to be larger", in.op(),
                       parameters.llama3->high_freq_factor, parameters.llama3->low_freq_factor);
  }
  return parameters;
}

NamedTensors run_rope(const OpArguments& in) {
  using Layout = ops::RopeLayout;
  const auto layout = in.choice<Layout>("layout", {{"half_split", Layout::kHalfSplit},
                                                   {"interleaved", Layout::kInterleaved},
                                                   {"interleaved_to_halves", Layout::kInterleavedToHalves}});
  const ops::RopeParameters parameters = rope_parameters(in);
  const Tensor* positions = in.find("positions");
  std::int64_t limit = in.size("S");
  if (positions != nullptr) {
    in.require_range("positions", 0, kMostTableElements / parameters.dim);
    limit = std::ranges::max(positions->values<std::int64_t>()) + 1;
  }
  const ops::RopeTables tables = ops::rope_tables(parameters, limit, in.dtype());
  const std::int64_t first = in.whole("first");
  Tensor y = in.tensor("x").clone();
  ops::apply_rope(y, tables, layout, first, positions);
  NamedTensors out{{"y", y}, {"inv_freq", tables.inv_freq}, {"cos", tables.cos}, {"sin", tables.sin}};
  if (const Tensor* dy = in.find("dy")) {
    Tensor dx = dy->clone();
    ops::apply_rope_backward(dx, tables, layout, first, positions);
    out.emplace("dx", dx);
  }
  return out;
}

OpEntry rope_entry() {
  return {"rope",
          "Rotary position embedding, with YaRN's or Llama 3's frequencies",
          {{"x", OpElements::kFloat, "[..., S, heads, width]", "vectors to turn"},
           {"positions", OpElements::kIndex, "[..., S]", "of the tokens; without them, the index along S", false},
           {"dy", OpElements::kFloat, "[..., S, heads, width]", "gradient of y", false}},
          {choice_setting("layout", {"half_split", "interleaved", "interleaved_to_halves"},
                          "pairs (j, j + dim/2) as Llama has them; (2j, 2j + 1) in place as DeepSeek-V2; (2j, 2j + 1) "
                          "to (j, j + dim/2) as DeepSeek-V3 in transformers"),
           whole_setting("first", "0", 0, kManyExperts, "first element of a vector that is turned"),
           whole_setting("dim", "", 2, kManyExperts, "elements that are turned (default: all from `first` on)"),
           number_setting("theta", "10000", 1.0001, 1e12, "base of the frequencies"),
           choice_setting("scaling", {"none", "yarn", "llama3"}, "of the frequencies"),
           number_setting("factor", "40", 1, 1e6, "yarn, llama3: how much longer positions get"),
           number_setting("original_positions", "4096", 1, 1e12, "yarn, llama3: positions trained on"),
           number_setting("beta_fast", "32", 1e-6, 1e6, "yarn: turns above which frequencies stay"),
           number_setting("beta_slow", "1", 1e-6, 1e6, "yarn: turns below which they are divided by the factor"),
           number_setting("mscale", "1", 0, 1e6, "yarn: cos and sin are multiplied by m(mscale) / m(mscale_all_dim)"),
           number_setting("mscale_all_dim", "1", 0, 1e6, "yarn: see mscale"),
           number_setting("low_freq_factor", "1", 1e-6, 1e6, "llama3"),
           number_setting("high_freq_factor", "4", 1e-6, 1e6, "llama3")},
          {{"y", "[..., S, heads, width]", "turned vectors"},
           {"inv_freq", "[dim/2]", "frequencies"},
           {"cos", "[positions, dim/2]", "the table that was used"},
           {"sin", "[positions, dim/2]", "likewise"},
           {"dx", "[..., S, heads, width]", "with dy"}},
          run_rope};
}

}  // namespace

std::vector<OpEntry> layer_ops() {
  const OpElements kFloat = OpElements::kFloat;
  return {{"embedding",
           "Rows of a table",
           {{"ids", OpElements::kIndex, "[...]", "token ids"},
            {"table", kFloat, "[vocabulary, d]", "the embedding"},
            {"dy", kFloat, "[..., d]", "gradient of y", false}},
           {},
           {{"y", "[..., d]", "the ids' rows"}, {"dtable", "[vocabulary, d]", "with dy"}},
           run_embedding},
          {"rms_norm",
           "weight * x / sqrt(mean(x^2) + eps) over the last axis",
           {{"x", kFloat, "[..., d]", "values"},
            {"weight", kFloat, "[d]", "gain"},
            {"dy", kFloat, "[..., d]", "gradient of y", false}},
           {number_setting("eps", "1e-6", 0, 1e6, "added to the mean square")},
           {{"y", "[..., d]", "normalised"}, {"dx", "[..., d]", "with dy"}, {"dweight", "[d]", "with dy"}},
           run_rms_norm},
          rope_entry(),
          {"swiglu",
           "silu(gate) * up",
           {{"gate", kFloat, "[...]", "the gate's pre-activation"},
            {"up", kFloat, "[...]", "what is gated"},
            {"dy", kFloat, "[...]", "gradient of y", false}},
           {},
           {{"y", "[...]", "silu(gate) * up"}, {"dgate", "[...]", "with dy"}, {"dup", "[...]", "with dy"}},
           run_swiglu},
          {"add",
           "a + b: the residual stream",
           {{"a", kFloat, "[...]", "one term"}, {"b", kFloat, "[...]", "the other"}},
           {},
           {{"y", "[...]", "a + b"}},
           run_add}};
}

}  // namespace lastbit::check
