// Documents into windows.
#include <cstdint>
#include <span>

#include "check/op_arguments.h"
#include "check/op_families.h"
#include "text/packing.h"

namespace lastbit::check {
namespace {

using tensor::NamedTensors;

constexpr std::int64_t kMostPieces = std::int64_t{1} << 26;

NamedTensors run_pack(const OpArguments& in) {
  const auto documents = in.tensor("document_tokens").values<std::int64_t>();
  const std::int64_t window = in.whole("window_tokens");
  in.require_range("document_tokens", 1, kManyTokens);
  std::int64_t pieces = 0;
  for (const std::int64_t tokens : documents) pieces += tokens / window + 2;
  if (pieces > kMostPieces)
    core::fail_input("{}: about {} pieces of {} tokens, expected at most {}", in.op(), pieces, window, kMostPieces);
  const text::Packing packing =
      in.text("method") == "best_fit" ? text::best_fit(documents, window) : text::concat_chunk(documents, window);
  std::vector<std::int64_t> table;  // [pieces, 3]
  for (const text::Piece& piece : packing.pieces)
    table.insert(table.end(), {piece.document, piece.offset, piece.length});
  std::vector<std::int64_t> offsets{0};
  std::vector<std::int64_t> order;
  for (const std::vector<std::int64_t>& members : packing.windows) {
    order.insert(order.end(), members.begin(), members.end());
    offsets.push_back(std::ssize(order));
  }
  return {{"pieces", vector_result(table).reshape({std::ssize(packing.pieces), 3})},
          {"window_offsets", vector_result(offsets)},
          {"window_pieces", vector_result(order)},
          {"dropped_tokens", scalar_result(packing.dropped_tokens)}};
}

}  // namespace

std::vector<OpEntry> packing_ops() {
  return {{"pack_documents",
           "Documents into windows of one length",
           {{"document_tokens", OpElements::kIndex, "[documents]", "lengths, end tokens included"}},
           {whole_setting("window_tokens", "", 1, kManyTokens, "length of a window; required"),
            choice_setting("method", {"best_fit", "concat"},
                           "whole documents first, longest first; or all joined and cut, as DeepSeek-V3")},
           {{"pieces", "[pieces, 3]", "document, offset and length"},
            {"window_offsets", "[windows+1]", "window w has the entries window_offsets[w] to [w + 1] - 1 of"},
            {"window_pieces", "[entries]", "indices into pieces, in the order in which they lie"},
            {"dropped_tokens", "[1]", "in no window"}},
           run_pack}};
}

}  // namespace lastbit::check
