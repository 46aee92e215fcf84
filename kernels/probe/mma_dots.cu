#include "kernels/probe/mma_dots.h"

namespace lastbit::kernels {
namespace {

constexpr int kDotsAWarp = 8;   // the diagonal of the upper half of a tile
constexpr int kWordsAStep = 8;  // of 32 bytes

// One warp a block. Dot g of a block is row g of A, column g of B, and element (g, g) of D; nothing else is used.
template <arch::MmaTypes kTypes>
__global__ void dots_on_diagonals(MmaDots dots) {
  const int group = static_cast<int>(threadIdx.x) / 4;
  const int word = static_cast<int>(threadIdx.x) % 4;
  const int dot = static_cast<int>(blockIdx.x) * kDotsAWarp + group;
  const bool inside = dot < dots.n;
  const bool holds = inside && word == group / 2;  // this lane's first pair has the diagonal's element
  float d[4] = {0, 0, 0, 0};
  if (holds) d[group % 2] = dots.c[dot];
  for (int step = 0; step < dots.steps; ++step) {
    const int at = (dot * dots.steps + step) * kWordsAStep + word;
    const unsigned a[4] = {inside ? dots.a[at] : 0, 0, inside ? dots.a[at + 4] : 0, 0};
    const unsigned b[2] = {inside ? dots.b[at] : 0, inside ? dots.b[at + 4] : 0};
    arch::mma_sync_words<kTypes>(d, a, b);
  }
  if (holds) dots.d[dot] = d[group % 2];
}

template <arch::MmaTypes kTypes>
void launch_dots(const MmaDots& dots) {
  const auto blocks = static_cast<unsigned>((dots.n + kDotsAWarp - 1) / kDotsAWarp);
  simt::launch({"dots_on_diagonals", dim3{blocks, 1, 1}, dim3{32, 1, 1}}, dots_on_diagonals<kTypes>, dots);
}

}  // namespace

void mma_dots(arch::MmaTypes types, const MmaDots& dots) {
  switch (types) {
    case arch::MmaTypes::kE4M3:
      return launch_dots<arch::MmaTypes::kE4M3>(dots);
    case arch::MmaTypes::kE5M2:
      return launch_dots<arch::MmaTypes::kE5M2>(dots);
    case arch::MmaTypes::kE4M3E5M2:
      return launch_dots<arch::MmaTypes::kE4M3E5M2>(dots);
    case arch::MmaTypes::kF16:
      return launch_dots<arch::MmaTypes::kF16>(dots);
    case arch::MmaTypes::kBF16:
      return launch_dots<arch::MmaTypes::kBF16>(dots);
    case arch::MmaTypes::kTF32:
      return launch_dots<arch::MmaTypes::kTF32>(dots);
  }
}

}  // namespace lastbit::kernels
