// FP8 products, one step of a Hopper tensor core after the other, right and wrong, and kernels that misbehave.
#include <unistd.h>

#include <csignal>
#include <cstdlib>

#include "candidate.h"

namespace {

using candidate::input;
using candidate::output;

struct Operand {
  int significand;  // 3 fraction bits, with its sign
  int exponent;
  bool nan;
};

Operand take_apart(std::uint8_t code) {
  const int exponent = code >> 3 & 15;
  const int fraction = code & 7;
  const int significand = exponent == 0 ? fraction : 8 + fraction;
  return {(code & 0x80) != 0 ? -significand : significand, (exponent == 0 ? 1 : exponent) - 7, (code & 0x7f) == 0x7f};
}

struct Faults {
  std::string order;  // "": as asked
  int every = 0;      // 0: as asked
  int step = 32;
  int fraction_bits = 13;
  std::int64_t k_multiple = 1;
  bool scales = true;
  float factor = 1;
  bool truncate_output = false;
  bool ignores_mask = false;  // of a masked grouped product
};

// value * 2^shift toward zero.
std::int64_t shifted(std::int64_t value, int shift) {
  if (shift >= 0) return value << shift;
  if (shift < -62) return 0;
  return value < 0 ? -(-value >> -shift) : value >> -shift;
}

constexpr int kLeast = -126;  // exponent of FP32's subnormal numbers

int exponent_of(float c) { return std::max(std::ilogb(c), kLeast); }

// sum * 2^exponent with `bits` fraction bits, the rest cut off.
float cut(std::int64_t sum, int exponent, int bits) {
  if (sum == 0) return 0;
  std::int64_t size = sum < 0 ? -sum : sum;
  const int leading = 63 - std::countl_zero(static_cast<std::uint64_t>(size)) + exponent;
  const int excess = std::max(leading, kLeast) - bits - exponent;
  if (excess > 62) return 0;
  if (excess > 0) size = size >> excess << excess;
  return std::ldexp(static_cast<float>(sum < 0 ? -size : size), exponent);
}

float one_step(const Operand* a, const Operand* b, int count, float c, const Faults& faults) {
  int largest = c == 0 ? -1000 : exponent_of(c);
  for (int k = 0; k < count; ++k) {
    if (a[k].nan || b[k].nan) return std::nanf("");
    if (a[k].significand != 0 && b[k].significand != 0) largest = std::max(largest, a[k].exponent + b[k].exponent);
  }
  if (std::isnan(c)) return c;
  if (largest == -1000) return 0;
  const int bits = faults.fraction_bits;
  std::int64_t sum = 0;
  for (int k = 0; k < count; ++k)
    sum += shifted(a[k].significand * b[k].significand, a[k].exponent + b[k].exponent - 6 + bits - largest);
  if (c != 0) {
    const int exponent = exponent_of(c);
    sum += shifted(static_cast<std::int64_t>(std::ldexp(c, 23 - exponent)), exponent - 23 + bits - largest);
  }
  return cut(sum, largest - bits, bits == 13 ? 13 : 23);
}

float add(const std::string& order, float y, float partial, float scale_a, float scale_b) {
  if (order == "cublas") return std::fma(partial * scale_a, scale_b, y);
  if (order == "muladd") {
    volatile float product = partial * (scale_a * scale_b);
    return y + product;
  }
  return std::fma(partial, scale_a * scale_b, y);
}

// Which group of B a row of A meets, -1: none, its outputs are zeros.
std::int64_t group_of(const lastbit_kernel_call* call, std::int64_t row, const Faults& faults) {
  if (candidate::in(call, "group_of_row").data != nullptr) return input<std::int32_t>(call, "group_of_row")[row];
  if (candidate::in(call, "rows_of_group").data == nullptr) return 0;
  const std::int64_t m = candidate::in(call, "a").shape[1];
  const std::int64_t kept = input<std::int64_t>(call, "rows_of_group")[row / m];
  return row % m < kept || faults.ignores_mask ? row / m : -1;
}

std::vector<Operand> operands_of(const lastbit_array& codes) {
  std::vector<Operand> all(static_cast<std::size_t>(candidate::count(codes)));
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = take_apart(static_cast<const std::uint8_t*>(codes.data)[i]);
  return all;
}

int multiply(const lastbit_kernel_call* call, const Faults& faults) {
  if (candidate::setting(call, "a_type") != "e4m3" || candidate::setting(call, "b_type") != "e4m3" ||
      candidate::setting(call, "d_type") == "f16")
    return LASTBIT_KERNEL_UNSUPPORTED;
  const lastbit_array& b_array = candidate::in(call, "b");
  const std::int64_t k_all = b_array.shape[b_array.rank - 1];
  const std::int64_t n = b_array.shape[b_array.rank - 2];
  const std::int64_t m = candidate::count(candidate::in(call, "a")) / k_all;
  const std::int64_t k = k_all / faults.k_multiple * faults.k_multiple;
  const std::int64_t blocks = (k_all + 127) / 128;
  const bool use = candidate::in(call, "scale_a").data != nullptr && faults.scales;
  std::string order = faults.order.empty() ? candidate::setting(call, "promotion") : faults.order;
  std::int64_t every = faults.every != 0 ? faults.every : std::stoll(candidate::setting(call, "promote_every"));
  if (order == "none") every = k_all + 1;
  const std::vector<Operand> a = operands_of(candidate::in(call, "a"));
  const std::vector<Operand> b = operands_of(b_array);
  for (std::int64_t i = 0; i < m; ++i)
    for (std::int64_t j = 0; j < n; ++j) {
      const std::int64_t group = group_of(call, i, faults);
      float y = 0;
      for (std::int64_t begin = 0; begin < k && group >= 0; begin += every) {
        float partial = 0;
        const std::int64_t end = std::min(k, begin + every);
        for (std::int64_t step = begin; step < end; step += faults.step)
          partial = one_step(&a[static_cast<std::size_t>(i * k_all + step)],
                             &b[static_cast<std::size_t>((group * n + j) * k_all + step)],
                             static_cast<int>(std::min<std::int64_t>(faults.step, end - step)), partial, faults);
        const float scale_a = use ? input<float>(call, "scale_a")[i * blocks + begin / 128] : 1;
        const float scale_b =
            use ? input<float>(call, "scale_b")[(group * ((n + 127) / 128) + j / 128) * blocks + begin / 128] : 1;
        y = order == "none" ? partial : add(order, y, partial, scale_a, scale_b);
      }
      y *= faults.factor;
      const auto bits = std::bit_cast<std::uint32_t>(y);
      if (candidate::setting(call, "d_type") == "f32")
        output<float>(call, "d")[i * n + j] = y;
      else
        output<std::uint16_t>(call, "d")[i * n + j] =
            faults.truncate_output && !std::isnan(y) ? static_cast<std::uint16_t>(bits >> 16) : candidate::to_bf16(y);
    }
  return LASTBIT_KERNEL_OK;
}

std::int64_t rows(const lastbit_kernel_call* call) { return candidate::out(call, "d").shape[0]; }
std::int64_t row_bytes(const lastbit_kernel_call* call) {
  const lastbit_array& d = candidate::out(call, "d");
  return static_cast<std::int64_t>(d.nbytes) / d.shape[0];
}

}  // namespace

