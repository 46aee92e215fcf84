// Captures what the tensor core of a Hopper GPU answers: D = A . B + C through wgmma (m64n8) and mma.sync (m16n8), for
// every operand type, in one and in three instructions, on five families of inputs.
//
//   tensor_core_records FOLDER     writes SET.a.npy, .b.npy, .c.npy, .wgmma.npy, .mma_sync.npy for each set: codes, a
//                                  record a dot product, to be replayed with
//   lastbit mma --unit hopper_wgmma --a-type e4m3 --b-type e4m3 --a SET.a.npy --b SET.b.npy --c SET.c.npy --out D.npy
//
// Ran on an H200 on 2026-11-27: data/measurements/h200_records.json.
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace {

constexpr int kRows = 64;       // of D in a problem
constexpr int kCols = 8;        // of D
constexpr int kStepBytes = 32;  // of a row of A or B that one instruction takes, whatever the type
constexpr int kThreads = 128;
constexpr int kProblems = 128;
constexpr int kRecords = kProblems * kRows * kCols;
constexpr int kFamilies = 5;

enum Type { kE4M3, kE5M2, kF16, kBF16, kTF32 };

void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "tensor_core_records: %s: %s\n", what, cudaGetErrorString(error));
  std::exit(3);
}

// The two instructions of an operand type: d += a b. A's registers hold words l % 4 and 4 + l % 4 of rows l / 4 and
// l / 4 + 8 (l the lane), B's the same words of row l / 4, whatever the width of a code.
template <Type kA, Type kB, bool kHalf>
struct Instruction;

#define LASTBIT_TO_F32(A, B, TYPES, K, TAIL)                                                                \
  template <>                                                                                               \
  struct Instruction<A, B, false> {                                                                         \
    using Register = float;                                                                                 \
    static __device__ void wgmma(float (&d)[4], const uint32_t (&a)[4], uint64_t b) {                       \
      asm volatile("{.reg .pred p; setp.ne.b32 p, 1, 0; wgmma.mma_async.sync.aligned.m64n8" K ".f32." TYPES \
                   " {%0,%1,%2,%3},{%4,%5,%6,%7},%8,p,1,1" TAIL ";}"                                        \
                   : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                                         \
                   : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));                                   \
      asm volatile("wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0;"                      \
                   : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])::"memory");                             \
    }                                                                                                       \
    static __device__ void mma_sync(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {        \
      asm volatile("mma.sync.aligned.m16n8" K ".row.col.f32." TYPES                                         \
                   ".f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"                                \
                   : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                                         \
                   : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));                     \
    }                                                                                                       \
  }
#define LASTBIT_TO_F16(A, B, TYPES, K, TAIL)                                                                      \
  template <>                                                                                                     \
  struct Instruction<A, B, true> {                                                                                \
    using Register = uint32_t;                                                                                    \
    static __device__ void wgmma(uint32_t (&d)[2], const uint32_t (&a)[4], uint64_t b) {                          \
      asm volatile("{.reg .pred p; setp.ne.b32 p, 1, 0; wgmma.mma_async.sync.aligned.m64n8" K ".f16." TYPES       \
                   " {%0,%1},{%2,%3,%4,%5},%6,p,1,1" TAIL ";}"                                                    \
                   : "+r"(d[0]), "+r"(d[1])                                                                       \
                   : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));                                         \
      asm volatile("wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0;"                            \
                   : "+r"(d[0]), "+r"(d[1])::"memory");                                                           \
    }                                                                                                             \
    static __device__ void mma_sync(uint32_t (&d)[2], const uint32_t (&a)[4], const uint32_t (&b)[2]) {           \
      asm volatile("mma.sync.aligned.m16n8" K ".row.col.f16." TYPES ".f16 {%0,%1},{%2,%3,%4,%5},{%6,%7},{%0,%1};" \
                   : "+r"(d[0]), "+r"(d[1])                                                                       \
                   : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));                           \
    }                                                                                                             \
  }
LASTBIT_TO_F32(kE4M3, kE4M3, "e4m3.e4m3", "k32", "");
LASTBIT_TO_F32(kE5M2, kE5M2, "e5m2.e5m2", "k32", "");
LASTBIT_TO_F32(kE4M3, kE5M2, "e4m3.e5m2", "k32", "");
LASTBIT_TO_F32(kF16, kF16, "f16.f16", "k16", ",0");
LASTBIT_TO_F32(kBF16, kBF16, "bf16.bf16", "k16", ",0");
LASTBIT_TO_F32(kTF32, kTF32, "tf32.tf32", "k8", "");
LASTBIT_TO_F16(kE4M3, kE4M3, "e4m3.e4m3", "k32", "");
LASTBIT_TO_F16(kE5M2, kE5M2, "e5m2.e5m2", "k32", "");
LASTBIT_TO_F16(kF16, kF16, "f16.f16", "k16", ",0");

