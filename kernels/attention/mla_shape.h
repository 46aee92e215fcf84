// What the tuned kernels of latent attention take.
#pragma once

namespace lastbit::kernels {

// Errors (bad input): a head's queries or values are wider than the tuned kernels' registers.
void require_tile_dims(const char* kernel, int query_dim, int value_dim);

}  // namespace lastbit::kernels