CANDIDATE(gemm) { return multiply(call, {}); }

// Contract mma: one accumulator from c on.
CANDIDATE(mma) {
  if (candidate::setting(call, "a_type") != "e4m3" || candidate::setting(call, "b_type") != "e4m3" ||
      candidate::setting(call, "d_type") != "f32")
    return LASTBIT_KERNEL_UNSUPPORTED;
  const std::int64_t k = candidate::in(call, "a").shape[1];
  const std::vector<Operand> a = operands_of(candidate::in(call, "a"));
  const std::vector<Operand> b = operands_of(candidate::in(call, "b"));
  for (std::int64_t i = 0; i < candidate::in(call, "a").shape[0]; ++i) {
    float d = input<float>(call, "c")[i];
    for (std::int64_t step = 0; step < k; step += 32)
      d = one_step(&a[static_cast<std::size_t>(i * k + step)], &b[static_cast<std::size_t>(i * k + step)],
                   static_cast<int>(std::min<std::int64_t>(32, k - step)), d, {});
    output<float>(call, "d")[i] = d;
  }
  return LASTBIT_KERNEL_OK;
}

CANDIDATE(gemm_ignores_mask) {
  Faults faults;
  faults.ignores_mask = true;
  return multiply(call, faults);
}
CANDIDATE(gemm_zeros) {
  std::memset(candidate::out(call, "d").data, 0, candidate::out(call, "d").nbytes);
  return LASTBIT_KERNEL_OK;
}
CANDIDATE(gemm_one_bit) {
  const int result = multiply(call, {});
  output<std::uint8_t>(call, "d")[candidate::out(call, "d").nbytes / 4 * 2] ^= 1;
  return result;
}
CANDIDATE(gemm_wrong_scale) {
  Faults faults;
  faults.factor = 2;
  return multiply(call, faults);
}
CANDIDATE(gemm_no_scales) {
  Faults faults;
  faults.scales = false;
  return multiply(call, faults);
}
CANDIDATE(gemm_swapped_rows) {
  const int result = multiply(call, {});
  if (rows(call) < 2) return LASTBIT_KERNEL_UNSUPPORTED;
  std::vector<char> row(static_cast<std::size_t>(row_bytes(call)));
  char* const d = output<char>(call, "d");
  std::memcpy(row.data(), d, row.size());
  std::memcpy(d, d + row.size(), row.size());
  std::memcpy(d + row.size(), row.data(), row.size());
  return result;
}
CANDIDATE(gemm_no_promotion) {
  Faults faults;
  faults.order = "none";
  return multiply(call, faults);
}
CANDIDATE(gemm_cublas_order) {
  Faults faults;
  faults.order = "cublas";
  return multiply(call, faults);
}
CANDIDATE(gemm_every_64) {
  Faults faults;
  faults.every = 64;
  return multiply(call, faults);
}
CANDIDATE(gemm_ada_step) {
  Faults faults;
  faults.step = 16;
  return multiply(call, faults);
}
CANDIDATE(gemm_wide_sum) {
  Faults faults;
  faults.fraction_bits = 25;
  return multiply(call, faults);
}
CANDIDATE(gemm_odd_unit) {
  Faults faults;
  faults.fraction_bits = 17;  // no unit of the table
  return multiply(call, faults);
}
CANDIDATE(gemm_dropped_tail) {
  Faults faults;
  faults.k_multiple = 128;
  return multiply(call, faults);
}
CANDIDATE(gemm_truncated_output) {
  Faults faults;
  faults.truncate_output = true;
  return multiply(call, faults);
}
// The last rows stay as they were.
CANDIDATE(gemm_unwritten_rows) {
  std::vector<char> before(static_cast<std::size_t>(row_bytes(call)));
  char* const last = output<char>(call, "d") + (rows(call) - 1) * row_bytes(call);
  std::memcpy(before.data(), last, before.size());
  const int result = multiply(call, {});
  std::memcpy(last, before.data(), before.size());
  return result;
}
CANDIDATE(gemm_adds_to_output) {
  const lastbit_array& d = candidate::out(call, "d");
  std::vector<char> before(static_cast<std::size_t>(d.nbytes));
  std::memcpy(before.data(), d.data, before.size());
  const int result = multiply(call, {});
  for (std::size_t i = 0; i < before.size(); i += 7)
    output<std::uint8_t>(call, "d")[i] ^= static_cast<std::uint8_t>(before[i] & 1);
  return result;
}
CANDIDATE(gemm_behind_end) {
  const int result = multiply(call, {});
  output<char>(call, "d")[candidate::out(call, "d").nbytes] = 1;  // within the page, often
  return result;
}
CANDIDATE(gemm_far_behind_end) {
  const int result = multiply(call, {});
  output<volatile char>(call, "d")[candidate::out(call, "d").nbytes + 300] = 1;
  return result;
}
CANDIDATE(gemm_before_begin) {
  const int result = multiply(call, {});
  output<volatile char>(call, "d")[-1] = 1;
  return result;
}
CANDIDATE(gemm_writes_input) {
  static_cast<volatile char*>(candidate::in(call, "b").data)[0] = 1;
  return multiply(call, {});
}
CANDIDATE(gemm_crash) {
  (void)call;
  std::raise(SIGSEGV);
  return LASTBIT_KERNEL_OK;
}
CANDIDATE(gemm_abort) {
  (void)call;
  std::abort();
}
CANDIDATE(gemm_exit) {
  (void)call;
  _exit(0);
}
CANDIDATE(gemm_hang) {
  (void)call;
  for (volatile int i = 0;;) i = i + 1;
}
CANDIDATE(gemm_fails) {
  std::strncpy(call->message, "no device", static_cast<std::size_t>(call->message_bytes) - 1);
  return 5;
}
CANDIDATE(gemm_unsupported) {
  (void)call;
  return LASTBIT_KERNEL_UNSUPPORTED;
}