// The rows and columns of D that a thread holds: two neighbours in each of two rows, a register each (FP32) or two
// (FP16).
struct Place {
  __device__ explicit Place(int thread)
      : row(thread / 32 * 16 + thread % 32 / 4), col(thread % 4 * 2), word(thread % 4), column(thread % 32 / 4) {}
  int row;
  int col;
  int word;    // of a row's 32 bytes
  int column;  // of D, whose row of B the thread feeds to mma.sync
};

// Shared memory of one step of B as wgmma reads it: two blocks of 8 rows of 16 bytes, the second for bytes 16 to 31.
__device__ uint64_t stage(const uint8_t* b, uint8_t* shared) {
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < kCols * kStepBytes; i += kThreads) {
    const int byte = i % kStepBytes;
    shared[byte / 16 * 128 + i / kStepBytes * 16 + byte % 16] = b[i];
  }
  asm volatile("fence.proxy.async;" ::: "memory");
  __syncthreads();
  const auto address = static_cast<uint64_t>(__cvta_generic_to_shared(shared));
  return ((address & 0x3ffff) >> 4) | (uint64_t{128 >> 4} << 16) | (uint64_t{256 >> 4} << 32);
}

// One problem a block. a: [problems, steps, 64, 32 bytes]; b: [problems, steps, 8, 32 bytes]; c and d: [problems, 64,
// 8] codes of FP32 or, with kHalf, FP16.
template <Type kA, Type kB, bool kHalf, bool kWgmma>
__global__ void run(const uint8_t* a, const uint8_t* b, const uint32_t* c, uint32_t* d, int steps) {
  using Op = Instruction<kA, kB, kHalf>;
  constexpr int kRegisters = kHalf ? 1 : 2;  // of a row
  __shared__ alignas(128) uint8_t shared[kCols * kStepBytes];
  const Place place(static_cast<int>(threadIdx.x));
  const size_t first = static_cast<size_t>(blockIdx.x) * kRows * kCols;
  typename Op::Register sum[2 * kRegisters];
  for (int half = 0; half < 2; ++half)
    for (int i = 0; i < kRegisters; ++i) {
      const size_t at = first + static_cast<size_t>((place.row + 8 * half) * kCols + place.col + i);
      memcpy(&sum[half * kRegisters + i], c + (kHalf ? at / 2 : at), sizeof(uint32_t));
    }
  for (int step = 0; step < steps; ++step) {
    const size_t index = static_cast<size_t>(blockIdx.x) * steps + step;
    const auto* words = reinterpret_cast<const uint32_t*>(a + index * kRows * kStepBytes);
    const uint8_t* of_b = b + index * kCols * kStepBytes;
    const uint32_t operand[4] = {words[place.row * 8 + place.word], words[(place.row + 8) * 8 + place.word],
                                 words[place.row * 8 + 4 + place.word], words[(place.row + 8) * 8 + 4 + place.word]};
    if constexpr (kWgmma) {
      const uint64_t descriptor = stage(of_b, shared);
      asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
      Op::wgmma(sum, operand, descriptor);
    } else {
      const auto* words_b = reinterpret_cast<const uint32_t*>(of_b);
      const uint32_t other[2] = {words_b[place.column * 8 + place.word], words_b[place.column * 8 + 4 + place.word]};
      Op::mma_sync(sum, operand, other);
    }
  }
  for (int half = 0; half < 2; ++half)
    for (int i = 0; i < kRegisters; ++i) {
      const size_t at = first + static_cast<size_t>((place.row + 8 * half) * kCols + place.col + i);
      memcpy(d + (kHalf ? at / 2 : at), &sum[half * kRegisters + i], sizeof(uint32_t));
    }
}

// SplitMix64.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    state_ += 0x9e3779b97f4a7c15ull;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
  }
  int below(int n) { return static_cast<int>((next() >> 32) * static_cast<uint64_t>(n) >> 32); }

 private:
  uint64_t state_;
};

struct Layout {
  int exponent_bits;
  int fraction_bits;
  int shift;  // of the code within its bytes
  int width;  // bytes
};
Layout layout_of(Type type) {
  switch (type) {
    case kE4M3:
      return {4, 3, 0, 1};
    case kE5M2:
      return {5, 2, 0, 1};
    case kF16:
      return {5, 10, 0, 2};
    case kBF16:
      return {8, 7, 0, 2};
    default:
      return {8, 10, 13, 4};
  }
}

