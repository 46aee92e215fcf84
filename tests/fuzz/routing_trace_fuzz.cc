#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "fuzz/expect_input_error.h"
#include "io/routing_trace.h"

namespace {

using lastbit::tensor::Tensor;

// Takes numbers from the front of the input; 0 when it is used up.
class Bytes {
 public:
  Bytes(const std::uint8_t* data, std::size_t size) : at_(data), left_(size) {}

  std::int64_t number() {
    if (left_ == 0) return 0;
    --left_;
    const auto value = static_cast<std::int8_t>(*at_++);
    if (value != 127 || left_ < 8) return value;
    std::uint64_t wide = 0;  // now and then a number of any size
    for (int i = 0; i < 8; ++i) wide = wide << 8 | *at_++;
    left_ -= 8;
    return static_cast<std::int64_t>(wide);
  }
  std::vector<std::int64_t> numbers(std::int64_t most) {
    std::vector<std::int64_t> all(static_cast<std::size_t>(std::clamp<std::int64_t>(number(), 0, most)));
    for (std::int64_t& value : all) value = number();
    return all;
  }

 private:
  const std::uint8_t* at_;
  std::size_t left_;
};

// The numbers in a shape whose last axis is theirs when the product does not fit.
template <typename T>
Tensor shaped(const std::vector<std::int64_t>& numbers, std::int64_t a, std::int64_t b) {
  const std::vector<T> values(numbers.begin(), numbers.end());
  const auto size = static_cast<std::int64_t>(values.size());
  if (a > 0 && b > 0 && a <= size && b <= size && size % (a * b) == 0)
    return Tensor::from<T>({a, b, size / (a * b)}, values);
  return Tensor::from<T>({1, 1, size}, values);
}

}  // namespace

// The arrays and attributes of a file, without HDF5 around them: what the format's own checks see.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Bytes bytes(data, size);
  lastbit::io::Attributes attributes{
      {"format", std::string("lastbit-routing-trace")}, {"version", std::int64_t{1}}, {"source", std::string("fuzz")}};
  for (const char* key : {"experts", "top_k", "groups", "kept_groups"}) attributes[key] = bytes.number();
  lastbit::tensor::NamedTensors arrays;
  for (const char* key : {"layers", "steps", "tokens"}) {
    const std::vector<std::int64_t> values = bytes.numbers(8);
    arrays.insert_or_assign(key, Tensor::from<std::int64_t>({static_cast<std::int64_t>(values.size())}, values));
  }
  const std::int64_t layers = arrays.at("layers").size();
  arrays.insert_or_assign("counts", shaped<std::int64_t>(bytes.numbers(127), arrays.at("steps").size(), layers));
  const std::vector<std::int64_t> choices = bytes.numbers(127);
  if (!choices.empty()) arrays.insert_or_assign("choices", shaped<std::uint16_t>(choices, bytes.number(), layers));
  lastbit::fuzz::expect_input_error([&] {
    const lastbit::io::RoutingTrace trace = lastbit::io::parse_routing_trace(arrays, attributes, "fuzz");
    lastbit::io::check_routing_trace(trace, "again");
  });
  return 0;
}
