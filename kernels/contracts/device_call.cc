#include "kernels/contracts/device_call.h"

#include "core/error.h"

namespace lastbit::kernels {

DeviceCall::DeviceCall(const check::KernelCall& call, Version version, unsigned char fill)
    : call_(call), version_(version) {
  for (const auto& [name, tensor] : call.inputs) {
    const tensor::Tensor dense = tensor.contiguous();
    auto memory = std::make_unique<simt::DeviceMemory>(name, dense.nbytes());
    memory->upload(dense.bytes());
    inputs_.emplace(name, std::move(memory));
  }
  for (const check::OutputSpec& output : call.outputs) {
    const auto count = static_cast<std::size_t>(tensor::element_count(output.shape, output.name));
    outputs_.emplace(output.name,
                     std::make_unique<simt::DeviceMemory>(output.name, count * tensor::size_of(output.dtype), fill));
  }
}

const simt::DeviceMemory& DeviceCall::memory(const Arrays& arrays, const std::string& name) {
  const auto found = arrays.find(name);
  core::check(found != arrays.end(), "an array of the contract");
  return *found->second;
}

int DeviceCall::size(const std::string& input, std::size_t axis) const {
  return static_cast<int>(call_.inputs.at(input).dim(axis));
}

tensor::NamedTensors DeviceCall::results() const {
  tensor::NamedTensors results;
  for (const check::OutputSpec& output : call_.outputs) {
    tensor::Tensor tensor = tensor::Tensor::empty(output.dtype, output.shape);
    memory(outputs_, output.name).download(tensor.mutable_bytes());
    results.emplace(output.name, std::move(tensor));
  }
  return results;
}

}  // namespace lastbit::kernels
