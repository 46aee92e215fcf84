// Documents into windows of one length, by their numbers of tokens alone; each document ends in its end token already.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace lastbit::text {

// A run of tokens of one document.
struct Piece {
  std::int64_t document = 0;
  std::int64_t offset = 0;
  std::int64_t length = 0;
  friend bool operator==(const Piece&, const Piece&) = default;
};

struct Packing {
  std::int64_t window_tokens = 0;
  std::vector<Piece> pieces;                       // in order of document and offset
  std::vector<std::vector<std::int64_t>> windows;  // indices into `pieces`, in the order in which they lie
  std::int64_t dropped_tokens = 0;                 // in no window
};

// All documents joined and cut at every `window_tokens`; the incomplete tail is dropped. What DeepSeek-V3 trains on
// (arXiv 2412.19437, section 4.1). Errors (bad input): a window or a document without tokens.
[[nodiscard]] Packing concat_chunk(std::span<const std::int64_t> document_tokens, std::int64_t window_tokens);

// Whole documents first: those longer than a window are cut into windows and a remainder, then the pieces, longest
// first (ties: in order), each go into the window with the least room that holds them (ties: the earliest), a new one
// when none does. Nothing is dropped; O(n log n). Source: best-fit-decreasing packing (Ding et al., arXiv 2404.10830).
// Errors: as above.
[[nodiscard]] Packing best_fit(std::span<const std::int64_t> document_tokens, std::int64_t window_tokens);

struct PackingReport {
  std::int64_t documents = 0;
  std::int64_t cut_documents = 0;   // in more than one piece
  std::int64_t tokens = 0;          // in windows
  std::int64_t padding_tokens = 0;  // room left in windows
  std::int64_t dropped_tokens = 0;
  double cut_share = 0;      // of documents
  double padding_share = 0;  // of the windows' room
};
[[nodiscard]] PackingReport report(const Packing& packing);

// One window as a model reads it; arrays of window_tokens elements.
struct PackedWindow {
  std::vector<std::int64_t> tokens;     // padding_token behind the last piece
  std::vector<std::int64_t> segments;   // which piece of the window, from 0; -1 for padding: what mutual masking asks
  std::vector<std::int64_t> positions;  // from 0 in every piece (also in one that continues a document); padding 0
};

// documents[d]: the tokens of document d, as long as the packing was told.
// Errors (bad input): a window that is not there; documents that are fewer or shorter than the packing says.
[[nodiscard]] PackedWindow lay_out(const Packing& packing, std::int64_t window,
                                   std::span<const std::vector<std::int64_t>> documents, std::int64_t padding_token);

}  // namespace lastbit::text
