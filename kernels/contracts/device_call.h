// A contract's call on the device: inputs uploaded, outputs to be written, settings in the kernels' own terms.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "check/implementation.h"
#include "kernels/simt/device_array.h"
#include "kernels/version.h"

namespace lastbit::kernels {

class DeviceCall {
 public:
  // Every byte of the outputs is `fill`. Errors: as DeviceMemory.
  DeviceCall(const check::KernelCall& call, Version version, unsigned char fill);

  // The array of this name. Errors: an internal error where the call has none.
  template <typename T>
  [[nodiscard]] T* input(const std::string& name) const {
    return static_cast<T*>(memory(inputs_, name).data());
  }
  template <typename T>
  [[nodiscard]] T* output(const std::string& name) const {
    return static_cast<T*>(memory(outputs_, name).data());
  }
  [[nodiscard]] int size(const std::string& input, std::size_t axis) const;
  [[nodiscard]] bool has_input(const std::string& name) const { return inputs_.contains(name); }
  [[nodiscard]] const check::KernelCall& call() const { return call_; }
  [[nodiscard]] const std::string& setting(const std::string& key) const { return call_.settings.text(key); }
  [[nodiscard]] Version version() const { return version_; }

  [[nodiscard]] tensor::NamedTensors results() const;

 private:
  using Arrays = std::map<std::string, std::unique_ptr<simt::DeviceMemory>>;

  [[nodiscard]] static const simt::DeviceMemory& memory(const Arrays& arrays, const std::string& name);

  const check::KernelCall& call_;
  Version version_;
  Arrays inputs_;
  Arrays outputs_;
};

}  // namespace lastbit::kernels
