// The dots that a probe asks for.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "check/probe.h"
#include "core/philox.h"
#include "tensor/codes.h"

namespace lastbit::check {
namespace {

using numerics::Format;
using tensor::Tensor;

// Writes dots one after the other.
class DotWriter {
 public:
  DotWriter(const ProbeQuestion& question, std::uint64_t seed) : question_(question), stream_(seed, "probe") {}

  tensor::NamedTensors write() {
    for (int i = 0; i < 500; ++i) dense();
    for (int i = 0; i < 300; ++i) cancelling();
    ladders();
    ties();
    for (int i = 0; i < 200; ++i) subnormal();
    for (int i = 0; i < 200; ++i) sparse();
    for (int i = 0; i < 800; ++i) tiny();
    const auto n = static_cast<std::int64_t>(c_.size());
    return {{"a", tensor::tensor_of_codes(a_, question_.a, {n, question_.k})},
            {"b", tensor::tensor_of_codes(b_, question_.b, {n, question_.k})},
            {"c", tensor::tensor_of_codes(c_, question_.d, {n})}};
  }

 private:
  std::uint32_t word() { return stream_.word(next_++); }
  int between(int least, int most) {
    return least + static_cast<int>(word() % static_cast<std::uint32_t>(most - least + 1));
  }

  // A finite number of this exponent and a random fraction; below the format's least exponent a subnormal power of two.
  std::uint32_t number(Format format, int exponent, bool power_of_two = false) {
    const numerics::FormatDescriptor& f = numerics::describe(format);
    const std::uint32_t sign = (word() & 1) != 0 ? f.sign_code() : 0;
    std::uint32_t code = 0;
    if (exponent < f.min_exponent()) {
      const int bit = std::max(0, exponent - f.min_exponent() + f.fraction_bits);
      code = 1u << bit;
    } else {
      const std::uint32_t fraction = power_of_two ? 0 : word() & ((1u << f.fraction_bits) - 1);
      code =
          std::min((static_cast<std::uint32_t>(exponent + f.bias) << f.fraction_bits) | fraction, f.max_finite_code());
    }
    return (sign | code) << f.code_shift;
  }
  static std::uint32_t magnitude(Format format, std::uint32_t code) {
    const numerics::FormatDescriptor& f = numerics::describe(format);
    return code & ~(f.sign_code() << f.code_shift);
  }
  static int most(Format format) {
    const numerics::FormatDescriptor& f = numerics::describe(format);
    return static_cast<int>(f.max_finite_code() >> f.fraction_bits) - f.bias;
  }
  static int least(Format format) {
    const numerics::FormatDescriptor& f = numerics::describe(format);
    return f.min_exponent() - f.fraction_bits;
  }

  // Exponents of operands within +-half of 0, as far as both formats go.
  [[nodiscard]] int reach(int wanted) const {
    return std::min({wanted, most(question_.a), most(question_.b), -numerics::describe(question_.a).min_exponent(),
                     -numerics::describe(question_.b).min_exponent()});
  }

  void begin() {
    dot_a_.assign(static_cast<std::size_t>(question_.k), 0);
    dot_b_.assign(static_cast<std::size_t>(question_.k), 0);
    dot_c_ = 0;
  }
  void end() {
    a_.insert(a_.end(), dot_a_.begin(), dot_a_.end());
    b_.insert(b_.end(), dot_b_.begin(), dot_b_.end());
    c_.push_back(dot_c_);
  }
  void put(std::int64_t at, std::uint32_t a, std::uint32_t b) {
    dot_a_[static_cast<std::size_t>(at)] = a;
    dot_b_[static_cast<std::size_t>(at)] = b;
  }
  // +2^exponent or its negative at place `at`, split over both operands.
  void put_power(std::int64_t at, int exponent, bool negative) {
    int of_a = std::clamp(exponent / 2, least(question_.a), most(question_.a));
    int of_b = std::clamp(exponent - of_a, least(question_.b), most(question_.b));
    of_a = std::clamp(exponent - of_b, least(question_.a), most(question_.a));
    std::uint32_t a = magnitude(question_.a, number(question_.a, of_a, true));
    const std::uint32_t b = magnitude(question_.b, number(question_.b, of_b, true));
    const numerics::FormatDescriptor& f = numerics::describe(question_.a);
    if (negative) a |= f.sign_code() << f.code_shift;
    put(at, a, b);
  }
  std::uint32_t random_c(int low, int high) {
    return number(question_.d, std::clamp(between(low, high), least(question_.d), most(question_.d)));
  }

  // No zeros; products of many exponents, c around them.
  void dense() {
    begin();
    const int span = reach(between(1, 9));
    for (std::int64_t k = 0; k < question_.k; ++k)
      put(k, number(question_.a, between(-span, span)), number(question_.b, between(-span, span)));
    dot_c_ = random_c(-3 * span - 6, 2 * span + 6);
    end();
  }

