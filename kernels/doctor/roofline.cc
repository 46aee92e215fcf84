#include "kernels/doctor/roofline.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <sstream>

namespace lastbit::kernels {
namespace {

std::vector<std::string> words_of(std::string text) {
  std::ranges::replace_if(
      text, [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; }, ' ');
  std::istringstream in(text);
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

}  // namespace

Peaks peaks_of(const DeviceInfo& device, const std::vector<KnownGpu>& known) {
  Peaks peaks;
  peaks.bandwidth = device.bandwidth;
  peaks.bandwidth_source = device.bandwidth > 0 ? "the device's memory clock and bus width" : "";
  const std::vector<std::string> words = words_of(device.name);
  for (const KnownGpu& gpu : known) {
    const std::vector<std::string> model = words_of(gpu.name);  // maker, model, form
    if (model.size() < 2 || std::ranges::find(words, model[1]) == words.end()) continue;
    if (gpu.sms != 0 && gpu.sms != device.sms) continue;
    peaks.bf16 = gpu.bf16;
    peaks.fp8 = gpu.fp8;
    peaks.operations_source = gpu.source;
    if (peaks.bandwidth == 0) {
      peaks.bandwidth = gpu.bandwidth;
      peaks.bandwidth_source = gpu.source;
    }
    break;
  }
  return peaks;
}

Bound bound_of(const Work& work, const Peaks& peaks) {
  const double rate = work.rate == Rate::kBf16 ? peaks.bf16 : work.rate == Rate::kFp8 ? peaks.fp8 : 0;
  const double by_bytes = peaks.bandwidth > 0 ? work.bytes / peaks.bandwidth : 0;
  const double by_operations = rate > 0 ? work.operations / rate : 0;
  return {std::max(by_bytes, by_operations), by_bytes >= by_operations};
}

}  // namespace lastbit::kernels
