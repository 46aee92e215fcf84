// Checkpoints forward, and the forecast of a training job.
#include <nanobind/stl/map.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "model/numerics_file.h"
#include "model/transformer.h"
#include "numerics/parse.h"
#include "python/bindings/bind.h"
#include "sim/train/forecast.h"

namespace lastbit::python {
namespace {

namespace nb = nanobind;
using model::Transformer;
using tensor::NamedTensors;
using tensor::Tensor;

Transformer load(const std::string& directory, const std::string& numerics, bool stream) {
  return without_gil([&] { return Transformer::load(directory, model::find_numerics(numerics), stream); });
}

// 32-bit ids as the 64-bit ones that a model takes: JAX has no others by default.
Tensor as_ids(const Tensor& given) {
  if (given.dtype() != tensor::DType::kI32) return given;
  Tensor ids = Tensor::empty(tensor::DType::kI64, given.shape());
  std::ranges::copy(given.values<std::int32_t>(), ids.mutable_values<std::int64_t>().begin());
  return ids;
}

NamedTensors forward(const Transformer& transformer, const Tensor& ids, const std::vector<std::string>& taps,
                     const std::vector<std::int64_t>& documents, const std::string& attention) {
  return without_gil([&] {
    model::ForwardOptions options;
    options.taps = taps;
    options.documents = documents;
    options.mla_form = numerics::require_name("attention", attention, {"naive", "absorbed"}) == 0
                           ? model::MlaForm::kNaive
                           : model::MlaForm::kAbsorbed;
    return transformer.forward(as_ids(ids), options);
  });
}

std::string forecast_training(const sim::train::ForecastRequest& request) {
  return without_gil([&] { return sim::train::to_json(sim::train::forecast_training(request)).dump(); });
}

}  // namespace

void bind_model(nb::module_& module) {
  nb::class_<Transformer>(module, "Model")
      .def_static("load", &load, nb::arg("directory"), nb::arg("numerics"), nb::arg("stream"))
      .def("forward", &forward, nb::arg("ids"), nb::arg("taps"), nb::arg("documents"), nb::arg("attention"))
      .def("tap_names", &Transformer::tap_names);
  nb::class_<sim::train::ForecastRequest>(module, "ForecastRequest")
      .def(nb::init<>())
      .def_rw("model", &sim::train::ForecastRequest::model)
      .def_rw("cluster", &sim::train::ForecastRequest::cluster)
      .def_rw("job", &sim::train::ForecastRequest::job)
      .def_rw("schedule", &sim::train::ForecastRequest::schedule)
      .def_rw("settings", &sim::train::ForecastRequest::settings)
      .def_rw("load", &sim::train::ForecastRequest::load)
      .def_rw("kernel_times", &sim::train::ForecastRequest::kernel_times)
      .def_rw("scaling", &sim::train::ForecastRequest::scaling)
      .def_rw("samples", &sim::train::ForecastRequest::samples)
      .def_rw("seed", &sim::train::ForecastRequest::seed)
      .def_rw("force", &sim::train::ForecastRequest::force);
  module.def("forecast_training", &forecast_training, nb::arg("request"));
}

}  // namespace lastbit::python