  // Large products in pairs of opposite sign at random places, small ones elsewhere.
  void cancelling() {
    begin();
    const int high = reach(between(2, 12));
    for (std::int64_t k = 0; k < question_.k; ++k)
      put(k, number(question_.a, between(-high, 0)), number(question_.b, between(-high, 0)));
    const auto k = static_cast<int>(question_.k);
    for (int i = 0; i < 2 && k > 1; ++i) {
      const int at = between(0, k - 1);
      const int other = (at + between(1, std::min(k - 1, 4))) % k;
      const std::uint32_t a = number(question_.a, high);
      const std::uint32_t b = number(question_.b, high);
      const numerics::FormatDescriptor& f = numerics::describe(question_.a);
      put(at, a, b);
      put(other, a ^ (f.sign_code() << f.code_shift), b);
    }
    dot_c_ = (word() & 1) != 0 ? 0 : random_c(-2 * high - 8, 2 * high);
    end();
  }

  // 2^E, -2^E and 2^(E - j) at neighbours; and c = 2^E, -2^E by a product, 2^(E - j).
  void ladders() {
    const int top = std::min(most(question_.a), 12) + std::min(most(question_.b), 12);
    for (const int first : {0, 1, 4})
      for (int j = 1; j <= 40; ++j) {
        if (first + 2 >= question_.k) continue;
        begin();
        put_power(first, top, false);
        put_power(first + 1, top, true);
        put_power(first + 2, top - j, (j & 1) != 0);
        end();
        begin();
        dot_c_ = magnitude(question_.d, number(question_.d, std::min(top, most(question_.d)), true));
        put_power(first, std::min(top, most(question_.d)), true);
        put_power(first + 1, top - j, (j & 1) != 0);
        end();
      }
  }

  // Sums in the middle between two numbers of d, with something far below on one side or the other.
  void ties() {
    const int bits = numerics::describe(question_.d).fraction_bits;
    const int top = std::min(most(question_.a), 8) + std::min(most(question_.b), 8) - 1;
    for (const int drop : {10, 13, bits})
      for (int i = 0; i < 24 && question_.k > 3; ++i) {
        begin();
        put_power(0, top, (i & 1) != 0);
        put_power(1, top - drop - 1, (i & 2) != 0);
        if ((i & 4) != 0) put_power(2, top - drop, (i & 1) != 0);
        if (i >= 8) dot_c_ = number(question_.d, std::max(least(question_.d), top - drop - 2 - 2 * (i % 12)), true);
        end();
      }
  }

  void subnormal() {
    begin();
    for (std::int64_t k = 0; k < question_.k; ++k) {
      const bool small = word() % 3 != 0;
      put(k,
          number(question_.a,
                 small ? between(least(question_.a), numerics::describe(question_.a).min_exponent()) : reach(3)),
          number(question_.b, word() % 3 == 0
                                  ? between(least(question_.b), numerics::describe(question_.b).min_exponent())
                                  : reach(2)));
    }
    const int low = std::max(least(question_.d), least(question_.a) + least(question_.b));
    dot_c_ = random_c(low, std::max(low, low + 40));
    end();
  }

  void sparse() {
    begin();
    const int span = reach(between(1, 9));
    for (std::int64_t k = 0; k < question_.k; ++k)
      put(k, word() % 4 != 0 ? 0 : number(question_.a, between(-span, span)),
          word() % 3 == 0 ? 0 : number(question_.b, between(-span, span)));
    dot_c_ = word() % 3 == 0 ? 0 : random_c(-3 * span, 3 * span);
    end();
  }

  // Products that are zeros or as small as the formats go, and a c of any exponent: what zeros and a floor of E do.
  void tiny() {
    begin();
    const bool any = word() % 2 != 0;
    for (std::int64_t k = 0; k < question_.k; ++k) {
      const std::uint32_t kind = word() % 4;
      const auto low = [&](Format format) {
        return number(format, any ? between(least(format), least(format) + 30) : between(least(format), most(format)));
      };
      const std::uint32_t a = low(question_.a);
      const std::uint32_t b = low(question_.b);
      if (any && kind == 0)
        put(k, a, b);
      else if (kind != 3)
        put(k, (word() & 1) != 0 ? a : 0, 0);
      else
        put(k, 0, b);
    }
    dot_c_ = random_c(least(question_.d), word() % 2 != 0 ? std::min(most(question_.d), 20) : least(question_.d) + 50);
    end();
  }

  const ProbeQuestion& question_;
  core::RandomStream stream_;
  std::uint64_t next_ = 0;
  std::vector<std::uint32_t> dot_a_;
  std::vector<std::uint32_t> dot_b_;
  std::uint32_t dot_c_ = 0;
  std::vector<std::uint32_t> a_;
  std::vector<std::uint32_t> b_;
  std::vector<std::uint32_t> c_;
};

}  // namespace

std::string ProbeQuestion::name() const {
  return fmt::format("{}.{}.{}", numerics::name(a), numerics::name(b), numerics::name(d));
}

tensor::NamedTensors probe_inputs(const ProbeQuestion& question, std::uint64_t seed) {
  return DotWriter(question, seed).write();
}

}  // namespace lastbit::check