// Families: 0 any finite code; 1 exponents within 3 of the middle; 2 a wide band of them; 3 few large, many small,
// zeros; 4 any code at all.
uint32_t operand_code(Random& random, Type type, int family) {
  const Layout layout = layout_of(type);
  const int bias = (1 << (layout.exponent_bits - 1)) - 1;
  const int top = (1 << layout.exponent_bits) - 1;
  int fraction = random.below(1 << layout.fraction_bits);
  const int sign = random.below(2);
  int exponent = 0;
  if (family == 0) {
    exponent = random.below(type == kE4M3 ? top + 1 : top);
  } else if (family == 1) {
    exponent = bias - 3 + random.below(6);
  } else if (family == 2) {
    const int band = std::min(bias - 1, 14);
    exponent = bias - band + random.below(2 * band);
  } else if (family == 3) {
    const int kind = random.below(8);
    exponent = kind == 1 ? bias + random.below(4) : std::max(0, bias - 4 - random.below(std::min(bias, 12)));
    if (random.below(3) == 0 || kind == 0) fraction = 0;
    if (kind == 0) exponent = 0;
  } else {
    exponent = random.below(top + 1);
  }
  if (type == kE4M3 && exponent == top && fraction == 7 && family != 4) fraction = 6;  // no NaN
  const int code = ((sign << layout.exponent_bits | exponent) << layout.fraction_bits) | fraction;
  return static_cast<uint32_t>(code) << layout.shift;
}

uint32_t accumulator_code(Random& random, int family, bool half) {
  if (random.below(3) == 0) return 0;
  const auto sign = static_cast<uint32_t>(random.below(2));
  if (half) {
    if (family == 4) return static_cast<uint32_t>(random.below(1 << 16));
    const auto exponent = static_cast<uint32_t>(10 + random.below(8));
    return sign << 15 | exponent << 10 | static_cast<uint32_t>(random.below(1 << 10));
  }
  if (family == 4) return static_cast<uint32_t>(random.next());
  const int spread = family == 0 ? 40 : 12;
  const auto exponent = static_cast<uint32_t>(127 - spread / 2 + random.below(spread));
  return sign << 31 | exponent << 23 | static_cast<uint32_t>(random.below(1 << 23));
}

using Bytes = std::vector<uint8_t>;

Bytes draw(Random& random, Type type, int family, int rows) {
  const int width = layout_of(type).width;
  Bytes codes(static_cast<size_t>(rows) * kStepBytes);
  for (size_t at = 0; at < codes.size(); at += static_cast<size_t>(width)) {
    const uint32_t code = operand_code(random, type, family);
    std::memcpy(codes.data() + at, &code, static_cast<size_t>(width));
  }
  return codes;
}

// Every fourth element's product cancels the one before it, in every third row of A of every other problem.
void cancel(Bytes& a, Bytes& b, int width, int steps) {
  const auto w = static_cast<size_t>(width);
  const auto copy_next = [&](Bytes& codes, size_t row, bool negate) {
    for (size_t at = row * kStepBytes; at + w < (row + 1) * kStepBytes; at += 4 * w) {
      std::memcpy(codes.data() + at + w, codes.data() + at, w);
      if (negate) codes[at + 2 * w - 1] ^= 0x80;
    }
  };
  for (size_t problem = 0; problem < kProblems; problem += 2)
    for (size_t step = 0; step < static_cast<size_t>(steps); ++step) {
      const size_t index = problem * static_cast<size_t>(steps) + step;
      for (size_t row = 0; row < kRows; row += 3) copy_next(a, index * kRows + row, true);
      for (size_t row = 0; row < kCols; ++row) copy_next(b, index * kCols + row, false);
    }
}

void write_npy(const std::string& path, const void* codes, size_t rows, size_t cols, int width) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (file == nullptr) {
    std::fprintf(stderr, "tensor_core_records: cannot write %s\n", path.c_str());
    std::exit(2);
  }
  const char* type = width == 1 ? "|u1" : width == 2 ? "<u2" : "<u4";
  std::string header = "{'descr': '";
  header.append(type).append("', 'fortran_order': False, 'shape': (").append(std::to_string(rows)).append(",");
  if (cols != 0) header.append(" ").append(std::to_string(cols));
  header.append("), }");
  while ((10 + header.size() + 1) % 64 != 0) header += ' ';
  header += '\n';
  const auto length = static_cast<uint16_t>(header.size());
  std::fwrite("\x93NUMPY\x01\x00", 1, 8, file);
  std::fwrite(&length, sizeof(length), 1, file);
  std::fwrite(header.data(), 1, header.size(), file);
  std::fwrite(codes, static_cast<size_t>(width), rows * std::max<size_t>(cols, 1), file);
  std::fclose(file);
}

