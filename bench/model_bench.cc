// Prefill, decoding and the training step of a whole checkpoint: tokens a second by the median of the iterations, by
// the clock on the wall and of all CPUs, and the peak of resident memory. bench/peers/model.py runs them beside other
// engines.
//
// LASTBIT_BENCH_MODEL: a Hugging Face directory (bench/peers/make_model.py writes one); without it all are skipped.
// LASTBIT_THREADS (default 1): the number of threads.
#include <benchmark/benchmark.h>
#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/heap.h"
#include "core/parallel.h"
#include "core/philox.h"
#include "model/config_file.h"
#include "model/memory_plan.h"
#include "model/transformer.h"
#include "train/adamw.h"
#include "train/gradient_clip.h"

namespace lastbit::model {
namespace {

using tensor::Tensor;

constexpr std::int64_t kPromptTokens = 512;
constexpr std::int64_t kTokensBeforeDecoding = 16;
constexpr std::int64_t kDecodedTokens = 32;
constexpr std::int64_t kBatch = 4;
constexpr std::int64_t kSequence = 256;

const char* model_directory() { return std::getenv("LASTBIT_BENCH_MODEL"); }

bool set_up(benchmark::State& state) {
  core::keep_freed_memory();  // as the program does
  const char* threads = std::getenv("LASTBIT_THREADS");
  core::set_num_threads(threads == nullptr ? 1 : std::atoi(threads));
  if (model_directory() != nullptr) return true;
  state.SkipWithError("LASTBIT_BENCH_MODEL names no checkpoint");
  return false;
}

Tensor random_ids(const Transformer& model, std::int64_t batch, std::int64_t tokens) {
  const core::RandomStream stream(1, "model bench");
  Tensor ids = Tensor::empty(tensor::DType::kI64, {batch, tokens});
  std::uint64_t i = 0;
  for (std::int64_t& id : ids.mutable_values<std::int64_t>())
    id = std::min(static_cast<std::int64_t>(stream.uniform(i++) * static_cast<float>(model.config().vocab_size)),
                  model.config().vocab_size - 1);
  return ids;
}

// Resident memory at its peak since the last reset, in bytes; 0 where Linux's /proc is not.
double peak_rss() {
  std::ifstream status("/proc/self/status");
  std::string word;
  double kilobytes = 0;
  while (status >> word)
    if (word == "VmHWM:") status >> kilobytes;
  return kilobytes * 1024;
}
void reset_peak_rss() {
  malloc_trim(0);  // what earlier benchmarks left to the allocator
  std::ofstream("/proc/self/clear_refs") << "5";
}

double median(std::vector<double> seconds) {
  std::sort(seconds.begin(), seconds.end());
  return seconds[seconds.size() / 2];
}

// run() once to warm up, then by the state's iterations.
template <typename Run>
void measure(benchmark::State& state, std::int64_t tokens, Run run) {
  run();
  std::vector<double> wall;
  std::vector<double> cpu;
  for (auto _ : state) {
    const auto start = std::chrono::steady_clock::now();
    const std::clock_t cpu_start = std::clock();
    run();
    cpu.push_back(static_cast<double>(std::clock() - cpu_start) / CLOCKS_PER_SEC);
    wall.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  state.counters["tokens/s"] = static_cast<double>(tokens) / median(wall);
  state.counters["tokens/cpu_s"] = static_cast<double>(tokens) / median(cpu);
  state.counters["peak_rss_MB"] = peak_rss() * 1e-6;
}

void prefill(benchmark::State& state, const std::string& policy) {
  if (!set_up(state)) return;
  const Transformer model = Transformer::load(model_directory(), ops::numerics_by_name(policy));
  const Tensor ids = random_ids(model, 1, kPromptTokens);
  ForwardOptions options;
  options.taps = {"logits.last"};
  reset_peak_rss();
  measure(state, kPromptTokens, [&] { benchmark::DoNotOptimize(model.forward(ids, options)); });
}

std::int64_t largest(const Tensor& logits) {
  const auto values = logits.values<float>();
  const auto row = values.subspan(values.size() - static_cast<std::size_t>(logits.dim(-1)));
  return std::max_element(row.begin(), row.end()) - row.begin();
}

// A short prompt, then greedy tokens one by one; the prompt's time is in it, its tokens are not.
void decode(benchmark::State& state, const std::string& policy, MlaForm form) {
  if (!set_up(state)) return;
  const Transformer model = Transformer::load(model_directory(), ops::numerics_by_name(policy));
  const Tensor prompt = random_ids(model, 1, kTokensBeforeDecoding);
  reset_peak_rss();
  measure(state, kDecodedTokens, [&] {
    KeyValueCache cache(model.config().num_hidden_layers);
    std::int64_t id = largest(model.decode(prompt, cache, form));
    for (std::int64_t i = 0; i < kDecodedTokens; ++i)
      id = largest(model.decode(Tensor::from<std::int64_t>({1, 1}, {&id, 1}), cache, form));
  });
}

Transformer load_own(const std::string& policy) {
  ModelConfig config = load_model_config(model_directory());
  Weights weights = Weights::load(model_directory(), config, {tensor::DType::kF32, true, false});
  return {std::move(config), std::move(weights), ops::numerics_by_name(policy)};
}

std::span<const float> values_of(const Tensor& x) { return x.values<float>(); }
std::span<float> values_of(Weights& weights, const std::string& name) {
  return weights.of(name).mutable_values<float>();
}

// One optimiser's view of a model: gradients clipped to a norm of 1, then AdamW over all weights.
template <typename Moment>
class Trainer {
 public:
  explicit Trainer(Transformer& model) : model_(model), gradients_(model.zero_gradients()) {
    for (const auto& [name, gradient] : gradients_.tensors()) {
      const auto size = static_cast<std::size_t>(gradient.size());
      moments_.emplace(name, Moments{std::vector<Moment>(size), std::vector<Moment>(size)});
    }
  }

  double step(const Tensor& ids) {
    gradients_.clear();
    const double loss = model_.loss_and_gradients(ids, {}, gradients_).loss;
    std::vector<std::span<const float>> all;
    for (const auto& [name, gradient] : gradients_.tensors()) all.push_back(values_of(gradient));
    train::AdamWStep step{++steps_, 1e-4, train::clip_factor(train::gradient_norm<float>(all), 1.0)};
    for (const auto& [name, gradient] : gradients_.tensors()) {
      Moments& moments = moments_.at(name);
      train::adamw_step(values_of(model_.weights(), name), values_of(gradient), std::span(moments.first),
                        std::span(moments.second), {}, step);
    }
    return loss;
  }

 private:
  struct Moments {
    std::vector<Moment> first;
    std::vector<Moment> second;
  };
  Transformer& model_;
  Gradients gradients_;
  std::map<std::string, Moments> moments_;
  std::int64_t steps_ = 0;
};

// Bytes that a step cannot do without: weights, gradients, moments, and what the backward pass keeps of the forward.
template <typename Moment>
double least_bytes(const Transformer& model) {
  PlannedPass pass;
  pass.batch = kBatch;
  pass.tokens = kSequence;
  pass.backward = true;
  double bytes = 0;
  for (const MemoryPart& part : memory_plan(model.config(), model.numerics(), pass)) {
    if (part.name == "gradients") bytes += part.bytes * 2 * sizeof(Moment) / sizeof(float);
    if (part.name == "weights" || part.name == "gradients" || part.name.starts_with("kept")) bytes += part.bytes;
  }
  return bytes;
}

template <typename Moment>
void training_step(benchmark::State& state, const std::string& policy) {
  if (!set_up(state)) return;
  Transformer model = load_own(policy);
  Trainer<Moment> trainer(model);
  const Tensor ids = random_ids(model, kBatch, kSequence);
  reset_peak_rss();
  measure(state, kBatch * kSequence, [&] { benchmark::DoNotOptimize(trainer.step(ids)); });
  state.counters["peak/least"] = peak_rss() / least_bytes<Moment>(model);
}

void prefill_fp32(benchmark::State& state) { prefill(state, "fp32"); }
void prefill_fp8_h800(benchmark::State& state) { prefill(state, "fp8-h800"); }
void decode_naive_fp32(benchmark::State& state) { decode(state, "fp32", MlaForm::kNaive); }
void decode_absorbed_fp32(benchmark::State& state) { decode(state, "fp32", MlaForm::kAbsorbed); }
void train_fp32(benchmark::State& state) { training_step<float>(state, "fp32"); }
void train_fp32_bf16_moments(benchmark::State& state) { training_step<std::uint16_t>(state, "fp32"); }
void train_bf16(benchmark::State& state) { training_step<std::uint16_t>(state, "bf16"); }
void train_fp8_h800(benchmark::State& state) { training_step<std::uint16_t>(state, "fp8-h800"); }

void by_three(benchmark::internal::Benchmark* bench) {
  bench->Iterations(3)->Unit(benchmark::kMillisecond)->MeasureProcessCPUTime()->UseRealTime();
}

BENCHMARK(prefill_fp32)->Apply(by_three);
BENCHMARK(prefill_fp8_h800)->Apply(by_three);
BENCHMARK(decode_naive_fp32)->Apply(by_three);
BENCHMARK(decode_absorbed_fp32)->Apply(by_three);
BENCHMARK(train_fp32)->Apply(by_three);
BENCHMARK(train_fp32_bf16_moments)->Apply(by_three);
BENCHMARK(train_bf16)->Apply(by_three);
BENCHMARK(train_fp8_h800)->Apply(by_three);

}  // namespace
}  // namespace lastbit::model
