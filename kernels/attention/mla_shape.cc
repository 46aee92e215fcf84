#include "kernels/attention/mla_shape.h"

#include "core/error.h"
#include "kernels/attention/mla.h"

namespace lastbit::kernels {

void require_tile_dims(const char* kernel, int query_dim, int value_dim) {
  if (query_dim > kMostQueryDim || value_dim > kMostValueDim)
    core::fail_input("{}: heads of {} and {} elements, expected up to {} of queries and {} of values", kernel,
                     query_dim, value_dim, kMostQueryDim, kMostValueDim);
}

}  // namespace lastbit::kernels