// A record a row: of A [problems, steps, 64, 32 bytes] those of its row, of B those of its column.
Bytes spread(const Bytes& codes, int rows, int steps, bool by_column) {
  Bytes records(static_cast<size_t>(kRecords) * static_cast<size_t>(steps) * kStepBytes);
  for (int record = 0; record < kRecords; ++record)
    for (int step = 0; step < steps; ++step) {
      const int problem = record / (kRows * kCols);
      const int row = by_column ? record % kCols : record / kCols % kRows;
      const auto from =
          (static_cast<size_t>(problem * steps + step) * static_cast<size_t>(rows) + static_cast<size_t>(row)) *
          kStepBytes;
      const auto to = static_cast<size_t>(record * steps + step) * kStepBytes;
      std::copy_n(codes.begin() + static_cast<std::ptrdiff_t>(from), kStepBytes,
                  records.begin() + static_cast<std::ptrdiff_t>(to));
    }
  return records;
}

uint8_t* to_device(const Bytes& bytes) {
  uint8_t* place = nullptr;
  check(cudaMalloc(&place, bytes.size()), "cudaMalloc");
  check(cudaMemcpy(place, bytes.data(), bytes.size(), cudaMemcpyHostToDevice), "cudaMemcpy");
  return place;
}

template <Type kA, Type kB, bool kHalf>
void capture(const std::string& folder, const std::string& name, int steps) {
  const int width = layout_of(kA).width;
  const int width_c = kHalf ? 2 : 4;
  for (int family = 0; family < kFamilies; ++family) {
    const int seed = kA * 100000 + kB * 10000 + kHalf * 1000 + steps * 10 + family;
    Random random(static_cast<uint64_t>(seed) * 7919);
    Bytes a = draw(random, kA, family, kProblems * steps * kRows);
    Bytes b = draw(random, kB, family, kProblems * steps * kCols);
    Bytes c(static_cast<size_t>(kRecords) * static_cast<size_t>(width_c));
    for (size_t at = 0; at < c.size(); at += static_cast<size_t>(width_c)) {
      const uint32_t code = accumulator_code(random, family, kHalf);
      std::memcpy(c.data() + at, &code, static_cast<size_t>(width_c));
    }
    if (family != 4) cancel(a, b, width, steps);
    uint8_t* device[4] = {to_device(a), to_device(b), to_device(c), to_device(c)};
    const std::string base =
        folder + "/" + name + "_steps" + std::to_string(steps) + "_family" + std::to_string(family);
    const auto save = [&](const char* instruction) {
      check(cudaDeviceSynchronize(), instruction);
      Bytes d(c.size());
      check(cudaMemcpy(d.data(), device[3], d.size(), cudaMemcpyDeviceToHost), "cudaMemcpy");
      write_npy(base + "." + instruction + ".npy", d.data(), kRecords, 0, width_c);
    };
    auto* of_c = reinterpret_cast<const uint32_t*>(device[2]);
    auto* of_d = reinterpret_cast<uint32_t*>(device[3]);
    run<kA, kB, kHalf, true><<<kProblems, kThreads>>>(device[0], device[1], of_c, of_d, steps);
    save("wgmma");
    run<kA, kB, kHalf, false><<<kProblems, kThreads>>>(device[0], device[1], of_c, of_d, steps);
    save("mma_sync");
    for (uint8_t* place : device) check(cudaFree(place), "cudaFree");
    const auto k = static_cast<size_t>(steps * kStepBytes / width);
    write_npy(base + ".a.npy", spread(a, kRows, steps, false).data(), kRecords, k, width);
    write_npy(base + ".b.npy", spread(b, kCols, steps, true).data(), kRecords, k, width);
    write_npy(base + ".c.npy", c.data(), kRecords, 0, width_c);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: tensor_core_records FOLDER\n");
    return 2;
  }
  const std::string folder = argv[1];
  cudaDeviceProp device{};
  check(cudaGetDeviceProperties(&device, 0), "no GPU");
  if (device.major != 9) {
    std::fprintf(stderr, "tensor_core_records: %s is sm_%d%d: expected Hopper, sm_90\n", device.name, device.major,
                 device.minor);
    return 3;
  }
  for (const int steps : {1, 3}) {
    capture<kE4M3, kE4M3, false>(folder, "e4m3_e4m3_f32", steps);
    capture<kE5M2, kE5M2, false>(folder, "e5m2_e5m2_f32", steps);
    capture<kE4M3, kE5M2, false>(folder, "e4m3_e5m2_f32", steps);
    capture<kF16, kF16, false>(folder, "f16_f16_f32", steps);
    capture<kBF16, kBF16, false>(folder, "bf16_bf16_f32", steps);
    capture<kTF32, kTF32, false>(folder, "tf32_tf32_f32", steps);
    capture<kE4M3, kE4M3, true>(folder, "e4m3_e4m3_f16", steps);
    capture<kE5M2, kE5M2, true>(folder, "e5m2_e5m2_f16", steps);
    capture<kF16, kF16, true>(folder, "f16_f16_f16", steps);
  }
}
