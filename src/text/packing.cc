#include "text/packing.h"

#include <algorithm>
#include <numeric>
#include <set>
#include <utility>

#include "core/error.h"

namespace lastbit::text {
namespace {

void check_lengths(std::span<const std::int64_t> document_tokens, std::int64_t window_tokens) {
  if (window_tokens < 1) core::fail_input("packing: a window of {} tokens, expected 1 or more", window_tokens);
  for (std::size_t d = 0; d < document_tokens.size(); ++d)
    if (document_tokens[d] < 1)
      core::fail_input("packing: document {} has {} tokens, expected 1 or more", d, document_tokens[d]);
}

}  // namespace

Packing concat_chunk(std::span<const std::int64_t> document_tokens, std::int64_t window_tokens) {
  check_lengths(document_tokens, window_tokens);
  Packing packing;
  packing.window_tokens = window_tokens;
  std::vector<std::int64_t> window;
  std::int64_t room = window_tokens;
  for (std::int64_t d = 0; d < std::ssize(document_tokens); ++d) {
    const std::int64_t length = document_tokens[static_cast<std::size_t>(d)];
    for (std::int64_t offset = 0; offset < length;) {
      const std::int64_t taken = std::min(room, length - offset);
      window.push_back(std::ssize(packing.pieces));
      packing.pieces.push_back({d, offset, taken});
      offset += taken;
      room -= taken;
      if (room > 0) continue;
      packing.windows.push_back(std::exchange(window, {}));
      room = window_tokens;
    }
  }
  packing.dropped_tokens = window_tokens - room;
  return packing;
}

Packing best_fit(std::span<const std::int64_t> document_tokens, std::int64_t window_tokens) {
  check_lengths(document_tokens, window_tokens);
  Packing packing;
  packing.window_tokens = window_tokens;
  for (std::int64_t d = 0; d < std::ssize(document_tokens); ++d) {
    const std::int64_t length = document_tokens[static_cast<std::size_t>(d)];
    for (std::int64_t offset = 0; offset < length; offset += window_tokens)
      packing.pieces.push_back({d, offset, std::min(window_tokens, length - offset)});
  }
  const auto length_of = [&](std::int64_t piece) { return packing.pieces[static_cast<std::size_t>(piece)].length; };
  std::vector<std::int64_t> order(packing.pieces.size());
  std::iota(order.begin(), order.end(), std::int64_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::int64_t a, std::int64_t b) { return length_of(a) > length_of(b); });
  std::set<std::pair<std::int64_t, std::int64_t>> open;  // room and window, of windows with room
  for (const std::int64_t piece : order) {
    const std::int64_t length = length_of(piece);
    auto found = open.lower_bound({length, 0});
    if (found == open.end()) {
      found = open.emplace(window_tokens, std::ssize(packing.windows)).first;
      packing.windows.emplace_back();
    }
    const auto [room, window] = *found;
    open.erase(found);
    packing.windows[static_cast<std::size_t>(window)].push_back(piece);
    if (room > length) open.emplace(room - length, window);
  }
  return packing;
}

PackingReport report(const Packing& packing) {
  PackingReport result;
  std::int64_t pieces_of_document = 0;
  for (std::size_t p = 0; p < packing.pieces.size(); ++p) {
    const bool continues = p > 0 && packing.pieces[p].document == packing.pieces[p - 1].document;
    pieces_of_document = continues ? pieces_of_document + 1 : 1;
    if (!continues) ++result.documents;
    if (pieces_of_document == 2) ++result.cut_documents;
    result.tokens += packing.pieces[p].length;
  }
  result.dropped_tokens = packing.dropped_tokens;
  result.tokens -= result.dropped_tokens;
  const std::int64_t room = std::ssize(packing.windows) * packing.window_tokens;
  result.padding_tokens = room - result.tokens;
  const auto share = [](std::int64_t part, std::int64_t whole) {
    return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
  };
  result.cut_share = share(result.cut_documents, result.documents);
  result.padding_share = share(result.padding_tokens, room);
  return result;
}

PackedWindow lay_out(const Packing& packing, std::int64_t window, std::span<const std::vector<std::int64_t>> documents,
                     std::int64_t padding_token) {
  if (window < 0 || window >= std::ssize(packing.windows))
    core::fail_input("packing: window {} is not one of the {}", window, packing.windows.size());
  const auto size = static_cast<std::size_t>(packing.window_tokens);
  PackedWindow result{std::vector(size, padding_token), std::vector<std::int64_t>(size, -1),
                      std::vector<std::int64_t>(size, 0)};
  std::size_t place = 0;
  std::int64_t segment = 0;
  for (const std::int64_t index : packing.windows[static_cast<std::size_t>(window)]) {
    const Piece& piece = packing.pieces[static_cast<std::size_t>(index)];
    if (piece.document >= std::ssize(documents))
      core::fail_input("packing: {} documents, but window {} has a piece of document {}", documents.size(), window,
                       piece.document);
    const auto& tokens = documents[static_cast<std::size_t>(piece.document)];
    if (piece.offset + piece.length > std::ssize(tokens))
      core::fail_input("packing: document {} has {} tokens, expected {} or more", piece.document, tokens.size(),
                       piece.offset + piece.length);
    for (std::int64_t i = 0; i < piece.length; ++i, ++place) {
      result.tokens[place] = tokens[static_cast<std::size_t>(piece.offset + i)];
      result.segments[place] = segment;
      result.positions[place] = i;
    }
    ++segment;
  }
  return result;
}

}  // namespace lastbit::text
