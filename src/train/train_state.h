// Everything that a run needs to go on bit for bit, and the files that keep it.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace lastbit::train {

// Tensors share their bytes with the trainer's: a state is a view of the run as it stands. Random numbers are functions
// of the recipe's seed and the step, so these numbers are all the randomness there is.
struct TrainState {
  std::int64_t step = 0;         // steps taken
  std::int64_t tokens = 0;       // tokens seen
  std::int64_t position = 0;     // rows read, over all epochs
  tensor::NamedTensors weights;  // FP32 masters, the routers' biases among them
  tensor::NamedTensors first_moments;
  tensor::NamedTensors second_moments;
  tensor::NamedTensors ema;        // FP32; empty without
  tensor::NamedTensors histories;  // of delayed scales, as ops::DelayedScales has them; empty without
};

// A sealed HDF5 file (io/sealed_hdf5.h): datasets weights/NAME, first_moments/NAME, second_moments/NAME, ema/NAME,
// histories/NAME; attributes step, tokens, position, and the recipe as JSON. Errors: as save_sealed_hdf5.
void save_train_state(const std::string& path, const TrainState& state, const nlohmann::json& recipe);

// Errors (bad input): as load_sealed_hdf5; a file of another kind; another recipe than `recipe`: with the first key
// that differs.
[[nodiscard]] TrainState load_train_state(const std::string& path, const nlohmann::json& recipe);

// The checkpoints of a run: step-000000123.h5 and so on.
class CheckpointFolder {
 public:
  // Made when the first checkpoint is written. `kept`: how many of the latest stay.
  CheckpointFolder(std::string folder, std::int64_t kept) : folder_(std::move(folder)), kept_(kept) {}

  // Writes the state's checkpoint, then removes the oldest beyond those kept and what killed writers left behind.
  void save(const TrainState& state, const nlohmann::json& recipe) const;
  // The latest; nothing without any.
  [[nodiscard]] std::optional<std::string> latest() const;
  [[nodiscard]] std::string path_of(std::int64_t step) const;
  // Where the state before a step that failed goes: not among those that latest() sees.
  [[nodiscard]] std::string path_before_failure(std::int64_t step) const;
  void make() const;

 private:
  [[nodiscard]] std::vector<std::string> all() const;  // ascending

  std::string folder_;
  std::int64_t kept_;
};

}  // namespace lastbit::train
