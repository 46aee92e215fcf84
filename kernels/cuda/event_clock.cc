#include "kernels/cuda/event_clock.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <vector>

#include "kernels/cuda/fail.h"
#include "kernels/simt/device_array.h"

namespace lastbit::cuda {
namespace {

constexpr std::size_t kMostTimedRuns = 11;
constexpr double kEnoughSeconds = 0.5;

// What keeps the GPU busy while the host prepares the work that is timed: some 0.3 ms of writing on a B200. The caches
// hold nothing of the work's arrays after it.
constexpr std::size_t kBusyBytes = std::size_t{512} << 20;
constexpr int kBusyWrites = 4;

void require_clock(cudaError_t error) { require_success(error, "timing on the GPU"); }

class Event {
 public:
  Event() { require_clock(cudaEventCreate(&event_)); }
  ~Event() { (void)cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void record() { require_clock(cudaEventRecord(event_, nullptr)); }
  // Waits for this event; `earlier` was recorded before it.
  [[nodiscard]] double seconds_since(const Event& earlier) const {
    require_clock(cudaEventSynchronize(event_));
    float milliseconds = 0;
    require_clock(cudaEventElapsedTime(&milliseconds, earlier.event_, event_));
    return static_cast<double>(milliseconds) / 1e3;
  }

 private:
  cudaEvent_t event_ = nullptr;
};

void keep_busy() {
  static const simt::DeviceMemory memory("what keeps the GPU busy", kBusyBytes);
  for (int i = 0; i < kBusyWrites; ++i) require_clock(cudaMemsetAsync(memory.data(), i, kBusyBytes, nullptr));
}

}  // namespace

double median_seconds(const std::function<void()>& enqueue) {
  Event begin;
  Event end;
  std::vector<double> all;
  double sum = 0;
  while (all.size() < kMostTimedRuns && sum < kEnoughSeconds) {
    keep_busy();
    begin.record();
    enqueue();
    end.record();
    all.push_back(end.seconds_since(begin));
    sum += all.back();
  }
  const auto middle = all.begin() + static_cast<std::ptrdiff_t>(all.size() / 2);
  std::nth_element(all.begin(), middle, all.end());
  return *middle;
}

}  // namespace lastbit::cuda
