#include "model/token_ids.h"

#include "core/error.h"

namespace lastbit::model {

void check_token_ids(const tensor::Tensor& ids, std::int64_t vocabulary) {
  if (ids.dtype() != tensor::DType::kI64 || ids.rank() != 2 || ids.size() == 0)
    core::fail_input("token ids: found {} {}, expected i64 [B, S] with at least one token", name(ids.dtype()),
                     tensor::to_string(ids.shape()));
  const auto values = ids.values<std::int64_t>();
  for (std::int64_t i = 0; i < ids.size(); ++i) {
    const std::int64_t id = values[static_cast<std::size_t>(i)];
    if (id < 0 || id >= vocabulary)
      core::fail_input("token ids: [{}, {}] is {}, expected 0 to {} (vocab_size {})", i / ids.dim(1), i % ids.dim(1),
                       id, vocabulary - 1, vocabulary);
  }
}

}  // namespace lastbit::model
